//! A policy as clients see it, with durations and rates written as in the settings.

use std::time::Duration;

use crate::domain::policy::Policy;
use crate::domain::route::{OnDeadLetter, OnInterrupt, Rate};

/// How the jobs of a route are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyView {
    /// How long an attempt may run, such as `10s`; none if there is no limit.
    pub timeout: Option<String>,
    /// How many jobs may run at once, over all replicas; none if there is no limit.
    pub concurrency: Option<u32>,
    /// How many attempts may start, over all replicas, such as `50/s`; none if there is no limit.
    pub rate: Option<String>,
    /// How many attempts of one run may start.
    pub max_attempts: u32,
    /// The longest delay after the first failed attempt, such as `2s`.
    pub retry_base: String,
    /// The longest delay after any failed attempt, such as `1h`.
    pub retry_cap: String,
    /// `block` or `skip`.
    pub on_dead_letter: &'static str,
    /// `retry` or `dead_letter`.
    pub on_interrupt: &'static str,
    /// After how many attempts in a row that found the target down the breaker opens; none if there is no breaker.
    pub breaker_failures: Option<u32>,
    /// How long the breaker stays open the first time, such as `10s`.
    pub breaker_base: Option<String>,
    /// How long the breaker stays open at most.
    pub breaker_cap: Option<String>,
}

impl From<&Policy> for PolicyView {
    fn from(policy: &Policy) -> Self {
        let breaker = policy.breaker();
        Self {
            timeout: policy.timeout.map(duration),
            concurrency: policy.concurrency.map(Into::into),
            rate: policy.rate.map(rate),
            max_attempts: policy.retry.max_attempts(),
            retry_base: duration(policy.retry.base()),
            retry_cap: duration(policy.retry.cap()),
            on_dead_letter: match policy.on_dead_letter {
                OnDeadLetter::Block => "block",
                OnDeadLetter::Skip => "skip",
            },
            on_interrupt: match policy.on_interrupt {
                OnInterrupt::Retry => "retry",
                OnInterrupt::DeadLetter => "dead_letter",
            },
            breaker_failures: breaker.map(|breaker| breaker.failures),
            breaker_base: breaker.map(|breaker| duration(breaker.base)),
            breaker_cap: breaker.map(|breaker| duration(breaker.cap)),
        }
    }
}

/// A duration in the largest of the units d, h, m, s and ms that needs no fraction.
fn duration(duration: Duration) -> String {
    const MILLISECONDS_OF: [(u128, &str); 4] =
        [(24 * 60 * 60 * 1000, "d"), (60 * 60 * 1000, "h"), (60 * 1000, "m"), (1000, "s")];
    let milliseconds = duration.as_millis();
    let unit =
        MILLISECONDS_OF.iter().find(|(unit, _)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{milliseconds}ms"), |(unit, name)| format!("{}{name}", milliseconds / unit))
}

/// A rate as the settings have it, such as `50/s`.
pub(super) fn rate(rate: Rate) -> String {
    rate.to_string()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn durations_and_rates_are_written_as_in_the_settings() {
        let texts = [0, 1, 1500, 2000, 90_000, 300_000, 3_600_000, 86_400_000, 604_800_000]
            .map(|milliseconds| duration(Duration::from_millis(milliseconds)));
        assert_eq!(texts, ["0ms", "1ms", "1500ms", "2s", "90s", "5m", "1h", "1d", "7d"]);
        let quota = NonZeroU32::new(50).expect("not zero");
        let texts =
            [1, 60, 3600, 10].map(|seconds| rate(Rate { quota, window: Duration::from_secs(seconds) }));
        assert_eq!(texts, ["50/s", "50/m", "50/h", "50/10s"]);
    }
}
