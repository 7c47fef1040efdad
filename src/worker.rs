//! The worker pool: a dispatcher that claims at most as many jobs as there are idle threads, the threads that
//! run handlers, and a recorder that stores the outcomes. Knows the store and the domain, but neither API.
//!
//! Handlers may block, so they run on threads. Everything else runs in tasks.

mod abandon;
mod dispatcher;
pub mod handler;
pub mod purger;
mod queue;
mod recorder;
mod run;
mod slots;
mod started;
#[cfg(test)]
mod tests;
mod threads;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::abandon::Abandoner;
use self::handler::Registry;
use self::queue::Queue;
use self::slots::Slots;
use self::threads::Threads;
use crate::domain::attempt::Lease;
use crate::domain::clock::Clock;
use crate::domain::policy::PoliciesInForce;
use crate::store::JobQueue;
use crate::telemetry::metrics::Metrics;

/// How long a thread waits for a job before it ends.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// How long attempts may take to end after they were told to stop at shutdown.
const STOP_TIME: Duration = Duration::from_secs(5);

/// The options of a pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// The largest number of threads that run handlers, without those that are abandoned, of which there can be as
    /// many. They are started as they are needed.
    pub workers: usize,
    /// The name of this process in the history of attempts.
    pub worker: Arc<str>,
    /// How long a lease lasts. It is renewed after a third of that time.
    pub lease: Duration,
    /// The seed for random retry delays.
    pub seed: u64,
}

/// The attempts that are left when a pool has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Those that have not ended.
    pub running: usize,
    /// Those that have ended, or were not started, but whose outcomes the store has not taken.
    pub unrecorded: usize,
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
    /// Notifies the shutdown when attempts have ended.
    ended: Notify,
    /// Cancelled when the pool stops claiming jobs. Leases are still renewed.
    draining: CancellationToken,
    /// Cancelled when the pool stops renewing leases and retrying writes. Another process takes over jobs
    /// that are still leased.
    stopped: CancellationToken,
    upkeep: upkeep::Calm,
}

impl Shared {
    /// Makes the threads of attempts idle again, before their outcomes are on disk.
    fn free_threads(&self, leases: impl ExactSizeIterator<Item = Lease>) {
        self.metrics.released(leases.len());
        self.slots.free(leases);
        self.idle.notify_one();
    }

    /// Forgets attempts whose outcomes are on disk or are lost.
    fn forget(&self, leases: impl IntoIterator<Item = Lease>) {
        self.slots.end(leases);
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
    /// Starts a thread and, in the caller's tokio runtime, the tasks. Errors: the system cannot start a thread.
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
            queue: Queue::new(options.workers, IDLE_TIME),
            due,
            idle: Notify::new(),
            ended: Notify::new(),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
            upkeep: upkeep::Calm::new(clock.monotonic(), options.lease),
            clock,
            metrics,
            options,
        });
        // Never holds more outcomes than there are threads: a thread gets no other job while its outcome is here.
        let (outcomes, unrecorded) = mpsc::unbounded_channel();
        let threads = Arc::new(Threads::new(Arc::clone(&shared), outcomes.clone()));
        threads.start_one()?;
        let abandoner = Abandoner::new(Arc::clone(&shared), Arc::clone(&threads), outcomes);
        shared.metrics.set_workers(shared.options.workers);
        start_task(&shared, "recorder", recorder::record(Arc::clone(&shared), unrecorded));
        let dispatching = dispatcher::dispatch(Arc::clone(&shared), threads);
        let dispatcher = start_task(&shared, "dispatcher", dispatching);
        let upkeep = start_task(&shared, "upkeep", upkeep::keep_leases(Arc::clone(&shared), abandoner));
        Ok(Self { shared, dispatcher, upkeep })
    }

    /// Stops claiming jobs, and gives running attempts `grace` to finish. Then tells the attempts that are
    /// left to stop, and waits up to `STOP_TIME`. Returns the attempts that are left after that. Once a vital task has
    /// panicked, attempts get no more grace: their outcomes may not be recorded, or their leases not be renewed.
    pub async fn shutdown(self, grace: Duration) -> Left {
        let shared = &self.shared;
        shared.draining.cancel();
        // A claim in progress must end first, so that the wait below includes its jobs.
        let _ = self.dispatcher.await;
        tokio::select! {
            () = wait_until_idle(shared, grace) => {}
            () = shared.metrics.vital_tasks().failed() => {}
        }
        let stopped = shared.slots.stop_all();
        if stopped > 0 {
            tracing::info!(
                attempts = stopped,
                "the shutdown grace is over; running attempts are told to stop"
            );
        }
        wait_until_idle(shared, STOP_TIME).await;
        shared.stopped.cancel();
        let _ = self.upkeep.await;
        // Tried a last time here: otherwise these jobs wait until their leases expire.
        dispatcher::give_back_unheld(shared, Duration::MAX).await;
        shared.queue.close();
        shared.slots.left()
    }
}

/// Starts a task of the pool in the caller's tokio runtime. Once one of them has ended, no more jobs are claimed.
fn start_task(
    shared: &Arc<Shared>,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        shared.metrics.vital_tasks().run(name, task).await;
        shared.draining.cancel();
        // So that `/readyz` fails.
        shared.metrics.set_workers(0);
    })
}

async fn wait_until_idle(shared: &Shared, at_most: Duration) {
    let over = shared.clock.sleep(at_most);
    tokio::pin!(over);
    while shared.slots.len() > 0 {
        tokio::select! {
            () = &mut over => return,
            () = shared.ended.notified() => {}
        }
    }
}
