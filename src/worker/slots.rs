//! Which threads of the pool are taken, and the attempts of this process: their leases, and the signals that stop
//! them.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::attempt::Lease;
use crate::domain::clock::Signal;
use crate::domain::route::RouteName;
use crate::store::ClaimedJob;

/// How long a claim whose response was lost may still take to commit.
const LATE_COMMIT: Duration = Duration::from_secs(1);

/// While the payloads of running attempts have this many bytes, no more jobs are claimed. The last claim may exceed it.
const HELD_BYTES: usize = 64 * 1024 * 1024;

/// The state of the threads and of the attempts. A thread is idle, reserved for a job that is being leased, or
/// taken by an attempt until the recorder has its outcome. The attempt holds its lease for longer: until its
/// outcome is on disk.
#[derive(Debug)]
pub(super) struct Slots {
    threads: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// The attempts that hold a lease.
    attempts: HashMap<Lease, Running>,
    /// How many threads are taken by attempts of each route.
    by_route: HashMap<RouteName, usize>,
    /// How many threads are taken by attempts.
    running: usize,
    /// How many threads are reserved for jobs that are being leased.
    reserved: usize,
    /// The bytes of the payloads of attempts that take threads.
    bytes: usize,
    /// The claims whose responses were lost. Jobs that they leased are not in `attempts`.
    unanswered: Option<Unanswered>,
    is_stopping: bool,
}

#[derive(Clone, Debug)]
struct Unanswered {
    /// The time span in which they may have leased jobs.
    leased: RangeInclusive<Timestamp>,
    /// The monotonic time at which the last of them ended.
    ended: Duration,
}

#[derive(Debug)]
struct Running {
    stop: Arc<Signal>,
    /// The monotonic time until which the lease lasts at least.
    held_until: Duration,
    /// The route of the job; `None` once the attempt no longer takes a thread.
    route: Option<RouteName>,
    /// The bytes of its payload.
    bytes: usize,
}

