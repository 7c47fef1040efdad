//! Inputs and outputs of the operations of a store.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::pulled::Wanted;
use crate::domain::action::ActionReason;
use crate::domain::attempt::{Lease, Outcome};
use crate::domain::breaker::{Health, Trip};
use crate::domain::conflict::OtherWebhook;
use crate::domain::content_type::ContentType;
use crate::domain::delivery::Delivery;
use crate::domain::error::Error;
use crate::domain::job::Status;
use crate::domain::route::{NewJob, OrderValue, RouteName};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source, WebhookStatus};

/// A webhook to accept, with its jobs.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The webhook.
    pub webhook: NewWebhook,
    /// Its jobs. Their routes are distinct; without jobs, the webhook is filtered.
    pub jobs: Vec<NewJob>,
}

/// Why the webhooks of a batch were refused. None of them was stored.
#[derive(Debug)]
pub struct BatchError {
    /// The index of the webhook in the batch; `None` if the error is not about one of them.
    pub item: Option<usize>,
    /// Why the webhook or the batch was refused.
    pub error: Error,
}

impl From<Error> for BatchError {
    /// The error of a whole batch.
    fn from(error: Error) -> Self {
        Self { item: None, error }
    }
}

/// The result of accepting a webhook.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The stored webhook with its current status.
    pub webhook: WebhookStatus,
    /// Whether the webhook had been accepted before.
    pub duplicate: bool,
    /// Of a duplicate, what came now if it has another payload or event type than the stored webhook; else none.
    pub other: Option<Box<OtherWebhook>>,
}

impl Accepted {
    /// A webhook that was not there before, and is stored now.
    pub fn new(webhook: WebhookStatus) -> Self {
        Self { webhook, duplicate: false, other: None }
    }
}

/// A request to lease jobs.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The worker that claims, as recorded in the history of attempts: this process, or a worker that pulls.
    pub worker: Arc<str>,
    /// Which jobs to lease.
    pub wanted: Wanted,
    /// Idle threads: the maximum number of jobs to lease.
    pub threads: usize,
    /// The maximum number of bytes of payloads to return. One job is returned however large it is.
    pub max_bytes: usize,
    /// How long the leases last.
    pub lease: Duration,
    /// Jobs running in this process, by route.
    pub running: HashMap<RouteName, usize>,
}

/// How soon to claim again if jobs may start but none could be leased, for example because another replica is leasing
/// them.
pub const NOTHING_LEASED_PAUSE: Duration = Duration::from_millis(20);

/// The result of a claim.
#[derive(Debug, Default)]
pub struct Claims {
    /// The leased jobs, those that are due longest first.
    pub jobs: Vec<ClaimedJob>,
    /// The earliest time at which another claim may find a job if nothing else happens until then; `None` if
    /// it cannot find one.
    pub next: Option<Timestamp>,
    /// The monotonic time of this process until which the leases last at least.
    pub held_until: Duration,
}

/// A leased job with everything its handler needs.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// The lease to present when the attempt ends.
    pub lease: Lease,
    /// The job's route.
    pub route: RouteName,
    /// The order value, if the job is ordered.
    pub order: Option<OrderValue>,
    /// The source of the webhook.
    pub source: Source,
    /// The sender's key.
    pub idempotency_key: IdempotencyKey,
    /// The event type of the webhook.
    pub event_type: EventType,
    /// The payload, byte for byte as received; `None` if it was removed at the end of its retention.
    pub payload: Option<Vec<u8>>,
    /// The content type of the payload.
    pub content_type: ContentType,
    /// The trace context of the span that accepted the webhook.
    pub traceparent: Traceparent,
    /// The number of this attempt, 1 for the first attempt of the job.
    pub attempt: u32,
    /// The number of this attempt within its run, 1 for the first, without attempts that were stopped. A run begins when
    /// the job is accepted, retried by hand or replayed.
    pub attempt_of_run: u32,
    /// The number of the run: 1, increased by every retry by hand and every replay.
    pub run: u32,
    /// When the job became due.
    pub available_at: Timestamp,
    /// When this claim was made.
    pub claimed_at: Timestamp,
}

/// The end of an attempt, as [`conclude`](crate::domain::attempt::conclude) decided it.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The lease of the attempt.
    pub lease: Lease,
    /// The order value of the claimed job, if it is ordered.
    pub order: Option<OrderValue>,
    /// The number of the attempt.
    pub attempt: u32,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// When the handler was started.
    pub started_at: Timestamp,
    /// When the attempt ended.
    pub finished_at: Timestamp,
    /// Why the attempt failed.
    pub error: Option<String>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// What the handler sent, and what was answered; none if it sent nothing.
    pub delivery: Option<Arc<Delivery>>,
    /// What the attempt found out about the target of the route; none if nothing.
    pub health: Option<Health>,
    /// The job's next status.
    pub next: Status,
    /// When the job is due next; for a final status, when it was due for this attempt.
    pub available_at: Timestamp,
    /// Whether the attempt counts against the attempts that the policy allows.
    pub counts: bool,
    /// Whether the job is a dead letter that blocks its lane. Ignored if the job is not ordered.
    pub blocks: bool,
}

