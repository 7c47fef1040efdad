//! Attempts whose handlers do not return after they were told to stop.

use std::sync::Arc;
use std::time::Duration;

use super::{HELD_BYTES, Slots, Taken};
use crate::worker::started::{RETURN_TIME, Started};

/// The attempts whose handlers have not returned within [`RETURN_TIME`].
#[derive(Debug, Default)]
pub(in crate::worker) struct Overdue {
    /// Those that were abandoned now.
    pub(in crate::worker) abandoned: Vec<Arc<Started>>,
    /// How many were not abandoned, because too many threads are abandoned already.
    pub(in crate::worker) refused: usize,
}

impl Slots {
    /// Abandons attempts whose handlers have not returned within [`RETURN_TIME`] after they were told to stop, by the
    /// end of their timeout or by their signal. That time begins when a call of this first sees that they were told,
    /// so that a process that was frozen gives them the whole of it. `now` is monotonic.
    ///
    /// Does not make threads idle: the recorder does when it has the outcomes, which the caller sends. At most as many
    /// threads as the pool has are abandoned at a time, and no more once their payloads have [`HELD_BYTES`].
    pub(in crate::worker) fn abandon(&self, now: Duration) -> Overdue {
        let mut taken = self.lock();
        let Taken { attempts, abandoned, abandoned_bytes, .. } = &mut *taken;
        let mut overdue = Overdue::default();
        for running in attempts.values_mut() {
            let Some(started) = running.started.as_ref().filter(|started| !started.has_ended()) else {
                continue;
            };
            if !started.is_over(now) && !running.stop.is_raised() {
                continue;
            }
            let told_at = *running.told_at.get_or_insert(now);
            if now.saturating_sub(told_at) < RETURN_TIME {
                continue;
            }
            if *abandoned >= self.threads || *abandoned_bytes >= HELD_BYTES {
                overdue.refused += 1;
            } else if started.abandon() {
                *abandoned += 1;
                *abandoned_bytes += running.bytes;
                overdue.abandoned.push(Arc::clone(started));
            }
        }
        overdue
    }

    /// Notes that the handler of an abandoned attempt has returned. `bytes` are those of its payload.
    pub(in crate::worker) fn returned(&self, bytes: usize) {
        let mut taken = self.lock();
        taken.abandoned -= 1;
        taken.abandoned_bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{THREADS, job, started};
    use super::*;
    use crate::store::ClaimedJob;

    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

    /// Slots on which these jobs have started, at the monotonic time 0.
    fn with(jobs: &[ClaimedJob], timeout: Option<Duration>) -> (Slots, Vec<Arc<Started>>) {
        let slots = Slots::new(THREADS);
        let started = start(&slots, jobs, timeout);
        (slots, started)
    }

    fn start(slots: &Slots, jobs: &[ClaimedJob], timeout: Option<Duration>) -> Vec<Arc<Started>> {
        let (reserved, _) = slots.reserve();
        slots.begin(reserved, jobs, Duration::MAX);
        let started = jobs.iter().map(|job| started(job, timeout)).collect::<Vec<_>>();
        assert!(started.iter().all(|started| slots.start(started, Duration::ZERO)));
        started
    }

    /// How many attempts are abandoned and refused at this second.
    fn look(slots: &Slots, second: u64) -> (usize, usize) {
        let Overdue { abandoned, refused } = slots.abandon(Duration::from_secs(second));
        (abandoned.len(), refused)
    }

    #[test]
    fn a_handler_that_does_not_return_after_its_timeout_is_abandoned_once() {
        let (slots, started) = with(&[job(1, "a")], TIMEOUT);
        assert_eq!([29, 30, 39].map(|second| look(&slots, second)), [(0, 0); 3]);
        let overdue = slots.abandon(Duration::from_secs(40));
        assert!(Arc::ptr_eq(&overdue.abandoned[0], &started[0]));
        assert!(!started[0].returns(), "its result is dropped");
        assert_eq!(look(&slots, 100), (0, 0));
        assert_eq!(slots.len(), 1, "it holds its lease until its outcome is on disk");
    }

    #[test]
    fn the_time_to_return_begins_when_the_end_of_the_timeout_is_seen() {
        let (slots, _) = with(&[job(1, "a")], TIMEOUT);
        assert_eq!([1_000, 1_009, 1_010].map(|second| look(&slots, second)), [(0, 0), (0, 0), (1, 0)]);
    }

    #[test]
    fn a_handler_that_has_returned_is_not_abandoned() {
        let (slots, started) = with(&[job(1, "a")], TIMEOUT);
        assert_eq!(look(&slots, 30), (0, 0));
        assert!(started[0].returns());
        assert_eq!(look(&slots, 40), (0, 0));
        assert!(started[0].returns(), "it stays so");
    }

    #[test]
    fn without_a_timeout_an_attempt_is_abandoned_only_after_it_was_told_to_stop() {
        let job = job(1, "a");
        let (slots, _) = with(std::slice::from_ref(&job), None);
        assert_eq!([100, 200].map(|second| look(&slots, second)), [(0, 0); 2]);
        slots.stop(&job.lease);
        assert_eq!([300, 310].map(|second| look(&slots, second)), [(0, 0), (1, 0)]);
    }

    #[test]
    fn no_more_threads_are_abandoned_than_the_pool_has() {
        let first = (1..=THREADS as u8).map(|number| job(number, "a")).collect::<Vec<_>>();
        let (slots, _) = with(&first, TIMEOUT);
        assert_eq!([30, 40].map(|second| look(&slots, second)), [(0, 0), (THREADS, 0)]);
        slots.free(first.iter().map(|job| job.lease));
        start(&slots, &[job(100, "a")], TIMEOUT);
        assert_eq!([50, 60].map(|second| look(&slots, second)), [(0, 0), (0, 1)]);
        slots.returned(0);
        assert_eq!(look(&slots, 61), (1, 0));
    }

    #[test]
    fn no_more_threads_are_abandoned_while_their_payloads_fill_the_memory() {
        let mut large = job(1, "a");
        large.payload = Some(vec![b' '; HELD_BYTES]);
        let (slots, _) = with(std::slice::from_ref(&large), TIMEOUT);
        assert_eq!([30, 40].map(|second| look(&slots, second)), [(0, 0), (1, 0)]);
        slots.free([large.lease]);
        start(&slots, &[job(2, "a")], TIMEOUT);
        assert_eq!([50, 60].map(|second| look(&slots, second)), [(0, 0), (0, 1)]);
        slots.returned(HELD_BYTES);
        assert_eq!(look(&slots, 61), (1, 0));
    }
}
