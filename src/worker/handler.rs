//! The trait of handlers, which process jobs, and the registry of handlers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Span;

use crate::domain::breaker::Health;
use crate::domain::clock::{Clock, Signal};
use crate::domain::delivery::{self, Delivery};
use crate::domain::error::causes;
use crate::domain::policy::Policy;
use crate::store::ClaimedJob;
use crate::telemetry::trace;

/// Processes jobs. A handler runs on a thread of the pool, so it may block. It can run on several threads at once. The
/// stack of such a thread has 512 KiB.
///
/// Functions and closures `Fn(&Attempt<'_>) -> Result<Value, Failure>` are handlers too.
///
/// Outside effects are at least once: the handler runs again for the same job after a failure, and also
/// after the process died or lost its lease during an attempt. Use [`Attempt::delivery_id`] as the idempotency key
/// of outside effects; it is the same for every attempt of a job until the job is retried by hand or replayed.
///
/// An attempt is told to stop after the `timeout` of its route, 5 minutes if the route sets none. Let the handler look
/// whether it has to stop ([`Attempt::is_stopped`], [`Attempt::sleep`]). If it has not returned 10 s after it was told to
/// stop, its attempt is abandoned: the attempt has failed, what the handler returns later is dropped, and another thread
/// takes the place of its thread.
pub trait Handler: Send + Sync {
    /// Processes one job. The returned value is stored as the result of the job. If its JSON is larger than
    /// 64 KiB, the job is dead-lettered. A panic counts as [`Failure::Retry`].
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure>;
}

impl<F> Handler for F
where
    F: Fn(&Attempt<'_>) -> Result<Value, Failure> + Send + Sync,
{
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        self(attempt)
    }
}

/// Why an attempt did not complete. An error that `?` returns becomes [`Failure::Retry`], with its causes in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may help.
    Retry {
        /// Why it failed.
        error: String,
        /// The delay before the next attempt; none: the retry policy decides.
        after: Option<Duration>,
    },
    /// No other attempt can help.
    Permanent {
        /// Why it failed.
        error: String,
    },
    /// The attempt was told to stop (see [`Attempt::is_stopped`]), and the handler did.
    Stopped,
}

impl Failure {
    /// Another attempt may help. The retry policy of the route decides when it starts.
    pub fn retry(error: impl Into<String>) -> Self {
        Self::Retry { error: error.into(), after: None }
    }

    /// Another attempt may help after `delay`, of which 30 days count at most.
    pub fn retry_after(error: impl Into<String>, delay: Duration) -> Self {
        Self::Retry { error: error.into(), after: Some(delay) }
    }

    /// No other attempt can help: the job becomes a dead letter.
    pub fn permanent(error: impl Into<String>) -> Self {
        Self::Permanent { error: error.into() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(causes(&error))
    }
}

/// One run of a handler for a job: gives the handler the webhook, and tells it when to stop.
pub struct Attempt<'a> {
    pub(super) job: &'a ClaimedJob,
    pub(super) payload: &'a [u8],
    pub(super) policy: &'a Policy,
    pub(super) stop: &'a Arc<Signal>,
    pub(super) clock: &'a dyn Clock,
    /// The monotonic time at which the timeout of the route ends; none if the route has no timeout.
    pub(super) deadline: Option<Duration>,
    /// What was sent and answered.
    pub(super) kept: Mutex<Option<Delivery>>,
    /// What was found out about the target.
    pub(super) health: Mutex<Option<Health>>,
    /// The result as JSON, if it is not the value that the handler returns.
    pub(super) result: Mutex<Option<String>>,
    /// What the handler's program wrote last.
    pub(super) last_output: Mutex<Option<String>>,
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
    /// The webhook's id, a UUIDv7. It is the same for every attempt and every job of the webhook, so it is no key of
    /// an outside effect: use [`delivery_id`](Self::delivery_id).
    pub fn webhook_id(&self) -> String {
        self.job.lease.job.webhook.to_string()
    }

    /// The number of the attempt, over all runs of the job; 1 for the first.
    pub fn number(&self) -> u32 {
        self.job.attempt
    }

    /// The number of the run: 1, increased by every retry by hand and every replay.
    pub fn run(&self) -> u32 {
        self.job.run
    }

    /// The name of what this attempt delivers: the same for every attempt of a run, and different for every other
    /// route, webhook or run. It has no dots, which Standard Webhooks forbids in `webhook-id`.
    pub fn delivery_id(&self) -> String {
        delivery::delivery_id(self.job.lease.job.webhook, self.route(), self.run())
    }

