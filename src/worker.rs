//! The pool: a dispatcher that claims no more jobs than there are idle threads, the threads that run
//! handlers, and a recorder of what they came to. Knows the store and the domain, neither API.
//!
//! Handlers block, so they have threads; all else are tasks.

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

/// Handlers block on I/O and seldom nest deep: small stacks keep many threads cheap.
const STACK_BYTES: usize = 512 * 1024;

/// How long attempts that were told to stop may take to do so.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How the pool works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads.
    pub workers: usize,
    /// The name of this process in the history of attempts.
    pub worker: Arc<str>,
    /// How long a lease lasts; it is renewed at a third of it.
    pub lease: Duration,
    /// What delays are made random with.
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
    /// Notified when threads may have become idle.
    idle: Notify,
    /// The same, for the end of the pool.
    ended: Notify,
    /// Cancelled when no more jobs are claimed; leases are still renewed.
    draining: CancellationToken,
    /// Cancelled when nothing more is written: what is left is for the next process.
    stopped: CancellationToken,
    upkeep: upkeep::Calm,
}

impl Shared {
    /// Jobs do not run any more: their threads are idle.
    fn released(&self, leases: &[Lease]) {
        self.slots.end(leases);
        self.metrics.released(leases.len());
        self.idle.notify_one();
        self.ended.notify_one();
    }
}

/// A pool at work.
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
    /// Starts the threads and, in the runtime of the caller, the tasks. Fails if the system gives no
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
        // As many outcomes as running jobs, at most.
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
            // However it ends, even by a panic: no more jobs are run here.
            if let Err(error) = dispatching.await {
                tracing::error!(error = %error, "the dispatcher failed; no more jobs are run by this process");
            }
            metrics.set_workers(0);
        });
        let upkeep = tokio::spawn(upkeep::keep_leases(Arc::clone(&shared)));
        Ok(Self { shared, dispatcher, upkeep })
    }

    /// Claims nothing more, gives running attempts `grace` to finish, and gives back the rest.
    /// Answers how many attempts did not even stop when told to.
    pub async fn shutdown(self, grace: Duration) -> usize {
        let shared = &self.shared;
        shared.draining.cancel();
        // A claim under way ends first, so that its jobs are among those that are waited for.
        let _ = self.dispatcher.await;
        wait_until_idle(shared, grace).await;
        let stopped = shared.slots.stop_all();
        if stopped > 0 {
            tracing::info!(attempts = stopped, "the grace is over; running attempts are stopped");
        }
        wait_until_idle(shared, STOP_TIME).await;
        shared.stopped.cancel();
        // It panicked if this fails.
        let _ = self.upkeep.await;
        // The last chance: otherwise the next process would have to wait for the end of those leases.
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
