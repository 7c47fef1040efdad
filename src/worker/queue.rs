//! The queue of leased jobs that wait for a thread.
//!
//! At most one thread is being woken at a time. A thread that takes a job wakes the next thread if jobs are
//! left. So jobs whose handlers block soon get a thread each. Jobs whose handlers return at once stay on the
//! few threads that are awake, which saves a thread switch for each job.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::domain::clock::Signal;
use crate::store::ClaimedJob;

/// A leased job and the signal that stops its handler.
pub(super) type Job = (ClaimedJob, Arc<Signal>);

/// The queue of leased jobs. Each job has a reserved thread, so the queue has at most as many jobs as the
/// pool has threads.
#[derive(Debug)]
pub(super) struct Queue<T = Job> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    jobs: VecDeque<T>,
    asleep: usize,
    /// Whether a thread was woken and has not yet looked for a job.
    is_waking: bool,
    is_closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        let state = State { jobs: VecDeque::new(), asleep: 0, is_waking: false, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds jobs and wakes a thread.
    pub(super) fn push(&self, jobs: impl Iterator<Item = T>) {
        let mut state = self.lock();
        state.jobs.extend(jobs);
        self.wake_next(&mut state);
    }

    /// Blocks until there is a job, and takes it. None once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                self.wake_next(&mut state);
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state.asleep += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
            state.is_waking = false;
        }
    }

    /// Closes the queue: threads end once it is empty.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn wake_next(&self, state: &mut State<T>) {
        if !state.jobs.is_empty() && state.asleep > 0 && !state.is_waking {
            state.is_waking = true;
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    const THREADS: usize = 16;

    #[test]
    fn jobs_that_block_get_a_thread_each() {
        let (queue, together) = (Queue::new(), Barrier::new(THREADS));
        thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| {
                    while queue.take().is_some() {
                        // Blocks until all threads run a job at once.
                        together.wait();
                    }
                });
            }
            queue.push(0..THREADS);
            queue.push(0..THREADS);
            queue.close();
        });
    }

    #[test]
    fn every_job_is_taken_once_also_those_that_are_left_when_it_is_closed() {
        const JOBS: usize = 10_000;
        let (queue, sum) = (Queue::new(), AtomicUsize::new(0));
        thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| {
                    while let Some(job) = queue.take() {
                        sum.fetch_add(job, Ordering::SeqCst);
                    }
                });
            }
            (0..JOBS).for_each(|job| queue.push(std::iter::once(job)));
            queue.close();
        });
        assert_eq!(sum.into_inner(), JOBS * (JOBS - 1) / 2);
    }
}
