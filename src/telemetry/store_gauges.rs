//! The gauges of what the store holds. They are set only when a client asks for metrics.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::{ByWhat, label};
use super::route_counters::ByRoute;
use crate::domain::job::Status;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByStatus {
    route: Cow<'static, str>,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPause {
    scope: &'static str,
    name: Cow<'static, str>,
}

/// The gauges of the store.
#[derive(Debug, Default)]
pub struct StoreGauges {
    jobs: Family<ByStatus, Gauge>,
    unrouted: Family<ByWhat, Gauge>,
    oldest_due_seconds: Gauge<f64, AtomicU64>,
    route_oldest_due_seconds: Family<ByRoute, Gauge<f64, AtomicU64>>,
    route_paused: Family<ByRoute, Gauge>,
    route_held_jobs: Family<ByRoute, Gauge>,
    route_match_failures: Family<ByRoute, Gauge>,
    breaker_state: Family<ByRoute, Gauge>,
    /// The routes that have gauges, to remove those of a route that is gone.
    routes: Mutex<HashSet<String>>,
    pauses: Gauge,
    paused: Family<ByPause, Gauge>,
    /// The pauses that have gauges, to remove those of a pause that is over.
    known_pauses: Mutex<HashSet<ByPause>>,
    bytes: Gauge,
}

/// The values for the gauges of a route.
#[derive(Debug)]
pub struct RouteGauges<'a> {
    /// The name of the route.
    pub route: &'a str,
    /// Its jobs by status.
    pub counts: [(Status, u64); 6],
    /// For how long its oldest waiting job has been due; 0 if no job is due.
    pub oldest_due_seconds: f64,
    /// Whether the route is paused by its name.
    pub is_paused: bool,
    /// Its unfinished jobs if the route is gone from the settings; else 0.
    pub held_jobs: u64,
    /// For how many webhooks its `where` could not be evaluated since the settings were last read.
    pub match_failures: u64,
    /// The state of its breaker: 0 closed, 1 half-open, 2 open; none if the route has no breaker.
    pub breaker: Option<i64>,
}

impl StoreGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("jobs", "Jobs in the store, by route and status", self.jobs.clone());
        registry.register(
            "unrouted",
            "Webhooks in the store that have no jobs: filtered, quarantined",
            self.unrouted.clone(),
        );
        registry.register_with_unit(
            "oldest_due",
            "For how long the oldest waiting job has been due; without jobs that are paused, held or behind another of \
             their order value",
            Unit::Seconds,
            self.oldest_due_seconds.clone(),
        );
        registry.register_with_unit(
            "route_oldest_due",
            "For how long the oldest waiting job of a route has been due, also if the route is paused or gone",
            Unit::Seconds,
            self.route_oldest_due_seconds.clone(),
        );
        registry.register(
            "route_paused",
            "1 if the route is paused by its name, else 0",
            self.route_paused.clone(),
        );
        registry.register(
            "route_held_jobs",
            "Unfinished jobs of a route that is gone from the settings; 0 for any other route",
            self.route_held_jobs.clone(),
        );
        registry.register(
            "route_match_failures",
            "Webhooks for which the `where` of a route could not be evaluated, since the start or the last reload",
            self.route_match_failures.clone(),
        );
        registry.register(
            "breaker_state",
            "The breaker of a route: 0 closed, 1 half-open, 2 open; not there if the route has no breaker",
            self.breaker_state.clone(),
        );
        registry.register("pauses", "Pauses in force", self.pauses.clone());
        registry.register(
            "paused",
            "1 for each pause in force; `scope` is everything, route or source, and `name` that of the route or source",
            self.paused.clone(),
        );
        registry.register_with_unit(
            "store",
            "Size of the SQLite file with its write-ahead log, or of the tables in PostgreSQL with their indexes",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }

    /// Sets the size of the store.
    pub fn set_bytes(&self, bytes: u64) {
        self.bytes.set(gauge(bytes));
    }

    /// Sets all gauges but the size of the store.
    pub fn set<'a>(
        &self,
        routes: impl IntoIterator<Item = RouteGauges<'a>>,
        unrouted: impl IntoIterator<Item = (&'static str, u64)>,
        oldest_due_seconds: f64,
        pauses: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) {
        let mut shown = HashSet::new();
        for gauges in routes {
            shown.insert(gauges.route.to_owned());
            let by_route = ByRoute { route: label(gauges.route) };
            for (status, count) in gauges.counts {
                let labels = ByStatus { route: label(gauges.route), status: status.as_str() };
                self.jobs.get_or_create(&labels).set(gauge(count));
            }
            self.route_oldest_due_seconds.get_or_create(&by_route).set(gauges.oldest_due_seconds);
            self.route_paused.get_or_create(&by_route).set(gauges.is_paused.into());
            self.route_held_jobs.get_or_create(&by_route).set(gauge(gauges.held_jobs));
            self.route_match_failures.get_or_create(&by_route).set(gauge(gauges.match_failures));
            if let Some(state) = gauges.breaker {
                self.breaker_state.get_or_create(&by_route).set(state);
            } else {
                self.breaker_state.remove(&by_route);
            }
        }
        let before = std::mem::replace(
            &mut *self.routes.lock().unwrap_or_else(PoisonError::into_inner),
            shown.clone(),
        );
        before.difference(&shown).for_each(|route| self.forget(route));
        for (what, count) in unrouted {
            self.unrouted.get_or_create(&ByWhat { what }).set(gauge(count));
        }
        self.oldest_due_seconds.set(oldest_due_seconds);
        let pauses = pauses.into_iter().map(|(scope, name)| ByPause { scope, name: label(name) });
        self.set_pauses(pauses.collect());
    }

    fn set_pauses(&self, pauses: HashSet<ByPause>) {
        self.pauses.set(pauses.len() as i64);
        for pause in &pauses {
            self.paused.get_or_create(pause).set(1);
        }
        let mut known = self.known_pauses.lock().unwrap_or_else(PoisonError::into_inner);
        for over in known.difference(&pauses) {
            self.paused.remove(over);
        }
        *known = pauses;
    }

    /// Removes the gauges of a route that is gone and has no jobs.
    fn forget(&self, route: &str) {
        for status in Status::OF_JOBS {
            self.jobs.remove(&ByStatus { route: label(route), status: status.as_str() });
        }
        let by_route = ByRoute { route: label(route) };
        self.route_oldest_due_seconds.remove(&by_route);
        self.route_paused.remove(&by_route);
        self.route_held_jobs.remove(&by_route);
        self.route_match_failures.remove(&by_route);
        self.breaker_state.remove(&by_route);
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
