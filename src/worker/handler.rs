//! What processes a webhook: the trait to implement, and the table of those that are known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::domain::clock::{Clock, Signal};
use crate::domain::id::WebhookId;
use crate::store::ClaimedJob;

/// Processes webhooks. It may block; it runs on a thread of the pool.
///
/// A handler may start again for the same webhook only if a process died or lost its lease in the
/// middle of an attempt: outside effects are at least once. [`Attempt::webhook_id`] stays the same.
pub trait Handler: Send + Sync {
    /// Its name, in metrics and spans.
    fn name(&self) -> &'static str;

    /// Processes one webhook. What it returns is kept as the webhook's result.
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
    pub(super) stop: &'a Arc<Signal>,
    pub(super) clock: &'a dyn Clock,
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
    /// The webhook's id: the same for every attempt, to be used as the key of outside effects.
    pub fn webhook_id(&self) -> WebhookId {
        self.job.lease.webhook
    }

    /// The number of the attempt, 1 for the first.
    pub fn number(&self) -> u32 {
        self.job.attempt
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

    /// Whether the attempt should end: its lease was lost, or the grace at shutdown is over.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_raised()
    }

    /// Sleeps; ends early with [`Failure::Stopped`] when the attempt has to stop.
    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let now = self.clock.now();
        self.clock.wait(self.stop, Some(now.saturating_add(time).unwrap_or(now)));
        if self.is_stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// The handlers that are known, and which of them takes the webhooks.
#[derive(Clone)]
pub struct Registry {
    handlers: HashMap<&'static str, Arc<dyn Handler>>,
    default: Arc<dyn Handler>,
}

impl Registry {
    /// All webhooks go to `handler`.
    pub fn new(handler: impl Handler + 'static) -> Self {
        let default: Arc<dyn Handler> = Arc::new(handler);
        Self { handlers: HashMap::from([(default.name(), Arc::clone(&default))]), default }
    }

    /// Adds a handler; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, handler: impl Handler + 'static) -> Self {
        let handler: Arc<dyn Handler> = Arc::new(handler);
        if handler.name() == self.default.name() {
            self.default = Arc::clone(&handler);
        }
        self.handlers.insert(handler.name(), handler);
        self
    }

    /// The handler of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Handler>> {
        self.handlers.get(name)
    }

    /// The handler that takes a webhook.
    pub fn for_job(&self, _job: &ClaimedJob) -> &Arc<dyn Handler> {
        &self.default
    }
}
