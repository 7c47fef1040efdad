//! Leased jobs on their way to a thread.
//!
//! Threads are woken one after the other: a thread that is awake wakes the next while jobs are left,
//! and never two at once. Handlers that block get as many threads as there are jobs, within a
//! moment; handlers that are done at once stay on the few that are awake, which spares a switch of
//! threads for each job.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::domain::clock::Signal;
use crate::store::ClaimedJob;

/// A leased job and the signal that stops its handler.
pub(super) type Job = (ClaimedJob, Arc<Signal>);

/// See the module. Bounded by the threads that were reserved for the jobs.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    asleep: usize,
    /// Whether a thread was woken that has not looked yet.
    is_waking: bool,
    is_closed: bool,
}

impl Queue {
    /// Hands jobs to threads.
    pub(super) fn push(&self, jobs: impl Iterator<Item = Job>) {
        let mut state = self.lock();
        state.jobs.extend(jobs);
        self.wake_next(&mut state);
    }

    /// The next job, once there is one; none at the end of the pool.
    pub(super) fn take(&self) -> Option<Job> {
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

    /// Ends the threads once there is nothing left for them.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn wake_next(&self, state: &mut State) {
        if !state.jobs.is_empty() && state.asleep > 0 && !state.is_waking {
            state.is_waking = true;
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
