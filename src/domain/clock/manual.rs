//! The clock of tests.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::{Clock, Signal, whole_milliseconds};

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
