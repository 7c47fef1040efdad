//! Counts what verifying the requests of a source finds, and says when most of them fail.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::alert::Alert;
use crate::domain::verdict::Cause;
use crate::domain::webhook::Source;

/// The time over which requests are counted, and the least time between two alerts of a source.
const WINDOW: Duration = Duration::from_secs(SLOTS * SLOT_SECONDS);

/// Requests leave the window in steps of this length.
const SLOT_SECONDS: u64 = 10;

/// The most slots of a source.
const SLOTS: u64 = 30;

/// The least number of requests that are not verified for an alert.
const LEAST_UNVERIFIED: u64 = 10;

/// What verifying the requests of a source found, within the window.
#[derive(Debug, Default)]
pub(in crate::service) struct Verifications {
    /// The oldest first, without those in which nothing came.
    slots: VecDeque<Slot>,
    /// The monotonic time of the last alert.
    told: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: u64,
    verified: u64,
    /// By the number of the cause.
    unverified: [u64; Cause::ALL.len()],
}

/// The numbers of a source of whose requests most are not verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) struct Failing {
    /// The most frequent cause.
    cause: Cause,
    unverified: u64,
    requests: u64,
}

impl Failing {
    /// The alert about a source with these numbers.
    pub(in crate::service) fn alert(self, source: &Source) -> Alert {
        let Self { cause, unverified, requests } = self;
        Alert::VerificationFailing { source: source.clone(), cause, unverified, requests, window: WINDOW }
    }
}

impl Verifications {
    /// Counts a request; without a cause, it is verified. Returns the numbers of the window if an alert is due: at
    /// least [`LEAST_UNVERIFIED`] requests are not verified, they are more than half, and the last alert is a
    /// [`WINDOW`] ago. `now` is monotonic.
    pub(in crate::service) fn count(&mut self, cause: Option<Cause>, now: Duration) -> Option<Failing> {
        let number = now.as_secs() / SLOT_SECONDS;
        while self.slots.front().is_some_and(|slot| slot.number + SLOTS <= number) {
            self.slots.pop_front();
        }
        // Of two requests at once, the later one may be counted first.
        if self.slots.back().is_none_or(|slot| slot.number < number) {
            self.slots.push_back(Slot { number, ..Slot::default() });
        }
        // There is one.
        let slot = self.slots.back_mut()?;
        let Some(cause) = cause else {
            slot.verified += 1;
            return None;
        };
        slot.unverified[cause as usize] += 1;
        if self.told.is_some_and(|told| now.saturating_sub(told) < WINDOW) {
            return None;
        }
        let failing = self.failing()?;
        self.told = Some(now);
        Some(failing)
    }

    /// The numbers of the window; none if most requests are verified, or too few are not.
    fn failing(&self) -> Option<Failing> {
        let times = |cause: Cause| self.slots.iter().map(|slot| slot.unverified[cause as usize]).sum::<u64>();
        let by_cause = Cause::ALL.map(|cause| (times(cause), cause));
        let unverified = by_cause.iter().map(|(times, _)| times).sum::<u64>();
        let requests = unverified + self.slots.iter().map(|slot| slot.verified).sum::<u64>();
        if unverified < LEAST_UNVERIFIED || 2 * unverified <= requests {
            return None;
        }
        let (_, cause) = by_cause.into_iter().max()?;
        Some(Failing { cause, unverified, requests })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts so many requests at a second that are not verified. Returns what each is answered.
    fn fail(of: &mut Verifications, second: u64, requests: u64) -> Vec<Option<Failing>> {
        let cause = Some(Cause::SignatureMismatch);
        (0..requests).map(|_| of.count(cause, Duration::from_secs(second))).collect()
    }

    #[test]
    fn the_window_has_a_limited_number_of_slots() {
        let mut verifications = Verifications::default();
        for second in 0..10_000 {
            verifications.count(None, Duration::from_secs(second));
            assert!(verifications.slots.len() as u64 <= SLOTS);
        }
        assert_eq!(verifications.slots.iter().map(|slot| slot.verified).sum::<u64>(), 300);
    }

    #[test]
    fn an_alert_is_due_at_most_once_in_each_window() {
        let mut verifications = Verifications::default();
        let counted = fail(&mut verifications, 0, 20);
        let first = Failing { cause: Cause::SignatureMismatch, unverified: 10, requests: 10 };
        assert_eq!(counted.into_iter().flatten().collect::<Vec<_>>(), [first]);
        assert_eq!(fail(&mut verifications, 299, 20), [None; 20]);
        let again = Failing { cause: Cause::SignatureMismatch, unverified: 21, requests: 21 };
        assert_eq!(fail(&mut verifications, 300, 2), [Some(again), None]);
    }

    #[test]
    fn a_request_that_is_counted_late_belongs_to_the_newest_slot() {
        let mut verifications = Verifications::default();
        for second in [10, 9, 19, 20] {
            verifications.count(None, Duration::from_secs(second));
        }
        let counts = verifications.slots.iter().map(|slot| (slot.number, slot.verified)).collect::<Vec<_>>();
        assert_eq!(counts, [(1, 3), (2, 1)]);
    }
}
