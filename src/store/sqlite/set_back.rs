//! Moves due times, and ends of leases, when the time of day was set back.
//!
//! Jobs that were due, or leased, by the old time would otherwise wait until the clock has caught up. Times are in
//! milliseconds.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel::sqlite::Sqlite;

use super::transaction::{Refusal, Transaction};
use crate::domain::clock::Clock;
use crate::store::statement::statement;

/// A smaller step is left alone: clocks are corrected by small steps all the time.
const SMALLEST_STEP: i64 = 1_000;

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

/// By how much the time of day was set back since the lead was `before`. `None` if it was not.
pub(super) fn step(before: i64, now: i64) -> Option<i64> {
    Some(before.saturating_sub(now)).filter(|step| *step >= SMALLEST_STEP)
}

/// Moves the due times that are to come after the time of day was set back by `step`. At a start the step is `None`,
/// because it is not known: what was changed later than now then waits as long from now on as it was to wait from that
/// change. No job becomes due later than before. Leases of pull workers that are gone end as early as before.
pub(super) fn move_due_times(transaction: &mut Transaction<'_>, step: Option<i64>) -> Result<(), Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    let latest = now.saturating_add(SMALLEST_STEP);
    let queues = transaction.context.memory.queues.iter().map(|(queue, _)| queue).collect::<Vec<_>>();
    for queue in queues {
        let id = queue.0.into();
        let jobs = MoveJobs { now, latest, step, queue: id };
        let in_lanes = MoveJobsInLanes { now, latest, step, queue: id };
        let lanes = MoveLanes { new: now, queue: id, after: now };
        let moved = jobs.execute(transaction.connection)?
            + in_lanes.execute(transaction.connection)?
            + lanes.execute(transaction.connection)?;
        if moved > 0 {
            transaction.look_again(queue)?;
            transaction.lets_start();
        }
    }
    match step {
        Some(step) => {
            MoveLeases { by: step, after: now.saturating_add(step) }.execute(transaction.connection)?
        }
        None => MoveLeasesAtStart { now, latest }.execute(transaction.connection)?,
    };
    Ok(())
}

// A job that was moved was changed now, so that the next start does not move it again. Jobs in lanes have a statement of
// their own, because each of the two partial indexes needs its condition in the text.
statement! { Sqlite;
    struct MoveJobs {
        now: i64 as BigInt,
        latest: i64 as BigInt,
        step: Option<i64> as Nullable<BigInt>,
        queue: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET available_at = max(m.now, available_at - coalesce(m.step, updated_at - m.now)),
            updated_at = min(updated_at, m.now)
     FROM (SELECT ? AS now, ? AS latest, ? AS step) AS m
     WHERE queue = ? AND status IN (0, 2) AND lane IS NULL AND available_at > m.now
       AND (m.step IS NOT NULL OR updated_at > m.latest)"
}

statement! { Sqlite;
    struct MoveJobsInLanes {
        now: i64 as BigInt,
        latest: i64 as BigInt,
        step: Option<i64> as Nullable<BigInt>,
        queue: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET available_at = max(m.now, available_at - coalesce(m.step, updated_at - m.now)),
            updated_at = min(updated_at, m.now)
     FROM (SELECT ? AS now, ? AS latest, ? AS step) AS m
     WHERE queue = ? AND status IN (0, 2) AND lane IS NOT NULL AND available_at > m.now
       AND (m.step IS NOT NULL OR updated_at > m.latest)"
}

statement! { Sqlite;
    /// A free lane is due when its first waiting job is. Call it after the jobs were moved.
    struct MoveLanes {
        new: i64 as BigInt,
        queue: i64 as BigInt,
        after: i64 as BigInt,
    }
    returns ();
    "UPDATE lanes SET available_at = max(?, coalesce(
         (SELECT j.available_at FROM jobs j WHERE j.queue = lanes.queue AND j.lane = lanes.lane AND j.status IN (0, 2)
              AND j.lane IS NOT NULL ORDER BY j.webhook LIMIT 1),
         0))
     WHERE queue = ? AND state = 0 AND available_at > ?"
}

