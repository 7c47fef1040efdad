//! Counts how often an event happened in the last 60 full seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Over how many seconds a rate is averaged.
const WINDOW_SECONDS: u64 = 60;

/// How many seconds are stored: the window and the current second.
const SLOTS: usize = WINDOW_SECONDS as usize + 1;

/// Counts events for each second. Times are monotonic.
#[derive(Debug)]
pub struct Rate {
    seconds: Mutex<[(u64, u64); SLOTS]>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { seconds: Mutex::new([(0, 0); SLOTS]) }
    }
}

impl Rate {
    /// Counts `events` at `now`.
    pub fn add(&self, now: Duration, events: u64) {
        let second = now.as_secs();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut seconds[slot_of(second)];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += events;
    }

    /// The average number of events per second, over the 60 full seconds before `now`.
    pub fn per_second(&self, now: Duration) -> f64 {
        let second = now.as_secs();
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let events: u64 = seconds
            .iter()
            .filter(|(at, _)| (second.saturating_sub(WINDOW_SECONDS)..second).contains(at))
            .map(|(_, events)| events)
            .sum();
        events as f64 / WINDOW_SECONDS as f64
    }
}

fn slot_of(second: u64) -> usize {
    (second % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_60_full_seconds() {
        let at = |second: u64| Duration::from_secs(1_000 + second);
        let rate = Rate::default();
        rate.add(at(0), 60);
        assert_eq!(rate.per_second(at(0)).to_string(), "0", "the second under way does not count");
        assert_eq!(rate.per_second(at(1)).to_string(), "1");
        rate.add(at(59), 60);
        assert_eq!(rate.per_second(at(60)).to_string(), "2");
        assert_eq!(rate.per_second(at(61)).to_string(), "1", "the first second is too old");
        assert_eq!(rate.per_second(at(1000)).to_string(), "0");
    }
}
