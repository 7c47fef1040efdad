//! Counters, gauges and histograms in the OpenMetrics format, which Prometheus reads.
//!
//! Labels have few values: sources, routes, handlers, statuses, reasons, paths. Ids, keys and event types are
//! never labels.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::alerts::Alerts;
use super::commits::Commits;
use super::history::History;
use super::pool_gauges::PoolGauges;
pub use super::pool_gauges::WorkerCounts;
use super::quarantine::Quarantine;
use super::rates::Rate;
use super::route_counters::RouteCounters;
use super::source_counters::SourceCounters;
pub use super::stopwatch::Stopwatch;
use super::store_gauges::StoreGauges;
use super::submissions::Submissions;
use super::tasks::VitalTasks;
use crate::domain::attempt::Outcome;
use crate::domain::verdict::Cause;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    api: &'static str,
    endpoint: Cow<'static, str>,
    code: Cow<'static, str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByWhat {
    pub(super) what: &'static str,
}

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    submissions: Submissions,
    quarantine: Quarantine,
    requests: Family<Request, Counter>,
    sources: SourceCounters,
    routes: RouteCounters,
    leases_lost: Counter,
    store: StoreGauges,
    pool: PoolGauges,
    commits: Commits,
    purged: Family<ByWhat, Counter>,
    accepted_rate: Rate,
    completed_rate: Rate,
    alerts: Alerts,
    history: History,
    vital_tasks: VitalTasks,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::default();
        #[cfg(target_os = "linux")]
        all.register_collector(Box::new(super::process::ProcessCollector::default()));
        let registry = all.sub_registry_with_prefix("hookbox");
        let metrics = Self {
            submissions: Submissions::default(),
            quarantine: Quarantine::default(),
            requests: Family::default(),
            sources: SourceCounters::default(),
            routes: RouteCounters::default(),
            leases_lost: Counter::default(),
            store: StoreGauges::default(),
            pool: PoolGauges::default(),
            commits: Commits::default(),
            purged: Family::default(),
            accepted_rate: Rate::default(),
            completed_rate: Rate::default(),
            alerts: Alerts::default(),
            history: History::default(),
            vital_tasks: VitalTasks::default(),
            registry: Registry::default(),
        };
        metrics.submissions.register(registry);
        metrics.quarantine.register(registry);
        registry.register(
            "requests",
            "Requests answered, by API, endpoint and code",
            metrics.requests.clone(),
        );
        metrics.sources.register(registry);
        metrics.routes.register(registry);
        registry.register(
            "leases_lost",
            "Attempts whose outcome does not count, because their lease was lost before",
            metrics.leases_lost.clone(),
        );
        metrics.store.register(registry);
        metrics.pool.register(registry);
        metrics.commits.register(registry);
        registry.register(
            "purged",
            "What was removed after its retention: payloads, or whole webhooks",
            metrics.purged.clone(),
        );
        registry.register(
            "build",
            "The version of hookbox",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        // Creates its counters, so that they begin at 0; see `add_route`.
        metrics.purged(0, 0);
        Self { registry: all, ..metrics }
    }
}

impl Metrics {
    /// Counts a submitted webhook. `outcome` is `accepted`, `duplicate`, `duplicate_other_content`, or the reason of the
    /// refusal.
    pub fn submitted(&self, source: &str, outcome: &'static str, took: Stopwatch) {
        self.submissions.count(source, outcome, took);
        self.history.submitted(source, outcome, took.elapsed());
    }

    /// Counts a request that is refused before its webhooks are submitted, other than for what verifying it found: only for
    /// the page. `reason` is that of the refusal.
    pub fn refused(&self, source: &str, reason: &'static str) {
        self.history.refused(source, reason);
    }

    /// Counts a new webhook for the rate of accepted webhooks. `now` is monotonic.
    pub fn accepted(&self, now: Duration) {
        self.accepted_rate.add(now, 1);
    }

    /// Counts a webhook that was not verified. `action` is `stored`, `released`, `discarded`, or `refused_full` if the
    /// quarantine of its source had no room for it.
    pub fn quarantined(&self, source: &str, action: &'static str) {
        self.quarantine.count(source, action);
    }

    /// Creates the counters of a source that stores what is not verified, as [`add_route`](Self::add_route) does those
    /// of a route.
    pub fn add_quarantine(&self, source: &str) {
        self.quarantine.add(source);
    }

    /// Counts an answered request. `api` is `rest` or `grpc`, `endpoint` the path or method, `code` the HTTP
    /// status or gRPC code.
    pub fn answered(&self, api: &'static str, endpoint: &str, code: &str) {
        self.requests.get_or_create(&Request { api, endpoint: label(endpoint), code: label(code) }).inc();
    }

    /// Counts a request of a source. `verdict` is the word of its verdict, `handshake`, `malformed` or
    /// `unauthorized`.
    pub fn source_request(&self, source: &str, verdict: &'static str, cause: Option<Cause>) {
        self.sources.count(source, verdict, cause);
    }

    /// Notes that a source sends: a request is verified, or nothing verifies it.
    pub fn source_seen(&self, source: &str, at: Timestamp) {
        self.sources.saw(source, at);
    }

