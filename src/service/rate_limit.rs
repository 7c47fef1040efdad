//! Limits how many webhooks each source may send to this process.

use std::sync::Arc;
use std::time::Duration;

use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter as Governor};

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Reason};
use crate::domain::route::Rate;
use crate::domain::webhook::Source;

/// A limit for each source (GCRA): a full quota may come at once; after that, webhooks are allowed again
/// evenly over the window.
#[derive(Debug)]
pub struct RateLimiter {
    limit: Rate,
    governor: Governor<Source, DashMapStateStore<Source>, GovernorClock, StateInformationMiddleware>,
    clock: GovernorClock,
}

/// The state of the limit of a source after a webhook was counted.
#[derive(Clone, Copy, Debug)]
pub struct RateState {
    /// The limit.
    pub limit: Rate,
    /// How many more webhooks may come at once.
    pub remaining: u32,
    /// After which time one more webhook is allowed.
    pub reset: Duration,
}

/// The refusal of a webhook that is over the limit.
#[derive(Debug)]
pub struct OverLimit {
    /// The error for the sender, with the reason `RateLimited`.
    pub error: Error,
    /// The state of the limit.
    pub state: RateState,
}

impl RateLimiter {
    /// Limits every source to `limit`.
    pub fn new(limit: Rate, clock: Arc<dyn Clock>) -> Self {
        // `with_period` returns none only for a period of zero, which an interval never is.
        let quota = Quota::with_period(limit.interval())
            .unwrap_or_else(|| Quota::per_second(limit.quota))
            .allow_burst(limit.quota);
        let clock = GovernorClock(clock);
        let governor = Governor::dashmap_with_clock(quota, clock.clone()).with_middleware();
        Self { limit, governor, clock }
    }

    /// Counts one webhook of `source`, or refuses it if the source is over its limit.
    pub fn check(&self, source: &Source) -> Result<RateState, Box<OverLimit>> {
        use governor::clock::Clock as _;
        match self.governor.check_key(source) {
            Ok(snapshot) => Ok(RateState {
                limit: self.limit,
                remaining: snapshot.remaining_burst_capacity(),
                reset: self.limit.window / self.limit.quota.get(),
            }),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let error = Error::new(
                    Reason::RateLimited,
                    format!(
                        "the source `{source}` has used up its limit of {} webhooks in {} seconds; nothing was stored, try again later",
                        self.limit.quota,
                        self.limit.window.as_secs()
                    ),
                )
                .retry_after(wait);
                Err(Box::new(OverLimit {
                    error,
                    state: RateState { limit: self.limit, remaining: 0, reset: wait },
                }))
            }
        }
    }
}

/// Adapts a [`Clock`] to the trait of `governor`.
#[derive(Clone, Debug)]
struct GovernorClock(Arc<dyn Clock>);

impl governor::clock::Clock for GovernorClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}
