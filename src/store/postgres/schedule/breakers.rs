//! What this process knows of the breakers of routes, and what the ends of its attempts change about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Moment, Schedule, State};
use crate::domain::breaker::{Breaker, Health};
use crate::domain::job::QueueId;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::breakers::BreakerChange;
use crate::store::types::TrippedBreaker;

/// What an attempt that has ended found out about the target of its route.
#[derive(Debug)]
pub(in crate::store::postgres) struct Finding<'a> {
    pub(in crate::store::postgres) queue: QueueId,
    pub(in crate::store::postgres) health: Health,
    /// The error of the attempt.
    pub(in crate::store::postgres) error: Option<&'a str>,
}

/// What findings change.
#[derive(Debug, Default)]
pub(in crate::store::postgres) struct Learnt {
    /// Breakers of which only this process counts other failures now.
    counted: Vec<(RouteName, Breaker)>,
    /// Breakers that have opened or closed, at most one of each route.
    pub(in crate::store::postgres) changes: Vec<BreakerChange>,
}

impl Schedule {
    /// The breakers that are known not to be closed.
    pub(in crate::store::postgres) fn tripped(&self) -> Arc<[TrippedBreaker]> {
        Arc::clone(&self.state().tripped)
    }

    /// What findings of attempts that have ended change, the earliest first. Changes nothing yet.
    pub(in crate::store::postgres) fn learn(&self, findings: &[Finding<'_>], now: Timestamp) -> Learnt {
        let mut learnt = Learnt::default();
        if findings.is_empty() {
            return learnt;
        }
        let state = self.state();
        // With the source and the error of the attempt that opened or closed it last.
        let mut breakers: BTreeMap<&RouteName, (Breaker, &Source, Option<&str>)> = BTreeMap::new();
        for finding in findings {
            let Some((route, source)) = state.queues.name(finding.queue) else { continue };
            let policy = state.policies.get(route).and_then(|policy| policy.breaker());
            let (breaker, changed_by, error) =
                breakers.entry(route).or_insert_with(|| (state.breakers.of(route), source, finding.error));
            let after = breaker.after(finding.health, policy, now);
            if after.trip != breaker.trip {
                (*changed_by, *error) = (source, finding.error);
            }
            *breaker = after;
        }
        for (route, (after, source, error)) in breakers {
            match BreakerChange::of_attempt(route, source, state.breakers.of(route), after, error) {
                Some(change) => learnt.changes.push(change),
                None => learnt.counted.push((route.clone(), after)),
            }
        }
        learnt
    }

    /// Takes what was learnt of breakers that have neither opened nor closed, unless another replica has opened or
    /// closed them meanwhile.
    pub(in crate::store::postgres) fn count_failures(&self, learnt: &Learnt) {
        if learnt.counted.is_empty() {
            return;
        }
        let mut state = self.state();
        for (route, breaker) in &learnt.counted {
            if state.breakers.trip(route) == breaker.trip {
                state.breakers.set(route, *breaker);
            }
        }
    }

    /// Takes the breakers that are stored. `moment` is from before they were read. Returns whether they differ from
    /// what was known.
    pub(in crate::store::postgres) fn set_breakers(
        &self,
        moment: Moment,
        stored: Vec<TrippedBreaker>,
    ) -> bool {
        let mut state = self.state();
        moment >= state.breakers_written && state.set_breakers(stored)
    }

    /// Takes the breakers that are stored after this process has written these changes.
    pub(in crate::store::postgres) fn breakers_written(
        &self,
        changes: &[BreakerChange],
        stored: Vec<TrippedBreaker>,
    ) {
        let mut state = self.state();
        state.set_breakers(stored);
        for BreakerChange { route, after, .. } in changes {
            if state.breakers.trip(route) == after.trip {
                state.breakers.set(route, *after);
            }
        }
        state.moment.0 += 1;
        state.breakers_written = state.moment;
    }
}

impl State {
    fn set_breakers(&mut self, stored: Vec<TrippedBreaker>) -> bool {
        if *self.tripped == *stored {
            return false;
        }
        // Another number of jobs may run now. A claim under way may still find the route full by the old one.
        self.moment.0 += 1;
        let freed = self.moment;
        for route in self.breakers.set_stored(&stored) {
            let limit = self.limits.entry(route).or_default();
            (limit.is_full, limit.freed) = (false, freed);
        }
        self.tripped = stored.into();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{at, schedule_of};
    use super::*;
    use crate::domain::breaker::{BreakerPolicy, Trip};
    use crate::domain::handler::{HandlerSettings, Http};
    use crate::domain::policy::Policy;
    use crate::store::pulled::Wanted;
    use crate::store::rule::Pace;

    const BREAKER: BreakerPolicy =
        BreakerPolicy { failures: 2, base: Duration::from_secs(10), cap: Duration::from_secs(60) };

    const DOWN: Finding<'static> = Finding { queue: QueueId(1), health: Health::Down, error: Some("503") };
    const UP: Finding<'static> = Finding { queue: QueueId(1), health: Health::Up, error: None };

    /// A schedule with one queue that has something due, of a route with a breaker.
    fn schedule() -> Schedule {
        let http = Http {
            url: "https://hooks.example".parse().expect("a URL"),
            is_url_secret: false,
            headers: Vec::new(),
            secrets: Vec::new(),
            allow: Vec::new(),
            ca: None,
            retry_after_cap: None,
            breaker: BREAKER,
        };
        let handler = HandlerSettings::Http(Arc::new(http));
        let schedule = schedule_of(|policy| Policy { handler, ..policy });
        schedule.note(&[(QueueId(1), at(0))]);
        schedule
    }

    fn tripped(trips: u32, open_until: i64) -> Vec<TrippedBreaker> {
        let trip = Trip { trips, open_until: at(open_until) };
        vec![TrippedBreaker { route: RouteName::default(), trip }]
    }

    /// How many jobs a plan starts at a time.
    fn starts(schedule: &Schedule, now: i64) -> usize {
        let shares = schedule.plan(at(now), 5, &Default::default(), &Wanted::Run).shares;
        shares.iter().map(|share| share.threads).sum()
    }

    #[test]
    fn failures_count_once_they_are_recorded() {
        let schedule = schedule();
        let learnt = schedule.learn(&[DOWN], at(0));
        assert_eq!(learnt.changes.len(), 0);
        assert_eq!(schedule.learn(&[DOWN], at(0)).changes.len(), 0, "the first one is not recorded yet");
        schedule.count_failures(&learnt);
        let learnt = schedule.learn(&[DOWN], at(0));
        let [change] = &learnt.changes[..] else { panic!("{learnt:?}") };
        assert_eq!(change.after.trip, Some(tripped(1, 10_000).remove(0).trip));
        assert_eq!(starts(&schedule, 0), 5, "it is not written yet");
        assert_eq!(schedule.learn(&[DOWN, UP], at(0)).changes.len(), 0, "opened and closed");
    }

    #[test]
    fn a_breaker_that_is_stored_holds_the_route_and_lets_one_job_start_afterwards() {
        let schedule = schedule();
        assert!(schedule.set_breakers(schedule.moment(), tripped(1, 10_000)));
        assert!(!schedule.set_breakers(schedule.moment(), tripped(1, 10_000)), "nothing new");
        assert_eq!((starts(&schedule, 9_999), schedule.next(at(9_999), &Wanted::Run)), (0, Some(at(10_000))));
        assert_eq!(starts(&schedule, 10_000), 1);
        schedule.limited(schedule.moment(), &RouteName::default(), Pace::default(), true);
        assert_eq!(
            (starts(&schedule, 10_000), schedule.next(at(10_000), &Wanted::Run)),
            (0, None),
            "the probe runs"
        );
        schedule.set_breakers(schedule.moment(), Vec::new());
        assert_eq!(starts(&schedule, 10_000), 5, "it is closed");
    }

    #[test]
    fn breakers_that_were_read_before_this_process_wrote_one_are_outdated() {
        let schedule = schedule();
        let before = schedule.moment();
        schedule.breakers_written(&[], tripped(1, 10_000));
        assert!(!schedule.set_breakers(before, Vec::new()));
        assert_eq!(starts(&schedule, 0), 0);
        assert!(schedule.set_breakers(schedule.moment(), Vec::new()));
    }
}
