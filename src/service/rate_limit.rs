//! What each source may send.

use std::sync::Arc;
use std::time::Duration;

use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter as Governor};

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Reason};
use crate::domain::route::Rate;
use crate::domain::webhook::Source;

/// A limit per source: a full quota at once, then evenly over its window (GCRA).
#[derive(Debug)]
pub struct RateLimiter {
    limit: Rate,
    governor: Governor<Source, DashMapStateStore<Source>, GovernorClock, StateInformationMiddleware>,
    clock: GovernorClock,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub struct RateState {
    /// The limit.
    pub limit: Rate,
    /// Webhooks that may still come at once.
    pub remaining: u32,
    /// When there will be more again.
    pub reset: Duration,
}

/// A webhook over the limit.
#[derive(Debug)]
pub struct OverLimit {
    /// What to answer.
    pub error: Error,
    /// The state to tell.
    pub state: RateState,
}

impl RateLimiter {
    /// Limits every source alike.
    pub fn new(limit: Rate, clock: Arc<dyn Clock>) -> Self {
        // None only for a period of zero.
        let quota = Quota::with_period(limit.interval())
            .unwrap_or_else(|| Quota::per_second(limit.quota))
            .allow_burst(limit.quota);
        let clock = GovernorClock(clock);
        let governor = Governor::dashmap_with_clock(quota, clock.clone()).with_middleware();
        Self { limit, governor, clock }
    }

    /// Counts one webhook of `source`.
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
                        "the source `{source}` may send {} webhooks in {} seconds and has; nothing was stored, try again later",
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

/// The clock of hookbox, as the limiter reads it.
#[derive(Clone, Debug)]
struct GovernorClock(Arc<dyn Clock>);

impl governor::clock::Clock for GovernorClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().as_millisecond()).unwrap_or(0))
    }
}
