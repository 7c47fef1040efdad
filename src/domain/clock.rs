//! The clock that code takes as an argument. The program uses the system's time (`crate::clock`); tests use a
//! [`ManualClock`].
//!
//! It tells two times. `now` is the time of day, for moments that are stored, shown or compared with those of
//! others. An administrator may set it, forward or back. `monotonic` only goes forward, at an even pace, for intervals:
//! pauses, time-outs, rates. An interval must never be the difference of two `now`.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use jiff::{SignedDuration, Timestamp};

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

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock {
    shown: Mutex<Shown>,
    waiting: Mutex<Vec<Weak<Signal>>>,
    alarms: Mutex<Vec<(End, oneshot::Sender<()>)>>,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    now: Timestamp,
    monotonic: Duration,
}

/// When a sleep ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    At(Timestamp),
    After(Duration),
}

impl End {
    fn is_reached(self, shown: Shown) -> bool {
        match self {
            Self::At(moment) => moment <= shown.now,
            Self::After(monotonic) => monotonic <= shown.monotonic,
        }
    }
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        let shown = Shown { now: whole_milliseconds(now), monotonic: Duration::ZERO };
        Self { shown: Mutex::new(shown), waiting: Mutex::default(), alarms: Mutex::default() }
    }

    /// How many tasks sleep for exactly `time` from now on. A test waits for a sleeper with this before it
    /// advances the clock: a task that begins to sleep later would sleep from the new time on and not wake.
    pub fn sleepers_for(&self, time: Duration) -> usize {
        let end = End::After(self.monotonic() + time);
        let alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.iter().filter(|(until, alarm)| *until == end && !alarm.is_canceled()).count()
    }

    /// Lets time pass, and wakes the tasks and threads whose time is reached.
    pub fn advance(&self, by: SignedDuration) {
        self.change(|shown| {
            shown.now = shown.now.saturating_add(by).unwrap_or(Timestamp::MAX);
            shown.monotonic += by.unsigned_abs();
        });
    }

    /// Sets the time of day forward or back, as an administrator does. No time passes.
    pub fn set_by(&self, by: SignedDuration) {
        self.change(|shown| shown.now = shown.now.saturating_add(by).unwrap_or(Timestamp::MAX));
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut shown);
            shown.now = whole_milliseconds(shown.now);
        }
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for signal in waiting.iter().filter_map(Weak::upgrade) {
            // Locks once, so that a waiter that has read the old time but does not wait yet is not missed.
            drop(signal.lock());
            signal.changed.notify_all();
        }
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.shown();
        for (_, alarm) in alarms.extract_if(.., |(end, _)| end.is_reached(shown)) {
            // An error means that the sleeper was dropped.
            let _ = alarm.send(());
        }
    }

    fn shown(&self) -> Shown {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep_to(&self, end: End) -> BoxFuture<'static, ()> {
        // Locks before reading the time, so that `advance` cannot run in between.
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_reached(self.shown()) {
            return std::future::ready(()).boxed();
        }
        let (alarm, rings) = oneshot::channel();
        alarms.push((end, alarm));
        rings.map(|_| ()).boxed()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.shown().now
    }

    fn monotonic(&self) -> Duration {
        self.shown().monotonic
    }

    fn wait(&self, signal: &Arc<Signal>, at_most: Duration) {
        let end = self.monotonic().saturating_add(at_most);
        let mut raised = signal.lock();
        while !*raised {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(signal));
            if end <= self.monotonic() {
                return;
            }
            raised = signal.changed.wait(raised).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.sleep_to(End::After(self.monotonic().saturating_add(time)))
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        self.sleep_to(End::At(moment))
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
