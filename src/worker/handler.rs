//! What processes jobs: the trait to implement, and the handlers that are known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::clock::{Clock, Signal};
use crate::domain::id::WebhookId;
use crate::domain::policy::Policy;
use crate::store::ClaimedJob;

/// Processes jobs. It may block; it runs on a thread of the pool.
///
/// Outside effects are at least once: a handler starts again for the same job after a failure, and
/// also if a process died or lost its lease in the middle of an attempt.
/// [`Attempt::webhook_id`] stays the same.
pub trait Handler: Send + Sync {
    /// Its name, as routes name it.
    fn name(&self) -> &'static str;

    /// Processes one job. What it returns is kept as the job's result.
    /// A panic counts as [`Failure::Retry`].
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure>;
}

/// Why an attempt did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may help.
    Retry {
        /// Why it failed.
        error: String,
        /// When to try again; none: as the retry policy says.
        after: Option<Duration>,
    },
    /// No other attempt can help.
    Permanent {
        /// Why it failed.
        error: String,
    },
    /// It was told to stop and did.
    Stopped,
}

/// One run of a handler: what it may see of the webhook, and when it has to stop.
pub struct Attempt<'a> {
    pub(super) job: &'a ClaimedJob,
    pub(super) payload: &'a str,
    pub(in crate::worker) policy: &'a Policy,
    pub(super) stop: &'a Arc<Signal>,
    pub(super) clock: &'a dyn Clock,
    /// When the time-out of the route is over.
    pub(super) deadline: Option<Timestamp>,
}

impl std::fmt::Debug for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("lease", &self.job.lease)
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}

impl Attempt<'_> {
    /// The webhook's id: the same for every attempt and every job of the webhook. The key of an outside
    /// effect needs the route as well.
    pub fn webhook_id(&self) -> WebhookId {
        self.job.lease.job.webhook
    }

    /// The number of the attempt, 1 for the first.
    pub fn number(&self) -> u32 {
        self.job.attempt
    }

    /// The route of the job.
    pub fn route(&self) -> &str {
        self.job.route.as_str()
    }

    /// Where the webhook came from.
    pub fn source(&self) -> &str {
        self.job.source.as_str()
    }

    /// The sender's key.
    pub fn idempotency_key(&self) -> &str {
        self.job.idempotency_key.as_str()
    }

    /// What happened.
    pub fn event_type(&self) -> &str {
        self.job.event_type.as_str()
    }

    /// The payload, JSON as it came.
    pub fn payload(&self) -> &str {
        self.payload
    }

    /// Whether the attempt should end: its lease was lost, the grace at shutdown is over, or the
    /// time-out of the route is.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_raised() || self.deadline.is_some_and(|deadline| deadline <= self.clock.now())
    }

    /// Sleeps; ends early with [`Failure::Stopped`] when the attempt has to stop.
    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let now = self.clock.now();
        let until = now.saturating_add(time).unwrap_or(now);
        let until = self.deadline.map_or(until, |deadline| deadline.min(until));
        self.clock.wait(self.stop, Some(until));
        if self.is_stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// The handlers that are known, by their names.
#[derive(Clone, Default)]
pub struct Registry(HashMap<&'static str, Arc<dyn Handler>>);

impl Registry {
    /// Adds a handler; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, handler: impl Handler + 'static) -> Self {
        self.0.insert(handler.name(), Arc::new(handler));
        self
    }

    /// The handler of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Handler>> {
        self.0.get(name)
    }

    /// The names of all handlers.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.names()).finish()
    }
}
