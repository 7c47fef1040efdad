//! The store in a PostgreSQL database, shared by any number of processes.
//!
//! New webhooks and ends of attempts are stored in batches (`accept`, `finish`). Each hot change of jobs is
//! one statement, which is one transaction. Only the clock of the database decides whether a lease has
//! expired.

mod accept;
mod backlog;
mod cancel;
mod claim;
mod committer;
mod counts;
mod cursor;
mod effects;
mod end_leases;
mod finish;
mod give_back;
mod hosts;
mod import;
mod insert;
mod lanes;
mod lease_accepted;
mod lease_jobs;
mod limits;
mod list;
mod look;
mod migrations;
mod move_jobs;
mod next_due;
mod notifier;
mod notify;
mod open_error;
mod operate;
mod pauses;
mod policies;
mod pool;
mod probe;
mod purge;
mod queries;
mod queue_names;
mod renew;
mod retry;
mod rows;
mod schedule;
mod schema;
mod shared;
mod take_over;
mod target;
mod tls;
mod transfers;
mod vacuum;

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::Incoming;
use self::backlog::Backlog;
use self::committer::Accept;
pub(super) use self::import::{Import, Standing};
use self::lease_accepted::Parked;
use self::notifier::Notifier;
pub use self::open_error::OpenError;
use self::pool::{Pool, answer, refused};
use self::schedule::Schedule;
use self::shared::Shared;
use self::target::Connector;
pub use self::target::{InvalidTarget, Target};
pub use self::tls::TlsError;
use super::acceptance::queue_full;
use super::changes::Changes;
use super::{
    Accepted, Claim, Claims, Finish, Inbox, JobQueue, ListQuery, Moved, Operations, Page, Pause, PauseTarget,
    Probe, Purged, Store, StoreStats,
};
use crate::domain::attempt::Lease;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::id::{Sequence, WebhookId, WebhookIds};
use crate::domain::policy::Policies;
use crate::domain::retention::Retention;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::telemetry::metrics::Metrics;

/// Connections for claims, outcomes and leases.
const WORKING_CONNECTIONS: usize = 2;

/// Connections for everything else: reads, operations and upkeep.
const ASKING_CONNECTIONS: usize = 4;

/// How long a caller waits for a webhook to be stored, including the wait in the queue. After that the caller
/// gets `StoreUnavailable`, although the webhook may still be stored.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(15);

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub target: Target,
    /// The maximum number of unfinished jobs. At this limit new webhooks are refused.
    pub max_backlog: u64,
    /// The policies in force.
    pub policies: Arc<Policies>,
    /// The name of this process in the database and for other replicas. It must be unique.
    pub worker: String,
    /// The seed of the random part of ids.
    pub seed: u64,
}

/// The store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// `None` once the store is closing.
    accepting: Mutex<Option<mpsc::Sender<Accept>>>,
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
        migrations::migrate(&options.target, &connector).await?;
        let asking = Pool::new(Arc::clone(&connector), ASKING_CONNECTIONS);
        let setup = |source| OpenError::Setup { target: options.target.clone(), source };
        let mut connection = asking.get().await.map_err(setup)?;
        if transfers::is_under_way(&mut connection).await.map_err(setup)? {
            return Err(OpenError::Moving { target: options.target });
        }
        let last = queries::last_id(&mut connection).await.map_err(setup)?;
        drop(connection);
        policies::prepare(&asking, &options.policies, clock.now()).await.map_err(setup)?;
        let last = last.map_or(Sequence::from_i64(0), |id| id.sequence());
        let shared = Arc::new(Shared {
            accepting: Pool::new(Arc::clone(&connector), committer::COMMITTERS),
            working: Pool::new(Arc::clone(&connector), WORKING_CONNECTIONS),
            asking,
            clock,
            ids: Mutex::new(WebhookIds::after(last, SmallRng::seed_from_u64(options.seed))),
            backlog: Backlog::new(options.max_backlog),
            schedule: Schedule::new(options.policies),
            parked: Parked::default(),
            process: options.worker,
            changes: Changes::default(),
            wake: OnceLock::new(),
            notifier: Notifier::default(),
            metrics,
            unsure: Default::default(),
            next_slot: AtomicU32::new(options.seed as u32),
        });
        look::look(&shared).await.map_err(|source| OpenError::Setup { target: options.target, source })?;
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let (accepting, queue) = mpsc::channel(committer::QUEUE_WEBHOOKS);
        tasks.spawn(committer::commit(Arc::clone(&shared), queue));
        tasks.spawn(notify::tell_others(Arc::clone(&shared), Arc::clone(&connector), closing.clone()));
        tasks.spawn(vacuum::keep_clean(Arc::clone(&shared), Arc::clone(&connector), closing.clone()));
        let (armed, is_armed) = oneshot::channel();
        tasks.spawn(notify::listen(Arc::clone(&shared), connector, closing.clone(), armed));
        // An error means that listening failed. The store then polls, so it is ready all the same.
        let _ = is_armed.await;
        let accepting = Mutex::new(Some(accepting));
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
impl Inbox for PostgresStore {
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted> {
        let queue = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, outcome) = oneshot::channel();
        let accept = Accept { incoming: Incoming { webhook, jobs }, reply };
        queue.ok_or_else(Error::shutting_down)?.try_send(accept).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => queue_full(committer::QUEUE_WEBHOOKS),
            mpsc::error::TrySendError::Closed(_) => Error::shutting_down(),
        })?;
        let outcome = {
            let _timers = self.runtime.enter();
            tokio::time::timeout(ACCEPTED_WITHIN, outcome)
        };
        match outcome.await {
            Ok(outcome) => outcome.map_err(|_| Error::shutting_down())?,
            Err(late) => Err(committer::unknown(late)),
        }
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::status(&shared.schedule, &mut connection, &name)).await;
            connection.release(found).map_err(refused)?.ok_or_else(|| Error::not_found(name))
        })
        .await
    }

    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::webhook(&shared.schedule, &mut connection, id)).await;
            connection.release(found).map_err(refused)?.ok_or_else(|| Error::not_found(id))
        })
        .await
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        self.run(async move |shared| list::list(&shared, &query).await).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.run(async move |shared| look::stats(&shared).await.map_err(refused)).await
    }

    async fn probe(&self) -> Result<Probe> {
        self.run(async move |shared| probe::probe(&shared).await.map_err(refused)).await
    }

    fn changes(&self) -> &Changes {
        &self.shared.changes
    }
}

