//! Counts, rates, metrics, readiness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::Service;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::policy::Policy;
use crate::domain::route::RouteName;
use crate::store::{Pause, PauseTarget, Probe, StatusCounts, StoreStats};
use crate::telemetry::metrics::{RouteGauges, WorkerCounts};

/// For how long a store that could be written counts as such: probes are synced writes, and
/// anybody may ask.
const PROBE_HOLDS: SignedDuration = SignedDuration::from_secs(1);

/// How long metrics wait for the store's numbers; without them the last ones stand. Less than
/// programs that collect metrics wait.
const METRICS_WAIT: Duration = Duration::from_secs(2);

/// Looks at the store, one after the other.
#[derive(Debug, Default)]
pub(super) struct Probes {
    ended: AtomicU64,
    /// When the last one ended and what it found; of an error, its text.
    last: Mutex<Option<(Timestamp, std::result::Result<Probe, String>)>>,
}

/// What the inbox holds and how fast it moves.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Jobs by status, and webhooks without jobs.
    pub counts: StatusCounts,
    /// For how long the oldest job that may start has been due.
    pub oldest_due_seconds: f64,
    /// The worker threads.
    pub workers: WorkerCounts,
    /// New webhooks a second over the last minute.
    pub accepted_per_second: f64,
    /// Completed jobs a second over the last minute.
    pub completed_per_second: f64,
    /// Each route, in the order of the settings; those that are gone and have jobs come last.
    pub routes: Vec<RouteStats>,
    /// Everything that is paused.
    pub pauses: Vec<Pause>,
}

/// What a route holds.
#[derive(Clone, Debug)]
pub struct RouteStats {
    /// The route.
    pub route: RouteName,
    /// Its policy; none if the settings do not have the route, and its jobs are held.
    pub policy: Option<Arc<Policy>>,
    /// Its jobs by status.
    pub counts: StatusCounts,
    /// For how long its oldest job has been due.
    pub oldest_due_seconds: f64,
    /// Since when the route itself is paused.
    pub paused_since: Option<Timestamp>,
    /// How many times its `where` could not be evaluated since the settings were read.
    pub match_failures: u64,
    /// Why it could not be evaluated last.
    pub last_match_failure: Option<String>,
}

impl Service {
    /// Counts and rates.
    pub async fn stats(&self) -> Result<Stats> {
        let stats = self.store.stats().await?;
        let now = self.clock.now();
        let (accepted_per_second, completed_per_second) = self.metrics.rates(now);
        let routes = self.route_stats(&stats, now);
        Ok(Stats {
            counts: stats.counts(),
            oldest_due_seconds: self.oldest_startable(&stats, now),
            workers: self.metrics.workers(),
            accepted_per_second,
            completed_per_second,
            routes,
            pauses: stats.pauses,
        })
    }

    /// Each route with what it holds, in the order of the settings; those that are gone and have jobs
    /// come last.
    pub async fn routes(&self) -> Result<Vec<RouteStats>> {
        Ok(self.route_stats(&self.store.stats().await?, self.clock.now()))
    }

    /// Everything that is paused.
    pub async fn pauses(&self) -> Result<Vec<Pause>> {
        self.store.pauses().await
    }

    /// For how long the oldest job has been due that neither a pause nor a missing route holds.
    fn oldest_startable(&self, stats: &StoreStats, now: Timestamp) -> f64 {
        let policies = self.routes.get().policies();
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
        let routes = self.routes.get();
        let policies = routes.policies();
        let mut all = policies
            .iter()
            .map(|policy| (policies.place(&policy.route), policy.route.clone()))
            .chain(stats.queues.iter().map(|queue| (policies.place(&queue.route), queue.route.clone())))
            .map(|(place, route)| {
                let failures = routes.failures(&route);
                let empty = RouteStats {
                    policy: policies.get(&route).cloned(),
                    counts: StatusCounts::default(),
                    oldest_due_seconds: 0.0,
                    paused_since: stats
                        .pauses
                        .iter()
                        .find(|pause| pause.target == PauseTarget::Route(route.clone()))
                        .map(|pause| pause.since),
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
        all.into_values().filter(|route| route.policy.is_some() || route.counts.total() > 0).collect()
    }

    /// All metrics, in the form Prometheus reads.
    pub async fn metrics(&self) -> Result<String> {
        // A store at fault is a reason to look at the metrics, not to withhold them.
        if let Ok(Ok(stats)) = tokio::time::timeout(METRICS_WAIT, self.stats()).await {
            let routes = stats.routes.iter().map(|route| RouteGauges {
                route: route.route.as_str(),
                counts: Status::OF_JOBS.map(|status| (status, route.counts.of(status))),
                oldest_due_seconds: route.oldest_due_seconds,
                is_paused: route.paused_since.is_some(),
                held_jobs: if route.policy.is_none() { route.counts.unfinished() } else { 0 },
                match_failures: route.match_failures,
            });
            let unrouted = [Status::Filtered, Status::Quarantined]
                .map(|status| (status.as_str(), stats.counts.of(status)));
            self.metrics.observe_store(routes, unrouted, stats.oldest_due_seconds, stats.pauses.len());
        }
        self.metrics.encode().map_err(Error::internal)
    }

    /// Whether the store can be written.
    pub async fn check_store(&self) -> Result<Probe> {
        let ended = self.probes.ended.load(Ordering::SeqCst);
        let mut last = self.probes.last.lock().await;
        // Concurrent callers share the result of one probe: a store that does not answer would
        // otherwise be waited for once more by each of them.
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
}

fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64().max(0.0)
}
