//! Limits how many webhooks each source may send to this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Reason};
use crate::domain::route::Rate;
use crate::domain::webhook::Source;

/// A limit for each source (GCRA): a full quota may come at once; after that, webhooks are allowed again
/// evenly over the window.
#[derive(Debug)]
pub struct RateLimiter {
    /// The limit of sources that have none of their own; none if there is no limit.
    limit: Option<Rate>,
    clock: Arc<dyn Clock>,
    /// When the whole quota of a source is free again, by the monotonic time. Sources whose quota is free may be missing.
    free_at: Mutex<HashMap<Source, Duration>>,
}

/// The state of the limit of a source after webhooks were counted.
#[derive(Clone, Copy, Debug)]
pub struct RateState {
    /// The limit.
    pub limit: Rate,
    /// How many more webhooks may come at once.
    pub remaining: u32,
    /// After which time one more webhook is allowed; of a refusal, the webhooks that are refused.
    pub reset: Duration,
}

/// The refusal of webhooks that are over the limit.
#[derive(Debug)]
pub struct OverLimit {
    /// The error for the sender, with the reason `RateLimited`.
    pub error: Error,
    /// The state of the limit.
    pub state: RateState,
}

impl RateLimiter {
    /// Limits every source to `limit` that has no limit of its own.
    pub fn new(limit: Option<Rate>, clock: Arc<dyn Clock>) -> Self {
        Self { limit, clock, free_at: Mutex::default() }
    }

    /// Counts webhooks that come together, all of them or none. `own` is the limit of the source itself. Returns none
    /// if there is no limit.
    ///
    /// More webhooks than the whole quota are counted as soon as one would be: a batch that is larger than the quota would
    /// otherwise never be accepted. The source then waits until all of them are paid for.
    pub fn check(
        &self,
        source: &Source,
        own: Option<Rate>,
        webhooks: usize,
    ) -> Result<Option<RateState>, Box<OverLimit>> {
        let Some(limit) = own.or(self.limit) else { return Ok(None) };
        let (now, interval) = (self.clock.monotonic(), limit.interval());
        let whole = interval.saturating_mul(limit.quota.get());
        let wanted = interval.saturating_mul(u32::try_from(webhooks).unwrap_or(u32::MAX));
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let used = free_at.get(source).map_or(Duration::ZERO, |at| at.saturating_sub(now));
        let (needed, free) = (if wanted > whole { interval } else { wanted }, whole.saturating_sub(used));
        if needed > free {
            // More than the whole quota may be used.
            let wait = needed.saturating_add(used).saturating_sub(whole);
            let state = RateState { limit, remaining: count_in(free, interval), reset: wait };
            return Err(Box::new(over_limit(source, state, webhooks)));
        }
        let used = used.saturating_add(wanted);
        match free_at.get_mut(source) {
            Some(at) => *at = now.saturating_add(used),
            None => {
                // Sources that are gone from the settings do not stay.
                free_at.retain(|_, at| *at > now);
                free_at.insert(source.clone(), now.saturating_add(used));
            }
        }
        let remaining = count_in(whole.saturating_sub(used), interval);
        Ok(Some(RateState { limit, remaining, reset: limit.window / limit.quota.get() }))
    }
}

/// How many webhooks fit into a free time.
fn count_in(free: Duration, interval: Duration) -> u32 {
    u32::try_from(free.as_nanos() / interval.as_nanos()).unwrap_or(u32::MAX)
}