#[async_trait]
impl JobQueue for PostgresStore {
    async fn claim(&self, claim: Claim) -> Result<Claims> {
        self.run(async move |shared| claim::claim(&shared, &claim).await.map_err(refused)).await
    }

    async fn claim_accepted(&self, claim: Claim, until: CancellationToken) -> Result<Claims> {
        if self.closing.is_cancelled() {
            return Err(Error::shutting_down());
        }
        lease_accepted::claim_accepted(&self.shared, claim, &until, &self.closing).await
    }

    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        let worker = worker.to_owned();
        self.run(async move |shared| finish::finish(&shared, &worker, &finishes).await).await
    }

    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>> {
        self.run(async move |shared| renew::renew(&shared, &leases, lease).await.map_err(refused)).await
    }

    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize> {
        self.run(async move |shared| {
            let mut all = 0;
            loop {
                let taken = take_over::take_over(&shared, &held).await.map_err(refused)?;
                all += taken;
                if taken == 0 {
                    return Ok(all);
                }
            }
        })
        .await
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<()> {
        self.run(async move |shared| give_back::give_back(&shared, &leases).await.map(drop).map_err(refused))
            .await
    }

    async fn give_back_unheld(
        &self,
        worker: &str,
        held: Vec<Lease>,
        leased: RangeInclusive<Timestamp>,
    ) -> Result<usize> {
        let worker = worker.to_owned();
        self.run(async move |shared| {
            give_back::give_back_unheld(&shared, &worker, &held, &leased).await.map_err(refused)
        })
        .await
    }

    fn on_due(&self, wake: Arc<Notify>) {
        // Set once, at the start of the process. A second call has no effect.
        let _ = self.shared.wake.set(wake);
    }
}

#[async_trait]
impl Operations for PostgresStore {
    async fn set_policies(&self, policies: Arc<Policies>) -> Result<()> {
        self.run(async move |shared| policies::set(&shared, policies).await.map_err(refused)).await
    }

    async fn retry(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.run(async move |shared| operate::retry(&shared, id, route.as_ref()).await).await
    }

    async fn cancel(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.run(async move |shared| operate::cancel(&shared, id, route.as_ref()).await).await
    }

    async fn pause(&self, target: PauseTarget) -> Result<Pause> {
        self.run(async move |shared| pauses::pause(&shared, target).await).await
    }

    async fn resume(&self, target: PauseTarget) -> Result<bool> {
        self.run(async move |shared| pauses::resume(&shared, &target).await).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>> {
        self.run(async move |shared| pauses::read(&shared).await).await
    }

    async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved> {
        self.run(async move |shared| move_jobs::move_jobs(&shared, &from, &to).await.map_err(refused)).await
    }

    async fn cancel_jobs(&self, route: RouteName) -> Result<usize> {
        self.run(async move |shared| move_jobs::cancel_jobs(&shared, &route).await.map_err(refused)).await
    }

    async fn purge(&self, retention: Retention) -> Result<Purged> {
        self.run(async move |shared| purge::purge(&shared, &retention).await.map_err(refused)).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn close(&self) {
        self.closing.cancel();
        drop(self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.tasks.close();
        self.tasks.wait().await;
        for pool in [&self.shared.accepting, &self.shared.working, &self.shared.asking] {
            pool.close();
        }
    }
}

impl Drop for PostgresStore {
    /// The committer ends when its queue closes. The other tasks end when `closing` is cancelled.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
