//! Starts the threads of the pool: one with the pool, and each other one when a job waits and all threads are busy.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::Shared;
use super::queue::{Job, Start};
use super::recorder::Ended;
use super::run::Runner;
use crate::telemetry::repeated::Repeated;

/// The stack of a worker thread, in bytes. It is small, because there can be many threads.
const STACK_BYTES: usize = 512 * 1024;

/// The parts that are needed to start a thread.
pub(super) struct Threads {
    shared: Arc<Shared>,
    outcomes: UnboundedSender<Ended>,
    /// How many threads were started.
    started: AtomicU64,
}

static STARTS: Repeated = Repeated::new("worker threads are started again");

impl Threads {
    pub(super) fn new(shared: Arc<Shared>, outcomes: UnboundedSender<Ended>) -> Self {
        Self { shared, outcomes, started: AtomicU64::new(0) }
    }

    /// Has these jobs run.
    pub(super) fn run(self: &Arc<Self>, jobs: impl Iterator<Item = Job>) {
        self.start_if(self.shared.queue.push(jobs));
    }

    /// Starts a thread if the queue asks for one.
    pub(super) fn start_if(self: &Arc<Self>, start: Start) {
        if start == Start::Nothing {
            return;
        }
        match self.start_one() {
            Ok(()) => STARTS.works(),
            Err(error) => STARTS.failed(|times| {
                tracing::error!(times, error = %error, "a worker thread cannot be started; jobs wait for the others. Lower `workers`, or raise the limit of threads");
            }),
        }
    }

    /// Starts a thread. Errors: the system cannot start one.
    pub(super) fn start_one(self: &Arc<Self>) -> io::Result<()> {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let seed = self.shared.options.seed.wrapping_add(number);
        let runner = Runner::new(Arc::clone(&self.shared), Arc::clone(self), self.outcomes.clone(), seed);
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).stack_size(STACK_BYTES);
        let started = thread.spawn(move || runner.work());
        if started.is_err() {
            self.shared.queue.not_started();
        }
        started.map(drop)
    }
}
