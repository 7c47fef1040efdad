use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::{begin, move_some};
use crate::domain::attempt::Outcome;
use crate::domain::clock::{Clock as _, ManualClock};
use crate::domain::handler::HandlerSettings;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::policy::Policy;
use crate::domain::webhook::WebhookName;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::fixture::{claim, job, open, open_in, policy, webhook};
use crate::store::{Claim, ClaimedJob, Finish, Inbox as _, JobQueue as _, Store as _, Wanted};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const DELAY: SignedDuration = SignedDuration::from_mins(5);

/// A store with the route `orders`.
struct Shop {
    store: SqliteStore,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl Shop {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
        let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        Self { store, clock, folder }
    }

    async fn accept(&self, key: &str, order: Option<&str>) -> WebhookId {
        let accepted = self.store.accept(webhook(key), vec![job("orders", order)]).await;
        accepted.expect("accepted").webhook.id
    }

    async fn claim(&self) -> Vec<ClaimedJob> {
        self.store.claim(claim(10)).await.expect("claims").jobs
    }

    /// When a claim finds a job, if none can start now.
    async fn next(&self) -> Option<Timestamp> {
        let claims = self.store.claim(claim(10)).await.expect("claims");
        assert_eq!(claims.jobs.len(), 0, "no job can start");
        claims.next
    }

    /// Fails jobs. Each of them is due again after `delay`.
    async fn fail(&self, jobs: Vec<ClaimedJob>, delay: SignedDuration) {
        let now = self.clock.now();
        let failed = jobs.into_iter().map(|job| Finish {
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
            available_at: now + delay,
            counts: true,
            blocks: false,
        });
        let ended = self.store.finish("worker", failed.collect()).await.expect("ends");
        assert!(!ended.is_empty() && ended.iter().all(|is_held| *is_held), "{ended:?}");
    }

    /// In how long the jobs of these webhooks are due.
    async fn due_in(&self, ids: &[WebhookId]) -> Vec<SignedDuration> {
        let mut waits = Vec::new();
        for id in ids {
            let status = self.store.status(WebhookName::Id(*id)).await.expect("is kept");
            let due = status.jobs[0].next_attempt_at.expect("waits");
            waits.push(due.duration_since(self.clock.now()));
        }
        waits
    }

    /// Begins to move due times by an hour.
    async fn begin(&self) {
        let step = i64::try_from(HOUR.as_millis()).expect("in range");
        self.store.writer.run(move |transaction| begin(transaction, step)).await.expect("begins");
    }

    /// Looks at two jobs. Returns whether any are left.
    async fn move_some(&self) -> bool {
        self.store.writer.run(|transaction| move_some(transaction, 2)).await.expect("moves")
    }

    /// Stops the process. While it is stopped, the clock is set by `step`. Another process opens the file.
    async fn stop_and_set_clock_by(self, step: SignedDuration) -> Self {
        self.store.close().await;
        drop(self.store);
        self.clock.set_by(step);
        let store = open_in(&self.folder, [policy("orders")], Arc::clone(&self.clock) as _).await;
        Self { store, ..self }
    }

    /// The process crashes, and the clock is set by `step`. Another process opens the file.
    async fn crash_and_set_clock_by(self, step: SignedDuration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["inbox.db", "inbox.db-wal"] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).expect("copies");
        }
        // Only ends the threads of the store. The file that it writes to is not read again.
        self.store.close().await;
        self.clock.set_by(step);
        let store = open_in(&folder, [policy("orders")], Arc::clone(&self.clock) as _).await;
        Self { store, clock: self.clock, folder }
    }
}

#[tokio::test]
async fn after_a_restart_no_job_waits_for_a_clock_that_was_ahead() {
    let shop = Shop::new().await;
    shop.clock.set_by(HOUR);
    for (key, order) in [("1", None), ("2", Some("a")), ("3", Some("a"))] {
        shop.accept(key, order).await;
    }
    let shop = shop.stop_and_set_clock_by(-HOUR).await;
    let jobs = shop.claim().await;
    let keys = jobs.iter().map(|job| job.idempotency_key.as_str()).collect::<Vec<_>>();
    assert_eq!(keys, ["1", "2"], "the third waits for the second, whose order value it has");
    shop.store.close().await;
}