impl Slots {
    /// A pool with this many threads, all idle.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, taken: Mutex::default() }
    }

    /// Reserves all idle threads for jobs that are about to be leased. Returns how many threads these are,
    /// and how many jobs of each route are running. Reserves none while the payloads of running attempts have
    /// [`HELD_BYTES`].
    pub(super) fn reserve(&self) -> (usize, HashMap<RouteName, usize>) {
        let mut taken = self.lock();
        let is_full = taken.bytes >= HELD_BYTES;
        let idle = if is_full { 0 } else { self.threads - taken.running - taken.reserved };
        taken.reserved += idle;
        (idle, taken.by_route.clone())
    }

    /// Assigns jobs that are leased until `held_until` to reserved threads, and makes the other reserved threads
    /// idle again. Returns the signal that stops the handler, for each job.
    pub(super) fn begin(
        &self,
        reserved: usize,
        jobs: &[ClaimedJob],
        held_until: Duration,
    ) -> Vec<Arc<Signal>> {
        let mut taken = self.lock();
        taken.reserved -= reserved;
        let mut stops = Vec::with_capacity(jobs.len());
        for job in jobs {
            let stop = Arc::new(Signal::default());
            if taken.is_stopping {
                stop.raise();
            }
            let bytes = job.payload.as_ref().map_or(0, String::len);
            let running =
                Running { stop: Arc::clone(&stop), held_until, route: Some(job.route.clone()), bytes };
            taken.bytes += bytes;
            taken.attempts.insert(job.lease, running);
            taken.running += 1;
            *taken.by_route.entry(job.route.clone()).or_default() += 1;
            stops.push(stop);
        }
        stops
    }

    /// Makes the threads of attempts idle again. Called when the recorder has their outcomes.
    pub(super) fn free(&self, leases: impl IntoIterator<Item = Lease>) {
        let mut taken = self.lock();
        for lease in leases {
            let Some(running) = taken.attempts.get_mut(&lease) else { continue };
            let Some(route) = running.route.take() else { continue };
            let bytes = running.bytes;
            taken.running -= 1;
            taken.bytes -= bytes;
            if let Some(count) = taken.by_route.get_mut(&route) {
                *count -= 1;
                if *count == 0 {
                    taken.by_route.remove(&route);
                }
            }
        }
    }

    /// Forgets attempts whose threads are idle again. Called when their outcomes are on disk or are lost.
    pub(super) fn end(&self, leases: impl IntoIterator<Item = Lease>) {
        let mut taken = self.lock();
        for lease in leases {
            taken.attempts.remove(&lease);
        }
    }

    /// Notes that the response of a claim was lost: it may have leased jobs between two times of day. `ended` is
    /// the monotonic time.
    pub(super) fn answer_lost(&self, asked: Timestamp, now: Timestamp, ended: Duration) {
        let mut taken = self.lock();
        // The time of day may have been set back between the two.
        let (mut from, mut to) = (asked.min(now), asked.max(now));
        if let Some(before) = &taken.unanswered {
            (from, to) = (from.min(*before.leased.start()), to.max(*before.leased.end()));
        }
        taken.unanswered = Some(Unanswered { leased: from..=to, ended });
    }

    /// If the response of a claim was lost: the known leases of this process, and the time span of such
    /// claims. None until `LATE_COMMIT` has passed, and while a claim is in progress. `now` is monotonic.
    pub(super) fn unknown_leases(&self, now: Duration) -> Option<(Vec<Lease>, RangeInclusive<Timestamp>)> {
        let taken = self.lock();
        let Unanswered { leased, ended } = taken.unanswered.clone()?;
        let is_over = now.saturating_sub(ended) >= LATE_COMMIT;
        (is_over && taken.reserved == 0).then(|| (taken.attempts.keys().copied().collect(), leased))
    }

    /// Notes that every lease of this process is known again.
    pub(super) fn all_known(&self) {
        self.lock().unanswered = None;
    }

    /// How many jobs are leased, are being leased, or have an outcome that is not on disk.
    pub(super) fn len(&self) -> usize {
        let taken = self.lock();
        taken.attempts.len() + taken.reserved
    }

    /// Notes that these leases were renewed, until `held_until`.
    pub(super) fn renewed(&self, leases: &[Lease], held_until: Duration) {
        let mut taken = self.lock();
        for lease in leases {
            if let Some(running) = taken.attempts.get_mut(lease) {
                running.held_until = held_until;
            }
        }
    }

    /// Whether a lease is surely held. `now` is monotonic.
    pub(super) fn is_held(&self, lease: &Lease, now: Duration) -> bool {
        self.lock().attempts.get(lease).is_some_and(|running| now < running.held_until)
    }

    /// The leases of all attempts.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.lock().attempts.keys().copied().collect()
    }

    /// Tells the handler of an attempt to stop, if the attempt still runs.
    pub(super) fn stop(&self, lease: &Lease) {
        if let Some(running) = self.lock().attempts.get(lease) {
            running.stop.raise();
        }
    }

    /// Tells all handlers to stop, also of attempts that begin later. Returns how many attempts run now.
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
    fn jobs_take_threads_until_the_recorder_has_their_outcomes() {
        let slots = Slots::new(THREADS);
        let (reserved, running) = slots.reserve();
        assert_eq!((reserved, running.len()), (THREADS, 0));
        assert_eq!(slots.len(), THREADS);
        let jobs = [job(1, "a"), job(2, "a"), job(3, "b")];
        slots.begin(reserved, &jobs, Duration::MAX);
        let (idle, running) = slots.reserve();
        assert_eq!(idle, 1);
        let count = |route| running.get(&RouteName::new(route).expect("valid")).copied();
        assert_eq!((count("a"), count("b")), (Some(2), Some(1)));
        slots.begin(idle, &[], Duration::MAX);
        slots.free([jobs[0].lease, jobs[2].lease]);
        let (idle, running) = slots.reserve();
        assert_eq!((idle, running.into_values().collect::<Vec<_>>()), (3, vec![1]));
    }

    #[test]
    fn no_thread_is_reserved_while_payloads_fill_the_memory() {
        let slots = Slots::new(THREADS);
        let (reserved, _) = slots.reserve();
        let mut large = job(1, "a");
        large.payload = Some(" ".repeat(HELD_BYTES));
        slots.begin(reserved, &[large.clone(), job(2, "a")], Duration::MAX);
        assert_eq!(slots.reserve().0, 0);
        slots.free([large.lease]);
        assert_eq!(slots.reserve().0, THREADS - 1);
    }

    #[test]
    fn an_attempt_keeps_its_lease_until_its_outcome_is_on_disk() {
        let slots = Slots::new(THREADS);
        let (reserved, _) = slots.reserve();
        let job = job(1, "a");
        slots.begin(reserved, std::slice::from_ref(&job), Duration::MAX);
        slots.free([job.lease]);
        assert_eq!((slots.len(), slots.leases()), (1, vec![job.lease]));
        slots.end([job.lease]);
        assert_eq!((slots.len(), slots.leases()), (0, vec![]));
        assert_eq!(slots.reserve().0, THREADS);
    }

    #[test]
    fn a_lease_is_held_until_its_end_or_that_of_its_last_renewal() {
        let slots = Slots::new(THREADS);
        let (reserved, _) = slots.reserve();
        let (kept, renewed) = (job(1, "a"), job(2, "a"));
        slots.begin(reserved, &[kept.clone(), renewed.clone()], Duration::from_secs(10));
        slots.renewed(&[renewed.lease], Duration::from_secs(20));
        let held = |now| [&kept, &renewed].map(|job| slots.is_held(&job.lease, Duration::from_secs(now)));
        assert_eq!([held(9), held(10), held(20)], [[true, true], [false, true], [false, false]]);
        slots.end([renewed.lease]);
        assert_eq!(held(9), [true, false], "it has ended");
    }

    #[test]
    fn leases_are_unknown_only_after_a_lost_answer_and_a_pause() {
        let slots = Slots::new(THREADS);
        assert_eq!(slots.unknown_leases(Duration::MAX), None);
        slots.answer_lost(second(5), second(7), Duration::from_secs(17));
        // The time of day was set back by two seconds.
        slots.answer_lost(second(8), second(7), Duration::from_secs(18));
        let (reserved, _) = slots.reserve();
        assert_eq!(slots.unknown_leases(Duration::MAX), None, "some are being leased");
        let known = job(1, "a");
        slots.begin(reserved, std::slice::from_ref(&known), Duration::MAX);
        assert_eq!(slots.unknown_leases(Duration::from_secs(18)), None, "a commit may be under way");
        assert_eq!(
            slots.unknown_leases(Duration::from_secs(19)),
            Some((vec![known.lease], second(5)..=second(8)))
        );
        slots.all_known();
        assert_eq!(slots.unknown_leases(Duration::MAX), None);
    }

    #[test]
    fn attempts_that_begin_after_the_stop_are_stopped_as_well() {
        let slots = Slots::new(THREADS);
        assert_eq!(slots.stop_all(), 0);
        let (reserved, _) = slots.reserve();
        let stops = slots.begin(reserved, &[job(1, "a")], Duration::MAX);
        assert!(stops[0].is_raised());
        assert_eq!(slots.len(), 1);
    }
}
