//! Moves due times, and ends of leases, when the time of day was set back.
//!
//! Jobs that were due, or leased, by the old time would otherwise wait until the clock has caught up. Leases move at
//! once. Waiting jobs move in parts, from the newest webhook to the oldest, so that webhooks are accepted in between.
//! The transaction that moves a part also stores which jobs are left, so each job moves once, whatever fails. Until it
//! moves, a job goes by the old time, also if it is retried meanwhile ([`TimeOfDay::ahead`]). Times are in
//! milliseconds.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::rows;
use super::time_of_day::TimeOfDay;
use super::transaction::{Refusal, Transaction};
use crate::domain::clock::Clock;
use crate::store::statement::statement;

/// A smaller step is left alone: clocks are corrected by small steps all the time.
const SMALLEST_STEP: i64 = 1_000;

/// Maximum number of jobs, finished or not, that one transaction looks at. Those of its last webhook come on top.
pub(super) const JOBS_AT_ONCE: i64 = 1_000;

/// How far the time of day is ahead of the monotonic time, in milliseconds. It changes only when the time of day is
/// set, or the machine sleeps.
pub(super) fn lead(clock: &dyn Clock) -> i64 {
    let monotonic = || i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX);
    loop {
        let (before, now, after) = (monotonic(), clock.now().as_millisecond(), monotonic());
        // If the process stood still between the two clocks, their difference says nothing.
        if after - before < SMALLEST_STEP / 2 {
            return now.saturating_sub(after);
        }
    }
}

/// By how much the time of day was set back since the lead, or the time, was `before`. `None` if it was not.
pub(super) fn step(before: i64, now: i64) -> Option<i64> {
    Some(before.saturating_sub(now)).filter(|step| *step >= SMALLEST_STEP)
}

/// Logs that the time of day was set back.
pub(super) fn log(step: i64) {
    tracing::warn!(
        seconds = step / 1_000,
        "the time of day was set back; jobs become due earlier by as much"
    );
}

/// Begins to move what waits by the old time, after the time of day was set back by `step`: moves leases, and leaves the
/// waiting jobs to [`move_some`]. Call it once no job is left of the step before.
pub(super) fn begin(transaction: &mut Transaction<'_>, step: i64) -> Result<(), Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    // A lease that ends within the step may have been claimed by the new time, so it is not moved.
    begin_at(transaction, now, step, now.saturating_add(step))
}

/// Does the same at a start, if the noted time is later than the present one. Returns the step: the difference of the
/// two, so that no job waits longer than it had to wait at the noted time.
pub(super) fn begin_at_start(transaction: &mut Transaction<'_>) -> Result<Option<i64>, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    let step = step(transaction.context.memory.time_of_day.seen_at, now);
    if let Some(step) = step {
        begin_at(transaction, now, step, now)?;
    }
    Ok(step)
}

/// `after`: leases that end later move.
fn begin_at(transaction: &mut Transaction<'_>, now: i64, step: i64, after: i64) -> Result<(), Refusal> {
    MoveLeases { step, now, after }.execute(transaction.connection)?;
    TimeOfDay { seen_at: now, set_back_by: step, set_back_at: now, left_before: i64::MAX }
        .store(transaction.connection, transaction.context)?;
    Ok(())
}

/// Moves the waiting jobs among the newest `at_once` jobs that are left. Returns whether any are left after that.
pub(super) fn move_some(transaction: &mut Transaction<'_>, at_once: i64) -> Result<bool, Refusal> {
    let time_of_day = transaction.context.memory.time_of_day;
    let TimeOfDay { set_back_by: step, set_back_at: since, left_before: before, .. } = time_of_day;
    if before == 0 {
        return Ok(false);
    }
    let now = transaction.context.clock.now().as_millisecond();
    let place = SelectPlace { before, skipped: at_once - 1 }.get_result::<i64>(transaction.connection);
    let from = place.optional()?.unwrap_or(0);
    let jobs = MoveJobs { since, step, now, from, before }.load::<i64>(transaction.connection)?;
    let lanes = MoveLanes { since, from, before }.load::<i64>(transaction.connection)?;
    for queue in jobs.into_iter().chain(lanes).collect::<BTreeSet<_>>() {
        transaction.look_again(rows::queue(queue)?)?;
        transaction.lets_start();
    }
    TimeOfDay { left_before: from, ..time_of_day }.store(transaction.connection, transaction.context)?;
    Ok(from > 0)
}

statement! { Sqlite;
    /// A lease that was claimed after the noted time lasts as long from now on as it was to last from its claim.
    struct MoveLeases {
        step: i64 as BigInt,
        now: i64 as BigInt,
        after: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET lease_until = max(m.now, lease_until - max(m.step, updated_at - m.now)),
            updated_at = CASE WHEN updated_at > m.now THEN min(m.now, updated_at - m.step) ELSE updated_at END
     FROM (SELECT ? AS step, ? AS now) AS m WHERE status = 1 AND lease_until > ?"
}

statement! { Sqlite;
    /// The webhook of the last one of the jobs to look at.
    struct SelectPlace {
        before: i64 as BigInt,
        skipped: i64 as BigInt,
    }
    returns BigInt;
    "SELECT webhook FROM jobs WHERE webhook < ? ORDER BY webhook DESC LIMIT 1 OFFSET ? + 0"
}

statement! { Sqlite;
    /// Jobs that were due by the old time are due since the step, in the order of acceptance. A job that was changed
    /// after the noted time waits as long from the step on as it was to wait from that change.
    struct MoveJobs {
        since: i64 as BigInt,
        step: i64 as BigInt,
        now: i64 as BigInt,
        from: i64 as BigInt,
        before: i64 as BigInt,
    }
    returns BigInt;
    "UPDATE jobs SET available_at = max(m.since, available_at - max(m.step, updated_at - m.since)),
            updated_at = min(updated_at, m.now)
     FROM (SELECT ? AS since, ? AS step, ? AS now) AS m
     WHERE webhook >= ? AND webhook < ? AND status IN (0, 2) AND available_at > m.since
     RETURNING queue"
}

statement! { Sqlite;
    /// A free lane is due when its first waiting job is. Call it after the jobs were moved.
    struct MoveLanes {
        since: i64 as BigInt,
        from: i64 as BigInt,
        before: i64 as BigInt,
    }
    returns BigInt;
    "UPDATE lanes SET available_at = max(m.since, coalesce(
         (SELECT j.available_at FROM jobs j WHERE j.queue = lanes.queue AND j.lane = lanes.lane AND j.status IN (0, 2)
              AND j.lane IS NOT NULL ORDER BY j.webhook LIMIT 1),
         0))
     FROM (SELECT DISTINCT ? AS since, queue, lane FROM jobs
           WHERE webhook >= ? AND webhook < ? AND status IN (0, 2)) AS m
     WHERE lanes.queue = m.queue AND lanes.lane = m.lane AND state = 0 AND available_at > m.since
     RETURNING lanes.queue"
}

#[cfg(test)]
mod tests;
