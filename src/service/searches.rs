//! Limits how many lists look into bodies at the same time.

use std::time::Duration;

use super::shares::{Place, Shares};
use crate::domain::clock::Clock;
use crate::domain::error::Result;

/// How many lists look into bodies at the same time. Each uses most of a core.
const AT_ONCE: usize = 2;

/// How many of them are of one token.
const AT_ONCE_OF_ONE: usize = AT_ONCE / 2;

/// How long a list waits for its turn.
const WAIT: Duration = Duration::from_millis(200);

/// The lists that look into bodies.
#[derive(Debug)]
pub(super) struct Searches(Shares);

impl Default for Searches {
    fn default() -> Self {
        Self(Shares::new(AT_ONCE, AT_ONCE_OF_ONE, "searches in bodies"))
    }
}

impl Searches {
    /// Waits until the list may look. `holder` is the token of its caller. Its turn ends when the result is dropped.
    /// Errors: `StoreUnavailable` if it waited too long.
    pub(super) async fn turn(&self, holder: Option<&str>, clock: &dyn Clock) -> Result<Place> {
        if let Ok(turn) = self.0.take(holder) {
            return Ok(turn);
        }
        self.0.take_in_time(holder, clock.sleep(WAIT)).await
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
        let first = searches.turn(None, &clock).await.expect("has its turn");
        let _second = searches.turn(None, &clock).await.expect("has its turn");
        let mut third = Box::pin(searches.turn(None, &clock));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!(third.await.is_ok());
    }

    #[tokio::test]
    async fn a_search_that_waits_too_long_is_refused() {
        let (searches, clock) = (Searches::default(), ManualClock::new(Timestamp::UNIX_EPOCH));
        let _first = searches.turn(None, &clock).await.expect("has its turn");
        let _second = searches.turn(None, &clock).await.expect("has its turn");
        let mut third = Box::pin(searches.turn(None, &clock));
        assert!((&mut third).now_or_never().is_none());
        clock.advance(SignedDuration::from_millis(200));
        let error = third.await.expect_err("waited too long");
        assert_eq!(error.reason(), Reason::StoreUnavailable);
        assert!(error.detail().contains("2 searches") && error.retry_delay().is_some(), "{error}");
    }

    #[tokio::test]
    async fn the_second_search_of_a_token_waits_and_that_of_another_one_does_not() {
        let (searches, clock) = (Searches::default(), ManualClock::new(Timestamp::UNIX_EPOCH));
        let first = searches.turn(Some("one"), &clock).await.expect("has its turn");
        let mut second = Box::pin(searches.turn(Some("one"), &clock));
        assert!((&mut second).now_or_never().is_none());
        drop(searches.turn(Some("other"), &clock).await.expect("has its turn"));
        drop(first);
        assert!(second.await.is_ok());
    }
}
