//! The file as the giving side of a transfer: owned as by a process that serves it, and only read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::connection::{OpenError, OwnedFile};
use super::transaction::Refusal;
use super::{Options, SqliteStore, mark, rows};
use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::job::Status;
use crate::store::statement::statement;
use crate::store::transfer::census::Census;
use crate::store::transfer::limits::Limits;
use crate::store::transfer::mark::Mark;
use crate::store::transfer::stored::{StoredAttempt, StoredJob, StoredWebhook};
use crate::store::{StatusCounts, Store as _};
use crate::telemetry::metrics::Metrics;

/// What the history would call this process; it takes over leases, and never leases anything.
const WORKER: &str = "transfer";

/// A file whose webhooks are moved elsewhere.
#[derive(Debug)]
pub(in crate::store) struct Export {
    store: SqliteStore,
    path: PathBuf,
}

/// Takes the mark off a file, and answers what it said.
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
    /// Opens the file, marked or not, and takes over the jobs of the process before. Nothing is
    /// leased from then on.
    pub(in crate::store) async fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::result::Result<Self, OpenError> {
        let file = OwnedFile::open(path)?;
        let path = file.path.clone();
        let options = Options {
            path: path.clone(),
            max_backlog: 0,
            max_attempts: 0,
            worker: WORKER.to_owned(),
            seed: 0,
        };
        let store = SqliteStore::start(file, options, clock, Arc::new(Metrics::default())).await?;
        Ok(Self { store, path })
    }

    /// The file, by its one true path.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says of its transfer.
    pub(in crate::store) async fn mark(&self) -> Result<Option<Mark>> {
        self.store.read(mark::read).await
    }

    /// Marks the file, or changes its mark. Nobody but a transfer opens it from then on.
    pub(in crate::store) async fn set_mark(&self, mark: &Mark) -> Result<()> {
        let mark = mark.clone();
        let marking = self
            .store
            .writer
            .run(move |transaction| mark::write(transaction.connection, &mark).map_err(Refusal::Query));
        marking.await
    }

    /// How many webhooks there are, as the file has counted them.
    pub(in crate::store) async fn webhooks(&self) -> Result<u64> {
        Ok(self.store.stats().await?.counts.total())
    }

    /// The next webhooks after `after`, in the order of acceptance.
    pub(in crate::store) async fn batch(&self, after: i64, limits: Limits) -> Result<Vec<StoredWebhook>> {
        self.store.read(move |connection| batch(connection, after, limits)).await
    }

    /// Counts all that is there.
    pub(in crate::store) async fn census(&self) -> Result<Census> {
        self.store.read(census).await
    }

    /// Closes the file.
    pub(in crate::store) async fn close(&self) {
        self.store.close().await;
    }
}

fn batch(connection: &mut SqliteConnection, after: i64, limits: Limits) -> QueryResult<Vec<StoredWebhook>> {
    let limit = i64::try_from(limits.webhooks.max(1)).unwrap_or(i64::MAX);
    let (mut webhooks, mut bytes) = (Vec::new(), 0);
    // Row by row: what is beyond the limit is not even read.
    for row in (SelectWebhooks { after, limit }).load_iter::<WebhookRow, _>(connection)? {
        let webhook = stored_webhook(row?)?;
        if bytes + webhook.bytes() > limits.bytes && !webhooks.is_empty() {
            break;
        }
        bytes += webhook.bytes();
        webhooks.push(webhook);
    }
    let Some(last) = webhooks.last().map(|webhook| webhook.sequence) else { return Ok(webhooks) };
    let mut at = 0;
    for row in (SelectAttempts { after, last }).load_iter::<AttemptRow, _>(connection)? {
        let (webhook, attempt) = stored_attempt(row?)?;
        while webhooks.get(at).is_some_and(|stored| stored.sequence < webhook) {
            at += 1;
        }
        bytes += attempt.bytes();
        if bytes > limits.bytes && at > 0 {
            // A webhook moves with its whole history, so this one and those behind it have to wait.
            webhooks.truncate(at);
            break;
        }
        if let Some(stored) = webhooks.get_mut(at).filter(|stored| stored.sequence == webhook) {
            stored.attempts.push(attempt);
        }
    }
    Ok(webhooks)
}

