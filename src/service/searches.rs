//! Limits how many lists look into bodies at the same time.

use std::time::Duration;

use futures::future::{Either, select};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};

/// How many lists look into bodies at the same time. Each uses most of a core.
const AT_ONCE: usize = 2;

/// How long a list waits for its turn.
const WAIT: Duration = Duration::from_millis(200);

/// The lists that look into bodies.
#[derive(Debug)]
pub(super) struct Searches(Semaphore);

impl Default for Searches {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Searches {
    /// Waits until the list may look. Its turn ends when the result is dropped. Errors: `StoreUnavailable` if it waited
    /// too long.
    pub(super) async fn turn(&self, clock: &dyn Clock) -> Result<SemaphorePermit<'_>> {
        if let Ok(turn) = self.0.try_acquire() {
            return Ok(turn);
        }
        let turn = Box::pin(self.0.acquire());
        match select(turn, clock.sleep(WAIT)).await {
            Either::Left((turn, _)) => turn.map_err(Error::internal),
            Either::Right(_) => Err(Error::store_unavailable(
                format!("{AT_ONCE} searches in bodies are running, which is the most at once; try again"),
                "no search has ended in time",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::domain::error::Reason;

    #[tokio::test]
    async fn a_search_waits_until_another_one_has_ended() {
        let (searches, clock) = (Searches::default(), ManualClock::new(Timestamp::UNIX_EPOCH));
        let first = searches.turn(&clock).await.expect("has its turn");
        let _second = searches.turn(&clock).await.expect("has its turn");
        let mut third = Box::pin(searches.turn(&clock));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn a_search_that_waits_too_long_is_refused() {
        let (searches, clock) = (Searches::default(), ManualClock::new(Timestamp::UNIX_EPOCH));
        let _first = searches.turn(&clock).await.expect("has its turn");
        let _second = searches.turn(&clock).await.expect("has its turn");
        let mut third = Box::pin(searches.turn(&clock));
        assert!((&mut third).now_or_never().is_none());
        clock.advance(SignedDuration::from_millis(200));
        let error = third.await.expect_err("waited too long");
        assert_eq!(error.reason(), Reason::StoreUnavailable);
        assert!(error.detail().contains("2 searches") && error.retry_delay().is_some(), "{error}");
    }
}
