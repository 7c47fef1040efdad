//! Moves the waiting jobs of a route to another route, or cancels them. Operators use this for the jobs of a
//! route that is gone from the settings.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::by_hand::{cancel_job, key_of};
use super::lanes::{self, Lane};
use super::rows;
use super::schema::{attempts, jobs};
use super::transaction::{JobChange, Refusal, Transaction};
use crate::domain::job::{JobId, QueueId, Status};
use crate::domain::route::RouteName;
use crate::store::Moved;
use crate::store::statement::statement;

/// Maximum number of jobs changed in one transaction.
const STEP_JOBS: usize = 500;

/// Moves waiting jobs of `from` to `to`, [`STEP_JOBS`] at most. Cancels a job whose webhook already has a job
/// of `to`.
pub(super) fn move_jobs(
    transaction: &mut Transaction<'_>,
    from: &RouteName,
    to: &RouteName,
) -> Result<Moved, Refusal> {
    let mut moved = Moved::default();
    if from == to {
        return Ok(moved);
    }
    let now = transaction.context.clock.now();
    for waiting in waiting_jobs(transaction, from)? {
        let Some((_, source)) = transaction.context.memory.queues.name(waiting.job.queue).cloned() else {
            continue;
        };
        let target = JobId { queue: transaction.queue(to, &source)?, ..waiting.job };
        let taken =
            jobs::table.find(key_of(target)).select(jobs::queue).get_result::<i64>(transaction.connection);
        if taken.optional()?.is_some() {
            cancel_job(transaction, waiting.job, waiting.status, now)?;
            moved.cancelled += 1;
        } else {
            move_job(transaction, &waiting, target.queue, now)?;
            moved.moved += 1;
        }
    }
    Ok(moved)
}

/// Cancels waiting jobs of a route, [`STEP_JOBS`] at most. Returns how many it cancelled.
pub(super) fn cancel_jobs(transaction: &mut Transaction<'_>, route: &RouteName) -> Result<usize, Refusal> {
    let now = transaction.context.clock.now();
    let waiting = waiting_jobs(transaction, route)?;
    for Waiting { job, status, .. } in &waiting {
        cancel_job(transaction, *job, *status, now)?;
    }
    Ok(waiting.len())
}

/// A waiting job.
struct Waiting {
    job: JobId,
    status: Status,
    available_at: Timestamp,
    lane: Option<String>,
}

/// Waiting jobs of a route, [`STEP_JOBS`] at most; those of a lane in its order.
fn waiting_jobs(transaction: &mut Transaction<'_>, route: &RouteName) -> QueryResult<Vec<Waiting>> {
    let mut waiting = Vec::new();
    for queue in transaction.context.memory.queues.of_route(route) {
        let limit = STEP_JOBS.saturating_sub(waiting.len()).try_into().unwrap_or(i64::MAX);
        let number = i64::from(queue.0);
        let rows =
            SelectWaiting { queue_of_jobs: number, queue_of_lanes: number, limit_of_lanes: limit, limit };
        for row in rows.load::<WaitingRow>(transaction.connection)? {
            waiting.push(Waiting {
                job: JobId { webhook: rows::id(&row.id)?, queue },
                status: rows::job_status(row.status)?,
                available_at: rows::time(row.available_at)?,
                lane: row.lane,
            });
        }
    }
    Ok(waiting)
}

fn move_job(
    transaction: &mut Transaction<'_>,
    waiting: &Waiting,
    to: QueueId,
    now: Timestamp,
) -> QueryResult<()> {
    let Waiting { job, status, available_at, lane } = waiting;
    let (webhook, from) = key_of(*job);
    let now_ms = now.as_millisecond();
    let (revision, attempts) = diesel::update(jobs::table.find((webhook, from)))
        .set((
            jobs::queue.eq(i64::from(to.0)),
            jobs::updated_at.eq(now_ms),
            jobs::revision.eq(jobs::revision + 1),
        ))
        .returning((jobs::revision, jobs::attempts))
        .get_result::<(i64, i64)>(transaction.connection)?;
    diesel::update(attempts::table.filter(attempts::webhook.eq(webhook).and(attempts::queue.eq(from))))
        .set(attempts::queue.eq(i64::from(to.0)))
        .execute(transaction.connection)?;
    let counts = &mut transaction.context.memory.counts;
    counts.remove(job.queue, *status);
    counts.add(to, *status);
    match lane.as_deref() {
        None => transaction.note_due(to, *available_at),
        Some(value) => {
            lanes::changed(transaction, Lane { queue: job.queue, value }, webhook, now_ms)?;
            // The job keeps its due time, and so its place among the due jobs of the other route.
            let at = now_ms.min(available_at.as_millisecond());
            lanes::changed(transaction, Lane { queue: to, value }, webhook, at)?;
        }
    }
    transaction.look_again(job.queue)?;
    transaction.announce(JobChange {
        job: JobId { queue: to, ..*job },
        status: *status,
        attempts: rows::count(attempts)?,
        at: now,
        revision,
        last_error: None,
        next_attempt_at: None,
    });
    Ok(())
}

#[derive(Queryable)]
struct WaitingRow {
    id: Vec<u8>,
    status: i64,
    available_at: i64,
    lane: Option<String>,
}

statement! { Sqlite;
    struct SelectWaiting {
        queue_of_jobs: i64 as BigInt,
        queue_of_lanes: i64 as BigInt,
        limit_of_lanes: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (Binary, BigInt, BigInt, Nullable<Text>);
    "SELECT w.id, j.status, j.available_at, j.lane
     FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.queue = ? AND j.status IN (0, 2) AND j.lane IS NULL
     UNION ALL
     SELECT * FROM (
         SELECT w.id, j.status, j.available_at, j.lane
         FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
         WHERE j.queue = ? AND j.status IN (0, 2) AND j.lane IS NOT NULL
         ORDER BY j.lane, j.webhook LIMIT ?
     )
     LIMIT ?"
}