fn stored_webhook(row: WebhookRow) -> QueryResult<StoredWebhook> {
    let (
        (
            sequence,
            id,
            source,
            idempotency_key,
            event_type,
            payload,
            payload_digest,
            traceparent,
            accepted_at,
        ),
        (status, attempts, attempts_before, max_attempts, available_at, updated_at, completed_at),
        (revision, lease_token, purged),
    ) = row;
    Ok(StoredWebhook {
        sequence,
        id: rows::id(&id)?,
        source,
        idempotency_key,
        event_type,
        payload,
        payload_digest,
        traceparent,
        accepted_at: rows::time(accepted_at)?,
        job: StoredJob {
            status: rows::job_status(status)?,
            attempts: rows::count(attempts)?,
            attempts_before: rows::count(attempts_before)?,
            max_attempts: rows::count(max_attempts)?,
            available_at: rows::time(available_at)?,
            updated_at: rows::time(updated_at)?,
            completed_at: completed_at.map(rows::time).transpose()?,
            revision,
            lease_token,
            purged: purged != 0,
        },
        attempts: Vec::new(),
    })
}

fn stored_attempt(row: AttemptRow) -> QueryResult<(i64, StoredAttempt)> {
    let (webhook, number, outcome, started_at, finished_at, error, result, worker) = row;
    let attempt = StoredAttempt {
        number: rows::count(number)?,
        outcome: rows::outcome(outcome)?,
        started_at: rows::time(started_at)?,
        finished_at: rows::time(finished_at)?,
        error,
        result,
        worker,
    };
    Ok((webhook, attempt))
}

fn census(connection: &mut SqliteConnection) -> QueryResult<Census> {
    connection.transaction(|connection| {
        let mut counts = [0; Status::ALL.len()];
        for (status, count) in (CountJobs {}).load::<(i64, i64)>(connection)? {
            counts[rows::job_status(status)? as usize] = count.cast_unsigned();
        }
        Ok(Census {
            counts: StatusCounts::new(counts),
            webhooks: CountWebhooks {}.get_result::<i64>(connection)?.cast_unsigned(),
            attempts: CountAttempts {}.get_result::<i64>(connection)?.cast_unsigned(),
        })
    })
}

/// The webhook; the job; the rest of the job.
type WebhookRow = (
    (i64, Vec<u8>, String, String, String, Option<String>, Vec<u8>, String, i64),
    (i64, i64, i64, i64, i64, i64, Option<i64>),
    (i64, i64, i64),
);

/// webhook, number, outcome, started at, finished at, error, result, worker.
type AttemptRow = (i64, i64, i64, i64, i64, Option<String>, Option<String>, String);

statement! { Sqlite;
    struct SelectWebhooks {
        after: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (
        (BigInt, Binary, Text, Text, Text, Nullable<Text>, Binary, Text, BigInt),
        (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, Nullable<BigInt>),
        (BigInt, BigInt, BigInt)
    );
    "SELECT w.sequence, w.id, w.source, w.idempotency_key, w.event_type, w.payload, w.payload_digest,
            w.traceparent, w.accepted_at,
            j.status, j.attempts, j.attempts_before, j.max_attempts, j.available_at, j.updated_at, j.completed_at,
            j.revision, j.lease_token, j.purged
     FROM webhooks w CROSS JOIN jobs j ON j.webhook = w.sequence
     WHERE w.sequence > ? ORDER BY w.sequence LIMIT ?"
}

statement! { Sqlite;
    struct SelectAttempts {
        after: i64 as BigInt,
        last: i64 as BigInt,
    }
    returns (BigInt, BigInt, BigInt, BigInt, BigInt, Nullable<Text>, Nullable<Text>, Text);
    "SELECT webhook, number, outcome, started_at, finished_at, error, result, worker
     FROM attempts WHERE webhook > ? AND webhook <= ? ORDER BY webhook, number"
}

statement! { Sqlite;
    struct CountJobs {}
    returns (BigInt, BigInt);
    "SELECT status, count(*) FROM jobs GROUP BY status"
}

statement! { Sqlite;
    struct CountWebhooks {}
    returns BigInt;
    "SELECT count(*) FROM webhooks"
}

statement! { Sqlite;
    struct CountAttempts {}
    returns BigInt;
    "SELECT count(*) FROM attempts"
}
