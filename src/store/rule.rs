//! The rule for what may start, shared by all stores. Pure functions.
//!
//! This module decides the conditions of [`JobQueue::claim`](super::JobQueue::claim) that concern a whole
//! route: concurrency, rate, breaker and pauses. The indexes that claims read decide whether a job is due, and whether
//! it is the first of its lane.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use super::types::{Pause, PauseTarget};
use crate::domain::breaker::{BreakerState, Trip};
use crate::domain::clock::CLOCKS_DIFFER;
use crate::domain::policy::Policy;
use crate::domain::route::{Rate, RouteName};
use crate::domain::webhook::Source;

/// How much unused time a late claim may catch up on. No claim is exactly on time, so without this the actual
/// rate would stay below the configured one.
const CATCH_UP: Duration = Duration::from_millis(50);

/// How many jobs of a route may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// The number of jobs.
    pub(super) starts: usize,
    /// When more jobs may start without another event; `None` if an attempt has to end first, or if there is
    /// no limit.
    pub(super) next: Option<Timestamp>,
}

impl Allowance {
    /// No limit.
    pub(super) const ANY: Self = Self { starts: usize::MAX, next: None };
}

/// How many jobs of a route may start at `now`, by its policy. `running` is the number of its jobs running in
/// all replicas, `pace` the state of its rate, and `trip` what is stored of its breaker.
pub(super) fn allowance(
    policy: &Policy,
    running: usize,
    pace: Pace,
    trip: Option<Trip>,
    now: Timestamp,
) -> Allowance {
    if let BreakerState::Open { until } = breaker(policy, trip, now) {
        return Allowance { starts: 0, next: Some(until) };
    }
    let most = most_at_once(policy, trip, now).map_or(usize::MAX, |most| most.saturating_sub(running));
    if most == 0 {
        return Allowance { starts: 0, next: None };
    }
    let by_rate = policy.rate.map_or(Allowance::ANY, |rate| pace.allowance(rate, now));
    Allowance { starts: most.min(by_rate.starts), ..by_rate }
}

/// How many jobs of a route may run at once at `now`, in all replicas; none: any number.
pub(super) fn most_at_once(policy: &Policy, trip: Option<Trip>, now: Timestamp) -> Option<usize> {
    match breaker(policy, trip, now) {
        BreakerState::Closed => policy.concurrency.map(|most| most.get() as usize),
        BreakerState::HalfOpen => Some(1),
        BreakerState::Open { .. } => Some(0),
    }
}

fn breaker(policy: &Policy, trip: Option<Trip>, now: Timestamp) -> BreakerState {
    policy.breaker().map_or(BreakerState::Closed, |breaker| BreakerState::of(trip, breaker, now))
}

/// When the next start of a route is due by its rate: the theoretical arrival time of GCRA. `None` before the
/// first start. The store keeps it for all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace(pub(super) Option<Timestamp>);

impl Pace {
    fn from(self, rate: Rate, now: Timestamp) -> Timestamp {
        let earliest = now.saturating_sub(CATCH_UP).unwrap_or(now);
        // The next start is at most one interval away. A later stored time is ignored: the rate was lower
        // before, or the clock went back.
        let farthest = later(now.saturating_add(CLOCKS_DIFFER).unwrap_or(now), rate, 1);
        self.0.filter(|next| *next <= farthest).map_or(earliest, |next| next.max(earliest))
    }

    fn allowance(self, rate: Rate, now: Timestamp) -> Allowance {
        let from = self.from(rate, now);
        if from > now {
            return Allowance { starts: 0, next: Some(from) };
        }
        let waited = now.duration_since(from).unsigned_abs();
        let starts = waited.as_nanos() / rate.interval().as_nanos() + 1;
        let starts = usize::try_from(starts).unwrap_or(usize::MAX);
        Allowance { starts, next: Some(later(from, rate, starts)) }
    }

    /// The state after `starts` starts at `now`.
    pub(super) fn after(self, starts: usize, rate: Rate, now: Timestamp) -> Self {
        Self(Some(later(self.from(rate, now), rate, starts)))
    }

