//! The threads of the pool that are taken, and the attempts under way on them: their leases, and how
//! to stop them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::attempt::Lease;
use crate::domain::clock::Signal;

/// How long a commit that was not answered may still be under way.
const LATE_COMMIT: Duration = Duration::from_secs(1);

/// A thread is idle, or reserved for a job that is being leased, or has an attempt, from its lease
/// until its outcome is on disk.
#[derive(Debug)]
pub(super) struct Running {
    threads: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    attempts: HashMap<Lease, Arc<Signal>>,
    reserved: usize,
    /// Whether jobs that are due may be waiting for a thread: they come before new ones.
    others_wait: bool,
    /// When leases were asked for without an answer: jobs may be leased that nobody here knows of. Until
    /// they are given back no thread is reserved for new ones.
    unanswered: Option<RangeInclusive<Timestamp>>,
    /// Whether new jobs ask for threads at all.
    new_ones_ask: bool,
    is_stopping: bool,
}

impl Running {
    /// So many threads, all idle.
    pub(super) fn new(threads: usize) -> Self {
        let taken = Taken {
            attempts: HashMap::with_capacity(threads),
            reserved: 0,
            // What was left from before is claimed first.
            others_wait: true,
            unanswered: None,
            new_ones_ask: false,
            is_stopping: false,
        };
        Self { threads, taken: Mutex::new(taken) }
    }

    /// Takes idle threads for jobs that wait: all of them, but if none is known to wait, half, so
    /// that what comes in meanwhile finds one.
    pub(super) fn reserve_for_waiting(&self) -> usize {
        let mut taken = self.lock();
        let idle = self.threads - taken.len();
        let is_shared = taken.new_ones_ask && !taken.others_wait;
        let threads = if is_shared { idle.div_ceil(2) } else { idle };
        taken.reserved += threads;
        threads
    }

    /// Takes up to `most` idle threads for new jobs; none while others wait, or while it is not known
    /// what is leased. If there are fewer, the new jobs that got none wait from now on.
    pub(super) fn reserve_for_new(&self, most: usize) -> usize {
        let mut taken = self.lock();
        taken.new_ones_ask = true;
        if taken.others_wait || taken.unanswered.is_some() {
            // Those that get none now come before the next.
            taken.others_wait = true;
            return 0;
        }
        let threads = most.min(self.threads - taken.len());
        taken.others_wait = threads < most;
        taken.reserved += threads;
        threads
    }

    /// Whether jobs that are due may be waiting for a thread.
    pub(super) fn set_others_wait(&self, others_wait: bool) {
        self.lock().others_wait = others_wait;
    }

    /// Jobs may have been leased from `since` until `now`, and the answer was lost.
    pub(super) fn unanswered(&self, since: Timestamp, now: Timestamp) {
        let mut taken = self.lock();
        let (from, to) = match &taken.unanswered {
            Some(before) => (since.min(*before.start()), now.max(*before.end())),
            None => (since, now),
        };
        taken.unanswered = Some(from..=to);
    }

    /// If jobs may be leased that nobody here knows of: when that was, and all that is known. None while
    /// leases are being asked for, and before `LATE_COMMIT` has passed.
    pub(super) fn unknown(&self, now: Timestamp) -> Option<(Vec<Lease>, RangeInclusive<Timestamp>)> {
        let taken = self.lock();
        let unanswered = taken.unanswered.clone()?;
        let is_over = now.duration_since(*unanswered.end()).unsigned_abs() >= LATE_COMMIT;
        (is_over && taken.reserved == 0).then(|| (taken.attempts.keys().copied().collect(), unanswered))
    }

    /// Everything that is leased is known: so many jobs were not, and wait again.
    pub(super) fn all_known(&self, given_back: usize) {
        let mut taken = self.lock();
        taken.unanswered = None;
        taken.others_wait |= given_back > 0;
    }

    /// Jobs that were leased begin, on so many reserved threads; the rest of them is idle again.
    /// Each signal stops a handler.
    pub(super) fn begin(&self, reserved: usize, leases: impl Iterator<Item = Lease>) -> Vec<Arc<Signal>> {
        let mut taken = self.lock();
        taken.reserved -= reserved;
        let mut stops = Vec::with_capacity(reserved);
        for lease in leases {
            let stop = Arc::new(Signal::default());
            if taken.is_stopping {
                stop.raise();
            }
            taken.attempts.insert(lease, Arc::clone(&stop));
            stops.push(stop);
        }
        stops
    }

