//! What the domain needs of a store. Each operation says what it promises.
//!
//! The conformance suite in `tests/` holds every store to these promises.

mod acceptance;
pub mod changes;
mod columns;
pub mod postgres;
pub mod sqlite;
mod statement;
pub mod transfer;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::attempt::{Lease, Outcome};
use crate::domain::clock::Signal;
use crate::domain::error::Result;
use crate::domain::id::{Position, WebhookId};
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{
    EventType, IdempotencyKey, NewWebhook, Source, WebhookDetail, WebhookName, WebhookStatus,
};

/// A durable store of webhooks and their jobs.
///
/// Every write is on disk when its future is ready with `Ok`; with `Err` nothing was changed.
/// Futures need no particular runtime, and dropping one does not undo a write under way.
/// A store that cannot write or read now answers [`Reason::StoreUnavailable`] and goes on by
/// itself once it can.
///
/// [`Reason::StoreUnavailable`]: crate::domain::error::Reason::StoreUnavailable
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Stores a webhook with its pending job, unless its source has one of the same key: then
    /// answers that one, if it is the same webhook.
    ///
    /// Errors: `KeyReused` if payload or event type differ; `BacklogFull` if as many jobs are
    /// unfinished as may be (a duplicate is still answered), or more webhooks come in at once than
    /// may wait.
    async fn accept(&self, webhook: NewWebhook) -> Result<Accepted>;

    /// Leases up to `limit` due jobs, those that are due longest first, each with a token larger
    /// than every one before it. No two claims hold the same job.
    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claims>;

    /// Records the end of an attempt and the job's next status, in one transaction, if the lease
    /// is still held. False: it was lost, and nothing was changed.
    async fn finish(&self, finish: Finish) -> Result<bool>;

    /// Extends leases to `lease` from now. Answers those that were lost.
    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>>;

    /// Takes over jobs whose lease has expired, but for those that the caller holds and still
    /// runs: their attempt is recorded as interrupted, and they are pending again, or
    /// dead-lettered if their attempts are used up. Answers how many.
    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize>;

    /// Gives back jobs that were leased to this process in that time, but are not among those it
    /// holds: they were leased, and the answer was lost. They did not start, so that the attempt
    /// does not count. Answers how many. To be called while nothing is being leased. A store whose
    /// answers cannot get lost has none.
    async fn give_back_unheld(&self, _held: Vec<Lease>, _leased: RangeInclusive<Timestamp>) -> Result<usize> {
        Ok(0)
    }

    /// Makes a dead-lettered or cancelled job pending, with `attempts` more attempts.
    /// Errors: `WebhookNotFound`, `WrongStatus`.
    async fn retry(&self, id: WebhookId, attempts: u32) -> Result<WebhookStatus>;

    /// Cancels a waiting job. Errors: `WebhookNotFound`, `WrongStatus`.
    async fn cancel(&self, id: WebhookId) -> Result<WebhookStatus>;

    /// The status of a webhook. Errors: `WebhookNotFound`.
    async fn status(&self, name: WebhookName) -> Result<WebhookStatus>;

    /// All that is known of a webhook. Errors: `WebhookNotFound`.
    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail>;

    /// One page of the webhooks that match, newest first. Looks at a bounded number of rows.
    async fn list(&self, query: ListQuery) -> Result<Page>;

    /// Counts by status and the oldest due job, at a cost that does not grow with the store.
    async fn stats(&self) -> Result<StoreStats>;

    /// Removes what is past its retention, a bounded number of rows at a time.
    async fn purge(&self, retention: Retention) -> Result<Purged>;

    /// Writes something, to learn whether that works, and looks at the tables' version.
    async fn probe(&self) -> Result<Probe>;

    /// Has `wake` raised after every commit that made a job due, now or later.
    fn on_due(&self, wake: Arc<Signal>);

    /// Has webhooks leased as they are stored, in the same transaction, for the threads that `starter`
    /// has idle: that saves the claim. A store that cannot do that leaves them to the next claim.
    fn on_accept(&self, _starter: Weak<dyn Starter>) {}

    /// Where changes of status are announced.
    fn changes(&self) -> &changes::Changes;

    /// Finishes what is under way and closes the store. Later calls answer `ShuttingDown`.
    async fn close(&self);
}

