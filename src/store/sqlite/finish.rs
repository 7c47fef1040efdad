//! Records the end of an attempt. The same transaction changes the job and inserts the attempt, and only if
//! the job still has the lease token of the claim.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::breakers;
use super::lanes::{self, Lane};
use super::rows;
use super::transaction::{JobChange, Refusal, Transaction};
use crate::domain::job::Status;
use crate::store::statement::statement;
use crate::store::{Finish, delivery};

/// The end of an attempt, ready to be written.
pub(super) struct Ending {
    finish: Finish,
    /// The delivery as it is stored.
    delivery: Option<String>,
}

impl From<Finish> for Ending {
    fn from(mut finish: Finish) -> Self {
        let delivery = finish.delivery.take().map(|delivery| delivery::to_text(&delivery));
        Self { finish, delivery }
    }
}

/// Records the ends of attempts, in their order. Returns false for each attempt whose lease was lost.
pub(super) fn finish_all(
    transaction: &mut Transaction<'_>,
    worker: &str,
    endings: &[Ending],
) -> Result<Vec<bool>, Refusal> {
    endings
        .iter()
        .map(|Ending { finish: end, delivery }| Ok(finish(transaction, worker, end, delivery.as_deref())?))
        .collect()
}

/// Records the end of an attempt, and its delivery as it is stored. Returns false, and changes nothing, if its lease
/// was lost.
pub(super) fn finish(
    transaction: &mut Transaction<'_>,
    worker: &str,
    finish: &Finish,
    delivery: Option<&str>,
) -> QueryResult<bool> {
    let job = finish.lease.job;
    let (webhook, queue) = (job.webhook.sequence().as_i64(), i64::from(job.queue.0));
    // Until the job is moved, it goes by the old time like the others of its webhook.
    let ahead =
        if finish.next.is_waiting() { transaction.context.memory.time_of_day.ahead(webhook) } else { 0 };
    let available_at = finish.available_at.as_millisecond().saturating_add(ahead);
    let finished_at = finish.finished_at.as_millisecond();
    let ended = EndLease {
        status: finish.next as i64,
        available_at,
        updated_at: finished_at,
        completed_at: finish.next.is_final().then_some(finished_at),
        uncounted: i64::from(!finish.counts),
        webhook,
        queue,
        lease_token: finish.lease.token.cast_signed(),
    }
    .get_result::<(i64, i64)>(transaction.connection)
    .optional()?;
    let Some((revision, run)) = ended else { return Ok(false) };
    InsertAttempt {
        webhook,
        queue,
        number: i64::from(finish.attempt),
        run,
        outcome: finish.outcome as i64,
        started_at: finish.started_at.as_millisecond(),
        finished_at,
        error: finish.error.as_deref(),
        result: finish.result.as_deref(),
        worker,
        delivery,
    }
    .execute(transaction.connection)?;
    let change = JobChange {
        job,
        status: finish.next,
        attempts: finish.attempt,
        at: finish.finished_at,
        revision,
        last_error: finish.last_error().map(str::to_owned),
        next_attempt_at: finish.next_attempt_at(),
    };
    transaction.record(Status::Processing, change);
    if let Some(health) = finish.health {
        breakers::learn(transaction, finish, health)?;
    }
    let_next_start(transaction, finish, available_at)?;
    Ok(true)
}

/// Notes what may start after the end of an attempt, and when: the job itself if it will be retried, or the first job
/// of its lane.
fn let_next_start(transaction: &mut Transaction<'_>, finish: &Finish, available_at: i64) -> QueryResult<()> {
    let job = finish.lease.job;
    let Some(order) = &finish.order else {
        if finish.next.is_waiting() {
            transaction.note_due(job.queue, rows::time(available_at)?);
        }
        return Ok(());
    };
    let lane = Lane { queue: job.queue, value: order.as_str() };
    // Only an ordered job has a lane to block.
    if finish.blocks {
        let (webhook, queue) = (job.webhook.sequence().as_i64(), i64::from(job.queue.0));
        SetBlocks { webhook, queue }.execute(transaction.connection)?;
        return lanes::block(transaction.connection, lane);
    }
    // A job that will be retried stays first, and is due by its own row. After a finished job the next one is due
    // now.
    let finished_at = finish.finished_at.as_millisecond();
    let at = if finish.next.is_final() { finished_at } else { finished_at.min(available_at) };
    lanes::release(transaction, lane, at)
}

// Not in the statement below: it would have to look at the index of blocking jobs for every job.
statement! { Sqlite;
    struct SetBlocks {
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET blocks = 1 WHERE webhook = ? AND queue = ?"
}

statement! { Sqlite;
    struct EndLease {
        status: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        completed_at: Option<i64> as Nullable<BigInt>,
        uncounted: i64 as BigInt,
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
        lease_token: i64 as BigInt,
    }
    returns (BigInt, BigInt);
    "UPDATE jobs SET status = ?, available_at = ?, updated_at = ?, completed_at = ?,
            uncounted_attempts = uncounted_attempts + ?,
            lease_until = NULL, worker = NULL, revision = revision + 1
     WHERE webhook = ? AND queue = ? AND lease_token = ? AND status = 1
     RETURNING revision, run"
}

statement! { Sqlite;
    struct InsertAttempt<'a> {
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
        number: i64 as BigInt,
        run: i64 as BigInt,
        outcome: i64 as BigInt,
        started_at: i64 as BigInt,
        finished_at: i64 as BigInt,
        error: Option<&'a str> as Nullable<Text>,
        result: Option<&'a str> as Nullable<Text>,
        worker: &'a str as Text,
        delivery: Option<&'a str> as Nullable<Text>,
    }
    returns ();
    "INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, error, result, worker, delivery)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}