    /// Outcomes are on disk, or can no longer be recorded.
    pub(super) fn end(&self, leases: &[Lease]) {
        let mut taken = self.lock();
        for lease in leases {
            taken.attempts.remove(lease);
        }
    }

    /// How many threads are taken.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether a thread is idle.
    pub(super) fn has_idle(&self) -> bool {
        self.len() < self.threads
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.lock().attempts.keys().copied().collect()
    }

    /// Stops the handler of an attempt, if it still runs.
    pub(super) fn stop(&self, lease: &Lease) {
        if let Some(stop) = self.lock().attempts.get(lease) {
            stop.raise();
        }
    }

    /// Stops all handlers, and those that begin later; answers how many there are now.
    pub(super) fn stop_all(&self) -> usize {
        let mut taken = self.lock();
        taken.is_stopping = true;
        taken.attempts.values().for_each(|stop| stop.raise());
        taken.attempts.len()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn len(&self) -> usize {
        self.attempts.len() + self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREADS: usize = 4;

    fn none() -> impl Iterator<Item = Lease> {
        std::iter::empty()
    }

    #[test]
    fn new_jobs_get_no_thread_while_older_ones_may_be_waiting() {
        let running = Running::new(THREADS);
        assert_eq!(running.reserve_for_new(1), 0, "what was left from before comes first");
        running.set_others_wait(false);
        assert_eq!(running.reserve_for_new(1), 1);
        running.set_others_wait(true);
        assert_eq!(running.reserve_for_new(1), 0);
        assert_eq!(running.reserve_for_waiting(), THREADS - 1);
    }

    #[test]
    fn new_jobs_that_got_no_thread_come_before_those_that_are_newer() {
        let running = Running::new(THREADS);
        running.set_others_wait(false);
        assert_eq!(running.reserve_for_new(THREADS + 1), THREADS);
        running.begin(THREADS, none());
        assert!(running.has_idle());
        assert_eq!(running.reserve_for_new(1), 0, "one waits for a claim");
    }

    #[test]
    fn no_thread_is_reserved_for_new_jobs_while_it_is_not_known_what_is_leased() {
        let second = |second| Timestamp::from_second(second).unwrap_or_default();
        let running = Running::new(THREADS);
        running.set_others_wait(false);
        assert_eq!(running.reserve_for_new(2), 2);
        assert_eq!(running.unknown(Timestamp::MAX), None, "all is known");
        running.unanswered(second(5), second(7));
        running.unanswered(second(6), second(8));
        assert_eq!(running.reserve_for_new(1), 0);
        running.set_others_wait(false);
        assert_eq!(running.reserve_for_new(1), 0);
        assert_eq!(running.unknown(Timestamp::MAX), None, "two are being leased");
        let lease = Lease { webhook: crate::domain::id::WebhookId::from_bytes([1; 16]), token: 1 };
        running.begin(2, std::iter::once(lease));
        assert_eq!(running.unknown(second(8)), None, "a commit may be under way");
        assert_eq!(running.unknown(second(9)), Some((vec![lease], second(5)..=second(8))));
        running.all_known(0);
        assert_eq!(running.unknown(Timestamp::MAX), None);
        assert_eq!(running.reserve_for_new(1), 0, "those that came meanwhile wait for a claim");
        running.set_others_wait(false);
        assert_eq!(running.reserve_for_new(1), 1);
        running.all_known(1);
        assert_eq!(running.reserve_for_new(1), 0, "those that were given back come first");
    }

    #[test]
    fn a_claim_that_only_looks_leaves_threads_to_what_comes_in_meanwhile() {
        let running = Running::new(THREADS);
        running.set_others_wait(false);
        assert_eq!(running.reserve_for_waiting(), THREADS, "nobody else asks for them");
        running.begin(THREADS, none());
        assert_eq!(running.reserve_for_new(1), 1);
        assert_eq!(running.reserve_for_waiting(), 2);
        assert_eq!(running.reserve_for_new(1), 1);
    }

    #[test]
    fn what_begins_after_everything_was_stopped_is_stopped_as_well() {
        let running = Running::new(THREADS);
        let id = crate::domain::id::WebhookId::from_bytes([1; 16]);
        assert_eq!(running.stop_all(), 0);
        let reserved = running.reserve_for_waiting();
        let stops = running.begin(reserved, std::iter::once(Lease { webhook: id, token: 1 }));
        assert!(stops[0].is_raised());
        assert_eq!(running.len(), 1);
    }
}
