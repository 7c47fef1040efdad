//! Statistics, metrics and the probe for readiness.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::Service;
use super::breaker_view::BreakerView;
use super::recent::not_in_time;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::routes::RouteSettings;
use crate::sources::OnUnverified;
use crate::store::{Pause, PauseTarget, Probe, StatusCounts, StoreStats};
use crate::telemetry::metrics::WorkerCounts;
use crate::telemetry::store_gauges::RouteGauges;

/// For how long statistics are shared by callers that look again and again, and a check of the store by all: it writes a
/// row, and any client can ask for it.
pub(super) const SHARED_FOR: Duration = Duration::from_secs(1);

/// How long a caller waits for a check of the store. Shorter than the 4 s after which probes give up, so that they learn
/// what is wrong; longer than the 3 s for which a request waits for a connection to PostgreSQL.
const CHECK_TIME: Duration = Duration::from_millis(3_500);

/// How long metrics wait for the numbers of the store, and for the check of readiness. After that the gauges keep
/// their last values, and requests count as not served. It is shorter than the time-out of a metrics collector.
const METRICS_WAIT: Duration = Duration::from_secs(2);

/// What a check of the store has found.
#[derive(Clone, Debug)]
pub struct StoreCheck {
    /// The result of the probe.
    pub probe: Probe,
    /// All pauses in force, whatever the caller sees.
    pub pauses: Vec<Pause>,
}

/// The numbers of jobs, rates, workers and pauses.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Jobs by status, and webhooks without jobs.
    pub counts: StatusCounts,
    /// For how long the oldest waiting job has been due; 0 if no job is due. Jobs that are paused, held or
    /// behind another job of their order value do not count.
    pub oldest_due_seconds: f64,
    /// The worker threads of this process.
    pub workers: WorkerCounts,
    /// New webhooks per second that this process accepted, on average over the last 60 full seconds.
    pub accepted_per_second: f64,
    /// Jobs per second that this process completed, on average over the last 60 full seconds.
    pub completed_per_second: f64,
    /// The routes in the order of the settings; routes that are gone and still have jobs come last.
    pub routes: Vec<RouteStats>,
    /// The pauses in force.
    pub pauses: Vec<Pause>,
}

/// The numbers of a route.
#[derive(Clone, Debug)]
pub struct RouteStats {
    /// The route.
    pub route: RouteName,
    /// The settings in force; none if the route is gone from the settings, so that its jobs are held.
    pub settings: Option<Arc<RouteSettings>>,
    /// Its jobs by status.
    pub counts: StatusCounts,
    /// For how long its oldest waiting job has been due, also if the route is paused or gone; 0 if no job is
    /// due.
    pub oldest_due_seconds: f64,
    /// The pause of the route by its name.
    pub pause: Option<Pause>,
    /// For how many webhooks its `where` could not be evaluated since the settings were last read.
    pub match_failures: u64,
    /// Why the last of these evaluations failed.
    pub last_match_failure: Option<String>,
    /// Its breaker; none if it has none, or is gone from the settings.
    pub breaker: Option<BreakerView>,
}

impl Service {
    /// The numbers of jobs, rates, workers and pauses.
    pub async fn stats(&self) -> Result<Stats> {
        Ok(self.stats_of(self.store.stats().await?))
    }

    /// The same as they were at most a second ago, for callers that look again and again: all of them share one read. None
    /// if the store could not be read.
    pub async fn recent_stats(&self) -> Option<Stats> {
        let store = Arc::clone(&self.store);
        let stats = self.recent_stats.get(&self.clock, async move { store.stats().await }).await.ok()?;
        Some(self.stats_of(stats))
    }

    /// What the caller sees of statistics.
    fn stats_of(&self, stats: StoreStats) -> Stats {
        let stats = self.seen_stats(stats);
        let now = self.clock.now();
        let (accepted_per_second, completed_per_second) = self.metrics.rates(self.clock.monotonic());
        let routes = self.route_stats(&stats, now);
        Stats {
            counts: stats.counts(),
            oldest_due_seconds: self.oldest_startable(&stats, now),
            workers: self.metrics.workers(),
            accepted_per_second,
            completed_per_second,
            routes,
            pauses: stats.pauses,
        }
    }

    /// The routes in the order of the settings; routes that are gone and still have jobs come last.
    pub async fn routes(&self) -> Result<Vec<RouteStats>> {
        Ok(self.route_stats(&self.seen_stats(self.store.stats().await?), self.clock.now()))
    }

    /// The pauses in force.
    pub async fn pauses(&self) -> Result<Vec<Pause>> {
        let mut pauses = self.store.pauses().await?;
        pauses.retain(|pause| self.sees_target(&pause.target));
        Ok(pauses)
    }

    /// For how many seconds the oldest waiting job has been due, without jobs that are paused or held.
    fn oldest_startable(&self, stats: &StoreStats, now: Timestamp) -> f64 {
        let policies = self.settings.routes().policies();
        let is_paused = |target: PauseTarget| stats.pauses.iter().any(|pause| pause.target == target);
        if is_paused(PauseTarget::Everything) {
            return 0.0;
        }
        stats
            .queues
            .iter()
            .filter(|queue| policies.get(&queue.route).is_some())
            .filter(|queue| !is_paused(PauseTarget::Route(queue.route.clone())))
            .filter(|queue| !is_paused(PauseTarget::Source(queue.source.clone())))
            .filter_map(|queue| queue.oldest_due)
            .map(|due| seconds_between(due, now))
            .fold(0.0, f64::max)
    }

