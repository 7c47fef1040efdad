//! Which threads of the pool are taken, and the attempts of this process: their leases, and the signals that stop
//! them.

mod overdue;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Left;
use super::started::Started;
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
/// outcome is on disk. A thread that is abandoned is none of these.
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
    /// How many threads are abandoned: their attempts have ended, but their handlers have not returned.
    abandoned: usize,
    /// The bytes of the payloads that abandoned threads hold.
    abandoned_bytes: usize,
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
    /// The attempt, once its handler has started.
    started: Option<Arc<Started>>,
    /// The monotonic time at which the pool first saw that the handler was told to stop.
    told_at: Option<Duration>,
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
            let bytes = job.payload.as_ref().map_or(0, Vec::len);
            let running = Running {
                stop: Arc::clone(&stop),
                held_until,
                route: Some(job.route.clone()),
                bytes,
                started: None,
                told_at: None,
            };
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

    /// The same jobs, by whether their attempts have ended.
    pub(super) fn left(&self) -> Left {
        let taken = self.lock();
        let has_ended = |running: &&Running| {
            running.route.is_none() || running.started.as_ref().is_some_and(|started| started.has_ended())
        };
        let unrecorded = taken.attempts.values().filter(has_ended).count();
        Left { running: taken.attempts.len() + taken.reserved - unrecorded, unrecorded }
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

    /// Notes that the handler of an attempt starts. False if it must not, because the lease is not surely held, or
    /// the attempt was told to stop. `now` is monotonic.
    pub(super) fn start(&self, started: &Arc<Started>, now: Duration) -> bool {
        let mut taken = self.lock();
        let Some(running) = taken.attempts.get_mut(&started.job.lease) else { return false };
        let may_start = now < running.held_until && !running.stop.is_raised();
        if may_start {
            running.started = Some(Arc::clone(started));
        }
        may_start
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
