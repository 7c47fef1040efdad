//! Counts how often an event happened in the last 60 full seconds.

use std::sync::Mutex;
use std::sync::PoisonError;

use jiff::Timestamp;

/// Over how many seconds a rate is averaged.
const WINDOW_SECONDS: i64 = 60;

/// How many seconds are stored: the window and the current second.
const SLOTS: usize = WINDOW_SECONDS as usize + 1;

/// Counts events for each second.
#[derive(Debug)]
pub struct Rate {
    seconds: Mutex<[(i64, u64); SLOTS]>,
}

impl Default for Rate {
    fn default() -> Self {
        Self { seconds: Mutex::new([(i64::MIN, 0); SLOTS]) }
    }
}

impl Rate {
    /// Counts `events` at `now`.
    pub fn add(&self, now: Timestamp, events: u64) {
        let second = now.as_second();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut seconds[slot_of(second)];
        if slot.0 != second {
            *slot = (second, 0);
        }
        slot.1 += events;
    }

    /// The average number of events per second, over the 60 full seconds before `now`.
    pub fn per_second(&self, now: Timestamp) -> f64 {
        let second = now.as_second();
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        let events: u64 = seconds
            .iter()
            .filter(|(at, _)| (second - WINDOW_SECONDS..second).contains(at))
            .map(|(_, events)| events)
            .sum();
        events as f64 / WINDOW_SECONDS as f64
    }
}

fn slot_of(second: i64) -> usize {
    second.rem_euclid(SLOTS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_60_full_seconds() {
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).expect("in range");
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
