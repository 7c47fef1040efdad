//! The store in a PostgreSQL database, shared by any number of processes.
//!
//! New webhooks and ends of attempts are stored in batches (`accept`, `finish`). Each hot change of jobs is
//! one statement, which is one transaction. All times that are stored or compared are those of the database's
//! clock (`database_time`).

mod accept;
mod actions;
mod arrivals;
mod background;
mod backlog;
mod batch;
mod breakers;
mod cancel;
mod claim;
mod committer;
mod counts;
mod cursor;
mod database_time;
mod effects;
mod end_leases;
mod finish;
mod give_back;
mod hosts;
mod import;
mod inbox;
mod insert;
mod insert_steps;
mod job_queue;
mod lanes;
mod lease_jobs;
mod leased;
mod limits;
mod list;
mod look;
mod lost_queues;
mod migrations;
mod move_jobs;
mod next_due;
mod notifier;
mod notify;
mod one_by_one;
mod open_error;
mod operate;
mod operations;
mod pauses;
mod policies;
mod pool;
mod probe;
mod purge;
mod quarantine;
mod queries;
mod queue_names;
mod refusals;
mod release;
mod renew;
mod replay_step;
mod replays;
mod request_batches;
mod retry;
mod rows;
mod schedule;
mod schema;
mod set_back;
mod set_forward;
mod shared;
mod size;
mod take_over;
mod target;
mod tls;
mod transfers;
mod unanswered;
mod undone;
mod vacuum;

use std::sync::atomic::{AtomicI64, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::background::Background;
use self::backlog::Backlog;
use self::committer::Queues;
use self::database_time::DatabaseTime;
pub(super) use self::import::{Import, Standing};
use self::notifier::Notifier;
pub use self::open_error::OpenError;
use self::pool::Pool;
use self::schedule::Schedule;
use self::set_back::SetBack;
use self::shared::Shared;
use self::target::Connector;
pub use self::target::{InvalidTarget, Target};
pub use self::tls::TlsError;
use super::Store;
use super::changes::Changes;
use super::wakes::Wakes;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::id::{Sequence, WebhookIds};
use crate::domain::policy::Policies;
use crate::telemetry::metrics::Metrics;

/// Connections for claims, outcomes and leases.
const WORKING_CONNECTIONS: usize = 2;

/// Connections for everything else: reads, operations and upkeep.
const ASKING_CONNECTIONS: usize = 4;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub target: Target,
    /// The maximum number of unfinished jobs. At this limit new webhooks are refused.
    pub max_backlog: u64,
    /// The policies in force.
    pub policies: Arc<Policies>,
    /// The name of this process in the database and for other replicas. It must be unique, and be the worker of every
    /// claim for jobs that run in this process: leases whose claim was not answered are given back by this name.
    pub worker: String,
    /// The seed of the random part of ids.
    pub seed: u64,
}

/// The store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// `None` once the store is closing.
    accepting: Mutex<Option<Queues>>,
    runtime: Handle,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// Runs the missing migrations of a database, and returns their names.
pub async fn migrate(target: &Target) -> std::result::Result<Vec<String>, OpenError> {
    migrations::migrate(target, Connector::new(target, "migrate")?.as_ref()).await
}

impl PostgresStore {
    /// Connects and runs missing migrations. Leases of processes that are gone stay valid until they expire.
    /// The tasks of the store run in the runtime of the caller. Refuses a database that webhooks are still
    /// being moved to.
    pub async fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        let connector = Connector::new(&options.target, &options.worker)?;
        let sizes = [committer::COMMITTERS, WORKING_CONNECTIONS, ASKING_CONNECTIONS];
        let [accepting, working, asking] = Pool::shares(Arc::clone(&connector), sizes);
        let connect = |source| OpenError::Connect { target: options.target.clone(), source };
        let setup = |source| OpenError::Setup { target: options.target.clone(), source };
        let mut connection = asking.connect().await.map_err(connect)?;
        if !migrations::have_run(&options.target, &mut connection).await? {
            migrations::run(&options.target, connection.detach()).await?;
            connection = asking.connect().await.map_err(connect)?;
        }
        if transfers::is_under_way(&mut connection).await.map_err(setup)? {
            return Err(OpenError::Moving { target: options.target });
        }
        let time = DatabaseTime::read(Arc::clone(&clock), &mut connection).await.map_err(setup)?;
        let last = queries::last_id(&mut connection).await.map_err(setup)?;
        let set_back = SetBack::at_start(&mut connection, &time, last, clock.monotonic());
        let set_back = set_back.await.map_err(setup)?;
        drop(connection);
        policies::prepare(&asking, &options.policies, time.now()).await.map_err(setup)?;
        let last = last.map_or(Sequence::from_i64(0), |id| id.sequence());
        let shared = Arc::new(Shared {
            accepting,
            working,
            asking,
            clock,
            time,
            set_back: tokio::sync::Mutex::new(set_back),
            lease_ms: AtomicI64::new(0),
            ids: Mutex::new(WebhookIds::after(last, SmallRng::seed_from_u64(options.seed))),
            backlog: Backlog::new(options.max_backlog),
            schedule: Schedule::new(options.policies),
            process: options.worker,
            changes: Changes::default(),
            wakes: Wakes::default(),
            notifier: Notifier::default(),
            metrics,
            purging: Default::default(),
            quarantining: Default::default(),
            unsure: Default::default(),
            unanswered: Default::default(),
            refusals: Default::default(),
            next_slot: AtomicU32::new(options.seed as u32),
        });
        look::look(&shared).await.map_err(|source| OpenError::Setup { target: options.target, source })?;
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let (webhooks, queue) = mpsc::channel(committer::QUEUE_WEBHOOKS);
        let (batches, batch_queue) = mpsc::channel(request_batches::QUEUE_BATCHES);
        let committing = committer::commit(Arc::clone(&shared), queue, batch_queue);
        let metrics = Arc::clone(&shared.metrics);
        tasks.spawn(async move { metrics.vital_tasks().run("committer", committing).await });
        let background = Background { shared: Arc::clone(&shared), connector, closing: closing.clone() };
        background.start(&tasks, "notify", notify::tell_others);
        background.start(&tasks, "vacuum", vacuum::keep_clean);
        let (armed, is_armed) = oneshot::channel();
        let mut armed = Some(armed);
        background.start(&tasks, "listen", move |background| notify::listen(background, armed.take()));
        // An error means that listening failed. The store then polls, so it is ready all the same.
        let _ = is_armed.await;
        let accepting = Mutex::new(Some(Queues { webhooks, batches }));
        Ok(Self { shared, accepting, runtime: Handle::current(), tasks, closing })
    }

    /// Runs `work` in the runtime of the connections. It runs to its end even if the caller drops this
    /// future.
    async fn run<T, W, F>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(Arc<Shared>) -> F,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.closing.is_cancelled() {
            return Err(Error::shutting_down());
        }
        let work = work(Arc::clone(&self.shared));
        self.tasks.spawn_on(work, &self.runtime).await.map_err(Error::internal)?
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn close(&self) {
        self.closing.cancel();
        drop(self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.tasks.close();
        self.tasks.wait().await;
        // All shares are of one pool.
        self.shared.asking.close();
    }
}

impl Drop for PostgresStore {
    /// The committer ends when its queue closes. The other tasks end when `closing` is cancelled.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
