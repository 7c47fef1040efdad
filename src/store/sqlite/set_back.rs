//! Moves due times when the time of day was set back.
//!
//! What was due by the old time would otherwise wait until the clock has caught up. Times are in milliseconds.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::transaction::{Refusal, Transaction};
use crate::domain::clock::Clock;
use crate::store::statement::statement;

/// A smaller step is left alone: clocks are corrected by small steps all the time.
const SMALLEST_STEP: i64 = 1_000;

/// How far the time of day is ahead of the monotonic time, in milliseconds. It changes only when somebody sets the time of day, or
/// the machine sleeps.
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

/// By how much the time of day was set back since the lead was `before`. `None` if it was not.
pub(super) fn step(before: i64, now: i64) -> Option<i64> {
    Some(before.saturating_sub(now)).filter(|step| *step >= SMALLEST_STEP)
}

/// Makes every job due that was never attempted, and moves the due times of the others that are to come by `step`.
/// A step of 0 moves only jobs that were never attempted: at a start the step is not known.
pub(super) fn move_due_times(transaction: &mut Transaction<'_>, step: i64) -> Result<(), Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    let queues = transaction.context.memory.queues.iter().map(|(queue, _)| queue).collect::<Vec<_>>();
    for queue in queues {
        let id = queue.0.into();
        let jobs = MoveJobs { new: now, now, step, queue: id, after: now, by: step };
        let in_lanes = MoveJobsInLanes { new: now, now, step, queue: id, after: now, by: step };
        let lanes = MoveLanes { new: now, now, step, queue: id, after: now };
        let moved = jobs.execute(transaction.connection)?
            + in_lanes.execute(transaction.connection)?
            + lanes.execute(transaction.connection)?;
        if moved > 0 {
            transaction.look_again(queue)?;
            transaction.lets_start();
        }
    }
    Ok(())
}

// Jobs in lanes have a statement of their own, because each of the two partial indexes needs its condition in the text.
statement! { Sqlite;
    struct MoveJobs {
        new: i64 as BigInt,
        now: i64 as BigInt,
        step: i64 as BigInt,
        queue: i64 as BigInt,
        after: i64 as BigInt,
        by: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET available_at = iif(attempts = 0, ?, max(?, available_at - ?))
     WHERE queue = ? AND status IN (0, 2) AND lane IS NULL AND available_at > ?
       AND (attempts = 0 OR ? > 0)"
}

statement! { Sqlite;
    struct MoveJobsInLanes {
        new: i64 as BigInt,
        now: i64 as BigInt,
        step: i64 as BigInt,
        queue: i64 as BigInt,
        after: i64 as BigInt,
        by: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET available_at = iif(attempts = 0, ?, max(?, available_at - ?))
     WHERE queue = ? AND status IN (0, 2) AND lane IS NOT NULL AND available_at > ?
       AND (attempts = 0 OR ? > 0)"
}

statement! { Sqlite;
    /// A free lane is due when its first waiting job is.
    struct MoveLanes {
        new: i64 as BigInt,
        now: i64 as BigInt,
        step: i64 as BigInt,
        queue: i64 as BigInt,
        after: i64 as BigInt,
    }
    returns ();
    "UPDATE lanes SET available_at = iif(
         (SELECT j.attempts FROM jobs j WHERE j.queue = lanes.queue AND j.lane = lanes.lane AND j.status IN (0, 2)
              AND j.lane IS NOT NULL ORDER BY j.webhook LIMIT 1) = 0,
         ?, max(?, available_at - ?))
     WHERE queue = ? AND state = 0 AND available_at > ?"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};

    use crate::domain::clock::ManualClock;
    use crate::store::sqlite::fixture::{claim, job, open, open_in, policy, webhook};
    use crate::store::{Inbox as _, JobQueue as _, Store as _};

    #[tokio::test]
    async fn after_a_restart_no_job_waits_for_a_clock_that_was_ahead() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
        let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        let hour = SignedDuration::from_hours(1);
        clock.set_by(hour);
        for (key, order) in [("1", None), ("2", Some("a")), ("3", Some("a"))] {
            store.accept(webhook(key), vec![job("orders", order)]).await.expect("accepted");
        }
        store.close().await;
        drop(store);
        clock.set_by(-hour);
        let store = open_in(&folder, [policy("orders")], clock).await;
        let claimed = store.claim(claim(10)).await.expect("claims");
        let keys = claimed.jobs.iter().map(|job| job.idempotency_key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys, ["1", "2"], "the third waits for the second, whose order value it has");
        store.close().await;
    }
}
