//! The use cases, the same for both APIs.

pub mod rate_limit;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use self::rate_limit::OverLimit;
pub use self::rate_limit::{RateLimiter, RateState};
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::retry::RetryPolicy;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::store::{Accepted, ListQuery, Page, Probe, StatusCounts, Store};
use crate::telemetry::metrics::{Metrics, Stopwatch, WorkerCounts};

/// Webhooks on a page, if the client does not say.
pub const DEFAULT_PAGE_SIZE: usize = 50;

/// The most webhooks on a page.
pub const MAX_PAGE_SIZE: usize = 500;

/// What both APIs offer.
#[derive(Clone, Debug)]
pub struct Service {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    retry: RetryPolicy,
    limiter: Option<Arc<RateLimiter>>,
    probes: Arc<Probes>,
}

/// Looks at the store, one after the other.
#[derive(Debug, Default)]
struct Probes {
    ended: AtomicU64,
    /// When the last one ended and what came of it; of an error, its text.
    last: Mutex<Option<(Timestamp, std::result::Result<Probe, String>)>>,
}

/// For how long a store that could be written counts as such: probes are synced writes, and
/// anybody may ask.
const PROBE_HOLDS: SignedDuration = SignedDuration::from_secs(1);

/// How long metrics wait for the store's numbers; without them the last ones stand. Less than
/// programs that collect metrics wait.
const METRICS_WAIT: Duration = Duration::from_secs(2);

/// The answer to a submission, and what is left of the rate limit.
#[derive(Debug)]
pub struct Submitted {
    /// What became of it.
    pub outcome: Result<Accepted>,
    /// The source's rate limit, if it has one.
    pub rate: Option<RateState>,
}

/// What the inbox holds and how fast it moves.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Webhooks by status.
    pub counts: StatusCounts,
    /// For how long the oldest waiting job has been due.
    pub oldest_due_seconds: f64,
    /// The worker threads.
    pub workers: WorkerCounts,
    /// New webhooks a second over the last minute.
    pub accepted_per_second: f64,
    /// Completed webhooks a second over the last minute.
    pub completed_per_second: f64,
}

impl Service {
    /// The use cases over a store.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        retry: RetryPolicy,
        limiter: Option<Arc<RateLimiter>>,
    ) -> Self {
        Self { store, clock, metrics, retry, limiter, probes: Arc::default() }
    }

    /// Stores a webhook, or recognises it.
    pub async fn submit(&self, webhook: NewWebhook) -> Submitted {
        let took = Stopwatch::start();
        let source = webhook.source.clone();
        let (outcome, rate) = match self.limiter.as_ref().map(|limiter| limiter.check(&source)) {
            Some(Err(refused)) => {
                let OverLimit { error, state } = *refused;
                (Err(error), Some(state))
            }
            Some(Ok(state)) => (self.store.accept(webhook).await, Some(state)),
            None => (self.store.accept(webhook).await, None),
        };
        let word = match &outcome {
            Ok(accepted) if accepted.duplicate => "duplicate",
            Ok(accepted) => {
                self.metrics.accepted(accepted.webhook.accepted_at);
                "accepted"
            }
            Err(error) => error.reason().as_str(),
        };
        self.metrics.submitted(source.as_str(), word, took);
        Submitted { outcome, rate }
    }

    /// The status of a webhook.
    pub async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        self.store.status(name).await
    }

    /// All of a webhook.
    pub async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        self.store.webhook(id).await
    }

    /// One page of webhooks, newest first.
    pub async fn list(&self, query: ListQuery) -> Result<Page> {
        self.store.list(query).await
    }

    /// The status as it is now, and every change of it until a final one.
    pub async fn watch(&self, name: WebhookName) -> Result<BoxStream<'static, Result<WebhookStatus>>> {
        watch::watch(Arc::clone(&self.store), name).await
    }

    /// Runs a dead-lettered or cancelled webhook again.
    pub async fn retry(&self, id: WebhookId) -> Result<WebhookStatus> {
        self.store.retry(id, self.retry.max_attempts()).await
    }

    /// Cancels a waiting webhook.
    pub async fn cancel(&self, id: WebhookId) -> Result<WebhookStatus> {
        self.store.cancel(id).await
    }

    /// Counts and rates.
    pub async fn stats(&self) -> Result<Stats> {
        let stats = self.store.stats().await?;
        let now = self.clock.now();
        let (accepted_per_second, completed_per_second) = self.metrics.rates(now);
        Ok(Stats {
            counts: stats.counts,
            oldest_due_seconds: stats.oldest_due.map_or(0.0, |due| seconds_between(due, now)),
            workers: self.metrics.workers(),
            accepted_per_second,
            completed_per_second,
        })
    }

    /// All metrics, in the form Prometheus reads.
    pub async fn metrics(&self) -> Result<String> {
        // A store at fault is a reason to look at the metrics, not to withhold them.
        if let Ok(Ok(stats)) = tokio::time::timeout(METRICS_WAIT, self.stats()).await {
            let counts = Status::ALL.map(|status| (status.as_str(), stats.counts.of(status)));
            self.metrics.observe_store(counts, stats.oldest_due_seconds);
        }
        self.metrics.encode().map_err(Error::internal)
    }

    /// Whether the store can be written.
    pub async fn check_store(&self) -> Result<Probe> {
        let ended = self.probes.ended.load(Ordering::SeqCst);
        let mut last = self.probes.last.lock().await;
        // Who waited for a probe takes what came of it: a store that does not answer would else be
        // waited for once more by each of those who ask.
        let waited = self.probes.ended.load(Ordering::SeqCst) > ended;
        let now = self.clock.now();
        let holds = |at: Timestamp| now.duration_since(at).abs() < PROBE_HOLDS;
        match &*last {
            Some((at, Ok(probe))) if waited || holds(*at) => return Ok(*probe),
            Some((_, Err(text))) if waited => {
                return Err(Error::store_unavailable(text.clone(), text.clone()));
            }
            _ => {}
        }
        let probe = self.store.probe().await;
        let outcome = probe.as_ref().map(Probe::clone).map_err(ToString::to_string);
        *last = Some((self.clock.now(), outcome));
        self.probes.ended.fetch_add(1, Ordering::SeqCst);
        probe
    }

    /// Where requests are counted.
    pub fn counters(&self) -> &Metrics {
        &self.metrics
    }
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}
