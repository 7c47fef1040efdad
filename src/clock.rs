//! The system's clock. Knows only `domain`; every layer may use it.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::clock::{Clock, LOOK_AGAIN, Signal, whole_milliseconds};

/// From when on the monotonic time is counted.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the monotonic time")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The system's clock. Sleeping needs a tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time of day")]
    fn now(&self) -> Timestamp {
        whole_milliseconds(Timestamp::now())
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }

    fn wait(&self, signal: &Arc<Signal>, at_most: Duration) {
        signal.wait(Some(at_most));
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        async move {
            while let Ok(left) = Duration::try_from(moment.duration_since(Self.now()))
                && !left.is_zero()
            {
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            }
        }
        .boxed()
    }
}
