//! What workers that pull jobs need of a store, besides what the pool needs: which jobs a claim wants, and jobs as
//! their leases name them.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::attempt::Lease;
use crate::domain::policy::Policy;
use crate::domain::route::{OrderValue, RouteName};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, Source};

/// Which jobs a claim wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Jobs whose handler runs in hookbox: those of all routes but the pulled ones.
    Run,
    /// Jobs of those of these routes whose handler is `pull`.
    Pulled(BTreeSet<RouteName>),
}

impl Wanted {
    /// Whether the jobs of a route with this policy are wanted.
    pub(super) fn wants(&self, policy: &Policy) -> bool {
        match self {
            Self::Run => !policy.is_pulled(),
            Self::Pulled(routes) => policy.is_pulled() && routes.contains(&policy.route),
        }
    }
}

/// A job that is leased, as [`JobQueue::leased`](super::JobQueue::leased) finds it: what is needed to end its attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasedJob {
    /// The lease.
    pub lease: Lease,
    /// The job's route.
    pub route: RouteName,
    /// The order value, if the job is ordered.
    pub order: Option<OrderValue>,
    /// The source of the webhook.
    pub source: Source,
    /// The event type of the webhook.
    pub event_type: EventType,
    /// The trace context of the span that accepted the webhook.
    pub traceparent: Traceparent,
    /// The number of the attempt, over all runs of the job.
    pub attempt: u32,
    /// The number of the attempt within its run, without attempts that were stopped.
    pub attempt_of_run: u32,
    /// When the job became due.
    pub available_at: Timestamp,
    /// For how long the lease has been held since its claim, by the clock of the store.
    pub held_for: Duration,
}
