//! What goes into the operations of a store, and what comes out.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::attempt::{Lease, Outcome};
use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::domain::route::{OrderValue, RouteName};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookStatus};

/// What accepting a webhook came to.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The webhook, with its status as it is now.
    pub webhook: WebhookStatus,
    /// Whether it had been accepted before.
    pub duplicate: bool,
}

/// A claim.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The process that claims, as the history of attempts names it.
    pub worker: Arc<str>,
    /// Idle threads: how many jobs it can start.
    pub threads: usize,
    /// How long the leases last.
    pub lease: Duration,
    /// How many jobs of each route run in this process.
    pub running: HashMap<RouteName, usize>,
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claims {
    /// The jobs that were leased.
    pub jobs: Vec<ClaimedJob>,
    /// When another claim may find a job that may start, if nothing else happens until then; none if
    /// it cannot.
    pub next: Option<Timestamp>,
}

/// A leased job with everything its handler needs.
#[derive(Clone, Debug)]
pub struct ClaimedJob {
    /// The lease to present at the end.
    pub lease: Lease,
    /// The route it belongs to.
    pub route: RouteName,
    /// The value that orders it, if any.
    pub order: Option<OrderValue>,
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
    /// The attempt this claim is, 1 for the first of the job.
    pub attempt: u32,
    /// The same, counted since the job was accepted or retried by hand, without attempts that were
    /// stopped or given back.
    pub attempt_of_run: u32,
    /// 1, and one more with every retry by hand.
    pub run: u32,
    /// When the job became due.
    pub available_at: Timestamp,
    /// When this claim was made.
    pub claimed_at: Timestamp,
}

/// The end of an attempt, as [`conclude`](crate::domain::attempt::conclude) decided it.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The lease it ran under.
    pub lease: Lease,
    /// The value that orders the job, as it was claimed.
    pub order: Option<OrderValue>,
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
    /// The job's next status.
    pub next: Status,
    /// When it is due next; for a final status, when it was due.
    pub available_at: Timestamp,
    /// Whether the attempt counts against the policy's attempts.
    pub counts: bool,
    /// Whether the job's order value stays blocked.
    pub blocks: bool,
}

/// Which webhooks to list.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only those with a job in this status, or that are filtered or quarantined.
    pub status: Option<Status>,
    /// Only those with a job of this route; with `status`, one that is both.
    pub route: Option<RouteName>,
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
    /// The number of its kind, as databases keep it.
    pub(super) fn scope(&self) -> i64 {
        match self {
            Self::Everything => 0,
            Self::Route(_) => 1,
            Self::Source(_) => 2,
        }
    }

    /// The name of the route or source, as databases keep it; else empty.
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

/// A pause in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// What is paused.
    pub target: PauseTarget,
    /// Since when.
    pub since: Timestamp,
}

/// What one step of moving jobs did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Jobs that belong to the other route now.
    pub moved: usize,
    /// Jobs that were cancelled because their webhook has a job of the other route.
    pub cancelled: usize,
}

/// How many jobs are in each status; for `filtered` and `quarantined`, how many webhooks are.
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

    /// Adds the counts of others.
    pub fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(others.0).for_each(|(count, more)| *count += more);
    }
}

/// What a queue holds: the jobs of one route from one source.
#[derive(Clone, Debug)]
pub struct QueueStats {
    /// The route.
    pub route: RouteName,
    /// The source.
    pub source: Source,
    /// Its jobs by status.
    pub counts: StatusCounts,
    /// Since when its oldest waiting job has been due; none if none is. Jobs behind another of their
    /// order value do not count.
    pub oldest_due: Option<Timestamp>,
}

/// What a store holds.
#[derive(Clone, Debug, Default)]
pub struct StoreStats {
    /// Every queue that has, or had, jobs.
    pub queues: Vec<QueueStats>,
    /// Webhooks that no route wanted, and those that were not verified.
    pub unrouted: StatusCounts,
    /// Everything that is paused.
    pub pauses: Vec<Pause>,
}

impl StoreStats {
    /// All jobs by status, and the webhooks without jobs.
    pub fn counts(&self) -> StatusCounts {
        let mut all = self.unrouted;
        self.queues.iter().for_each(|queue| all.add(&queue.counts));
        all
    }
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
