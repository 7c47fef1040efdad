//! The breakers of routes as a process knows them, and what it logs when one opens or closes. Both stores use it.

use std::collections::HashMap;

use crate::domain::alert::Alert;
use crate::domain::breaker::{Breaker, Trip};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::TrippedBreaker;
use crate::telemetry::metrics::Metrics;

/// What a process knows of the breakers. A route without an entry has a closed breaker and no failures.
#[derive(Clone, Debug, Default)]
pub(super) struct Breakers(HashMap<RouteName, Breaker>);

impl Breakers {
    /// The breaker of a route.
    pub(super) fn of(&self, route: &RouteName) -> Breaker {
        self.0.get(route).copied().unwrap_or_default()
    }

    /// What is stored of the breaker of a route; none if it is closed.
    pub(super) fn trip(&self, route: &RouteName) -> Option<Trip> {
        self.of(route).trip
    }

    /// The breakers that are not closed, in the order of their routes.
    pub(super) fn tripped(&self) -> Vec<TrippedBreaker> {
        let tripped = self.0.iter().filter_map(|(route, breaker)| Some((route, breaker.trip?)));
        let mut tripped =
            tripped.map(|(route, trip)| TrippedBreaker { route: route.clone(), trip }).collect::<Vec<_>>();
        tripped.sort_by(|one, other| one.route.cmp(&other.route));
        tripped
    }

    /// Replaces what is known of the breaker of a route.
    pub(super) fn set(&mut self, route: &RouteName, breaker: Breaker) {
        if breaker == Breaker::default() {
            self.0.remove(route);
        } else {
            self.0.insert(route.clone(), breaker);
        }
    }

    /// Takes the breakers that are stored. Failures count on, except those of breakers that were closed. Returns the
    /// routes whose breakers were stored otherwise before.
    pub(super) fn set_stored(&mut self, stored: &[TrippedBreaker]) -> Vec<RouteName> {
        let mut changed = Vec::new();
        for known in self.tripped() {
            if stored.iter().all(|stored| stored.route != known.route) {
                self.0.remove(&known.route);
                changed.push(known.route);
            }
        }
        for TrippedBreaker { route, trip } in stored {
            let known = self.of(route);
            if known.trip != Some(*trip) {
                self.set(route, Breaker { trip: Some(*trip), ..known });
                changed.push(route.clone());
            }
        }
        changed
    }
}

/// A breaker that has opened, or has been closed.
#[derive(Clone, Debug)]
pub(super) struct BreakerChange {
    pub(super) route: RouteName,
    /// The breaker after the change.
    pub(super) after: Breaker,
    cause: Cause,
}

/// Why a breaker has opened or has been closed.
#[derive(Clone, Debug)]
enum Cause {
    /// An attempt for a webhook of this source has ended, with this error.
    Attempt { source: Source, error: Option<String> },
    /// An operator has resumed the route.
    Operator,
}

impl BreakerChange {
    /// The change that the end of an attempt for a webhook of `source` has made; none if the breaker is stored as before.
    /// `error` is that of the attempt.
    pub(super) fn of_attempt(
        route: &RouteName,
        source: &Source,
        before: Breaker,
        after: Breaker,
        error: Option<&str>,
    ) -> Option<Self> {
        let cause = || Cause::Attempt { source: source.clone(), error: error.map(str::to_owned) };
        (before.trip != after.trip).then(|| Self { route: route.clone(), after, cause: cause() })
    }

    /// The change that an operator has made: the breaker is closed.
    pub(super) fn by_operator(route: &RouteName) -> Self {
        Self { route: route.clone(), after: Breaker::default(), cause: Cause::Operator }
    }

    /// Logs the change. If the breaker has opened, counts it and raises an alert. For use after the commit.
    pub(super) fn tell(&self, metrics: &Metrics) {
        let route = self.route.as_str();
        match (&self.after.trip, &self.cause) {
            (Some(Trip { trips, open_until }), Cause::Attempt { source, error }) => {
                metrics.breaker_opened(route);
                let (failures, error) = (self.after.failures, error.as_deref());
                let reason = error.unwrap_or_default();
                metrics
                    .alerts()
                    .raise(|| Alert::breaker_opened(&self.route, source, failures, reason, *open_until));
                tracing::warn!(
                    route,
                    failures,
                    trips,
                    open_until = %open_until,
                    error,
                    "the target of a route is down: the breaker is open, and the jobs of the route wait without using up attempts; after that time one of them tries the target"
                );
            }
            (None, Cause::Attempt { .. }) => {
                tracing::info!(
                    route,
                    "the target of a route is up: the breaker is closed, and jobs start again"
                );
            }
            // Operators only close breakers.
            (_, Cause::Operator) => {
                tracing::info!(route, "the breaker of a route is closed, because the route was resumed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn route(name: &str) -> RouteName {
        RouteName::new(name).expect("valid")
    }

    fn tripped(name: &str, trips: u32) -> TrippedBreaker {
        TrippedBreaker { route: route(name), trip: Trip { trips, open_until: Timestamp::UNIX_EPOCH } }
    }

    #[test]
    fn what_is_stored_replaces_what_was_known_and_failures_count_on() {
        let mut breakers = Breakers::default();
        breakers.set(&route("a"), Breaker { failures: 2, trip: None });
        let both = [tripped("a", 1), tripped("b", 1)];
        assert_eq!(breakers.set_stored(&both), [route("a"), route("b")]);
        assert_eq!(breakers.tripped(), both);
        assert_eq!(breakers.of(&route("a")).failures, 2);
        assert_eq!(breakers.set_stored(&both), []);
        assert_eq!(breakers.set_stored(&[tripped("a", 2)]), [route("b"), route("a")]);
        assert_eq!(breakers.set_stored(&[]), [route("a")]);
        assert_eq!(breakers.of(&route("a")), Breaker::default(), "a closed breaker begins to count anew");
    }

    #[test]
    fn failures_of_a_closed_breaker_stay_if_nothing_is_stored() {
        let mut breakers = Breakers::default();
        breakers.set(&route("a"), Breaker { failures: 2, trip: None });
        assert_eq!(breakers.set_stored(&[]), []);
        assert_eq!(breakers.of(&route("a")).failures, 2);
    }
}
