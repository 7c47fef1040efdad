//! The circuit breaker of a route: while the target is down, jobs wait and use up no attempts.
//!
//! ```text
//!             down, `failures` times in a row           `open_until` is reached
//!   closed ────────────────────────────────────▶ open ────────────────────────▶ half-open
//!     ▲ ▲                                        │  ▲                             │  │
//!     │ └──────────────── up ────────────────────┘  └─────────── down ────────────┘  │
//!     └────────────────────────────────── up ────────────────────────────────────────┘
//! ```

use std::time::Duration;

use jiff::Timestamp;

use super::clock::CLOCKS_DIFFER;
use super::retry::doubled;

/// What an attempt has found out about the target of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The target answers.
    Up,
    /// The target cannot be reached, does not answer in time, or answers that it cannot serve.
    Down,
}

/// When the breaker of a route opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// After how many attempts in a row that found the target down it opens; 0: never.
    pub failures: u32,
    /// How long it stays open the first time.
    pub base: Duration,
    /// How long it stays open at most.
    pub cap: Duration,
}

impl BreakerPolicy {
    /// How long the breaker stays open after it has opened `trips` times in a row, 1 for the first:
    /// `min(cap, base * 2^(trips - 1))`.
    pub fn open_time(&self, trips: u32) -> Duration {
        doubled(self.base, self.cap, trips.saturating_sub(1))
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 10, base: Duration::from_secs(10), cap: Duration::from_secs(5 * 60) }
    }
}

/// A breaker that has opened and was not closed since, as the store keeps it for all replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// How many times in a row the breaker has opened, at least 1.
    pub trips: u32,
    /// Until when the breaker is open. After that it is half-open.
    pub open_until: Timestamp,
}

/// What a breaker allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Jobs start.
    Closed,
    /// A job starts if no other job of the route runs, to find out whether the target is up.
    HalfOpen,
    /// No job starts.
    Open {
        /// When the breaker becomes half-open.
        until: Timestamp,
    },
}

impl BreakerState {
    /// The state at `now` of a breaker of which the store keeps `trip`; none if it was never open, or is closed.
    pub fn of(trip: Option<Trip>, policy: &BreakerPolicy, now: Timestamp) -> Self {
        let Some(Trip { trips, open_until }) = trip else { return Self::Closed };
        // A later stored time is ignored: the settings had longer times before, or the clock was set back.
        let longest = policy.open_time(trips).saturating_add(CLOCKS_DIFFER);
        let latest = now.saturating_add(longest).unwrap_or(Timestamp::MAX);
        if open_until > now && open_until <= latest {
            Self::Open { until: open_until }
        } else {
            Self::HalfOpen
        }
    }

    /// The word in lower case, as the APIs use it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open { .. } => "open",
        }
    }
}

/// The breaker of a route, as one process knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// How many attempts of this process have found the target down since one found it up. Attempts that end while
    /// the breaker is open do not count.
    pub failures: u32,
    /// What is kept for all replicas; none while the breaker is closed.
    pub trip: Option<Trip>,
}

