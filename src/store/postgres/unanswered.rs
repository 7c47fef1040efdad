//! Changes of breakers that this process has written, and whose commit was not answered yet. If the response is lost, the
//! next read of the breakers shows whether they were committed. Only then are they logged, counted and told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::route::RouteName;
use crate::store::TrippedBreaker;
use crate::store::breakers::BreakerChange;

/// For how long after it was written a change may be found. Far longer than a commit takes, and the time between two
/// reads.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

/// The changes, at most one of each route.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<RouteName, Written>>);

/// A change, and the monotonic time at which it was written.
#[derive(Debug)]
struct Written {
    change: BreakerChange,
    at: Duration,
}

impl Unanswered {
    fn lock(&self) -> MutexGuard<'_, HashMap<RouteName, Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds changes that are about to be committed. `now` is monotonic.
    pub(super) fn add(&self, changes: &[BreakerChange], now: Duration) {
        let written = |change: &BreakerChange| Written { change: change.clone(), at: now };
        self.lock().extend(changes.iter().map(|change| (change.route.clone(), written(change))));
    }

    /// Removes changes whose commit was answered. Returns those of them that no read has found before.
    pub(super) fn answered(&self, changes: Vec<BreakerChange>) -> Vec<BreakerChange> {
        let mut written = self.lock();
        changes.into_iter().filter(|change| written.remove(&change.route).is_some()).collect()
    }

    /// Removes and returns the changes that were committed, as the breakers that are stored show. `now` is monotonic.
    pub(super) fn found_in(&self, stored: &[TrippedBreaker], now: Duration) -> Vec<BreakerChange> {
        let is_stored = |change: &BreakerChange| {
            let stored = stored.iter().find(|stored| stored.route == change.route);
            stored.map(|stored| stored.trip) == change.after.trip
        };
        let mut found = Vec::new();
        self.lock().retain(|_, written| {
            if is_stored(&written.change) {
                found.push(written.change.clone());
                return false;
            }
            now.saturating_sub(written.at) < FOUND_WITHIN
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::breaker::{Breaker, Trip};
    use crate::domain::webhook::Source;

    fn trip(trips: u32) -> Trip {
        Trip { trips, open_until: Timestamp::UNIX_EPOCH }
    }

    /// A change from one breaker to another, of the default route.
    fn change(before: Option<Trip>, after: Option<Trip>) -> BreakerChange {
        let of = |trip| Breaker { failures: 1, trip };
        let (route, source) = (RouteName::default(), Source::default());
        BreakerChange::of_attempt(&route, &source, of(before), of(after), None).expect("differs")
    }

    fn stored(trips: u32) -> Vec<TrippedBreaker> {
        vec![TrippedBreaker { route: RouteName::default(), trip: trip(trips) }]
    }

    #[test]
    fn a_change_is_told_once_by_its_answer_or_by_a_read() {
        let unanswered = Unanswered::default();
        let opened = change(None, Some(trip(1)));
        unanswered.add(std::slice::from_ref(&opened), Duration::ZERO);
        assert_eq!(unanswered.found_in(&[], Duration::ZERO).len(), 0, "it is not committed yet");
        assert_eq!(unanswered.answered(vec![opened.clone()]).len(), 1);
        assert_eq!(unanswered.found_in(&stored(1), Duration::ZERO).len(), 0, "it was answered");

        unanswered.add(std::slice::from_ref(&opened), Duration::ZERO);
        let found = unanswered.found_in(&stored(1), Duration::from_secs(5));
        assert_eq!(found.iter().map(|change| change.after.trip).collect::<Vec<_>>(), [Some(trip(1))]);
        assert_eq!(unanswered.answered(vec![opened]).len(), 0, "a read has found it");
    }

    #[test]
    fn a_breaker_that_is_closed_is_found_when_it_is_not_stored_any_more() {
        let unanswered = Unanswered::default();
        unanswered.add(&[change(Some(trip(1)), None)], Duration::ZERO);
        assert_eq!(unanswered.found_in(&stored(1), Duration::ZERO).len(), 0);
        assert_eq!(unanswered.found_in(&[], Duration::ZERO).len(), 1);
    }

    #[test]
    fn a_change_that_was_not_committed_is_forgotten() {
        let unanswered = Unanswered::default();
        unanswered.add(&[change(Some(trip(1)), Some(trip(2)))], Duration::ZERO);
        assert_eq!(unanswered.found_in(&stored(1), FOUND_WITHIN).len(), 0);
        assert_eq!(unanswered.found_in(&stored(2), FOUND_WITHIN).len(), 0, "another process wrote this one");
    }
}
