//! Reads of the store that callers share, so that many callers cost as much as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};

/// How long a read may take. Callers of a read that never ends would wait for ever, and so would all that come later.
const READ_TIME: Duration = Duration::from_secs(10);

/// A read that runs once at a time. Callers that come meanwhile take its result, and a success is kept for a while.
#[derive(Debug)]
pub(super) struct Recent<T> {
    /// For how long after a read its success is kept.
    kept_for: Duration,
    /// [`READ_TIME`], except in tests.
    read_time: Duration,
    /// How many reads have ended.
    ended: Arc<AtomicU64>,
    /// Locked during a read.
    last: Arc<Mutex<Option<Last<T>>>>,
}

/// The monotonic time at which a read ended, and its result.
type Last<T> = (Duration, Result<T>);

impl<T: Clone + Send + 'static> Recent<T> {
    /// Keeps each success for this long after the read.
    pub(super) fn kept_for(kept_for: Duration) -> Self {
        Self { kept_for, read_time: READ_TIME, ended: Arc::default(), last: Arc::default() }
    }

    /// The success of the last read if it is kept, else the result of `read`. Errors: those of `read`; `StoreUnavailable`
    /// after [`READ_TIME`].
    ///
    /// A read goes on if its caller goes away. Otherwise callers that come and go would each make the store read, which
    /// does not stop for them.
    pub(super) async fn get(
        &self,
        clock: &Arc<dyn Clock>,
        read: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let before = self.ended.load(Ordering::SeqCst);
        let mut last = Arc::clone(&self.last).lock_owned().await;
        // Callers that waited take also a failure. If the store does not answer, they would else wait for its time-out
        // one after the other.
        let has_waited = self.ended.load(Ordering::SeqCst) > before;
        if let Some((at, result)) = &*last {
            let is_kept = result.is_ok() && clock.monotonic().saturating_sub(*at) < self.kept_for;
            if has_waited || is_kept {
                return result.clone();
            }
        }
        let (clock, ended) = (Arc::clone(clock), Arc::clone(&self.ended));
        let read = timeout(self.read_time, read);
        let reading = async move {
            let result = read.await.unwrap_or_else(|late| Err(not_in_time(late)));
            *last = Some((clock.monotonic(), result.clone()));
            ended.fetch_add(1, Ordering::SeqCst);
            result
        };
        tokio::spawn(reading.in_current_span()).await.map_err(Error::internal)?
    }
}

/// The error for a read that took too long.
pub(super) fn not_in_time(late: Elapsed) -> Error {
    Error::store_unavailable("the store did not answer in time; try again", late)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicU32;

    use futures::FutureExt as _;
    use jiff::{SignedDuration, Timestamp};
    use tokio::sync::Notify;

    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::domain::error::Reason;

    const SECOND: Duration = Duration::from_secs(1);

    /// Reads that are counted. Each takes until it is told to end.
    #[derive(Clone, Default)]
    struct Reads {
        begun: Arc<AtomicU32>,
        end: Arc<Notify>,
    }

    impl Reads {
        /// The number of the read.
        async fn read(self) -> Result<u32> {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.end.notified().await;
            Ok(number)
        }

        async fn fail(self) -> Result<u32> {
            let number = self.read().await?;
            Err(Error::new(Reason::ShuttingDown, format!("read {number} failed")))
        }
    }

    fn clocks() -> (Arc<ManualClock>, Arc<dyn Clock>) {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        (Arc::clone(&clock), clock)
    }

    #[tokio::test]
    async fn callers_of_one_second_share_a_success() {
        let (recent, reads, (time, clock)) = (Recent::kept_for(SECOND), Reads::default(), clocks());
        for expected in [1, 2] {
            reads.end.notify_one();
            for _ in 0..20 {
                assert_eq!(recent.get(&clock, reads.clone().read()).await.expect("reads"), expected);
                time.advance(SignedDuration::from_millis(49));
            }
            time.advance(SignedDuration::from_millis(20));
        }
    }

    #[tokio::test]
    async fn callers_that_come_during_a_read_take_its_result() {
        let (recent, reads, (time, clock)) = (Recent::kept_for(Duration::ZERO), Reads::default(), clocks());
        let mut first = Box::pin(recent.get(&clock, reads.clone().read()));
        let mut second = Box::pin(recent.get(&clock, reads.clone().read()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        time.advance(SignedDuration::from_secs(60));
        reads.end.notify_one();
        assert_eq!((first.await.expect("reads"), second.await.expect("reads")), (1, 1));
        reads.end.notify_one();
        assert_eq!(recent.get(&clock, reads.read()).await.expect("reads"), 2, "nothing is kept");
    }

    #[tokio::test]
    async fn a_failure_is_the_same_for_callers_that_come_during_the_read_and_is_not_kept() {
        let (recent, reads, (_, clock)) = (Recent::kept_for(SECOND), Reads::default(), clocks());
        let mut first = Box::pin(recent.get(&clock, reads.clone().fail()));
        let mut second = Box::pin(recent.get(&clock, reads.clone().fail()));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        reads.end.notify_one();
        for error in [first.await, second.await].map(|failed| failed.expect_err("fails")) {
            assert_eq!((error.reason(), error.detail()), (Reason::ShuttingDown, "read 1 failed"));
        }
        reads.end.notify_one();
        assert_eq!(recent.get(&clock, reads.read()).await.expect("reads"), 2);
    }

    #[tokio::test]
    async fn a_read_that_never_ends_fails_and_the_next_caller_reads_again() {
        let recent = Recent { read_time: Duration::from_millis(1), ..Recent::kept_for(SECOND) };
        let (_, clock) = clocks();
        let late = recent.get(&clock, pending()).await.expect_err("it takes too long");
        assert_eq!(late.reason(), Reason::StoreUnavailable);
        assert_eq!(recent.get(&clock, async { Ok(1) }).await.expect("reads"), 1);
    }

    #[tokio::test]
    async fn a_read_goes_on_for_others_if_its_caller_goes_away() {
        let (recent, reads, (_, clock)) = (Recent::kept_for(SECOND), Reads::default(), clocks());
        let mut gone = Box::pin(recent.get(&clock, reads.clone().read()));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        let mut waits = Box::pin(recent.get(&clock, reads.clone().read()));
        assert!((&mut waits).now_or_never().is_none());
        reads.end.notify_one();
        assert_eq!(waits.await.expect("reads"), 1);
    }
}
