//! Time, handed in: the system's for the service (`crate::clock`), one driven by hand for tests.

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

    /// Blocks until `signal` is raised or `until` is reached; without `until`, until it is raised.
    fn wait(&self, signal: &Arc<Signal>, until: Option<Timestamp>);

    /// Ready once `until` is reached.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
}

/// A flag to wait for. It stays raised until it is taken.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Raises the flag and wakes the threads that wait for it.
    pub fn raise(&self) {
        // If it was raised before, they are awake.
        if !std::mem::replace(&mut *self.lock(), true) {
            self.changed.notify_all();
        }
    }

    /// Blocks until it is raised, or for `at_most`.
    pub fn wait(&self, at_most: Option<Duration>) {
        let raised = self.lock();
        match at_most {
            None => drop(self.changed.wait_while(raised, |raised| !*raised)),
            Some(time) => drop(self.changed.wait_timeout_while(raised, time, |raised| !*raised)),
        }
    }

    /// Whether it is raised.
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

    /// How many sleep until exactly that time. A test that moves the time on before a task sleeps would
    /// wait for it in vain.
    pub fn sleepers_until(&self, time: Timestamp) -> usize {
        let alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.iter().filter(|(until, alarm)| *until == time && !alarm.is_canceled()).count()
    }

    /// Moves the time on and wakes everyone whose time has come.
    pub fn advance(&self, by: SignedDuration) {
        {
            let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
            *now = whole_milliseconds(now.saturating_add(by).unwrap_or(Timestamp::MAX));
        }
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for signal in waiting.iter().filter_map(Weak::upgrade) {
            // Taken and let go, so that a waiter between its look at the time and its wait is not missed.
            drop(signal.lock());
            signal.changed.notify_all();
        }
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        for (_, alarm) in alarms.extract_if(.., |(until, _)| *until <= now) {
            // Fails if the sleeper is gone.
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
        // Locked before the look at the time, so that no `advance` falls in between.
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        if until <= self.now() {
            return std::future::ready(()).boxed();
        }
        let (alarm, rings) = oneshot::channel();
        alarms.push((until, alarm));
        rings.map(|_| ()).boxed()
    }
}

/// Times are kept, compared and shown in whole milliseconds.
pub fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