    /// The state without `starts` starts that were counted, and did not happen.
    pub(super) fn without(self, starts: usize, rate: Rate) -> Self {
        let earlier = |next: Timestamp| next.saturating_sub(time_of(starts, rate)).unwrap_or(Timestamp::MIN);
        Self(self.0.map(earlier))
    }
}

/// The time that a rate allows for `starts` starts.
pub(super) fn time_of(starts: usize, rate: Rate) -> Duration {
    rate.interval().saturating_mul(u32::try_from(starts).unwrap_or(u32::MAX))
}

fn later(from: Timestamp, rate: Rate, starts: usize) -> Timestamp {
    from.saturating_add(time_of(starts, rate)).unwrap_or(Timestamp::MAX)
}

/// The pauses in force, as last read from the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Paused {
    everything: bool,
    routes: HashSet<RouteName>,
    sources: HashSet<Source>,
}

impl Paused {
    pub(super) fn new(pauses: &[Pause]) -> Self {
        let mut paused = Self::default();
        for pause in pauses {
            match &pause.target {
                PauseTarget::Everything => paused.everything = true,
                PauseTarget::Route(route) => drop(paused.routes.insert(route.clone())),
                PauseTarget::Source(source) => drop(paused.sources.insert(source.clone())),
            }
        }
        paused
    }

