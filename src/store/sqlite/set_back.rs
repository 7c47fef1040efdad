//! Moves due times, and ends of leases, when the time of day was set back.
//!
//! Jobs that were due, or leased, by the old time would otherwise wait until the clock has caught up. Leases move at
//! once. Waiting jobs move in parts, from the newest webhook to the oldest, so that webhooks are accepted in between.
//! The transaction that moves a part also stores which jobs are left, so each job moves once, whatever fails. Until it
//! moves, a job goes by the old time, also if it is retried meanwhile ([`TimeOfDay::ahead`]). If the time of day is set
//! back again meanwhile, all waiting jobs move a second time after that. Times are in milliseconds.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::rows;
use super::time_of_day::{NOTED_EVERY, TimeOfDay};
use super::transaction::{Refusal, Transaction};
use crate::domain::clock::Clock;
use crate::store::statement::statement;

/// A smaller step is left alone: clocks are corrected by small steps all the time.
const SMALLEST_STEP: i64 = 1_000;

/// Maximum number of jobs, finished or not, that one transaction looks at. Those of its last webhook come on top.
pub(super) const JOBS_AT_ONCE: i64 = 1_000;

/// If no more jobs wait, the walk leaves out finished jobs: after a part that moved nothing, it goes on at the next
/// webhook with a waiting job. The search for that webhook reads all waiting jobs, so this bounds its time.
const FEW_JOBS: u64 = 10_000;

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

/// A step back that was noticed. Its transaction may be stored although it has failed, so it is kept until it succeeds.
#[derive(Clone, Debug)]
pub(super) struct StepBack {
    pub(super) by: i64,
    /// The time of day as the file knew it before the first try.
    before: Arc<OnceLock<TimeOfDay>>,
}

impl StepBack {
    pub(super) fn new(by: i64) -> Self {
        Self { by, before: Arc::default() }
    }
}

/// Begins to move what waits by the old time, after the time of day was set back: moves leases, and leaves the waiting
/// jobs to [`move_some`]. Does nothing if an earlier try was stored.
pub(super) fn begin(transaction: &mut Transaction<'_>, step: &StepBack) -> Result<(), Refusal> {
    let known = transaction.context.memory.time_of_day;
    if !known.has_same_steps(*step.before.get_or_init(|| known)) {
        return Ok(());
    }
    let now = transaction.context.clock.now().as_millisecond();
    // A lease that ends within the step may have been claimed by the new time, so it is not moved.
    begin_at(transaction, now, step.by, now.saturating_add(step.by))
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
    let time_of_day = transaction.context.memory.time_of_day.set_back(step, now);
    Ok(time_of_day.store(transaction.connection, transaction.context)?)
}

/// Moves the waiting jobs among the newest `at_once` jobs that are left, if any are.
pub(super) fn move_some(transaction: &mut Transaction<'_>, at_once: i64) -> Result<(), Refusal> {
    let time_of_day = transaction.context.memory.time_of_day;
    let TimeOfDay { set_back_by: step, set_back_at: since, left_before: before, .. } = time_of_day;
    if !time_of_day.is_moving() {
        return Ok(());
    }
    let now = transaction.context.clock.now().as_millisecond();
    let place = SelectPlace { before, skipped: at_once - 1 }.get_result::<i64>(transaction.connection);
    let from = place.optional()?.unwrap_or(0);
    // A crash loses the note of up to a second of changes. Twice that, because a transaction takes a while.
    let latest = step.saturating_add(2 * NOTED_EVERY);
    let jobs = MoveJobs { since, step, latest, now, from, before }.load::<i64>(transaction.connection)?;
    let lanes = MoveLanes { since, from, before }.load::<i64>(transaction.connection)?;
    let moved = jobs.into_iter().chain(lanes).collect::<BTreeSet<_>>();
    let left_before = if moved.is_empty() { after_next_waiting(transaction, from)? } else { from };
    for queue in moved {
        transaction.look_again(rows::queue(queue)?)?;
        transaction.lets_start();
    }
    Ok(time_of_day.moved(left_before, now).store(transaction.connection, transaction.context)?)
}

/// The new `left_before` after a part that ended at `webhook` and moved nothing.
fn after_next_waiting(transaction: &mut Transaction<'_>, webhook: i64) -> QueryResult<i64> {
    if webhook == 0 || transaction.context.memory.counts.waiting() > FEW_JOBS {
        return Ok(webhook);
    }
    let next = SelectNext { before_plain: webhook, before_ordered: webhook };
    let next = next.get_result::<i64>(transaction.connection).optional()?;
    Ok(next.map_or(0, |next| next.saturating_add(1)))
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
    /// The newest webhook with a waiting job before this one.
    struct SelectNext {
        before_plain: i64 as BigInt,
        before_ordered: i64 as BigInt,
    }
    returns BigInt;
    "SELECT webhook FROM (
         SELECT webhook FROM jobs INDEXED BY jobs_due WHERE status IN (0, 2) AND lane IS NULL AND webhook < ?
         UNION ALL
         SELECT webhook FROM jobs INDEXED BY jobs_in_lane WHERE status IN (0, 2) AND lane IS NOT NULL AND webhook < ?)
     ORDER BY webhook DESC LIMIT 1"
}

statement! { Sqlite;
    /// Jobs that were due by the old time are due since the step, in the order of acceptance. A job that was changed
    /// after the noted time, before a crash, waits as long from the step on as it was to wait from that change. Later
    /// changes than `latest` after the step were made by the new time, and their due times are ahead by the step.
    struct MoveJobs {
        since: i64 as BigInt,
        step: i64 as BigInt,
        latest: i64 as BigInt,
        now: i64 as BigInt,
        from: i64 as BigInt,
        before: i64 as BigInt,
    }
    returns BigInt;
    "UPDATE jobs SET available_at = max(m.since, available_at - CASE
                WHEN updated_at - m.since <= m.latest THEN max(m.step, updated_at - m.since) ELSE m.step END),
            updated_at = min(updated_at, m.now)
     FROM (SELECT ? AS since, ? AS step, ? AS latest, ? AS now) AS m
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
