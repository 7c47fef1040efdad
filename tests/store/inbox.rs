//! A store under test, its clock, and short ways to say what happens to it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hookbox::domain::attempt::Outcome;
use hookbox::domain::clock::{Clock, ManualClock};
use hookbox::domain::error::{Error, Reason, Result};
use hookbox::domain::id::WebhookId;
use hookbox::domain::job::Status;
use hookbox::domain::payload::Payload;
use hookbox::domain::trace::Traceparent;
use hookbox::domain::webhook::{
    EventType, IdempotencyKey, NewWebhook, Source, WebhookDetail, WebhookName, WebhookStatus,
};
use hookbox::store::{ClaimedJob, Finish, ListQuery, StatusCounts, Store};
use jiff::{SignedDuration, Timestamp};

use crate::harness::{Harness, Options};

/// How long leases last, unless a test says otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// What new jobs may start, unless a test says otherwise.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// A store, open, with a clock that stands still.
pub(crate) struct Inbox<H> {
    store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    options: Options,
    harness: H,
}

impl<H> Deref for Inbox<H> {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        self.store.as_ref()
    }
}

impl<H: Harness> Inbox<H> {
    pub(crate) async fn new() -> Self {
        Self::with(1_000_000, MAX_ATTEMPTS).await
    }

    pub(crate) async fn with(max_backlog: u64, max_attempts: u32) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
        let options = Options { max_backlog, max_attempts, worker: "worker-1".into(), seed: 1 };
        let harness = H::new();
        let store = harness.open(&options, Arc::clone(&clock)).await;
        Self { store, clock, options, harness }
    }

    /// The process dies, and another one, `worker-2` and so on, opens the store.
    pub(crate) async fn crash_and_reopen(&mut self) {
        self.harness.crash(Arc::clone(&self.store)).await;
        self.options.seed += 1;
        self.options.worker = format!("worker-{}", self.options.seed);
        self.store = self.harness.open(&self.options, Arc::clone(&self.clock)).await;
    }

    /// The process stops as it should, and the same one starts again.
    pub(crate) async fn close_and_reopen(&mut self) {
        self.store.close().await;
        self.store = self.harness.open(&self.options, Arc::clone(&self.clock)).await;
    }

    /// The process stops, and one like that of `other` opens this store, at the same time.
    pub(crate) async fn reopen_like<O: Harness>(&mut self, other: &Inbox<O>) {
        self.store.close().await;
        self.options = other.options.clone();
        self.clock.advance(other.now().duration_since(self.now()));
        self.store = self.harness.open(&self.options, Arc::clone(&self.clock)).await;
    }

    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    pub(crate) fn harness(&self) -> &H {
        &self.harness
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by.try_into().expect("in range"));
        self.harness.set_time(self.now());
    }

    pub(crate) fn go_back(&self, by: Duration) {
        self.clock.advance(-SignedDuration::try_from(by).expect("in range"));
        self.harness.set_time(self.now());
    }

    /// Accepts a webhook that must be new.
    pub(crate) async fn accept_new(&self, key: &str) -> WebhookStatus {
        let accepted = self.accept(webhook(key)).await.expect("accepted");
        assert!(!accepted.duplicate, "{key} is new");
        accepted.webhook
    }

    /// Claims the one job that is due.
    pub(crate) async fn claim_one(&self) -> ClaimedJob {
        let claims = self.claim(2, LEASE).await.expect("claims");
        let [job] = <[_; 1]>::try_from(claims.jobs).expect("one job is due");
        job
    }

    /// Ends an attempt that must still hold its lease.
    pub(crate) async fn end(&self, job: &ClaimedJob, next: Status) {
        assert!(self.finish(self.ended(job, next)).await.expect("finishes"), "the lease is held");
    }

    /// The attempt fails, and the next one is due after `delay`.
    pub(crate) async fn fail(&self, job: &ClaimedJob, delay: Duration) {
        let finish = Finish { available_at: self.now() + delay, ..self.ended(job, Status::Retrying) };
        assert!(self.finish(finish).await.expect("finishes"), "the lease is held");
    }

    /// An attempt that ends now, as a worker would put it.
    pub(crate) fn ended(&self, job: &ClaimedJob, next: Status) -> Finish {
        let (outcome, error, result) = match next {
            Status::Completed => (Outcome::Completed, None, Some(r#"{"done":true}"#.to_owned())),
            Status::Pending => (Outcome::Interrupted, Some("stopped".to_owned()), None),
            _ => (Outcome::Failed, Some("failed".to_owned()), None),
        };
        Finish {
            lease: job.lease,
            attempt: job.attempt,
            outcome,
            started_at: job.claimed_at,
            finished_at: self.now(),
            error,
            result,
            next,
            available_at: self.now(),
        }
    }

    /// A webhook that was accepted, claimed and ended at once.
    pub(crate) async fn ended_webhook(&self, key: &str, next: Status) -> WebhookStatus {
        let webhook = self.accept_new(key).await;
        if next == Status::Cancelled {
            return self.cancel(webhook.id).await.expect("cancels");
        }
        let job = self.claim_one().await;
        assert_eq!(job.lease.webhook, webhook.id, "no other job is due");
        self.end(&job, next).await;
        self.status_of(webhook.id).await
    }

    pub(crate) async fn status_of(&self, id: WebhookId) -> WebhookStatus {
        self.status(WebhookName::Id(id)).await.expect("is kept")
    }

    pub(crate) async fn detail_of(&self, id: WebhookId) -> WebhookDetail {
        self.webhook(id).await.expect("is kept")
    }

    /// All webhooks that match, page by page, newest first.
    pub(crate) async fn listed(&self, query: &ListQuery) -> Vec<WebhookStatus> {
        let mut query = query.clone();
        let mut all = Vec::new();
        loop {
            let page = self.list(query.clone()).await.expect("lists");
            assert!(page.webhooks.len() <= query.limit, "a page holds at most what was asked for");
            all.extend(page.webhooks);
            match page.next {
                Some(next) => query.before = Some(next),
                None => return all,
            }
        }
    }

    pub(crate) async fn everything(&self) -> Vec<WebhookStatus> {
        self.listed(&ListQuery { limit: 500, ..ListQuery::default() }).await
    }

    pub(crate) async fn counts(&self) -> StatusCounts {
        self.stats().await.expect("counts").counts
    }
}

pub(crate) fn webhook(key: &str) -> NewWebhook {
    webhook_with(key, r#"{"n":1}"#)
}

pub(crate) fn webhook_with(key: &str, payload: &str) -> NewWebhook {
    NewWebhook {
        source: Source::default(),
        idempotency_key: key_of(key),
        event_type: EventType::new("order.paid").expect("valid"),
        payload: Payload::new(payload).expect("JSON"),
        traceparent: Traceparent::new(0x5eed, 0x5eed, true),
    }
}

pub(crate) fn key_of(key: &str) -> IdempotencyKey {
    IdempotencyKey::new(key).expect("valid")
}

pub(crate) fn source(name: &str) -> Source {
    Source::new(name).expect("valid")
}

pub(crate) fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("valid")
}

/// An id that differs from `id` only behind its first 60 bits.
pub(crate) fn look_alike(id: WebhookId) -> WebhookId {
    let mut bytes = *id.as_bytes();
    bytes[15] ^= 1;
    let other = WebhookId::from_bytes(bytes);
    assert_eq!(other.sequence(), id.sequence());
    other
}

/// Why it was refused.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T>) -> Reason {
    result.as_ref().map_err(Error::reason).expect_err("is refused")
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
