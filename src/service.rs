//! The use cases, the same for both APIs.

mod actions;
pub mod activity;
pub mod alerts;
mod apart;
pub mod arrivals;
pub mod breaker_view;
pub mod conflicts;
mod look;
pub mod match_view;
mod number_pages;
mod observe;
mod operate;
pub mod policy_view;
mod quarantine;
pub mod rate_limit;
pub mod receive;
mod recent;
pub mod reload;
pub mod replays;
mod sampling;
mod scope;
mod searches;
mod send_edited;
mod send_test;
mod sensitive;
pub mod shares;
pub mod source_view;
pub mod sources;
mod unserved;
pub mod until;
pub mod view;
mod watch;
pub mod work;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::level_filters::LevelFilter;

pub use self::actions::ActionPage;
use self::alerts::Silences;
pub use self::apart::apart;
use self::conflicts::Via;
pub use self::number_pages::{number_of_token, token_of_number};
use self::observe::SHARED_FOR;
pub use self::observe::{RouteStats, Stats, StoreCheck};
pub use self::operate::pause_target;
use self::rate_limit::OverLimit;
pub use self::rate_limit::{RateLimiter, RateState};
pub use self::receive::Receiving;
use self::recent::Recent;
use self::reload::SettingsInForce;
use self::searches::Searches;
pub use self::send_test::{MAX_TEST_BYTES, TestRequest};
use self::sensitive::Showings;
use self::shares::Shares;
pub use self::unserved::log_unserved;
use self::work::Work;
use crate::access::{Access, Caller};
use crate::domain::action::ActionReason;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::headers::CREDENTIALS;
use crate::domain::route::NewJob;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{IdempotencyKey, NewWebhook, Source};
use crate::routes::{Incoming, Routes};
pub use crate::sources::{Answers, Presets, SourceRules};
use crate::store::{Accepted, Store, StoreStats};
pub use crate::store::{
    Action, ActionQuery, ActionTarget, ListQuery, Moved, Page, Pause, PauseTarget, Replay, ReplayFilter,
    StatusCounts,
};
use crate::telemetry::metrics::{Metrics, Stopwatch};

/// How many webhooks a page has unless the client asks for another number.
pub const DEFAULT_PAGE_SIZE: usize = 50;

/// The most webhooks on a page.
pub const MAX_PAGE_SIZE: usize = 500;

/// Returns the headers of a request: names (in lower case) and values. Called only if a route needs them.
pub type Headers<'a> = dyn Fn() -> Vec<(String, String)> + Send + Sync + 'a;

/// The use cases of both APIs. Cheap to clone: each request has its own, on behalf of its caller.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
    /// On whose behalf the use cases run.
    caller: Arc<Caller>,
    /// Why the caller acts.
    reason: Option<ActionReason>,
}

/// What the use cases of all callers share.
#[derive(Debug)]
pub struct Shared {
    store: Arc<dyn Store>,
    settings: Arc<SettingsInForce>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    receiving: Arc<Receiving>,
    /// Checks of the store, which any client can ask for.
    checks: Recent<StoreCheck>,
    /// Reads of the gauges of the store. With `metrics_open`, any client can ask for them.
    gauges: Recent<()>,
    /// The statistics for callers that look again and again.
    recent_stats: Recent<StoreStats>,
    showings: Showings,
    searches: Searches,
    work: Arc<Work>,
    /// The places for streams of new webhooks, and those for watchers of one webhook.
    followers: Shares,
    watchers: Shares,
    silences: Silences,
    access: Arc<Access>,
    /// Notified when a replay was started here.
    replay_started: Notify,
}

impl Deref for Service {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// The outcome of a submission, and the state of the rate limit after it.
#[derive(Debug)]
pub struct Submitted {
    /// The webhook as it is stored, or why it was refused.
    pub outcome: Result<Accepted>,
    /// The rate limit of the source, and what is left of it; none if there is no limit.
    pub rate: Option<RateState>,
}

impl Service {
    /// The use cases over a store, on behalf of hookbox itself.
    pub fn new(
        store: Arc<dyn Store>,
        settings: Arc<SettingsInForce>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        receiving: Arc<Receiving>,
        work: Arc<Work>,
        access: Arc<Access>,
    ) -> Self {
        receiving.keep(&settings.sources());
        let caller = Arc::new(Caller::unlimited(Caller::ITSELF, None));
        let shared = Shared {
            store,
            settings,
            clock,
            metrics,
            receiving,
            checks: Recent::kept_for(SHARED_FOR),
            // Each scrape reads, but no two at once.
            gauges: Recent::kept_for(Duration::ZERO),
            recent_stats: Recent::kept_for(SHARED_FOR),
            showings: Showings::default(),
            searches: Searches::default(),
            work,
            followers: arrivals::places(),
            watchers: watch::places(),
            silences: Silences::default(),
            access,
            replay_started: Notify::new(),
        };
        Self { shared: Arc::new(shared), caller, reason: None }
    }

