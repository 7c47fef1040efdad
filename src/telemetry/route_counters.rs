//! The series of each route: attempts that ended, how long they ran, how long jobs waited for their claim, jobs that became
//! dead letters, and openings of the breaker.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::metrics::label;
use crate::domain::attempt::Outcome;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempt {
    route: Cow<'static, str>,
    handler: Cow<'static, str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByHandler {
    route: Cow<'static, str>,
    handler: Cow<'static, str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ByRoute {
    pub(super) route: Cow<'static, str>,
}

/// Routes by name, each with the names of handlers.
type Known = HashMap<Cow<'static, str>, HashSet<Cow<'static, str>>>;

/// The series of each route.
#[derive(Debug)]
pub(super) struct RouteCounters {
    attempts: Family<Attempt, Counter>,
    attempt_seconds: Family<ByHandler, Histogram>,
    queue_wait_seconds: Family<ByRoute, Histogram>,
    dead_letters: Family<ByRoute, Counter>,
    breaker_openings: Family<ByRoute, Counter>,
    /// The routes that have series, and the handlers that series of them name.
    known: Mutex<Known>,
}

impl Default for RouteCounters {
    fn default() -> Self {
        let new: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 12));
        Self {
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(new),
            queue_wait_seconds: Family::new_with_constructor(new),
            dead_letters: Family::default(),
            breaker_openings: Family::default(),
            known: Mutex::default(),
        }
    }
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
        registry.register_with_unit(
            "attempt_duration",
            "How long attempts ran, from the start of the handler to its end, by route and handler",
            Unit::Seconds,
            self.attempt_seconds.clone(),
        );
        registry.register_with_unit(
            "queue_wait",
            "Time from when a job was due to its claim, by route",
            Unit::Seconds,
            self.queue_wait_seconds.clone(),
        );
    }

    /// Creates the series of a route that do not exist yet. Without a handler, only that of dead letters.
    pub(super) fn add(&self, route: &str, handler: Option<&str>) {
        self.note(route, handler);
        self.dead_letters.get_or_create(&by_route(route)).inc_by(0);
        let Some(handler) = handler else { return };
        drop(self.queue_wait_seconds.get_or_create(&by_route(route)));
        drop(self.attempt_seconds.get_or_create(&by_handler(route, handler)));
        for outcome in Outcome::ALL {
            self.attempts.get_or_create(&attempt(route, handler, outcome.as_str())).inc_by(0);
        }
    }

    /// Creates the counter of a route with a breaker, if it does not exist yet.
    pub(super) fn add_breaker(&self, route: &str) {
        self.note(route, None);
        self.breaker_openings.get_or_create(&by_route(route)).inc_by(0);
    }

    /// Removes the series of every route for which `is_kept` returns false.
    pub(super) fn keep(&self, is_kept: impl Fn(&str) -> bool) {
        let gone = self.lock().extract_if(|route, _| !is_kept(route)).collect::<Vec<_>>();
        for (route, handlers) in gone {
            self.forget(&route, &handlers);
        }
    }

    pub(super) fn breaker_opened(&self, route: &str) {
        self.note(route, None);
        self.breaker_openings.get_or_create(&by_route(route)).inc();
    }

    pub(super) fn attempted(&self, route: &str, handler: &str, outcome: &'static str, took: Duration) {
        self.ended(route, handler, outcome);
        self.attempt_seconds.get_or_create(&by_handler(route, handler)).observe(took.as_secs_f64());
    }

    /// Counts an attempt that a take-over ended.
    pub(super) fn interrupted(&self, route: &str, handler: &str) {
        self.ended(route, handler, Outcome::Interrupted.as_str());
    }

    /// Counts a job that was claimed. `waited` is the time from when it was due.
    pub(super) fn waited(&self, route: &str, waited: Duration) {
        self.note(route, None);
        self.queue_wait_seconds.get_or_create(&by_route(route)).observe(waited.as_secs_f64());
    }

    pub(super) fn dead_lettered(&self, route: &str) {
        self.note(route, None);
        self.dead_letters.get_or_create(&by_route(route)).inc();
    }

    fn ended(&self, route: &str, handler: &str, outcome: &'static str) {
        self.note(route, Some(handler));
        self.attempts.get_or_create(&attempt(route, handler, outcome)).inc();
    }

    /// Notes that a route has series, and one of a handler if it is given.
    fn note(&self, route: &str, handler: Option<&str>) {
        self.lock().entry(label(route)).or_default().extend(handler.map(label));
    }

    fn forget(&self, route: &str, handlers: &HashSet<Cow<'static, str>>) {
        for handler in handlers {
            for outcome in Outcome::ALL {
                self.attempts.remove(&attempt(route, handler, outcome.as_str()));
            }
            self.attempt_seconds.remove(&by_handler(route, handler));
        }
        let by_route = by_route(route);
        self.queue_wait_seconds.remove(&by_route);
        self.dead_letters.remove(&by_route);
        self.breaker_openings.remove(&by_route);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_route(route: &str) -> ByRoute {
    ByRoute { route: label(route) }
}

fn by_handler(route: &str, handler: &str) -> ByHandler {
    ByHandler { route: label(route), handler: label(handler) }
}

fn attempt(route: &str, handler: &str, outcome: &'static str) -> Attempt {
    Attempt { route: label(route), handler: label(handler), outcome }
}
