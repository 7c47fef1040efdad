//! A store whose clock tests set back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use crate::domain::attempt::Outcome;
use crate::domain::clock::{Clock as _, ManualClock};
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::webhook::WebhookName;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::fixture::{claim, job, open, open_in, policy, webhook};
use crate::store::sqlite::set_back::{StepBack, begin, lead, move_some};
use crate::store::{ClaimedJob, Finish, Inbox as _, JobQueue as _, Store as _};

pub(super) const HOUR: SignedDuration = SignedDuration::from_hours(1);
pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);
pub(super) const DELAY: SignedDuration = SignedDuration::from_mins(5);

/// A store with the route `orders`, and its clock.
pub(super) struct Shop {
    pub(super) store: SqliteStore,
    pub(super) clock: Arc<ManualClock>,
    pub(super) folder: TempDir,
}

impl Shop {
    pub(super) async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
        let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        Self { store, clock, folder }
    }

    /// A store in which the oldest job is running, and the others wait for five hours. Returns the running job and its
    /// webhook, which has the order value `order` if that is one.
    pub(super) async fn with_one_running_and_two_retrying(
        order: Option<&str>,
    ) -> (Self, WebhookId, Vec<ClaimedJob>) {
        let shop = Self::new().await;
        let oldest = shop.accept("oldest", order).await;
        let running = shop.claim().await;
        for key in ["1", "2"] {
            shop.accept(key, None).await;
        }
        shop.fail(shop.claim().await, HOUR * 5).await;
        (shop, oldest, running)
    }

    pub(super) async fn accept(&self, key: &str, order: Option<&str>) -> WebhookId {
        let accepted = self.store.accept(webhook(key), vec![job("orders", order)]).await;
        accepted.expect("accepted").webhook.id
    }

    pub(super) async fn claim(&self) -> Vec<ClaimedJob> {
        self.store.claim(claim(10)).await.expect("claims").jobs
    }

    /// When a claim finds a job, if none can start now.
    pub(super) async fn next(&self) -> Option<Timestamp> {
        let claims = self.store.claim(claim(10)).await.expect("claims");
        assert_eq!(claims.jobs.len(), 0, "no job can start");
        claims.next
    }

    /// Fails jobs. Each of them is due again after `delay`.
    pub(super) async fn fail(&self, jobs: Vec<ClaimedJob>, delay: SignedDuration) {
        self.end(jobs, Outcome::Failed, Status::Retrying, delay).await;
    }

    pub(super) async fn complete(&self, jobs: Vec<ClaimedJob>) {
        self.end(jobs, Outcome::Completed, Status::Completed, SignedDuration::ZERO).await;
    }

    async fn end(&self, jobs: Vec<ClaimedJob>, outcome: Outcome, next: Status, delay: SignedDuration) {
        let now = self.clock.now();
        let ends = jobs.into_iter().map(|job| Finish {
            lease: job.lease,
            order: job.order,
            attempt: job.attempt,
            outcome,
            started_at: now,
            finished_at: now,
            error: (outcome == Outcome::Failed).then(|| "for a test".into()),
            result: None,
            delivery: None,
            health: None,
            next,
            available_at: now + delay,
            counts: true,
            blocks: false,
        });
        let ended = self.store.finish("worker", ends.collect()).await.expect("ends");
        assert!(!ended.is_empty() && ended.iter().all(|is_held| *is_held), "{ended:?}");
    }

    /// In how long the jobs of these webhooks are due.
    pub(super) async fn due_in(&self, ids: &[WebhookId]) -> Vec<SignedDuration> {
        let mut waits = Vec::new();
        for id in ids {
            let status = self.store.status(WebhookName::Id(*id)).await.expect("is kept");
            let due = status.jobs[0].next_attempt_at.expect("waits");
            waits.push(due.duration_since(self.clock.now()));
        }
        waits
    }

    /// Sets the clock back by `step`, and begins to move due times, as the store does once it has noticed.
    pub(super) async fn go_back(&self, step: SignedDuration) {
        self.clock.set_by(-step);
        let lead = lead(self.clock.as_ref());
        let step = StepBack::new(i64::try_from(step.as_millis()).expect("in range"));
        self.store.writer.run(move |transaction| begin(transaction, &step)).await.expect("begins");
        self.store.lead.store(lead, Ordering::SeqCst);
    }

    /// Looks at two jobs. Returns whether any are left.
    pub(super) async fn move_some(&self) -> bool {
        self.store.writer.run(|transaction| move_some(transaction, 2)).await.expect("moves");
        self.store.committed.is_moving()
    }

    /// Stops the process. While it is stopped, the clock is set by `step`. Another process opens the file.
    pub(super) async fn stop_and_set_clock_by(self, step: SignedDuration) -> Self {
        self.store.close().await;
        drop(self.store);
        self.clock.set_by(step);
        let store = open_in(&self.folder, [policy("orders")], Arc::clone(&self.clock) as _).await;
        Self { store, ..self }
    }

    /// The process crashes, and the clock is set by `step`. Another process opens the file.
    pub(super) async fn crash_and_set_clock_by(self, step: SignedDuration) -> Self {
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