    /// The route of the job.
    pub fn route(&self) -> &str {
        self.job.route.as_str()
    }

    /// The policy of the route when the attempt started, with the settings of the handler.
    pub(crate) fn policy(&self) -> &Policy {
        self.policy
    }

    /// The source of the webhook.
    pub fn source(&self) -> &str {
        self.job.source.as_str()
    }

    /// The sender's key.
    pub fn idempotency_key(&self) -> &str {
        self.job.idempotency_key.as_str()
    }

    /// The event type.
    pub fn event_type(&self) -> &str {
        self.job.event_type.as_str()
    }

    /// The payload, byte for byte as received.
    pub fn payload(&self) -> &[u8] {
        self.payload
    }

    /// The payload as a text; none if it is not UTF-8.
    pub fn payload_text(&self) -> Option<&str> {
        std::str::from_utf8(self.payload).ok()
    }

    /// The content type of the payload, such as `application/json`.
    pub fn content_type(&self) -> &str {
        self.job.content_type.as_str()
    }

    /// The payload, read from JSON as a `T`. Errors: [`Failure::Permanent`] if it does not fit `T`, because no retry
    /// changes that.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(self.payload).map_err(|error| {
            Failure::permanent(format!("the payload is not what the handler expects: {error}"))
        })
    }

    /// The token of the lease. It grows with every claim of the job, also after a retry by hand, so that a system which
    /// compares tokens can refuse an attempt that has lost its lease.
    pub fn lease_token(&self) -> u64 {
        self.job.lease.token
    }

    /// The `traceparent` of the current span, so that what the handler calls belongs to the trace of the webhook. If
    /// spans are not recorded, that of the span that accepted the webhook.
    pub fn traceparent(&self) -> String {
        let current = trace::context_of(&Span::current());
        current.as_ref().unwrap_or(&self.job.traceparent).as_str().to_owned()
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How much time is left until the timeout of the route; none if the route has no timeout.
    pub fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_sub(self.clock.monotonic()))
    }

    /// Keeps what the handler sent, and what was answered, with the attempt, so far as its limits allow. A later call
    /// replaces it.
    #[doc(hidden)]
    pub fn keep(&self, delivery: Delivery) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery.bounded());
    }

    /// Notes whether the target of the route is up or down, for the breaker of the route. A later call replaces it.
    /// Without a call, the attempt has found out nothing.
    #[doc(hidden)]
    pub fn note_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = Some(health);
    }

    /// Keeps a result, which is JSON, as it is written. If the handler completes, it takes the place of the value that the
    /// handler returns.
    pub(crate) fn keep_result(&self, json: String) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(json);
    }

    /// Keeps what the handler's program wrote last, for the error of an attempt that the timeout ends.
    pub(crate) fn keep_last_output(&self, text: String) {
        *self.last_output.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Why the attempt fails if the handler stops because of the timeout; none if it was not told to stop.
    pub(super) fn overdue(&self) -> Option<String> {
        let timeout = self.policy.timeout.filter(|_| self.is_stopped())?;
        let error = format!("the attempt took longer than its timeout of {timeout:?}");
        let last_output = self.last_output.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(match last_output.filter(|text| !text.is_empty()) {
            Some(text) => format!("{error}: {text}"),
            None => error,
        })
    }

    /// Whether the handler should stop, because the lease was lost, the shutdown grace is over, or the
    /// timeout of the route is over.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_raised() || self.time_left() == Some(Duration::ZERO)
    }

    /// Ready once the handler should stop. For handlers that wait for something else at the same time.
    pub async fn stopped(&self) {
        let timeout = match self.time_left() {
            Some(left) => self.clock.sleep(left),
            None => std::future::pending().boxed(),
        };
        let stop = std::pin::pin!(self.stop.raised());
        futures::future::select(timeout, stop).await;
    }

    /// Sleeps for `time`. If the attempt has to stop, returns [`Failure::Stopped`] at once.
    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let at_most = self.time_left().map_or(time, |left| left.min(time));
        self.clock.wait(self.stop, at_most);
        if self.is_stopped() { Err(Failure::Stopped) } else { Ok(()) }
    }
}

/// The handlers by name.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<Box<str>, Arc<dyn Handler>>);

impl Registry {
    /// Adds a handler under the name that routes use; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: impl Into<Box<str>>, handler: impl Handler + 'static) -> Self {
        self.0.insert(name.into(), Arc::new(handler));
        self
    }

    /// The handler of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Handler>> {
        self.0.get(name)
    }

    /// The names of all handlers, in the order of the alphabet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
