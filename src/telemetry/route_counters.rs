//! The counters of each route: attempts that ended, jobs that became dead letters, and openings of the breaker.

use std::borrow::Cow;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::metrics::label;
use crate::domain::attempt::Outcome;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempt {
    route: Cow<'static, str>,
    handler: Cow<'static, str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByRoute {
    pub(super) route: Cow<'static, str>,
}

/// The counters of each route.
#[derive(Debug, Default)]
pub(super) struct RouteCounters {
    attempts: Family<Attempt, Counter>,
    dead_letters: Family<ByRoute, Counter>,
    breaker_openings: Family<ByRoute, Counter>,
}

impl RouteCounters {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "attempts",
            "Attempts that ended, by route, handler and outcome",
            self.attempts.clone(),
        );
        registry.register(
            "dead_letters",
            "Jobs that became dead letters, by route; each time counts if a job was retried by hand",
            self.dead_letters.clone(),
        );
        registry.register(
            "breaker_openings",
            "How often this process has opened the breaker of a route, for the first time or again after a failed probe",
            self.breaker_openings.clone(),
        );
    }

    /// Creates the counters of a route that do not exist yet. Without a handler, only that of dead letters.
    pub(super) fn add(&self, route: &str, handler: Option<&str>) {
        self.dead_letters.get_or_create(&ByRoute { route: label(route) }).inc_by(0);
        let Some(handler) = handler else { return };
        for outcome in Outcome::ALL {
            self.attempts.get_or_create(&attempt(route, handler, outcome.as_str())).inc_by(0);
        }
    }

    /// Creates the counter of a route with a breaker, if it does not exist yet.
    pub(super) fn add_breaker(&self, route: &str) {
        self.breaker_openings.get_or_create(&ByRoute { route: label(route) }).inc_by(0);
    }

    pub(super) fn breaker_opened(&self, route: &str) {
        self.breaker_openings.get_or_create(&ByRoute { route: label(route) }).inc();
    }

    pub(super) fn attempted(&self, route: &str, handler: &str, outcome: &'static str) {
        self.attempts.get_or_create(&attempt(route, handler, outcome)).inc();
    }

    pub(super) fn dead_lettered(&self, route: &str) {
        self.dead_letters.get_or_create(&ByRoute { route: label(route) }).inc();
    }
}

fn attempt(route: &str, handler: &str, outcome: &'static str) -> Attempt {
    Attempt { route: label(route), handler: label(handler), outcome }
}
