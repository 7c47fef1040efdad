//! How long things took, as counts by length: exact to a tenth, in little memory, and can be added up.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The upper end of the first class, in seconds.
const LEAST: f64 = 0.000_1;

/// How many classes there are between a length and its double.
const PER_OCTAVE: f64 = 4.0;

/// The classes: up to 50 hours.
const CLASSES: usize = 124;

/// Counts lengths, from any thread.
#[derive(Debug)]
pub(super) struct Timings([AtomicU32; CLASSES]);

impl Default for Timings {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl Timings {
    pub(super) fn add(&self, took: Duration) {
        if let Some(count) = self.0.get(class_of(took.as_secs_f64())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted since the last call.
    pub(super) fn take(&self) -> Spread {
        let counts = self.0.iter().map(|count| count.swap(0, Ordering::Relaxed));
        let classes = counts.enumerate().filter(|(_, count)| *count > 0);
        Spread(classes.map(|(class, count)| (class as u8, count)).collect())
    }
}

/// Lengths that were counted. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread(Vec<(u8, u32)>);

impl Spread {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// The length in seconds that a share of all, from 0 to 1, does not exceed; none if there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut passed = 0;
        let class = self.0.iter().find(|(_, count)| {
            passed += u64::from(*count);
            passed >= rank
        });
        class.map(|(class, _)| middle_of(*class))
    }

    /// Adds the lengths of others.
    pub fn add(&mut self, others: &Self) {
        for (class, more) in &others.0 {
            match self.0.binary_search_by_key(class, |(known, _)| *known) {
                Ok(at) => {
                    if let Some((_, count)) = self.0.get_mut(at) {
                        *count = count.saturating_add(*more);
                    }
                }
                Err(at) => self.0.insert(at, (*class, *more)),
            }
        }
    }
}

fn class_of(seconds: f64) -> usize {
    if seconds <= LEAST {
        return 0;
    }
    (((seconds / LEAST).log2() * PER_OCTAVE).ceil() as usize).min(CLASSES - 1)
}

/// The length in the middle of a class.
fn middle_of(class: u8) -> f64 {
    LEAST * ((f64::from(class) - 0.5) / PER_OCTAVE).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(milliseconds: impl IntoIterator<Item = u64>) -> Spread {
        let timings = Timings::default();
        milliseconds.into_iter().for_each(|milliseconds| timings.add(Duration::from_millis(milliseconds)));
        timings.take()
    }

    fn is_about(found: Option<f64>, expected: f64) -> bool {
        found.is_some_and(|found| (found / expected - 1.0).abs() < 0.1)
    }

    #[test]
    fn quantiles_are_exact_to_a_tenth() {
        let hundred = spread(1..=100);
        assert_eq!(hundred.count(), 100);
        for (share, expected) in [(0.5, 0.050), (0.95, 0.095), (0.99, 0.099), (1.0, 0.100), (0.0, 0.001)] {
            assert!(is_about(hundred.quantile(share), expected), "{share}: {:?}", hundred.quantile(share));
        }
        assert!(is_about(spread([86_400_000]).quantile(0.5), 86_400.0));
        assert_eq!(Spread::default().quantile(0.5), None);
    }

    #[test]
    fn what_was_taken_is_not_counted_again() {
        let timings = Timings::default();
        timings.add(Duration::ZERO);
        timings.add(Duration::from_secs(1_000_000));
        assert_eq!((timings.take().count(), timings.take()), (2, Spread::default()));
    }

    #[test]
    fn spreads_are_added_up() {
        let (mut both, rest) = (spread(1..=60), spread(40..=100));
        both.add(&rest);
        let mut all = spread(1..=100);
        all.add(&spread(40..=60));
        assert_eq!(both, all);
    }
}