    fn route_stats(&self, stats: &StoreStats, now: Timestamp) -> Vec<RouteStats> {
        let routes = self.settings.routes();
        let policies = routes.policies();
        let mut all = policies
            .iter()
            .map(|policy| (policies.place(&policy.route), policy.route.clone()))
            .chain(stats.queues.iter().map(|queue| (policies.place(&queue.route), queue.route.clone())))
            .filter(|(_, route)| self.caller.sees_route(route))
            .map(|(place, route)| {
                // They are those of all sources.
                let failures = routes.failures(&route).filter(|_| !self.caller.has_limited_sources());
                let settings = routes.settings(&route).map(|settings| self.seen_settings(settings));
                let breaker = stats.breakers.iter().find(|breaker| breaker.route == route);
                let trip = breaker.map(|breaker| breaker.trip);
                let empty = RouteStats {
                    breaker: settings
                        .as_deref()
                        .and_then(|settings| BreakerView::new(&settings.policy, trip, now)),
                    settings,
                    counts: StatusCounts::default(),
                    oldest_due_seconds: 0.0,
                    pause: stats
                        .pauses
                        .iter()
                        .find(|pause| pause.target == PauseTarget::Route(route.clone()))
                        .cloned(),
                    match_failures: failures.as_ref().map_or(0, |failures| failures.count),
                    last_match_failure: failures.and_then(|failures| failures.last_error),
                    route: route.clone(),
                };
                ((place, route), empty)
            })
            .collect::<BTreeMap<_, _>>();
        for queue in &stats.queues {
            let Some(route) = all.get_mut(&(policies.place(&queue.route), queue.route.clone())) else {
                continue;
            };
            route.counts.add(&queue.counts);
            let due = queue.oldest_due.map_or(0.0, |due| seconds_between(due, now));
            route.oldest_due_seconds = route.oldest_due_seconds.max(due);
        }
        all.into_values().filter(|route| route.settings.is_some() || route.counts.total() > 0).collect()
    }

    /// All metrics, in the OpenMetrics text format. `is_ready` checks whether requests can be served; a check
    /// that takes too long counts as a failure.
    pub async fn openmetrics(&self, is_ready: impl Future<Output = bool>) -> Result<String> {
        // A reload may have added routes. Their counters need not exist before metrics are asked for.
        for policy in self.settings.routes().policies().iter() {
            self.metrics.add_route(policy.route.as_str(), Some(policy.handler.name()));
            if policy.breaker().is_some() {
                self.metrics.add_breaker(policy.route.as_str());
            }
        }
        for source in self.sources().values() {
            if source.rules.on_unverified == OnUnverified::Quarantine {
                self.metrics.add_quarantine(source.name.as_str());
            }
        }
        let sources = self.sources();
        let sources = sources.values().map(|source| (source.name.as_str(), source.rules.verifies()));
        self.metrics.set_sources(sources);
        // If the store fails or is slow, the metrics are returned all the same: operators need them then.
        let service = self.clone();
        let reading = self.gauges.get(&self.clock, async move { service.read_store().await });
        let (is_ready, _) = tokio::join!(
            tokio::time::timeout(METRICS_WAIT, is_ready),
            tokio::time::timeout(METRICS_WAIT, reading),
        );
        self.metrics.set_ready(is_ready.unwrap_or(false));
        self.metrics.set_pull_polls(self.work.waiting());
        self.metrics.encode().map_err(Error::internal)
    }

    /// Sets the gauges of the store. After an error, those that were not read keep their values.
    async fn read_store(&self) -> Result<()> {
        let stats = self.stats().await?;
        for gone in stats.routes.iter().filter(|route| route.settings.is_none()) {
            self.metrics.add_route(gone.route.as_str(), None);
        }
        let shown = stats.routes.iter().map(|route| route.route.as_str()).collect::<HashSet<_>>();
        self.metrics.keep_routes(|route| shown.contains(route));
        let routes = stats.routes.iter().map(|route| RouteGauges {
            route: route.route.as_str(),
            counts: Status::OF_JOBS.map(|status| (status, route.counts.of(status))),
            oldest_due_seconds: route.oldest_due_seconds,
            is_paused: route.pause.is_some(),
            held_jobs: if route.settings.is_none() { route.counts.unfinished() } else { 0 },
            match_failures: route.match_failures,
            breaker: route.breaker.map(|breaker| breaker.number()),
        });
        let unrouted =
            [Status::Filtered, Status::Quarantined].map(|status| (status.as_str(), stats.counts.of(status)));
        let pauses = stats.pauses.iter().map(|pause| match &pause.target {
            PauseTarget::Everything => ("everything", ""),
            PauseTarget::Route(route) => ("route", route.as_str()),
            PauseTarget::Source(source) => ("source", source.as_str()),
        });
        self.metrics.store().set(routes, unrouted, stats.oldest_due_seconds, pauses);
        self.metrics.store().set_bytes(self.store.size_bytes().await?);
        Ok(())
    }

    /// Checks whether the store can be written, and reads the pauses. A success is shared for [`SHARED_FOR`]. Errors: those
    /// of the store; `StoreUnavailable` after [`CHECK_TIME`]. The check goes on then, because the store does not stop for its
    /// callers, and the next caller waits for the same one.
    pub async fn check_store(&self) -> Result<StoreCheck> {
        let store = Arc::clone(&self.store);
        let checking = async move {
            let probe = store.probe().await?;
            Ok::<_, Error>(StoreCheck { probe, pauses: store.pauses().await? })
        };
        let checked = timeout(CHECK_TIME, self.checks.get(&self.clock, checking));
        checked.await.unwrap_or_else(|late| Err(not_in_time(late)))
    }
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}