impl Finish {
    /// [`JobStatus::last_error`](crate::domain::job::JobStatus::last_error) of the job after this end.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.error.as_deref().filter(|_| self.next.is_failed())
    }

    /// [`JobStatus::next_attempt_at`](crate::domain::job::JobStatus::next_attempt_at) of the job after this end.
    pub(super) fn next_attempt_at(&self) -> Option<Timestamp> {
        self.next.is_waiting().then_some(self.available_at)
    }
}

/// What a pause keeps from starting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PauseTarget {
    /// Every job.
    Everything,
    /// The jobs of a route.
    Route(RouteName),
    /// The jobs of webhooks from a source.
    Source(Source),
}

impl PauseTarget {
    /// The number of the kind of target, as stored in the column `scope`.
    pub(super) fn scope(&self) -> i16 {
        match self {
            Self::Everything => 0,
            Self::Route(_) => 1,
            Self::Source(_) => 2,
        }
    }

    /// The name of the route or source, as stored in the column `name`; empty for everything.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Everything => "",
            Self::Route(route) => route.as_str(),
            Self::Source(source) => source.as_str(),
        }
    }
}

impl fmt::Display for PauseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Route(route) => write!(f, "the route {route}"),
            Self::Source(source) => write!(f, "the source {source}"),
        }
    }
}

/// A pause to begin.
#[derive(Clone, Debug)]
pub struct NewPause {
    /// What is paused.
    pub target: PauseTarget,
    /// The name of the token that pauses it.
    pub actor: String,
    /// Why, in the words of the operator.
    pub reason: Option<ActionReason>,
}

/// A pause in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub target: PauseTarget,
    /// Since when the target is paused.
    pub since: Timestamp,
    /// The name of the token that paused it last.
    pub actor: String,
    /// Why, in the words of the operator who paused it last.
    pub reason: Option<String>,
}

impl Pause {
    /// The pause that begins at `since`.
    pub(super) fn new(new: &NewPause, since: Timestamp) -> Self {
        let NewPause { target, actor, reason } = new.clone();
        Self { target, since, actor, reason: reason.map(|reason| reason.to_string()) }
    }

    /// A pause by a test.
    #[cfg(test)]
    pub(super) fn of(target: PauseTarget, since: Timestamp) -> Self {
        Self { target, since, actor: "test".to_owned(), reason: None }
    }
}

/// The breaker of a route that has opened, and was not closed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrippedBreaker {
    /// The route.
    pub route: RouteName,
    /// How often it has opened, and until when it is open.
    pub trip: Trip,
}

/// The result of one step of moving jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Jobs that now belong to the other route.
    pub moved: usize,
    /// Jobs that were cancelled because their webhook has a job of the other route.
    pub cancelled: usize,
}

/// The number of jobs in each status; for `filtered` and `quarantined`, the number of webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts([u64; Status::ALL.len()]);

impl StatusCounts {
    /// Makes counts from an array that is indexed by the statuses' numbers.
    pub fn new(counts: [u64; Status::ALL.len()]) -> Self {
        Self(counts)
    }

    /// The count of `status`.
    pub fn of(&self, status: Status) -> u64 {
        self.0[status as usize]
    }

    /// The sum over all statuses.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The sum over the statuses that are not final.
    pub fn unfinished(&self) -> u64 {
        Status::ALL.into_iter().filter(|status| !status.is_final()).map(|status| self.of(status)).sum()
    }

    /// Adds the counts of others.
    pub fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(others.0).for_each(|(count, more)| *count += more);
    }
}

/// Statistics of a queue: the jobs of one route from one source.
#[derive(Clone, Debug)]
pub struct QueueStats {
    /// The route.
    pub route: RouteName,
    /// The source.
    pub source: Source,
    /// The queue's jobs by status.
    pub counts: StatusCounts,
    /// Since when the queue's oldest waiting job has been due; `None` if no job is due. Jobs that wait behind
    /// another job of their lane do not count.
    pub oldest_due: Option<Timestamp>,
}

/// Statistics of a store.
#[derive(Clone, Debug, Default)]
pub struct StoreStats {
    /// Every queue that has or had jobs.
    pub queues: Vec<QueueStats>,
    /// Webhooks without jobs: `filtered` and `quarantined`.
    pub unrouted: StatusCounts,
    /// Everything that is paused.
    pub pauses: Vec<Pause>,
    /// The breakers that are not closed, at most one for each route. Their times are by the time of day of the process.
    pub breakers: Vec<TrippedBreaker>,
}

impl StoreStats {
    /// All jobs by status, and the webhooks without jobs, over all queues.
    pub fn counts(&self) -> StatusCounts {
        let mut all = self.unrouted;
        self.queues.iter().for_each(|queue| all.add(&queue.counts));
        all
    }
}

/// The result of a successful probe of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whether all migrations that this version of hookbox knows have run.
    pub migrations_current: bool,
}

/// The result of one purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Webhooks that lost their payload.
    pub payloads: usize,
    /// Webhooks removed with all their rows.
    pub webhooks: usize,
    /// Whether there may be more to remove already.
    pub more: bool,
}
