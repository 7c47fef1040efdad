//! The system's clock. Knows only `domain`; every layer may use it.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::domain::clock::{Clock, Signal, whole_milliseconds};

/// The system's clock. `sleep_until` needs a tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time of day")]
    fn now(&self) -> Timestamp {
        whole_milliseconds(Timestamp::now())
    }

    fn wait(&self, signal: &Arc<Signal>, until: Option<Timestamp>) {
        // Computes the duration once, so that setting the clock back does not make the wait longer.
        signal.wait(
            until.map(|until| until.duration_since(self.now()).max(SignedDuration::ZERO).unsigned_abs()),
        );
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let left = until.duration_since(self.now()).max(SignedDuration::ZERO);
        tokio::time::sleep(left.unsigned_abs()).boxed()
    }
}