impl Breaker {
    /// The breaker after the end of an attempt, at `now`. Without a policy the breaker does not open.
    ///
    /// An attempt that was running when the breaker opened closes it if it finds the target up. If it finds the target
    /// down while the breaker is open, nothing changes; once the breaker is half-open, it counts like a probe.
    #[must_use]
    pub fn after(self, health: Health, policy: Option<&BreakerPolicy>, now: Timestamp) -> Self {
        let policy = match (health, policy) {
            (Health::Up, _) => return Self::default(),
            (Health::Down, None) => return self,
            (Health::Down, Some(policy)) => policy,
        };
        let failures = self.failures.saturating_add(1);
        let trips = match BreakerState::of(self.trip, policy, now) {
            BreakerState::Open { .. } => return self,
            BreakerState::Closed if failures < policy.failures => return Self { failures, ..self },
            BreakerState::Closed => 1,
            BreakerState::HalfOpen => self.trip.map_or(1, |trip| trip.trips.saturating_add(1)),
        };
        let open_until = now.saturating_add(policy.open_time(trips)).unwrap_or(Timestamp::MAX);
        Self { failures, trip: Some(Trip { trips, open_until }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Health::{Down, Up};
    use super::*;

    const POLICY: BreakerPolicy =
        BreakerPolicy { failures: 3, base: Duration::from_secs(10), cap: Duration::from_secs(60) };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("in range")
    }

    fn trip(trips: u32, open_until: i64) -> Trip {
        Trip { trips, open_until: at(open_until) }
    }

    /// A breaker after these ends of attempts, all at the same time.
    fn after(breaker: Breaker, ends: &[Health], now: i64) -> Breaker {
        ends.iter().fold(breaker, |breaker, health| breaker.after(*health, Some(&POLICY), at(now)))
    }

    fn state(breaker: Breaker, now: i64) -> BreakerState {
        BreakerState::of(breaker.trip, &POLICY, at(now))
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row() {
        let two = after(Breaker::default(), &[Down, Down], 0);
        assert_eq!((two.failures, state(two, 0)), (2, BreakerState::Closed));
        let three = after(two, &[Down], 5);
        assert_eq!((three.failures, three.trip), (3, Some(trip(1, 15))));
        assert_eq!(state(three, 14), BreakerState::Open { until: at(15) });
        assert_eq!(state(three, 15), BreakerState::HalfOpen);
        let interrupted = after(two, &[Up, Down, Down], 5);
        assert_eq!((interrupted.failures, interrupted.trip), (2, None));
    }

    #[test]
    fn each_failed_probe_doubles_the_time_up_to_the_cap() {
        let mut breaker = after(Breaker::default(), &[Down; 3], 0);
        let mut now = 0;
        for (trips, seconds) in [(1, 10), (2, 20), (3, 40), (4, 60), (5, 60)] {
            assert_eq!(breaker.trip, Some(trip(trips, now + seconds)));
            now += seconds;
            breaker = after(breaker, &[Down], now);
        }
        assert_eq!(after(breaker, &[Up], now), Breaker::default());
        assert_eq!(POLICY.open_time(u32::MAX), POLICY.cap);
    }

    #[test]
    fn attempts_that_end_while_it_is_open_close_it_or_change_nothing() {
        let open = after(Breaker::default(), &[Down; 3], 0);
        assert_eq!(after(open, &[Down; 9], 9), open);
        assert_eq!(after(open, &[Down, Up], 9), Breaker::default());
    }

    #[test]
    fn without_a_policy_it_closes_and_does_not_open() {
        let open = after(Breaker::default(), &[Down; 3], 0);
        assert_eq!(open.after(Down, None, at(20)), open);
        assert_eq!(open.after(Up, None, at(20)), Breaker::default());
        assert_eq!(Breaker::default().after(Down, None, at(0)), Breaker::default());
    }

    #[test]
    fn a_time_that_is_too_far_away_is_ignored() {
        let is_open = |seconds| {
            matches!(
                state(Breaker { failures: 0, trip: Some(trip(2, seconds)) }, 0),
                BreakerState::Open { .. }
            )
        };
        assert_eq!([0, 1, 20, 21, 22, 3_600].map(is_open), [false, true, true, true, false, false]);
    }

    proptest! {
        #[test]
        fn it_is_never_open_for_longer_than_the_cap(ends: Vec<(bool, u8)>) {
            let (mut breaker, mut now) = (Breaker::default(), 0);
            for (is_up, later) in ends {
                now += i64::from(later);
                breaker = after(breaker, &[if is_up { Up } else { Down }], now);
                if let BreakerState::Open { until } = state(breaker, now) {
                    prop_assert!(until.duration_since(at(now)).unsigned_abs() <= POLICY.cap);
                }
                prop_assert_eq!(breaker.trip.is_none(), state(breaker, now) == BreakerState::Closed);
            }
        }
    }
}