/// Starts the jobs of new webhooks where there is a thread for them.
pub trait Starter: fmt::Debug + Send + Sync {
    /// How long a lease lasts.
    fn lease(&self) -> Duration;

    /// Whether a thread is idle.
    fn has_idle(&self) -> bool;

    /// Takes up to `most` idle threads; none while older jobs wait for one.
    fn reserve(&self, most: usize) -> usize;

    /// Jobs may have been leased since then for threads that are reserved, and it is not known which:
    /// the answer was lost.
    fn unanswered(&self, since: Timestamp);

    /// Starts jobs that were leased for `reserved` threads, and gives back those that got none.
    /// Every reservation ends here.
    fn start(&self, reserved: usize, jobs: Vec<ClaimedJob>);
}

/// What became of a submitted webhook.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The webhook, with its status as it is now.
    pub webhook: WebhookStatus,
    /// Whether it had been accepted before.
    pub duplicate: bool,
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claims {
    /// The jobs claimed.
    pub jobs: Vec<ClaimedJob>,
    /// When the next job that was not claimed is due; none if none waits.
    pub next_due: Option<Timestamp>,
}

/// A leased job with everything its handler needs.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// The lease to present at the end.
    pub lease: Lease,
    /// Where the webhook came from.
    pub source: Source,
    /// The sender's key.
    pub idempotency_key: IdempotencyKey,
    /// What happened.
    pub event_type: EventType,
    /// The content, as it came; none if it was retried after its retention.
    pub payload: Option<String>,
    /// The accepting span.
    pub traceparent: Traceparent,
    /// The attempt this claim is, 1 for the first.
    pub attempt: u32,
    /// How many attempts have failed since the job was accepted or retried by hand, plus this one.
    /// One that was given back has not failed.
    pub attempt_of_run: u32,
    /// How many attempts may start.
    pub max_attempts: u32,
    /// When the job became due.
    pub available_at: Timestamp,
    /// When this claim was made.
    pub claimed_at: Timestamp,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The lease it ran under.
    pub lease: Lease,
    /// Its number.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When the handler was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed.
    pub error: Option<String>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// The job's next status, as [`next_status`](crate::domain::job::next_status) decided.
    pub next: Status,
    /// When it is due next, where it is.
    pub available_at: Timestamp,
}

/// Which webhooks to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those from this source.
    pub source: Option<Source>,
    /// Only those of this event type.
    pub event_type: Option<EventType>,
    /// Only those accepted at or after this time.
    pub accepted_after: Option<Timestamp>,
    /// Only those accepted before this time.
    pub accepted_before: Option<Timestamp>,
    /// Only those after this place in the list.
    pub before: Option<Position>,
    /// How many at most.
    pub limit: usize,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Newest first.
    pub webhooks: Vec<WebhookStatus>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Position>,
}

/// How many webhooks are in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts([u64; Status::ALL.len()]);

impl StatusCounts {
    /// Counts in the order of the statuses' numbers.
    pub fn new(counts: [u64; Status::ALL.len()]) -> Self {
        Self(counts)
    }

    /// How many are in `status`.
    pub fn of(&self, status: Status) -> u64 {
        self.0[status as usize]
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many are not in a final status.
    pub fn unfinished(&self) -> u64 {
        Status::ALL.into_iter().filter(|status| !status.is_final()).map(|status| self.of(status)).sum()
    }
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreStats {
    /// Webhooks by status.
    pub counts: StatusCounts,
    /// Since when the oldest waiting job has been due; none if none is due.
    pub oldest_due: Option<Timestamp>,
}

/// What a store that can be written says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether the tables are those this version knows.
    pub migrations_current: bool,
}

/// What one purge removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Webhooks that lost their payload.
    pub payloads: usize,
    /// Webhooks removed altogether.
    pub webhooks: usize,
    /// Whether there may be more to remove now.
    pub more: bool,
}