    /// Whether a pause keeps jobs of this route from this source from starting.
    pub(super) fn holds(&self, route: &RouteName, source: &Source) -> bool {
        self.everything || self.routes.contains(route) || self.sources.contains(source)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::breaker::BreakerPolicy;
    use crate::domain::handler::{HandlerSettings, Http};

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).expect("in range")
    }

    fn rate(quota: u32, window: Duration) -> Rate {
        Rate { quota: quota.try_into().expect("not zero"), window }
    }

    fn policy(concurrency: Option<u32>, rate: Option<Rate>) -> Policy {
        Policy {
            concurrency: concurrency.map(|most| most.try_into().expect("not zero")),
            rate,
            ..Policy::unlimited(RouteName::default())
        }
    }

    #[test]
    fn a_route_without_limits_may_start_any_number() {
        assert_eq!(allowance(&policy(None, None), 1_000, Pace::default(), None, at(0)), Allowance::ANY);
    }

    #[test]
    fn a_full_route_waits_for_an_end_and_not_for_a_time() {
        let policy = policy(Some(16), Some(rate(1, Duration::from_secs(1))));
        let full = Allowance { starts: 0, next: None };
        assert_eq!(allowance(&policy, 16, Pace::default(), None, at(0)), full);
        assert_eq!(allowance(&policy, 20, Pace::default(), None, at(0)), full);
        assert_eq!(allowance(&policy, 15, Pace::default(), None, at(0)).starts, 1);
    }

    #[test]
    fn an_open_breaker_waits_for_its_time_and_then_lets_one_job_run() {
        let breaker = BreakerPolicy::default();
        let http = Http {
            url: "https://hooks.example".parse().expect("a URL"),
            is_url_secret: false,
            headers: Vec::new(),
            secrets: Vec::new(),
            allow: Vec::new(),
            ca: None,
            retry_after_cap: None,
            breaker,
        };
        let limited = Policy {
            handler: HandlerSettings::Http(Arc::new(http)),
            ..policy(Some(16), Some(rate(1, Duration::from_secs(1))))
        };
        let trip = Some(Trip { trips: 1, open_until: at(10_000) });
        let open = Allowance { starts: 0, next: Some(at(10_000)) };
        assert_eq!(allowance(&limited, 0, Pace::default(), trip, at(0)), open);
        assert_eq!(allowance(&limited, 20, Pace::default(), trip, at(9_999)), open);
        assert_eq!(allowance(&limited, 0, Pace::default(), trip, at(10_000)).starts, 1);
        let waits_for_an_end = Allowance { starts: 0, next: None };
        assert_eq!(allowance(&limited, 1, Pace::default(), trip, at(10_000)), waits_for_an_end);
        let unlimited = Policy { concurrency: None, rate: None, ..limited.clone() };
        assert_eq!(allowance(&unlimited, 0, Pace::default(), trip, at(10_000)).starts, 1);
        assert_eq!(allowance(&unlimited, 0, Pace::default(), None, at(10_000)), Allowance::ANY);
        let slow = allowance(&limited, 0, Pace(Some(at(10_400))), trip, at(10_000));
        assert_eq!(slow, Allowance { starts: 0, next: Some(at(10_400)) }, "the rate holds as well");
    }

    #[test]
    fn a_route_without_a_breaker_starts_jobs_whatever_is_stored_of_one() {
        let trip = Some(Trip { trips: 1, open_until: at(10_000) });
        assert_eq!(allowance(&policy(None, None), 5, Pace::default(), trip, at(0)), Allowance::ANY);
    }

    #[test]
    fn starts_are_spread_evenly_whatever_was_idle_before() {
        let limited = policy(None, Some(rate(50, Duration::from_secs(1))));
        let (mut pace, mut started) = (Pace::default(), Vec::new());
        for now in 0..2_000 {
            let starts = allowance(&limited, 0, pace, None, at(now)).starts;
            if starts > 0 {
                pace = pace.after(starts, limited.rate.expect("a rate"), at(now));
                started.extend(std::iter::repeat_n(now, starts));
            }
        }
        // One start every 20 ms, and the starts that the 50 ms of `CATCH_UP` allow.
        assert_eq!(started.len(), 103);
        assert!(started.windows(53).all(|window| window[52] - window[0] >= 950));
    }

    #[test]
    fn a_look_that_is_late_catches_up() {
        let limit = rate(1_000, Duration::from_secs(1));
        let limited = policy(None, Some(limit));
        let pace = Pace(Some(at(0)));
        let allowed = allowance(&limited, 0, pace, None, at(30));
        assert_eq!(allowed, Allowance { starts: 31, next: Some(at(31)) });
        assert_eq!(pace.after(31, limit, at(30)), Pace(Some(at(31))));
    }

    #[test]
    fn a_rate_that_is_used_up_says_when_the_next_start_is_due() {
        let limited = policy(None, Some(rate(10, Duration::from_secs(3_600))));
        let pace = Pace::default().after(1, limited.rate.expect("a rate"), at(0));
        let allowed = allowance(&limited, 0, pace, None, at(1_000));
        assert_eq!(allowed, Allowance { starts: 0, next: Some(at(360_000 - 50)) });
    }

    #[test]
    fn starts_that_did_not_happen_can_happen_later() {
        let limit = rate(100, Duration::from_secs(1));
        let limited = policy(None, Some(limit));
        let pace = Pace::default().after(6, limit, at(0));
        assert_eq!(allowance(&limited, 0, pace, None, at(0)).starts, 0);
        assert_eq!(allowance(&limited, 0, pace.without(5, limit), None, at(0)).starts, 5);
        let long_ago = pace.without(5, limit);
        assert_eq!(allowance(&limited, 0, long_ago, None, at(60_000)).starts, 6, "no more than a late claim");
        assert_eq!(Pace::default().without(1, limit), Pace::default());
    }

    #[test]
    fn a_higher_rate_does_not_wait_for_the_interval_of_the_lower_one() {
        let low = rate(1, Duration::from_secs(3_600));
        let pace = Pace::default().after(1, low, at(0));
        let high = rate(10, Duration::from_secs(1));
        let limited = policy(None, Some(high));
        assert!(allowance(&limited, 0, pace, None, at(0)).starts > 0);
        let allowed = allowance(&limited, 0, pace.after(1, high, at(0)), None, at(0));
        assert_eq!(allowed, Allowance { starts: 0, next: Some(at(50)) });
    }

    #[test]
    fn a_pause_holds_what_it_names() {
        let (route, other) = (RouteName::default(), RouteName::new("other").expect("valid"));
        let (source, another) = (Source::default(), Source::new("another").expect("valid"));
        let paused = |target| Paused::new(&[Pause::of(target, at(0))]);
        assert!(!Paused::default().holds(&route, &source));
        assert!(paused(PauseTarget::Everything).holds(&other, &another));
        assert!(paused(PauseTarget::Route(route.clone())).holds(&route, &another));
        assert!(!paused(PauseTarget::Route(route.clone())).holds(&other, &source));
        assert!(paused(PauseTarget::Source(source.clone())).holds(&other, &source));
        assert!(!paused(PauseTarget::Source(source)).holds(&route, &another));
    }
}
