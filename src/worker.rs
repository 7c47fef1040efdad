//! The worker pool: a dispatcher that claims at most as many jobs as there are idle threads, the threads that
//! run handlers, and a recorder that stores the outcomes. Knows the store and the domain, but neither API.
//!
//! Handlers may block, so they run on threads. Everything else runs in tasks.

mod dispatcher;
pub mod handler;
pub mod handlers;
pub mod purger;
mod queue;
mod recorder;
mod run;
mod slots;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::handler::Registry;
use self::queue::Queue;
use self::run::Runner;
use self::slots::Slots;
use crate::domain::attempt::Lease;
use crate::domain::clock::Clock;
use crate::domain::policy::PoliciesInForce;
use crate::store::JobQueue;
use crate::telemetry::metrics::Metrics;

/// The stack of a worker thread, in bytes. It is small, because there can be many threads.
const STACK_BYTES: usize = 512 * 1024;

/// How long attempts may take to end after they were told to stop at shutdown.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The options of a pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many threads run handlers.
    pub workers: usize,
    /// The name of this process in the history of attempts.
    pub worker: Arc<str>,
    /// How long a lease lasts. It is renewed after a third of that time.
    pub lease: Duration,
    /// The seed for random retry delays.
    pub seed: u64,
}

/// What the parts of a pool share.
struct Shared {
    store: Arc<dyn JobQueue>,
    registry: Registry,
    policies: Arc<PoliciesInForce>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    options: Options,
    slots: Slots,
    queue: Queue,
    /// Notified when a job may have become able to start.
    due: Arc<Notify>,
    /// Notifies the dispatcher when threads may have become idle.
    idle: Notify,
    /// Notifies the shutdown when threads may have become idle.
    ended: Notify,
    /// Cancelled when the pool stops claiming jobs. Leases are still renewed.
    draining: CancellationToken,
    /// Cancelled when the pool stops renewing leases and retrying writes. Another process takes over jobs
    /// that are still leased.
    stopped: CancellationToken,
    upkeep: upkeep::Calm,
}

impl Shared {
    /// Makes the threads of jobs that have ended idle again.
    fn released(&self, leases: &[Lease]) {
        self.slots.end(leases);
        self.metrics.released(leases.len());
        self.idle.notify_one();
        self.ended.notify_one();
    }
}

/// A running worker pool.
pub struct Pool {
    shared: Arc<Shared>,
    dispatcher: JoinHandle<()>,
    upkeep: JoinHandle<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts the threads and, in the caller's tokio runtime, the tasks. Errors: the system cannot start a
    /// thread.
    pub fn start(
        store: Arc<dyn JobQueue>,
        registry: Registry,
        policies: Arc<PoliciesInForce>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        options: Options,
    ) -> std::io::Result<Self> {
        let due = Arc::new(Notify::new());
        store.on_due(Arc::clone(&due));
        let shared = Arc::new(Shared {
            store,
            registry,
            policies,
            slots: Slots::new(options.workers),
            queue: Queue::new(),
            due,
            idle: Notify::new(),
            ended: Notify::new(),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            upkeep: upkeep::Calm::new(clock.now(), options.lease),
            clock,
            metrics,
            options,
        });
        // Never holds more outcomes than there are threads.
        let (outcomes, unrecorded) = mpsc::unbounded_channel();
        let mut seeds = SmallRng::seed_from_u64(shared.options.seed);
        for number in 0..shared.options.workers {
            let runner = Runner::new(Arc::clone(&shared), outcomes.clone(), seeds.random());
            let started = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || runner.work());
            if let Err(error) = started {
                shared.queue.close();
                return Err(error);
            }
        }
        shared.metrics.set_workers(shared.options.workers);
        tokio::spawn(recorder::record(Arc::clone(&shared), unrecorded));
        let dispatching = tokio::spawn(dispatcher::dispatch(Arc::clone(&shared)));
        let metrics = Arc::clone(&shared.metrics);
        let dispatcher = tokio::spawn(async move {
            // When the dispatcher has ended, this process runs no more jobs, so `/readyz` must fail.
            if let Err(error) = dispatching.await {
                tracing::error!(error = %error, "the dispatcher failed; no more jobs are run by this process");
            }
            metrics.set_workers(0);
        });
        let upkeep = tokio::spawn(upkeep::keep_leases(Arc::clone(&shared)));
        Ok(Self { shared, dispatcher, upkeep })
    }

    /// Stops claiming jobs, and gives running attempts `grace` to finish. Then tells the attempts that are
    /// left to stop, and waits up to `STOP_TIME`. Returns how many attempts still run after that.
    pub async fn shutdown(self, grace: Duration) -> usize {
        let shared = &self.shared;
        shared.draining.cancel();
        // A claim in progress must end first, so that the wait below includes its jobs.
        let _ = self.dispatcher.await;
        wait_until_idle(shared, grace).await;
        let stopped = shared.slots.stop_all();
        if stopped > 0 {
            tracing::info!(
                attempts = stopped,
                "the shutdown grace is over; running attempts are told to stop"
            );
        }
        wait_until_idle(shared, STOP_TIME).await;
        shared.stopped.cancel();
        // An error means that the task panicked.
        let _ = self.upkeep.await;
        // Tried a last time here: otherwise these jobs wait until their leases expire.
        dispatcher::give_back_unheld(shared, Timestamp::MAX).await;
        shared.queue.close();
        shared.slots.len()
    }
}

async fn wait_until_idle(shared: &Shared, at_most: Duration) {
    let now = shared.clock.now();
    let over = shared.clock.sleep_until(now.saturating_add(at_most).unwrap_or(now));
    tokio::pin!(over);
    while shared.slots.len() > 0 {
        tokio::select! {
            () = &mut over => return,
            () = shared.ended.notified() => {}
        }
    }
}
