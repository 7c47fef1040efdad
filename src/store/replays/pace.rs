//! The rate of a replay. Pure functions.
//!
//! The time of the next step is stored with the replay, so the rate holds over all processes.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::clock::CLOCKS_DIFFER;
use crate::domain::route::Rate;

/// Steps are at least this far apart, unless they restart more jobs than were asked for: each is a transaction.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);

/// The most jobs that a step restarts at a rate.
pub(in crate::store) fn most_at_once(rate: Rate) -> usize {
    let jobs = BETWEEN_STEPS.as_nanos() / rate.interval().as_nanos();
    usize::try_from(jobs).unwrap_or(usize::MAX).max(1)
}

/// After which time the next step is due; none if it is due. `next_at` is when it is due, and `updated_at` when the
/// replay last moved on.
pub(in crate::store) fn due_in(
    next_at: Option<Timestamp>,
    updated_at: Timestamp,
    now: Timestamp,
) -> Option<Duration> {
    let latest = now.saturating_add(CLOCKS_DIFFER).unwrap_or(now);
    let wait = next_at.filter(|_| updated_at <= latest)?.duration_since(now);
    wait.is_positive().then(|| wait.unsigned_abs())
}

/// When the next step is due, after one that has restarted so many jobs. `next_at` is when that one was due.
pub(in crate::store) fn next_at(
    next_at: Option<Timestamp>,
    rate: Rate,
    jobs: usize,
    now: Timestamp,
) -> Timestamp {
    let earliest = now.saturating_sub(BETWEEN_STEPS).unwrap_or(now);
    // A step that comes late makes up for a little of it, and one that comes early does not count as late.
    let from = next_at.map_or(now, |next| next.clamp(earliest, now));
    let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
    from.saturating_add(rate.interval().saturating_mul(jobs)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().expect("a rate")
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).expect("in range")
    }

    #[test]
    fn a_step_restarts_what_its_rate_allows_in_a_tenth_of_a_second() {
        let most = ["1000/s", "15/s", "1/s", "1/h", "4294967295/s"].map(|text| most_at_once(rate(text)));
        assert_eq!(&most[..4], [100, 1, 1, 1]);
        assert!(most[4] > 1_000_000, "{most:?}");
    }

    #[test]
    fn steps_follow_each_other_at_the_rate() {
        let (rate, mut next, mut now, mut restarted) = (rate("200/s"), None, at(0), 0);
        while now < at(10_000) {
            match due_in(next, now, now) {
                // Wakes up a little late each time.
                Some(wait) => now += wait + Duration::from_millis(7),
                None => {
                    next = Some(next_at(next, rate, 20, now));
                    restarted += 20;
                }
            }
        }
        assert!((1_980..=2_040).contains(&restarted), "{restarted}");
    }

    #[test]
    fn a_step_is_not_waited_for_once_the_clock_was_set_back() {
        let hour = Duration::from_secs(3_600);
        let next = Some(next_at(None, rate("1/h"), 1, at(0)));
        assert_eq!(due_in(next, at(0), at(0)), Some(hour));
        assert_eq!(due_in(next, at(0), at(-7_200_000)), None, "the clock was set back");
        assert_eq!(due_in(None, at(0), at(0)), None);
    }
}
