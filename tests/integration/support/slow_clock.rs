//! A clock on which everything takes long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use hookbox::internals::domain::clock::{Clock, ManualClock, Signal};
use jiff::Timestamp;

/// A clock whose monotonic time goes on with every look at it, once it is slowed down.
#[derive(Debug)]
pub(crate) struct SlowClock {
    clock: Arc<ManualClock>,
    /// The milliseconds of a look, and those of all looks so far.
    step: AtomicU64,
    passed: AtomicU64,
}

impl SlowClock {
    /// A clock that goes by this one.
    pub(crate) fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock, step: AtomicU64::new(0), passed: AtomicU64::new(0) }
    }

    /// From now on, each look takes so many milliseconds.
    pub(crate) fn slow_down(&self, milliseconds: u64) {
        self.step.store(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for SlowClock {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        let passed = self.passed.fetch_add(self.step.load(Ordering::Relaxed), Ordering::Relaxed);
        self.clock.monotonic() + Duration::from_millis(passed)
    }

    fn wait(&self, signal: &Arc<Signal>, at_most: Duration) {
        self.clock.wait(signal, at_most);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(time)
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(moment)
    }
}
