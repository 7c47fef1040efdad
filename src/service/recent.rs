//! A value that many callers read again and again: for a moment, they share one read.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::domain::clock::Clock;

/// For how long after a read its result is shared.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// The monotonic time at which the last read ended, and its result.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Option<(Duration, T)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Recent<T> {
    /// The result of the last read if it is not older than [`SHARED_FOR`], else that of `read`. Callers that come during a
    /// read take its result.
    pub(super) async fn get(&self, clock: &dyn Clock, read: impl Future<Output = T>) -> T {
        let mut last = self.0.lock().await;
        if let Some((at, result)) = &*last
            && clock.monotonic().saturating_sub(*at) < SHARED_FOR
        {
            return result.clone();
        }
        let result = read.await;
        *last = Some((clock.monotonic(), result.clone()));
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::FutureExt as _;
    use jiff::{SignedDuration, Timestamp};
    use tokio::sync::Notify;

    use super::*;
    use crate::domain::clock::ManualClock;

    #[tokio::test]
    async fn callers_of_one_second_share_a_read() {
        let (recent, clock) = (Recent::default(), ManualClock::new(Timestamp::UNIX_EPOCH));
        let reads = AtomicU32::new(0);
        let read = || async { reads.fetch_add(1, Ordering::SeqCst) + 1 };
        for expected in [1, 2] {
            for _ in 0..20 {
                assert_eq!(recent.get(&clock, read()).await, expected);
                clock.advance(SignedDuration::from_millis(49));
            }
            clock.advance(SignedDuration::from_millis(20));
        }
    }

    #[tokio::test]
    async fn callers_that_come_during_a_read_take_its_result_however_long_it_takes() {
        let (recent, clock) = (Recent::default(), ManualClock::new(Timestamp::UNIX_EPOCH));
        let (ended, reads) = (Notify::new(), AtomicU32::new(0));
        let read = || async {
            ended.notified().await;
            reads.fetch_add(1, Ordering::SeqCst) + 1
        };
        let mut first = Box::pin(recent.get(&clock, read()));
        let mut second = Box::pin(recent.get(&clock, read()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        clock.advance(SignedDuration::from_secs(60));
        ended.notify_one();
        assert_eq!((first.await, second.await), (1, 1));
    }
}