statement! { Sqlite;
    /// A lease that ends within the step may have been claimed by the new time, so it is not moved.
    struct MoveLeases {
        by: i64 as BigInt,
        after: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET lease_until = lease_until - m.by,
            updated_at = CASE WHEN updated_at > m.after - m.by THEN updated_at - m.by ELSE updated_at END
     FROM (SELECT ? AS by, ? AS after) AS m WHERE status = 1 AND lease_until > m.after"
}

statement! { Sqlite;
    /// A lease that was claimed later than now lasts as long from now on as it was to last from its claim.
    struct MoveLeasesAtStart {
        now: i64 as BigInt,
        latest: i64 as BigInt,
    }
    returns ();
    "UPDATE jobs SET lease_until = m.now + (lease_until - updated_at), updated_at = m.now
     FROM (SELECT ? AS now, ? AS latest) AS m WHERE status = 1 AND updated_at > m.latest"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::{SignedDuration, Timestamp};
    use tempfile::TempDir;

    use crate::domain::attempt::Outcome;
    use crate::domain::clock::{Clock as _, ManualClock};
    use crate::domain::handler::HandlerSettings;
    use crate::domain::job::Status;
    use crate::domain::policy::Policy;
    use crate::store::sqlite::SqliteStore;
    use crate::store::sqlite::fixture::{claim, job, open, open_in, policy, webhook};
    use crate::store::{Claim, Finish, Inbox as _, JobQueue as _, Store as _, Wanted};

    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const DELAY: SignedDuration = SignedDuration::from_mins(5);

    fn new_clock() -> Arc<ManualClock> {
        Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")))
    }

    /// Fails all jobs that can start. Each of them is due again after [`DELAY`].
    async fn fail_all(store: &SqliteStore, clock: &ManualClock) {
        let now = clock.now();
        let failed = store.claim(claim(10)).await.expect("claims").jobs.into_iter().map(|job| Finish {
            lease: job.lease,
            order: job.order,
            attempt: job.attempt,
            outcome: Outcome::Failed,
            started_at: now,
            finished_at: now,
            error: Some("for a test".into()),
            result: None,
            delivery: None,
            health: None,
            next: Status::Retrying,
            available_at: now + DELAY,
            counts: true,
            blocks: false,
        });
        let ended = store.finish("worker", failed.collect()).await.expect("ends");
        assert!(!ended.is_empty() && ended.iter().all(|is_held| *is_held), "{ended:?}");
    }

    async fn restart(folder: &TempDir, store: SqliteStore, clock: &Arc<ManualClock>) -> SqliteStore {
        store.close().await;
        drop(store);
        open_in(folder, [policy("orders")], Arc::clone(clock) as _).await
    }

    #[tokio::test]
    async fn after_a_restart_no_job_waits_for_a_clock_that_was_ahead() {
        let clock = new_clock();
        let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        clock.set_by(HOUR);
        for (key, order) in [("1", None), ("2", Some("a")), ("3", Some("a"))] {
            store.accept(webhook(key), vec![job("orders", order)]).await.expect("accepted");
        }
        store.close().await;
        drop(store);
        clock.set_by(-HOUR);
        let store = open_in(&folder, [policy("orders")], clock).await;
        let claimed = store.claim(claim(10)).await.expect("claims");
        let keys = claimed.jobs.iter().map(|job| job.idempotency_key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys, ["1", "2"], "the third waits for the second, whose order value it has");
        store.close().await;
    }

    #[tokio::test]
    async fn after_restarts_a_retry_waits_for_no_more_than_its_delay() {
        for order in [None, Some("a")] {
            let clock = new_clock();
            let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
            clock.set_by(HOUR);
            store.accept(webhook("1"), vec![job("orders", order)]).await.expect("accepted");
            fail_all(&store, &clock).await;
            clock.set_by(-HOUR);
            let due = clock.now() + DELAY;
            let store = restart(&folder, store, &clock).await;
            assert_eq!(store.claim(claim(1)).await.expect("claims").next, Some(due), "{order:?}");
            clock.advance(SignedDuration::from_secs(60));
            let store = restart(&folder, store, &clock).await;
            assert_eq!(store.claim(claim(1)).await.expect("claims").next, Some(due), "{order:?}");
            clock.advance(DELAY - SignedDuration::from_secs(60));
            assert_eq!(store.claim(claim(1)).await.expect("claims").jobs.len(), 1, "{order:?}");
            store.close().await;
        }
    }

    #[tokio::test]
    async fn after_a_restart_the_lease_of_a_pulled_job_lasts_no_longer_than_it_was_to() {
        let clock = new_clock();
        let pulled = || Policy { handler: HandlerSettings::Pull, ..policy("orders") };
        let (folder, store) = open([pulled()], Arc::clone(&clock) as _).await;
        clock.set_by(HOUR);
        store.accept(webhook("1"), vec![job("orders", None)]).await.expect("accepted");
        let wanted = Wanted::Pulled([pulled().route].into());
        let pulling = Claim { wanted, ..claim(1) };
        let lease = SignedDuration::try_from(pulling.lease).expect("in range");
        assert_eq!(store.claim(pulling).await.expect("claims").jobs.len(), 1);
        store.close().await;
        drop(store);
        clock.set_by(-HOUR);
        let store = open_in(&folder, [pulled()], Arc::clone(&clock) as _).await;
        clock.advance(lease - SignedDuration::from_secs(1));
        assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0, "it is held");
        clock.advance(SignedDuration::from_secs(1));
        assert_eq!(store.take_over_expired(Vec::new()).await.expect("takes over"), 1);
        store.close().await;
    }

    #[tokio::test]
    async fn a_restart_does_not_move_retries_that_were_moved_before_the_stop() {
        let clock = new_clock();
        let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        store.accept(webhook("1"), vec![job("orders", None)]).await.expect("accepted");
        fail_all(&store, &clock).await;
        clock.set_by(-HOUR);
        store.follow_clock().await.expect("follows");
        let store = restart(&folder, store, &clock).await;
        let next = store.claim(claim(1)).await.expect("claims").next;
        assert_eq!(next, Some(clock.now() + DELAY));
        store.close().await;
    }
}