    /// Sets which sources have series, each with whether it verifies requests. New series begin at 0, as those of
    /// [`add_route`](Self::add_route) do.
    pub fn set_sources<'a>(&self, sources: impl IntoIterator<Item = (&'a str, bool)> + Clone) {
        sources.clone().into_iter().for_each(|(source, _)| self.submissions.add(source));
        for gone in self.sources.set(sources) {
            self.submissions.forget(&gone);
            self.quarantine.forget(&gone);
        }
    }

    /// Counts an attempt that has ended.
    pub fn attempted(&self, route: &str, handler: &str, outcome: &'static str, took: Duration) {
        self.routes.attempted(route, handler, outcome, took);
        self.history.attempted(route, outcome == Outcome::Completed.as_str(), took);
    }

    /// Counts an attempt that a take-over ended. How long its handler ran is not known.
    pub fn interrupted(&self, route: &str, handler: &str) {
        self.routes.interrupted(route, handler);
        self.history.interrupted(route);
    }

    /// Counts a job that became a dead letter.
    pub fn dead_lettered(&self, route: &str) {
        self.routes.dead_lettered(route);
        self.history.dead_lettered(route);
    }

    /// Counts a breaker that this process has opened, for the first time or again.
    pub fn breaker_opened(&self, route: &str) {
        self.routes.breaker_opened(route);
    }

    /// Creates the counter of a route with a breaker, as [`add_route`](Self::add_route) does the others.
    pub fn add_breaker(&self, route: &str) {
        self.routes.add_breaker(route);
    }

    /// Creates the series of a route, so that they begin at 0: Prometheus counts no increase for the first value
    /// of a series. Does nothing if they exist. `handler` is none for a route that is gone from the settings.
    pub fn add_route(&self, route: &str, handler: Option<&str>) {
        self.routes.add(route, handler);
    }

    /// Removes the series of every route for which `is_kept` returns false: one that is gone and has no jobs.
    pub fn keep_routes(&self, is_kept: impl Fn(&str) -> bool) {
        self.routes.keep(is_kept);
    }

    /// Counts a completed job for the rate of completed jobs. `now` is monotonic.
    pub fn completed(&self, now: Duration) {
        self.completed_rate.add(now, 1);
        self.history.completed();
    }

    /// Counts a job that was claimed, and its thread as busy. `waited` is the time from when the job was due.
    pub fn claimed(&self, route: &str, waited: Duration) {
        self.leased(route, waited);
        self.pool.claimed();
    }

    /// Counts a job that was leased to a worker elsewhere. `waited` is the time from when the job was due.
    pub fn leased(&self, route: &str, waited: Duration) {
        self.routes.waited(route, waited);
        self.history.waited(waited);
    }

    /// Sets how many requests of workers wait for jobs.
    pub fn set_pull_polls(&self, polls: usize) {
        self.pool.set_pull_polls(polls);
    }

    /// Counts threads as idle again.
    pub fn released(&self, workers: usize) {
        self.pool.released(workers);
    }

    /// Counts a thread whose attempt was abandoned.
    pub fn abandoned(&self) {
        self.pool.abandoned();
    }

    /// Counts a thread as abandoned no longer, because its handler has returned.
    pub fn abandoned_returned(&self) {
        self.pool.abandoned_returned();
    }

    /// Counts an attempt whose lease was lost before its outcome was stored.
    pub fn lease_lost(&self) {
        self.leases_lost.inc();
    }

    /// Sets whether requests can be served.
    pub fn set_ready(&self, ready: bool) {
        self.pool.set_ready(ready);
    }

    /// Sets the number of worker threads.
    pub fn set_workers(&self, total: usize) {
        self.pool.set_workers(total);
    }

    /// The numbers of worker threads now.
    pub fn workers(&self) -> WorkerCounts {
        self.pool.workers()
    }

    /// Counts a committed transaction with this many commands.
    pub fn committed(&self, took: Stopwatch, commands: usize) {
        self.commits.committed(took, commands);
    }

    /// Counts a transaction that could not be written.
    pub fn commit_failed(&self) {
        self.commits.failed();
    }

    /// Counts payloads and whole webhooks that were removed after their retention.
    pub fn purged(&self, payloads: usize, webhooks: usize) {
        self.purged.get_or_create(&ByWhat { what: "payload" }).inc_by(payloads as u64);
        self.purged.get_or_create(&ByWhat { what: "webhook" }).inc_by(webhooks as u64);
    }

    /// The gauges of the store.
    pub fn store(&self) -> &StoreGauges {
        &self.store
    }

    /// The alerts. They are here because every layer that has something to raise has the metrics.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// What happened in the last 60 minutes, for the page.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The tasks without which the process must not go on. They are here because every layer that has some has the metrics.
    pub fn vital_tasks(&self) -> &VitalTasks {
        &self.vital_tasks
    }

    /// New webhooks accepted, and jobs completed, per second, on average over the last 60 full seconds.
    /// `now` is monotonic.
    pub fn rates(&self, now: Duration) -> (f64, f64) {
        (self.accepted_rate.per_second(now), self.completed_rate.per_second(now))
    }

    /// All metrics, in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// A histogram of times from 0.25 ms to 8 s.
pub(super) fn short_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

/// The value of a label. The most frequent values need no allocation.
pub(super) fn label(text: &str) -> Cow<'static, str> {
    match text {
        "default" => Cow::Borrowed("default"),
        "simulate" => Cow::Borrowed("simulate"),
        "http" => Cow::Borrowed("http"),
        "exec" => Cow::Borrowed("exec"),
        "pull" => Cow::Borrowed("pull"),
        "/v1/webhooks" => Cow::Borrowed("/v1/webhooks"),
        "202" => Cow::Borrowed("202"),
        other => Cow::Owned(other.to_owned()),
    }
}
