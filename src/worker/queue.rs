//! The queue of leased jobs that wait for a thread.
//!
//! At most one thread is being woken or started at a time. A thread that takes a job wakes the next thread if jobs
//! are left, or asks for a new one if all are busy. So jobs whose handlers block soon get a thread each. Jobs whose
//! handlers return at once stay on the few threads that are awake, which saves a thread switch for each job.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::clock::Signal;
use crate::store::ClaimedJob;

/// A leased job and the signal that stops its handler.
pub(super) type Job = (ClaimedJob, Arc<Signal>);

/// The queue of leased jobs. Each job has a reserved thread, so the queue has at most as many jobs as the
/// pool may have threads.
#[derive(Debug)]
pub(super) struct Queue<T = Job> {
    /// Without those that are abandoned.
    max_threads: usize,
    idle_time: Duration,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    jobs: VecDeque<T>,
    threads: usize,
    asleep: usize,
    /// Whether a thread was woken or is being started, and has not yet looked for a job.
    is_waking: bool,
    is_closed: bool,
}

/// Whether the caller must start a thread. The thread must call [`Queue::started`]; if it cannot be started, the
/// caller must call [`Queue::not_started`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Thread,
    Nothing,
}

impl<T> Queue<T> {
    /// A queue for up to `max_threads` threads, which end after they have waited for a job for `idle_time`. The
    /// caller must start the first thread.
    pub(super) fn new(max_threads: usize, idle_time: Duration) -> Self {
        let jobs = VecDeque::new();
        let state = State { jobs, threads: 1, asleep: 0, is_waking: true, is_closed: false };
        Self { max_threads, idle_time, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds jobs and wakes a thread.
    pub(super) fn push(&self, jobs: impl Iterator<Item = T>) -> Start {
        let mut state = self.lock();
        state.jobs.extend(jobs);
        self.wake_next(&mut state)
    }

    /// Blocks until there is a job, and takes it. None once the thread must end: the queue is closed and empty, or
    /// there was no job for a while.
    pub(super) fn take(&self) -> Option<(T, Start)> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                let start = self.wake_next(&mut state);
                return Some((job, start));
            }
            if state.is_closed {
                state.threads -= 1;
                return None;
            }
            state.asleep += 1;
            let (woken, waited) =
                self.changed.wait_timeout(state, self.idle_time).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.asleep -= 1;
            state.is_waking = false;
            // The last thread stays, so that jobs are run even if no thread can be started.
            if waited.timed_out() && state.jobs.is_empty() && state.threads > 1 {
                state.threads -= 1;
                return None;
            }
        }
    }

    /// Notes that a thread was started.
    pub(super) fn started(&self) {
        self.lock().is_waking = false;
    }

    /// Notes that a thread could not be started. The jobs wait for the other threads.
    pub(super) fn not_started(&self) {
        let mut state = self.lock();
        state.threads -= 1;
        // A thread may have fallen asleep meanwhile, and later jobs did not wake it.
        state.is_waking = state.asleep > 0;
        self.changed.notify_one();
    }

    /// Notes that so many threads are abandoned: they take no more jobs, and other threads may be started in their
    /// place. Also asks again for a thread that could not be started.
    pub(super) fn abandon(&self, threads: usize) -> Start {
        let mut state = self.lock();
        state.threads -= threads;
        self.wake_next(&mut state)
    }

    /// Closes the queue: threads end once it is empty.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn wake_next(&self, state: &mut State<T>) -> Start {
        if state.jobs.is_empty() || state.is_waking {
            return Start::Nothing;
        }
        if state.asleep > 0 {
            state.is_waking = true;
            self.changed.notify_one();
            return Start::Nothing;
        }
        if state.threads == self.max_threads {
            return Start::Nothing;
        }
        state.is_waking = true;
        state.threads += 1;
        Start::Thread
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread::{self, Scope};

    use super::*;
    use crate::telemetry::metrics::Stopwatch;

    const THREADS: usize = 16;
    const FOREVER: Duration = Duration::from_secs(3_600);

    /// A pool that counts its threads and does `work` with each job.
    struct Pool<W> {
        queue: Queue<usize>,
        started: AtomicUsize,
        work: W,
    }

    impl<W: Fn(usize) + Sync> Pool<W> {
        fn new(idle_time: Duration, work: W) -> Self {
            Self { queue: Queue::new(THREADS, idle_time), started: AtomicUsize::new(0), work }
        }

        fn start<'s>(&'s self, threads: &'s Scope<'s, '_>) {
            self.started.fetch_add(1, Ordering::SeqCst);
            threads.spawn(move || {
                self.queue.started();
                while let Some((job, start)) = self.queue.take() {
                    self.start_if(threads, start);
                    (self.work)(job);
                }
            });
        }

        fn start_if<'s>(&'s self, threads: &'s Scope<'s, '_>, start: Start) {
            if start == Start::Thread {
                self.start(threads);
            }
        }

        fn push<'s>(&'s self, threads: &'s Scope<'s, '_>, jobs: impl Iterator<Item = usize>) {
            self.start_if(threads, self.queue.push(jobs));
        }
    }

    #[test]
    fn jobs_that_block_get_a_thread_each() {
        let together = Barrier::new(THREADS);
        // Blocks until all threads run a job at once.
        let pool = Pool::new(FOREVER, |_| {
            together.wait();
        });
        thread::scope(|threads| {
            pool.start(threads);
            pool.push(threads, 0..THREADS);
            pool.push(threads, 0..THREADS);
            pool.queue.close();
        });
        assert_eq!(pool.started.into_inner(), THREADS);
    }

    #[test]
    fn every_job_is_taken_once_also_those_that_are_left_when_it_is_closed() {
        const JOBS: usize = 10_000;
        let sum = AtomicUsize::new(0);
        let pool = Pool::new(FOREVER, |job| {
            sum.fetch_add(job, Ordering::SeqCst);
        });
        thread::scope(|threads| {
            pool.start(threads);
            (0..JOBS).for_each(|job| pool.push(threads, std::iter::once(job)));
            pool.queue.close();
        });
        assert_eq!(sum.into_inner(), JOBS * (JOBS - 1) / 2);
    }

    #[test]
    fn idle_threads_end_except_the_last_and_start_again() {
        let (first, second) = (Barrier::new(2), Barrier::new(2));
        let pool = Pool::new(Duration::ZERO, |job| {
            if job < 2 { &first } else { &second }.wait();
        });
        thread::scope(|threads| {
            pool.start(threads);
            pool.push(threads, 0..2);
            let waited = Stopwatch::start();
            while pool.started.load(Ordering::SeqCst) < 2 || pool.queue.lock().threads > 1 {
                assert!(waited.elapsed() < Duration::from_secs(30), "the second thread has not ended");
                thread::yield_now();
            }
            pool.push(threads, 2..4);
            pool.queue.close();
        });
        assert!(pool.started.into_inner() > 2);
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_asked_for_again() {
        let queue = Queue::new(2, FOREVER);
        queue.started();
        assert_eq!(queue.push(0..3), Start::Thread);
        queue.not_started();
        assert_eq!(queue.take(), Some((0, Start::Thread)));
    }

    #[test]
    fn a_job_behind_a_thread_that_is_abandoned_gets_another_thread() {
        let queue = Queue::new(1, FOREVER);
        queue.started();
        assert_eq!(queue.push(0..2), Start::Nothing, "the only thread is awake");
        assert_eq!(queue.take(), Some((0, Start::Nothing)));
        assert_eq!(queue.abandon(1), Start::Thread);
        queue.not_started();
        assert_eq!(queue.abandon(0), Start::Thread, "it could not be started before");
        queue.started();
        assert_eq!(queue.take(), Some((1, Start::Nothing)));
    }

    #[test]
    fn jobs_behind_a_thread_that_cannot_be_started_wake_a_thread_that_sleeps() {
        let queue = Queue::new(2, Duration::from_secs(20));
        queue.started();
        assert_eq!(queue.push(0..1), Start::Thread);
        thread::scope(|threads| {
            let sleeper = threads.spawn(|| {
                assert_eq!(queue.take(), Some((0, Start::Nothing)));
                queue.take().expect("the second job")
            });
            let waited = Stopwatch::start();
            while queue.lock().asleep == 0 {
                assert!(waited.elapsed() < Duration::from_secs(10), "the thread does not sleep");
                thread::yield_now();
            }
            // Another thread is still being started, so this push wakes no thread.
            assert_eq!(queue.push(1..2), Start::Nothing);
            queue.not_started();
            assert_eq!(sleeper.join().expect("ends"), (1, Start::Nothing));
            assert!(waited.elapsed() < Duration::from_secs(10), "it was not woken");
        });
    }
}
