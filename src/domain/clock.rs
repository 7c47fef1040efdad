//! The clock that code takes as an argument. The program uses the system's time (`crate::clock`); tests use a
//! [`ManualClock`].

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

/// Tells the time and waits for it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now, in whole milliseconds.
    fn now(&self) -> Timestamp;

    /// Blocks until `signal` is raised or the time `until` is reached; without `until`, until `signal` is
    /// raised.
    fn wait(&self, signal: &Arc<Signal>, until: Option<Timestamp>);

    /// Ready once the time `until` is reached.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
}

/// A flag that threads can wait for. It stays raised until [`take`](Self::take) lowers it.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Raises the flag and wakes the threads that wait for it.
    pub fn raise(&self) {
        // If the flag was already raised, no thread waits.
        if !std::mem::replace(&mut *self.lock(), true) {
            self.changed.notify_all();
        }
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
    now: Mutex<Timestamp>,
    waiting: Mutex<Vec<Weak<Signal>>>,
    alarms: Mutex<Vec<(Timestamp, oneshot::Sender<()>)>>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: Mutex::new(whole_milliseconds(now)), waiting: Mutex::default(), alarms: Mutex::default() }
    }

    /// How many tasks sleep until exactly `time`. A test waits for a sleeper with this before it advances the
    /// clock: a task that begins to sleep later would sleep from the new time on and not wake.
    pub fn sleepers_until(&self, time: Timestamp) -> usize {
        let alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.iter().filter(|(until, alarm)| *until == time && !alarm.is_canceled()).count()
    }

    /// Moves the time on by `by`, and wakes the tasks and threads whose time is reached.
    pub fn advance(&self, by: SignedDuration) {
        {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = whole_milliseconds(now.saturating_add(by).unwrap_or(Timestamp::MAX));
        }
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for signal in waiting.iter().filter_map(Weak::upgrade) {
            // Locks once, so that a waiter that has read the old time but does not wait yet is not missed.
            drop(signal.lock());
            signal.changed.notify_all();
        }
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        for (_, alarm) in alarms.extract_if(.., |(until, _)| *until <= now) {
            // An error means that the sleeper was dropped.
            let _ = alarm.send(());
        }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, signal: &Arc<Signal>, until: Option<Timestamp>) {
        let mut raised = signal.lock();
        while !*raised {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(signal));
            if until.is_some_and(|until| until <= self.now()) {
                return;
            }
            raised = signal.changed.wait(raised).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        // Locks before reading the time, so that `advance` cannot run in between.
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        if until <= self.now() {
            return std::future::ready(()).boxed();
        }
        let (alarm, rings) = oneshot::channel();
        alarms.push((until, alarm));
        rings.map(|_| ()).boxed()
    }
}

/// Cuts a time down to whole milliseconds, the precision in which hookbox stores, compares and shows times.
pub fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
