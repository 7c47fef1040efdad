//! A policy as clients see it, with durations and rates written as in the settings.

use crate::domain::duration::duration_text;
use crate::domain::policy::Policy;

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
            timeout: policy.timeout.map(duration_text),
            concurrency: policy.concurrency.map(Into::into),
            rate: policy.rate.map(|rate| rate.to_string()),
            max_attempts: policy.retry.max_attempts(),
            retry_base: duration_text(policy.retry.base()),
            retry_cap: duration_text(policy.retry.cap()),
            on_dead_letter: policy.on_dead_letter.as_str(),
            on_interrupt: policy.on_interrupt.as_str(),
            breaker_failures: breaker.map(|breaker| breaker.failures),
            breaker_base: breaker.map(|breaker| duration_text(breaker.base)),
            breaker_cap: breaker.map(|breaker| duration_text(breaker.cap)),
        }
    }
}
