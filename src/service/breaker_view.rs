//! The breaker of a route as clients see it.

use jiff::Timestamp;

use crate::domain::breaker::{BreakerState, Trip};
use crate::domain::policy::Policy;

/// The breaker of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerView {
    /// What it allows now.
    pub state: BreakerState,
    /// How many times in a row it has opened; 0 if it is closed.
    pub trips: u32,
}

impl BreakerView {
    /// The breaker of a route with this policy, of which the store keeps `trip`. None if the route has no breaker.
    pub(super) fn new(policy: &Policy, trip: Option<Trip>, now: Timestamp) -> Option<Self> {
        let state = BreakerState::of(trip, policy.breaker()?, now);
        Some(Self { state, trips: trip.map_or(0, |trip| trip.trips) })
    }

    /// When the breaker becomes half-open; none unless it is open.
    pub fn open_until(&self) -> Option<Timestamp> {
        match self.state {
            BreakerState::Open { until } => Some(until),
            BreakerState::Closed | BreakerState::HalfOpen => None,
        }
    }

    /// The state as a number for metrics: 0 closed, 1 half-open, 2 open.
    pub(super) fn number(&self) -> i64 {
        match self.state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open { .. } => 2,
        }
    }
}