fn over_limit(source: &Source, state: RateState, webhooks: usize) -> OverLimit {
    let RateState { limit, remaining, reset } = state;
    let used = match remaining {
        0 => "has used up its limit".to_owned(),
        _ => format!("sends {webhooks} webhooks at once, but has {remaining} left of its limit"),
    };
    let detail = format!(
        "the source `{source}` {used} of {} webhooks in {} seconds; nothing was stored, try again later",
        limit.quota,
        limit.window.as_secs()
    );
    OverLimit { error: Error::new(Reason::RateLimited, detail).retry_after(reset), state }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::clock::ManualClock;

    /// A limiter of three webhooks a minute, and its clock.
    fn limiter() -> (RateLimiter, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        (RateLimiter::new("3/m".parse().ok(), Arc::clone(&clock) as _), clock)
    }

    /// How many webhooks are left, or how many seconds to wait.
    fn left(limiter: &RateLimiter, own: Option<&str>, webhooks: usize) -> Result<Option<u32>, u64> {
        let own = own.map(|rate| rate.parse().expect(rate));
        match limiter.check(&Source::default(), own, webhooks) {
            Ok(state) => Ok(state.map(|state| state.remaining)),
            Err(refused) => Err(refused.state.reset.as_secs()),
        }
    }

    #[test]
    fn webhooks_are_counted_one_by_one_and_come_back_evenly() {
        let (limiter, clock) = limiter();
        assert_eq!([1, 1, 1].map(|one| left(&limiter, None, one)), [Ok(Some(2)), Ok(Some(1)), Ok(Some(0))]);
        assert_eq!(left(&limiter, None, 1), Err(20));
        clock.advance(SignedDuration::from_secs(20));
        assert_eq!([1, 1].map(|one| left(&limiter, None, one)), [Ok(Some(0)), Err(20)]);
        clock.advance(SignedDuration::from_secs(60));
        assert_eq!(left(&limiter, None, 0), Ok(Some(3)));
    }

    #[test]
    fn a_batch_counts_as_a_whole_or_not_at_all() {
        let (limiter, clock) = limiter();
        assert_eq!(left(&limiter, None, 2), Ok(Some(1)));
        assert_eq!(left(&limiter, None, 2), Err(20));
        assert_eq!(left(&limiter, None, 1), Ok(Some(0)), "nothing of the refused batch counts");
        assert_eq!(left(&limiter, None, 10), Err(20), "not even one webhook is free");
        clock.advance(SignedDuration::from_secs(20));
        assert_eq!(left(&limiter, None, 3), Err(40), "a batch that fits into the quota waits for all of it");
        assert_eq!(left(&limiter, None, 10), Ok(Some(0)), "a larger one would wait for ever");
        assert_eq!(
            [1, 10].map(|count| left(&limiter, None, count)),
            [Err(200); 2],
            "every item of it counts"
        );
    }

    #[test]
    fn a_batch_that_is_refused_is_told_how_many_webhooks_are_left() {
        let (limiter, clock) = limiter();
        assert_eq!(left(&limiter, None, 2), Ok(Some(1)));
        let refused = |webhooks| {
            let refused = limiter.check(&Source::default(), None, webhooks).expect_err("over the limit");
            (refused.state.remaining, refused.error.detail().to_owned())
        };
        let (remaining, detail) = refused(2);
        assert_eq!(remaining, 1);
        assert!(detail.contains("sends 2 webhooks at once, but has 1 left of its limit of 3"), "{detail}");
        assert_eq!(left(&limiter, None, 1), Ok(Some(0)), "what was told is true");
        for webhooks in [1, 2, 10] {
            let (remaining, detail) = refused(webhooks);
            assert_eq!(remaining, 0);
            assert!(detail.contains("has used up its limit of 3 webhooks in 60 seconds"), "{detail}");
        }
        clock.advance(SignedDuration::from_secs(40));
        assert_eq!(refused(3).0, 2);
    }

    #[test]
    fn the_limit_of_a_source_itself_wins() {
        let (limiter, _) = limiter();
        assert_eq!(left(&limiter, Some("10/m"), 4), Ok(Some(6)));
        assert_eq!(left(&RateLimiter::new(None, limiter.clock), None, 1_000), Ok(None));
    }

    #[test]
    fn a_source_that_has_used_nothing_takes_no_memory() {
        let (limiter, clock) = limiter();
        let check = |name: &str| limiter.check(&Source::new(name).expect(name), None, 1).is_ok();
        assert!(check("one") && check("two"));
        clock.advance(SignedDuration::from_mins(1));
        assert!(check("three"));
        assert_eq!(limiter.free_at.lock().expect("not poisoned").len(), 1);
    }
}
