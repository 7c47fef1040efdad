//! Logs of a fault that repeats: at most one line a second, and one line when it is over.
//!
//! A store that is away for a minute would otherwise fill the log with the same line, for every request and
//! every job.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::metrics::Stopwatch;

/// The time between two lines. A success within this time of a failure does not end the fault: while a store is
/// failing, some calls may succeed.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// A fault of one kind. Kept in a `static` beside the code that logs it.
#[derive(Debug)]
pub struct Repeated {
    /// The message when the fault is over.
    over: &'static str,
    is_failing: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    clock: Stopwatch,
    /// When the last line was logged, and when it last happened. Times are those of `clock`.
    logged: Duration,
    happened: Duration,
    /// How often it happened, in all and since the last line.
    times: u64,
    unlogged: u64,
}

impl Repeated {
    /// `over` is the message when the fault is over.
    pub const fn new(over: &'static str) -> Self {
        Self { over, is_failing: AtomicBool::new(false), failing: Mutex::new(None) }
    }

    /// Notes that it happened. Calls `log` if a line is due, with how often it happened since the last line.
    pub fn failed(&self, log: impl FnOnce(u64)) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let times = match failing.as_mut() {
            Some(failing) => failing.again(failing.clock.elapsed()),
            None => {
                *failing = Some(Failing::new());
                Some(1)
            }
        };
        self.is_failing.store(true, Ordering::Relaxed);
        drop(failing);
        if let Some(times) = times {
            log(times);
        }
    }

    /// Whether it has happened, and is not known to be over.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Notes a success. Logs that the fault is over, if there was one and it has not happened for a second.
    pub fn works(&self) {
        if !self.is_failing() {
            return;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(over) = failing.take_if(|failing| failing.is_over(failing.clock.elapsed())) else { return };
        self.is_failing.store(false, Ordering::Relaxed);
        drop(failing);
        tracing::info!(times = over.times, lasted_seconds = over.happened.as_secs_f64(), "{}", self.over);
    }
}

impl Failing {
    /// It happened for the first time, and is logged.
    fn new() -> Self {
        let zero = Duration::ZERO;
        Self { clock: Stopwatch::start(), logged: zero, happened: zero, times: 1, unlogged: 0 }
    }

    /// It happened again. Returns how often since the last line, if a line is due.
    fn again(&mut self, now: Duration) -> Option<u64> {
        self.happened = now;
        self.times += 1;
        self.unlogged += 1;
        if now.saturating_sub(self.logged) < LINE_EVERY {
            return None;
        }
        self.logged = now;
        Some(std::mem::take(&mut self.unlogged))
    }

    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.happened) >= LINE_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_logged_once_a_second_and_ends_after_a_second_without_failures() {
        let at = Duration::from_millis;
        let mut failing = Failing::new();
        assert_eq!([300, 999].map(|now| failing.again(at(now))), [None, None]);
        assert_eq!(failing.again(at(1_000)), Some(3));
        assert_eq!(failing.again(at(1_500)), None);
        assert_eq!(failing.again(at(2_700)), Some(2));
        assert!(!failing.is_over(at(3_699)));
        assert!(failing.is_over(at(3_700)));
        assert_eq!((failing.times, failing.happened), (6, at(2_700)));
    }

    #[test]
    fn the_first_failure_is_logged_at_once_and_an_early_success_does_not_end_the_fault() {
        let fault = Repeated::new("over");
        let mut logged = Vec::new();
        fault.failed(|times| logged.push(times));
        fault.works();
        fault.failed(|times| logged.push(times));
        assert_eq!(logged, [1]);
    }
}
