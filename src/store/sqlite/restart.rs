//! Makes finished jobs pending again, in a new run: after a retry by hand, or in a replay.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use jiff::Timestamp;

use super::by_hand::{key_of, update_lane};
use super::rows;
use super::transaction::{JobChange, Transaction};
use crate::domain::job::{JobId, Status};
use crate::store::statement::statement;

/// What a restart needs to know of a finished job.
#[derive(Queryable)]
pub(super) struct FinishedJob {
    status: i64,
    lane: Option<String>,
    /// Whether it is a dead letter that blocks its lane.
    blocks: bool,
    /// Whether the payload of its webhook is still stored.
    pub(super) has_payload: bool,
}

/// Reads a job if it is finished and still has this status.
pub(super) fn find(
    connection: &mut SqliteConnection,
    job: JobId,
    status: Status,
) -> QueryResult<Option<FinishedJob>> {
    let (webhook, queue) = key_of(job);
    let found = SelectFinishedJob { webhook, queue }.get_result::<FinishedJob>(connection).optional()?;
    Ok(found.filter(|found| found.status == status as i64))
}

/// Makes a finished job pending, in a new run that this replay begins; without one, an operator.
pub(super) fn restart(
    transaction: &mut Transaction<'_>,
    job: JobId,
    finished: &FinishedJob,
    replay: Option<i64>,
    now: Timestamp,
) -> QueryResult<()> {
    let (webhook, queue) = key_of(job);
    let now_ms = now.as_millisecond();
    let restarting = RestartJob { replay, available_at: now_ms, updated_at: now_ms, webhook, queue };
    let (revision, attempts) = restarting.get_result::<(i64, i64)>(transaction.connection)?;
    let change = JobChange {
        job,
        status: Status::Pending,
        attempts: rows::count(attempts)?,
        at: now,
        revision,
        last_error: None,
        // It is due at once.
        next_attempt_at: Some(now),
    };
    transaction.record(rows::job_status(finished.status)?, change);
    match finished.lane.as_deref() {
        None => transaction.note_due(job.queue, now),
        Some(value) => update_lane(transaction, job, value, finished.blocks, now_ms)?,
    }
    Ok(())
}

statement! { Sqlite;
    struct SelectFinishedJob {
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
    }
    returns (BigInt, Nullable<Text>, Bool, Bool);
    "SELECT j.status, j.lane, j.blocks, w.payload IS NOT NULL
     FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.webhook = ? AND j.queue = ? AND j.status IN (3, 4, 5)"
}

statement! { Sqlite;
    struct RestartJob {
        replay: Option<i64> as Nullable<BigInt>,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
    }
    returns (BigInt, BigInt);
    "UPDATE jobs SET status = 0, uncounted_attempts = attempts, run = run + 1, replay = ?, available_at = ?,
            updated_at = ?, completed_at = NULL, blocks = 0, purged = 0, revision = revision + 1
     WHERE webhook = ? AND queue = ?
     RETURNING revision, attempts"
}
