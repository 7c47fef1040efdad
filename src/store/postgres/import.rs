//! The database as the destination of a transfer. The transaction of each batch also stores the position of
//! the transfer, so that no batch is stored twice.

mod batch;
mod limits;
mod progress;
mod queues;
mod records;
mod row_counts;

use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use jiff::Timestamp;
use uuid::Uuid;

use super::target::{Connector, Target};
use super::{OpenError, migrations};
use crate::store::actions::StoredAction;
use crate::store::statement::statement;
use crate::store::transfer::row_counts::DatabaseRowCounts;
use crate::store::transfer::stored::{MovedReplay, StoredLimits, StoredQueue, StoredWebhook};

/// The process name of the connection of a transfer. The server shows it as `hookbox transfer`; connections
/// of serving processes have the name of their process instead.
const PROCESS: &str = "transfer";

/// Longer timeouts, because large batches and the final counting take long, and sequential scans for the
/// counting.
const SETUP: &str = "\
    SET statement_timeout = '1h'; \
    SET lock_timeout = '30s'; \
    SET idle_in_transaction_session_timeout = '60s'; \
    SET enable_seqscan = on";

/// How often to check whether the connections of ended processes are gone, and the pause between two checks.
const LOOKS: usize = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// The state of a database with regard to a transfer.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Standing {
    /// The database has no webhooks.
    Empty,
    /// The database has this number of webhooks, and does not know the transfer.
    Occupied(u64),
    /// The transfer is not finished. `position` is the sequence of the last moved webhook, `moved` the number
    /// of moved webhooks.
    UnderWay { position: i64, moved: u64 },
    /// The transfer was finished at this time.
    Finished(Timestamp),
}

/// The connection of a transfer to its database.
pub(in crate::store) struct Import {
    connection: AsyncPgConnection,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import").finish_non_exhaustive()
    }
}

impl Import {
    /// Connects and runs missing migrations.
    pub(in crate::store) async fn open(target: &Target) -> Result<Self, OpenError> {
        let connector = Connector::new(target, PROCESS)?;
        migrations::migrate(target, &connector).await?;
        let mut connection = connector
            .connect()
            .await
            .map_err(|source| OpenError::Connect { target: target.clone(), source })?;
        connection
            .batch_execute(SETUP)
            .await
            .map_err(|source| OpenError::Setup { target: target.clone(), source })?;
        Ok(Self { connection })
    }

    /// The state of the database with regard to the transfer with this id.
    pub(in crate::store) async fn standing(&mut self, id: Uuid) -> QueryResult<Standing> {
        progress::standing(&mut self.connection, id).await
    }

    /// The names of the processes that serve from the database. Waits up to 5 s for processes that have just
    /// ended.
    pub(in crate::store) async fn others(&mut self) -> QueryResult<Vec<String>> {
        let mut others = Vec::new();
        for _ in 0..LOOKS {
            others = SelectOthers {}.load::<String>(&mut self.connection).await?;
            if others.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        Ok(others)
    }

    /// Adds the transfer and the queues of its jobs to the database, if the database has no webhooks. Returns
    /// the state of the database afterwards.
    pub(in crate::store) async fn begin(
        &mut self,
        id: Uuid,
        now: Timestamp,
        stored: &[StoredQueue],
    ) -> QueryResult<Standing> {
        let beginning = self.connection.transaction(async |connection| {
            LockTransfers {}.execute(connection).await?;
            match progress::standing(connection, id).await? {
                Standing::Empty => {}
                other => return Ok(other),
            }
            progress::begin(connection, id, now).await?;
            queues::insert(connection, stored).await?;
            Ok(Standing::UnderWay { position: 0, moved: 0 })
        });
        beginning.await
    }

    /// Stores the batch that follows the position `after`, in one transaction. Fails with `NotFound` if the
    /// stored position differs from `after`.
    pub(in crate::store) async fn store(
        &mut self,
        id: Uuid,
        after: i64,
        webhooks: &[StoredWebhook],
    ) -> QueryResult<()> {
        let Some(last) = webhooks.last() else { return Ok(()) };
        let moved = i64::try_from(webhooks.len()).unwrap_or(i64::MAX);
        let storing = self.connection.transaction(async |connection| {
            // First, because it locks the row: a concurrent process of the same transfer waits here, and then
            // fails.
            progress::move_on(connection, id, after, last.sequence, moved).await?;
            batch::insert(connection, webhooks).await
        });
        storing.await
    }

    /// Counts all rows, in one snapshot.
    pub(in crate::store) async fn count_rows(&mut self) -> QueryResult<DatabaseRowCounts> {
        let mut transaction = self.connection.build_transaction().repeatable_read().read_only();
        let counting = transaction.run(async |connection| row_counts::all(connection).await);
        counting.await
    }

    /// The number of the last moved action, as in the file.
    pub(in crate::store) async fn moved_actions(&mut self, id: Uuid) -> QueryResult<i64> {
        progress::moved_actions(&mut self.connection, id).await
    }

    /// Stores the actions that follow the one with the number `after`, in one transaction. Fails with `NotFound` if
    /// another process has moved actions meanwhile.
    pub(in crate::store) async fn store_actions(
        &mut self,
        id: Uuid,
        after: i64,
        actions: &[StoredAction],
    ) -> QueryResult<()> {
        let Some(last) = actions.last() else { return Ok(()) };
        let storing = self.connection.transaction(async |connection| {
            progress::move_actions(connection, id, after, last.number).await?;
            records::insert_actions(connection, actions).await
        });
        storing.await
    }

    /// Stores the replays, the pauses and the paces, and marks the transfer as finished, in one transaction. From then
    /// on processes can serve from the database.
    pub(in crate::store) async fn finish(
        &mut self,
        id: Uuid,
        now: Timestamp,
        stored: &StoredLimits,
        replays: &[MovedReplay],
    ) -> QueryResult<()> {
        let finishing = self.connection.transaction(async |connection| {
            SetPositions {}.get_result::<Option<i64>>(connection).await?;
            limits::insert(connection, stored).await?;
            records::insert_replays(connection, replays).await?;
            progress::finish(connection, id, now).await
        });
        finishing.await
    }
}

statement! { Pg;
    struct SelectOthers {}
    returns Text;
    "SELECT DISTINCT substr(application_name, 9) FROM pg_stat_activity
     WHERE datname = current_database() AND application_name LIKE 'hookbox %'
       AND pid <> pg_backend_pid() AND application_name NOT IN ('hookbox transfer', 'hookbox migrate')"
}

statement! { Pg;
    struct LockTransfers {}
    returns ();
    "LOCK TABLE transfers IN EXCLUSIVE MODE"
}

statement! { Pg;
    /// Sets the sequence so that new jobs get larger positions than all moved jobs. One number of the
    /// sequence covers 1,024 positions.
    struct SetPositions {}
    returns Nullable<BigInt>;
    "SELECT setval('positions', greatest(max(position) / 1024 + 1, 1))
     FROM (SELECT position FROM jobs UNION ALL SELECT position FROM finished_jobs) AS ordered
     WHERE position IS NOT NULL"
}