    /// Stores a webhook with a job for each route that matches it, or finds that it was accepted before.
    /// Errors: `RateLimited`; `InvalidField` for the source of hookbox's own webhooks; `Forbidden` for a source that the
    /// caller does not see; and those of [`Inbox::accept`](crate::store::Inbox::accept).
    ///
    /// `routes` are those of [`routes_for_caller`](Self::routes_for_caller) when the request came. `headers` returns the
    /// headers of the request, with names in lower case. It is called only if a route
    /// needs them. Headers with credentials are hidden from routes.
    pub async fn submit(
        &self,
        webhook: NewWebhook,
        routes: &Routes,
        headers: &Headers<'_>,
        via: Via,
    ) -> Submitted {
        let took = Stopwatch::start();
        let source = webhook.source.clone();
        if !self.caller.sees_source(&source) {
            // Not counted, and not under the limit of the source: the caller must not act on sources of others.
            let why = format!("the source `{source}` is not one of them");
            return Submitted { outcome: Err(self.caller.too_limited(&why)), rate: None };
        }
        // An operator who sends an edited webhook is not its sender.
        if via != Via::Edit {
            self.activity().note(&source, |seen| seen.last_seen = Some(self.arrived()));
        }
        // The store takes the webhook, so what is logged is copied before, if it is logged at all.
        let logged = (LevelFilter::current() >= LevelFilter::DEBUG)
            .then(|| (webhook.traceparent.clone(), webhook.idempotency_key.clone()));
        let (mut outcome, rate) = match self.receiving.limiter.check(&source, None, 1) {
            Err(refused) => {
                let OverLimit { error, state } = *refused;
                (Err(error), Some(state))
            }
            Ok(rate) => (self.accept(webhook, routes, headers).await, rate),
        };
        let word = self.count(&source, &outcome, took);
        if let Err(error) = &mut outcome {
            self.keep_refused(error, via).await;
        }
        if let Some((traceparent, key)) = logged {
            log(&traceparent, &source, &key, word, &outcome);
        }
        Submitted { outcome: outcome.map(|accepted| self.as_seen(accepted)), rate }
    }

    /// Counts a submission. Returns the outcome as in the metrics.
    fn count(&self, source: &Source, outcome: &Result<Accepted>, took: Stopwatch) -> &'static str {
        let word = match outcome {
            Ok(accepted) if accepted.other.is_some() => "duplicate_other_content",
            Ok(accepted) if accepted.duplicate => "duplicate",
            Ok(_) => {
                unserved::served();
                self.metrics.accepted(self.clock.monotonic());
                "accepted"
            }
            Err(error) => error.reason().as_str(),
        };
        self.metrics.submitted(source.as_str(), word, took);
        word
    }

    async fn accept(&self, webhook: NewWebhook, routes: &Routes, headers: &Headers<'_>) -> Result<Accepted> {
        if webhook.source.is_own() {
            let problem = "must not be `hookbox`, which is the source of hookbox's own webhooks";
            return Err(Error::invalid("source", problem));
        }
        let jobs = apart(webhook.payload.as_bytes().len(), || jobs_of(routes, &webhook, headers)).await;
        Ok(self.in_order(self.store.accept(webhook, jobs).await?))
    }

    /// The webhook with its jobs in the order of the settings.
    fn in_order(&self, accepted: Accepted) -> Accepted {
        Accepted { webhook: self.arranged(accepted.webhook), ..accepted }
    }

    /// The webhook as the caller sees it. The sender of a source has no token, and is told the status alone, which is that
    /// of all jobs.
    fn as_seen(&self, mut accepted: Accepted) -> Accepted {
        let (caller, jobs) = (&self.caller, &mut accepted.webhook.jobs);
        if caller.token_name().is_some() {
            jobs.retain(|job| caller.sees_route(&job.route));
        }
        for job in jobs.iter_mut().filter(|job| !caller.sees_route(&job.route)) {
            (job.last_error, job.next_attempt_at) = (None, None);
        }
        accepted
    }

    /// The metrics of this process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// A job for each of these routes that matches a webhook. Headers with credentials are hidden from routes.
fn jobs_of(routes: &Routes, webhook: &NewWebhook, headers: &Headers<'_>) -> Vec<NewJob> {
    let without_credentials = || {
        let mut headers = headers();
        headers.retain(|(name, _)| !CREDENTIALS.contains(&name.as_str()));
        headers
    };
    routes.jobs_of(&Incoming {
        source: &webhook.source,
        event_type: &webhook.event_type,
        key: &webhook.idempotency_key,
        payload: &webhook.payload,
        headers: &without_credentials,
    })
}

/// Logs the outcome of a submission. `word` is the outcome as in the metrics.
fn log(
    traceparent: &Traceparent,
    source: &Source,
    key: &IdempotencyKey,
    word: &'static str,
    outcome: &Result<Accepted>,
) {
    let (trace_id, source, idempotency_key) = (traceparent.trace_id(), source.as_str(), key.as_str());
    match outcome {
        Ok(Accepted { webhook, .. }) => {
            let routes = webhook.jobs.iter().map(|job| job.route.as_str()).collect::<Vec<_>>().join(", ");
            tracing::debug!(
                trace_id,
                webhook_id = %webhook.id,
                source,
                idempotency_key,
                event_type = webhook.event_type.as_str(),
                matched = routes,
                outcome = word,
                status = webhook.status().as_str(),
                "a submission is accepted"
            );
        }
        Err(error) => tracing::debug!(
            trace_id,
            source,
            idempotency_key,
            outcome = word,
            error = %error,
            "a submission is refused"
        ),
    }
}