#[tokio::test]
async fn after_a_restart_a_retry_waits_for_what_was_left_of_its_delay() {
    // Shorter and longer than the steps back. The last change is less long ago than the step, or longer.
    for (delay, passed) in [(DELAY, DELAY / 2), (HOUR * 5, HOUR * 2), (DAY * 3, DAY * 2)] {
        for (step, order) in [(HOUR, None), (HOUR, Some("a")), (DAY, None), (DAY, Some("a"))] {
            let shop = Shop::new().await;
            shop.accept("1", order).await;
            shop.fail(shop.claim().await, delay).await;
            shop.clock.advance(passed);
            let shop = shop.stop_and_set_clock_by(-step).await;
            let due = shop.clock.now() + (delay - passed);
            assert_eq!(shop.next().await, Some(due), "{delay:?}, {step:?}, {order:?}");
            let shop = shop.stop_and_set_clock_by(SignedDuration::ZERO).await;
            assert_eq!(shop.next().await, Some(due), "{delay:?}, {step:?}, {order:?}");
            shop.clock.advance(delay - passed);
            assert_eq!(shop.claim().await.len(), 1, "{delay:?}, {step:?}, {order:?}");
            shop.store.close().await;
        }
    }
}

#[tokio::test]
async fn after_a_crash_a_retry_waits_for_no_more_than_its_delay() {
    for step in [HOUR, DAY] {
        let shop = Shop::new().await;
        shop.accept("1", None).await;
        shop.fail(shop.claim().await, DELAY).await;
        shop.clock.advance(DELAY / 2);
        let shop = shop.crash_and_set_clock_by(-step).await;
        assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY));
        shop.store.close().await;
    }
}

#[tokio::test]
async fn after_a_restart_the_lease_of_a_pulled_job_lasts_no_longer_than_it_was_to() {
    let Shop { store, clock, folder } = Shop::new().await;
    store.close().await;
    drop(store);
    let pulled = || Policy { handler: HandlerSettings::Pull, ..policy("orders") };
    let store = open_in(&folder, [pulled()], Arc::clone(&clock) as _).await;
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
    let shop = Shop::new().await;
    shop.accept("1", None).await;
    shop.fail(shop.claim().await, DELAY).await;
    shop.clock.set_by(-HOUR);
    shop.store.follow_clock().await.expect("follows");
    let shop = shop.stop_and_set_clock_by(SignedDuration::ZERO).await;
    assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY));
    shop.store.close().await;
}

#[tokio::test]
async fn a_crash_between_two_parts_moves_no_job_twice_and_leaves_none_out() {
    for order in [None, Some("a")] {
        let shop = Shop::new().await;
        let mut ids = Vec::new();
        for (key, order) in [("1", order), ("2", None), ("3", None)] {
            ids.push(shop.accept(key, order).await);
        }
        shop.fail(shop.claim().await, HOUR * 5).await;
        // The first three were changed longer ago than the step back.
        shop.clock.advance(HOUR * 2);
        for key in ["4", "5"] {
            ids.push(shop.accept(key, None).await);
        }
        shop.fail(shop.claim().await, HOUR * 5).await;
        shop.clock.set_by(-HOUR);
        shop.begin().await;
        assert!(shop.move_some().await, "three jobs are left");
        assert_eq!(
            shop.due_in(&ids).await,
            [4, 4, 4, 5, 5].map(SignedDuration::from_hours),
            "the newest move first"
        );

        let shop = shop.crash_and_set_clock_by(SignedDuration::ZERO).await;
        assert_eq!(shop.due_in(&ids).await, [3, 3, 3, 5, 5].map(SignedDuration::from_hours));
        assert_eq!(shop.next().await, Some(shop.clock.now() + HOUR * 3));
        shop.store.close().await;
    }
}

#[tokio::test]
async fn jobs_that_change_between_two_parts_are_due_by_the_new_time() {
    for order in [None, Some("a")] {
        let shop = Shop::new().await;
        let old = shop.accept("old", order).await;
        let running = shop.claim().await;
        for key in ["1", "2"] {
            shop.accept(key, None).await;
        }
        shop.fail(shop.claim().await, HOUR * 5).await;
        shop.clock.set_by(-HOUR);
        shop.begin().await;
        assert!(shop.move_some().await, "the running job is left");
        shop.fail(running, DELAY).await;
        let new = shop.accept("new", None).await;
        let ids = shop.claim().await.into_iter().map(|job| job.lease.job.webhook).collect::<Vec<_>>();
        assert_eq!(ids, [new], "jobs start between two parts");

        assert!(!shop.move_some().await, "that was the rest");
        assert_eq!(shop.due_in(&[old]).await, [DELAY]);
        assert_eq!(shop.next().await, Some(shop.clock.now() + DELAY), "a retry keeps its delay");
        shop.store.close().await;
    }
}
