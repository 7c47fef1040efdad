//! The clock that code takes as an argument. The program uses the system's time (`crate::clock`); tests use a
//! [`ManualClock`].
//!
//! It tells two times. `now` is the time of day, for moments that are stored, shown or compared with those of
//! others. An administrator may set it, forward or back. `monotonic` only goes forward, at an even pace, for intervals:
//! pauses, time-outs, rates. An interval must never be the difference of two `now`.

mod manual;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use jiff::Timestamp;

pub use self::manual::ManualClock;

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day, in whole milliseconds.
    fn now(&self) -> Timestamp;

    /// The time since a fixed moment in the past. Setting the time of day does not change it.
    fn monotonic(&self) -> Duration;

    /// Blocks until `signal` is raised, but no longer than `at_most`.
    fn wait(&self, signal: &Arc<Signal>, at_most: Duration);

    /// Ready after `time`.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;

    /// Ready once the time of day is `moment` or later. Notices within [`LOOK_AGAIN`] that the time was set.
    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()>;
}

/// How soon [`Clock::sleep_until`] notices that the time of day was set.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How much the clocks of replicas may differ. A stored time that is further in the future tells that the clock was set
/// back since.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// A flag that threads, and one task at a time, can wait for. It stays raised until [`take`](Self::take) lowers it.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
    /// The task that waits.
    task: AtomicWaker,
}

impl Signal {
    /// Raises the flag and wakes the threads and the task that wait for it.
    pub fn raise(&self) {
        // If the flag was already raised, nothing waits.
        if !std::mem::replace(&mut *self.lock(), true) {
            self.changed.notify_all();
            self.task.wake();
        }
    }

    /// Ready once the flag is raised. If several tasks wait, only the last one is woken.
    pub async fn raised(&self) {
        std::future::poll_fn(|context| {
            // Registered first, so that a flag that is raised in between is noticed.
            self.task.register(context.waker());
            if self.is_raised() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Blocks until the flag is raised, but no longer than `at_most`.
    pub fn wait(&self, at_most: Option<Duration>) {
        let raised = self.lock();
        match at_most {
            None => drop(self.changed.wait_while(raised, |raised| !*raised)),
            Some(time) => drop(self.changed.wait_timeout_while(raised, time, |raised| !*raised)),
        }
    }

    /// Whether the flag is raised.
    pub fn is_raised(&self) -> bool {
        *self.lock()
    }

    /// Lowers the flag; true if it was raised.
    pub fn take(&self) -> bool {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a time down to whole milliseconds, the precision in which hookbox stores, compares and shows times.
pub fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_waits_for_a_signal_is_woken() {
        let signal = Arc::new(Signal::default());
        let other = Arc::clone(&signal);
        let raising = std::thread::spawn(move || other.raise());
        futures::executor::block_on(signal.raised());
        raising.join().expect("does not panic");
        futures::executor::block_on(signal.raised());
        assert!(signal.is_raised());
    }
}
