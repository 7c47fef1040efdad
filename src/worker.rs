//! The pool: a dispatcher that claims no more jobs than there are idle threads, and the threads
//! that run them. Knows the store and the domain, neither API.

mod dispatcher;
pub mod handler;
pub mod handlers;
pub mod purger;
mod queue;
mod record;
mod run;
mod running;
mod start;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use self::handler::Registry;
use self::queue::Queue;
use self::run::Runner;
use self::running::Running;
use crate::domain::attempt::Lease;
use crate::domain::clock::{Clock, Signal};
use crate::domain::retry::RetryPolicy;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Handlers block on I/O and seldom nest deep: small stacks keep many threads cheap.
const STACK_BYTES: usize = 512 * 1024;

/// How long attempts that were told to stop may take to do so.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How the pool works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads.
    pub workers: usize,
    /// How long a lease lasts; it is renewed at a third of it.
    pub lease: Duration,
    /// When failed jobs are tried again.
    pub retry: RetryPolicy,
    /// What delays are made random with.
    pub seed: u64,
}

/// What the threads of a pool share.
struct Shared {
    store: Arc<dyn Store>,
    registry: Registry,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    options: Options,
    running: Running,
    queue: Queue,
    /// Raised when there may be something to claim.
    due: Arc<Signal>,
    /// Raised when threads may have become idle.
    idle: Arc<Signal>,
    /// The same, for the end of the pool.
    ended: Arc<Signal>,
    phase: AtomicU8,
    /// Held from the look at the phase until what was claimed is running.
    claiming: Mutex<()>,
}

/// Jobs are claimed and run.
const WORKING: u8 = 0;
/// No more are claimed; leases are still renewed.
const DRAINING: u8 = 1;
/// Nothing more is written: what is left is for the next process.
const STOPPED: u8 = 2;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }

    /// Jobs do not run any more: their threads are idle.
    fn released(&self, leases: &[Lease]) {
        self.running.end(leases);
        self.metrics.released(leases.len());
        self.idle.raise();
        self.ended.raise();
    }

    fn enter(&self, phase: u8) {
        self.phase.store(phase, Ordering::SeqCst);
        self.due.raise();
        self.idle.raise();
    }
}

/// A pool at work.
pub struct Pool {
    shared: Arc<Shared>,
    dispatcher: JoinHandle<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts the threads. Fails if the system gives none.
    pub fn start(
        store: Arc<dyn Store>,
        registry: Registry,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        options: Options,
    ) -> std::io::Result<Self> {
        let due = Arc::new(Signal::default());
        store.on_due(Arc::clone(&due));
        metrics.set_workers(options.workers);
        let shared = Arc::new(Shared {
            store,
            registry,
            clock,
            metrics,
            running: Running::new(options.workers),
            queue: Queue::new(),
            due,
            idle: Arc::default(),
            ended: Arc::default(),
            phase: AtomicU8::new(WORKING),
            claiming: Mutex::default(),
            options,
        });
        // As many outcomes as running jobs, at most.
        let (outcomes, unrecorded) = futures::channel::mpsc::unbounded();
        let recording = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || record::record(&recording, unrecorded))?;
        let mut seeds = SmallRng::seed_from_u64(shared.options.seed);
        for number in 0..shared.options.workers {
            let runner = Runner::new(Arc::clone(&shared), outcomes.clone(), seeds.random());
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || runner.work())?;
        }
        let starter = Arc::downgrade(&shared);
        shared.store.on_accept(starter);
        let dispatching = Arc::clone(&shared);
        let dispatcher = std::thread::Builder::new()
            .name("dispatcher".into())
            .spawn(move || dispatcher::dispatch(&dispatching))?;
        Ok(Self { shared, dispatcher })
    }

    /// Claims nothing more, gives running attempts `grace` to finish, and gives back what is
    /// left. Blocks until then; answers how many attempts did not even stop when told to.
    pub fn shutdown(self, grace: Duration) -> usize {
        let shared = &self.shared;
        shared.enter(DRAINING);
        // A claim under way ends first, so that its jobs are among those that are waited for.
        drop(shared.claiming.lock().unwrap_or_else(PoisonError::into_inner));
        self.wait_until_idle(grace);
        let stopped = shared.running.stop_all();
        if stopped > 0 {
            tracing::info!(
                attempts = stopped,
                "the grace is over; running attempts are stopped and given back"
            );
        }
        self.wait_until_idle(STOP_TIME);
        shared.enter(STOPPED);
        // The dispatcher ends at its next look at the phase; it panicked if this fails.
        let _ = self.dispatcher.join();
        // The last chance: who comes next would have to wait for the end of those leases.
        dispatcher::give_back_unheld(shared, Timestamp::MAX);
        self.shared.running.len()
    }

    fn wait_until_idle(&self, at_most: Duration) {
        let shared = &self.shared;
        let now = shared.clock.now();
        let until = now.saturating_add(at_most).unwrap_or(now);
        while shared.running.len() > 0 && shared.clock.now() < until {
            shared.ended.take();
            if shared.running.len() > 0 {
                shared.clock.wait(&shared.ended, Some(until));
            }
        }
    }
}
