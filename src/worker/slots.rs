//! The threads of the pool that are taken, and the attempts under way on them: their leases, and how
//! to stop them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::attempt::Lease;
use crate::domain::clock::Signal;
use crate::domain::route::RouteName;
use crate::store::ClaimedJob;

/// How long a commit whose answer was lost may still be under way.
const LATE_COMMIT: Duration = Duration::from_secs(1);

/// A thread is idle, or reserved for a job that is being leased, or has an attempt, from its lease
/// until its outcome is on disk.
#[derive(Debug)]
pub(super) struct Slots {
    threads: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    attempts: HashMap<Lease, Running>,
    /// How many of the attempts belong to each route.
    by_route: HashMap<RouteName, usize>,
    reserved: usize,
    /// When leases were asked for whose answer was lost: jobs may be leased that this process does
    /// not know of.
    unanswered: Option<RangeInclusive<Timestamp>>,
    is_stopping: bool,
}

#[derive(Debug)]
struct Running {
    stop: Arc<Signal>,
    route: RouteName,
}

impl Slots {
    /// So many threads, all idle.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, taken: Mutex::default() }
    }

    /// Takes all idle threads, for jobs that are about to be leased. Answers how many they are, and
    /// how many jobs of each route run.
    pub(super) fn reserve(&self) -> (usize, HashMap<RouteName, usize>) {
        let mut taken = self.lock();
        let idle = self.threads - taken.len();
        taken.reserved += idle;
        (idle, taken.by_route.clone())
    }

    /// Gives the jobs that were leased to reserved threads; the rest of these is idle again. Answers
    /// for each job the signal that stops its handler.
    pub(super) fn begin(&self, reserved: usize, jobs: &[ClaimedJob]) -> Vec<Arc<Signal>> {
        let mut taken = self.lock();
        taken.reserved -= reserved;
        let mut stops = Vec::with_capacity(jobs.len());
        for job in jobs {
            let stop = Arc::new(Signal::default());
            if taken.is_stopping {
                stop.raise();
            }
            let running = Running { stop: Arc::clone(&stop), route: job.route.clone() };
            taken.attempts.insert(job.lease, running);
            *taken.by_route.entry(job.route.clone()).or_default() += 1;
            stops.push(stop);
        }
        stops
    }

    /// Outcomes are on disk, or can no longer be recorded.
    pub(super) fn end(&self, leases: &[Lease]) {
        let mut taken = self.lock();
        for lease in leases {
            let Some(Running { route, .. }) = taken.attempts.remove(lease) else { continue };
            if let Some(count) = taken.by_route.get_mut(&route) {
                *count -= 1;
                if *count == 0 {
                    taken.by_route.remove(&route);
                }
            }
        }
    }

    /// Jobs may have been leased from `since` until `now`, and the answer was lost.
    pub(super) fn answer_lost(&self, since: Timestamp, now: Timestamp) {
        let mut taken = self.lock();
        let (from, to) = match &taken.unanswered {
            Some(before) => (since.min(*before.start()), now.max(*before.end())),
            None => (since, now),
        };
        taken.unanswered = Some(from..=to);
    }

    /// If jobs may be leased that this process does not know of: the leases that it knows, and when
    /// that was. None before `LATE_COMMIT` has passed, and while leases are being asked for.
    pub(super) fn unknown_leases(&self, now: Timestamp) -> Option<(Vec<Lease>, RangeInclusive<Timestamp>)> {
        let taken = self.lock();
        let unanswered = taken.unanswered.clone()?;
        let is_over = now.duration_since(*unanswered.end()).unsigned_abs() >= LATE_COMMIT;
        (is_over && taken.reserved == 0).then(|| (taken.attempts.keys().copied().collect(), unanswered))
    }

    /// Every lease of this process is known again.
    pub(super) fn all_known(&self) {
        self.lock().unanswered = None;
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// How many threads are taken.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether a thread is idle.
    pub(super) fn has_idle(&self) -> bool {
        self.len() < self.threads
    }

    /// The leases of the attempts under way.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.lock().attempts.keys().copied().collect()
    }

    /// Stops the handler of an attempt, if it still runs.
    pub(super) fn stop(&self, lease: &Lease) {
        if let Some(running) = self.lock().attempts.get(lease) {
            running.stop.raise();
        }
    }

    /// Stops all handlers, and those that begin later; answers how many there are now.
    pub(super) fn stop_all(&self) -> usize {
        let mut taken = self.lock();
        taken.is_stopping = true;
        taken.attempts.values().for_each(|running| running.stop.raise());
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
    use crate::domain::id::WebhookId;
    use crate::domain::job::{JobId, QueueId};
    use crate::domain::trace::Traceparent;
    use crate::domain::webhook::{EventType, IdempotencyKey, Source};

    const THREADS: usize = 4;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn job(number: u8, route: &str) -> ClaimedJob {
        let webhook = WebhookId::from_bytes([number; 16]);
        ClaimedJob {
            lease: Lease { job: JobId { webhook, queue: QueueId(1) }, token: 1 },
            route: RouteName::new(route).expect("valid"),
            order: None,
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("key").expect("valid"),
            event_type: EventType::new("type").expect("valid"),
            payload: None,
            traceparent: Traceparent::new(1, 1, true),
            attempt: 1,
            attempt_of_run: 1,
            run: 1,
            available_at: second(0),
            claimed_at: second(0),
        }
    }

    #[test]
    fn jobs_take_threads_until_their_outcome_is_recorded() {
        let slots = Slots::new(THREADS);
        let (reserved, running) = slots.reserve();
        assert_eq!((reserved, running.len()), (THREADS, 0));
        assert!(!slots.has_idle());
        let jobs = [job(1, "a"), job(2, "a"), job(3, "b")];
        slots.begin(reserved, &jobs);
        let (idle, running) = slots.reserve();
        assert_eq!(idle, 1);
        let count = |route| running.get(&RouteName::new(route).expect("valid")).copied();
        assert_eq!((count("a"), count("b")), (Some(2), Some(1)));
        slots.begin(idle, &[]);
        slots.end(&[jobs[0].lease, jobs[2].lease]);
        assert_eq!(slots.len(), 1);
        assert_eq!(slots.reserve().1.into_values().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn leases_are_unknown_only_after_a_lost_answer_and_a_pause() {
        let slots = Slots::new(THREADS);
        assert_eq!(slots.unknown_leases(Timestamp::MAX), None);
        slots.answer_lost(second(5), second(7));
        slots.answer_lost(second(6), second(8));
        let (reserved, _) = slots.reserve();
        assert_eq!(slots.unknown_leases(Timestamp::MAX), None, "some are being leased");
        let known = job(1, "a");
        slots.begin(reserved, std::slice::from_ref(&known));
        assert_eq!(slots.unknown_leases(second(8)), None, "a commit may be under way");
        assert_eq!(slots.unknown_leases(second(9)), Some((vec![known.lease], second(5)..=second(8))));
        slots.all_known();
        assert_eq!(slots.unknown_leases(Timestamp::MAX), None);
    }

    #[test]
    fn attempts_that_begin_after_the_stop_are_stopped_as_well() {
        let slots = Slots::new(THREADS);
        assert_eq!(slots.stop_all(), 0);
        let (reserved, _) = slots.reserve();
        let stops = slots.begin(reserved, &[job(1, "a")]);
        assert!(stops[0].is_raised());
        assert_eq!(slots.len(), 1);
    }
}
