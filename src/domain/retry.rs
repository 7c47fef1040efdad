//! When a failed job is tried again.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Exponential back-off with full jitter
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    base: Duration,
    cap: Duration,
    max_attempts: u32,
}

impl RetryPolicy {
    /// The delay after the first failure is at most `base`, and no delay is longer than `cap`. At most
    /// `max_attempts` attempts of a run may start. `cap` is raised to `base`, and `max_attempts` to 1.
    pub fn new(base: Duration, cap: Duration, max_attempts: u32) -> Self {
        Self { base, cap: cap.max(base), max_attempts: max_attempts.max(1) }
    }

    /// The longest delay after the first failed attempt.
    pub fn base(&self) -> Duration {
        self.base
    }

    /// The longest delay after any failed attempt.
    pub fn cap(&self) -> Duration {
        self.cap
    }

    /// How many attempts of one run may start.
    pub fn max_attempts(&self) -> u32 {
        self.max_attempts
    }

    /// The longest possible delay after `failures` failed attempts, 1 for the first:
    /// `min(cap, base * 2^(failures - 1))`.
    pub fn longest_delay(&self, failures: u32) -> Duration {
        doubled(self.base, self.cap, failures.saturating_sub(1))
    }

    /// A random delay after `failures` failed attempts, uniform between 0 and the longest.
    pub fn delay(&self, failures: u32, random: &mut impl Rng) -> Duration {
        self.longest_delay(failures).mul_f64(random.random())
    }
}

/// `min(cap, base * 2^doublings)`.
pub(super) fn doubled(base: Duration, cap: Duration, doublings: u32) -> Duration {
    base.saturating_mul(1 << doublings.min(u32::BITS - 1)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn the_longest_delay_doubles_up_to_the_cap() {
        let policy = RetryPolicy::new(Duration::from_secs(2), Duration::from_secs(3600), 10);
        let seconds = [1, 2, 3, 4, 10, 11, 12, 13, 100, u32::MAX]
            .map(|failures| policy.longest_delay(failures).as_secs());
        assert_eq!(seconds, [2, 4, 8, 16, 1024, 2048, 3600, 3600, 3600, 3600]);
    }

    proptest! {
        #[test]
        fn a_delay_is_never_longer_than_the_longest(failures: u32, seed: u64, base in 0_u64..100_000, cap in 0_u64..100_000) {
            let policy = RetryPolicy::new(Duration::from_millis(base), Duration::from_millis(cap), 3);
            let delay = policy.delay(failures, &mut SmallRng::seed_from_u64(seed));
            prop_assert!(delay <= policy.longest_delay(failures));
        }
    }

    #[test]
    fn delays_spread_over_the_whole_range() {
        let policy = RetryPolicy::new(Duration::from_secs(8), Duration::from_secs(8), 3);
        let mut random = SmallRng::seed_from_u64(1);
        let delays: Vec<_> = (0..1000).map(|_| policy.delay(1, &mut random).as_millis() / 1000).collect();
        for second in 0..8 {
            assert!(delays.contains(&second), "some delay falls into second {second}");
        }
    }
}
