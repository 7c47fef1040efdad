//! The file as the source of a transfer. The transfer locks the file like a serving process. Opening a file without a
//! mark moves the due times that are left since the clock was set back. After that, only the mark is written, and the
//! time of day at the end.

mod batch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diesel::dsl::count_star;
use diesel::prelude::*;
use jiff::Timestamp;

use super::connection::OwnedFile;
use super::open_error::OpenError;
use super::queries::NO_ROUTE_QUEUE;
use super::schema::{attempts, jobs, paces, queues, webhooks};
use super::transaction::Refusal;
use super::{Options, SqliteStore, actions, mark, pauses, replays, rows};
use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::job::Status;
use crate::store::actions::StoredAction;
use crate::store::transfer::limits::Limits;
use crate::store::transfer::mark::Mark;
use crate::store::transfer::row_counts::RowCounts;
use crate::store::transfer::stored::{MovedReplay, StoredLimits, StoredPace, StoredQueue, StoredWebhook};
use crate::store::{StatusCounts, Store as _};
use crate::telemetry::metrics::Metrics;

/// Maximum number of actions that are moved at once.
const ACTIONS_AT_ONCE: usize = 1_000;

/// A file whose webhooks are moved elsewhere.
#[derive(Debug)]
pub(in crate::store) struct Export {
    store: SqliteStore,
    path: PathBuf,
}

/// Removes the mark of a file, and returns it.
pub(in crate::store) fn take_mark(path: &Path) -> std::result::Result<Option<Mark>, OpenError> {
    let mut file = OwnedFile::open(path)?;
    let taken = file.connection.immediate_transaction(|connection| {
        let mark = mark::read(connection)?;
        mark::remove(connection)?;
        Ok(mark)
    });
    taken.map_err(|source| OpenError::Setup { path: file.path.clone(), source })
}

impl Export {
    /// Opens the file, marked or not. Jobs that the previous process ran stay leased: the policies in force
    /// after the transfer decide about them. Jobs that are left since the clock was set back move now: the target does
    /// not know which ones are left.
    pub(in crate::store) async fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::result::Result<Self, OpenError> {
        let mut file = OwnedFile::open(path)?;
        let path = file.path.clone();
        let unreadable = |source| OpenError::Setup { path: path.clone(), source };
        let is_marked = mark::read(&mut file.connection).map_err(unreadable)?.is_some();
        let options = Options { path: path.clone(), max_backlog: 0, policies: Arc::default(), seed: 0 };
        let store = SqliteStore::start(file, options, clock, Arc::new(Metrics::default())).await?;
        // The rows of a marked file do not change.
        if !is_marked {
            store.move_due_times(Duration::MAX).await.map_err(OpenError::FollowClock)?;
        }
        Ok(Self { store, path })
    }

    /// The canonical path of the file.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// The mark of the file, if it has one.
    pub(in crate::store) async fn mark(&self) -> Result<Option<Mark>> {
        self.read(mark::read).await
    }

    /// Marks the file, or replaces its mark. From then on only a transfer opens the file.
    pub(in crate::store) async fn set_mark(&self, mark: &Mark) -> Result<()> {
        let mark = mark.clone();
        let marking = self
            .store
            .writer
            .run(move |transaction| mark::write(transaction.connection, &mark).map_err(Refusal::Query));
        marking.await
    }

    /// The number of webhooks.
    pub(in crate::store) async fn webhooks(&self) -> Result<u64> {
        self.read(count_webhooks).await
    }

    /// The next webhooks with a sequence greater than `after`, in the order of acceptance, within `limits`.
    /// Empty if there are no more.
    pub(in crate::store) async fn batch(&self, after: i64, limits: Limits) -> Result<Vec<StoredWebhook>> {
        self.read(move |connection| batch::load(connection, after, limits)).await
    }

    /// Every queue, also those without jobs.
    pub(in crate::store) async fn queues(&self) -> Result<Vec<StoredQueue>> {
        self.read(all_queues).await
    }

    /// What is paused, and when rates allow the next starts.
    pub(in crate::store) async fn limits(&self) -> Result<StoredLimits> {
        self.read(|connection| {
            Ok(StoredLimits { pauses: pauses::load(connection)?, paces: all_paces(connection)? })
        })
        .await
    }

    /// All replays, oldest first.
    pub(in crate::store) async fn replays(&self) -> Result<Vec<MovedReplay>> {
        self.read(all_replays).await
    }

    /// The next actions after the one with the number `after`, oldest first. Empty if there are no more.
    pub(in crate::store) async fn actions(&self, after: i64) -> Result<Vec<StoredAction>> {
        self.read(move |connection| actions::after(connection, after, ACTIONS_AT_ONCE)).await
    }

    /// Counts all rows, in one transaction.
    pub(in crate::store) async fn count_rows(&self) -> Result<RowCounts> {
        self.read(count_rows).await
    }

    async fn read<T, R>(&self, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        self.store.readers()?.run(read).await
    }

    /// Closes the file.
    pub(in crate::store) async fn close(&self) {
        self.store.close().await;
    }
}

#[derive(Queryable)]
struct QueueRow {
    id: i64,
    route: String,
    source: String,
}

fn all_queues(connection: &mut SqliteConnection) -> QueryResult<Vec<StoredQueue>> {
    let named = queues::table.filter(queues::id.ne(i64::from(NO_ROUTE_QUEUE.0))).order(queues::id);
    let stored = |QueueRow { id, route, source }| Ok(StoredQueue { id: rows::queue(id)?, route, source });
    named.load(connection)?.into_iter().map(stored).collect()
}

fn all_paces(connection: &mut SqliteConnection) -> QueryResult<Vec<StoredPace>> {
    let stored = |(route, next_at)| {
        Ok(StoredPace { route, next_at: Timestamp::from_microsecond(next_at).map_err(rows::unreadable)? })
    };
    paces::table.load::<(String, i64)>(connection)?.into_iter().map(stored).collect()
}

fn all_replays(connection: &mut SqliteConnection) -> QueryResult<Vec<MovedReplay>> {
    let moved = |row: replays::ReplayRow| {
        let places = [row.begins_at, row.position, row.ends_at];
        Ok(MovedReplay { replay: row.into_replay()?, places })
    };
    replays::all(connection)?.into_iter().map(moved).collect()
}

fn count_rows(connection: &mut SqliteConnection) -> QueryResult<RowCounts> {
    connection.transaction(|connection| {
        let mut counts = [0; Status::ALL.len()];
        let by_status = jobs::table.group_by(jobs::status).select((jobs::status, count_star()));
        for (status, count) in by_status.load::<(i64, i64)>(connection)? {
            counts[rows::job_status(status)? as usize] = count.cast_unsigned();
        }
        Ok(RowCounts {
            counts: StatusCounts::new(counts),
            webhooks: count_webhooks(connection)?,
            attempts: attempts::table.select(count_star()).get_result::<i64>(connection)?.cast_unsigned(),
        })
    })
}

fn count_webhooks(connection: &mut SqliteConnection) -> QueryResult<u64> {
    webhooks::table.select(count_star()).get_result::<i64>(connection).map(i64::cast_unsigned)
}
