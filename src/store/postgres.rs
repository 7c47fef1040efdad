//! The store in a PostgreSQL database, shared by any number of processes.
//!
//! What comes in and what ends is stored in batches (`accept`, `finish`); every change of a job is
//! one statement, which is one transaction. No clock but that of the database decides about leases.

mod accept;
mod backlog;
mod beginning;
mod claim;
mod committer;
mod core;
mod finish;
mod hosts;
mod import;
mod lease;
mod migrations;
mod notifier;
mod notify;
mod open_error;
mod operate;
mod pool;
mod purge;
mod queries;
mod recorder;
mod rows;
mod start;
mod target;
mod tls;
mod vacuum;

use std::ops::RangeInclusive;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backlog::Backlog;
use self::beginning::Beginning;
use self::committer::Accept;
use self::core::Core;

pub(super) use self::import::{Import, Standing};
use self::notifier::Notifier;
pub use self::open_error::OpenError;
use self::pool::{Pool, answer, refused};
use self::recorder::Ending;
use self::target::Connector;
pub use self::target::{InvalidTarget, Target};
pub use self::tls::TlsError;
use super::acceptance::queue_full;
use super::changes::Changes;
use super::{Accepted, Claims, Finish, ListQuery, Page, Probe, Purged, Starter, Store, StoreStats};
use crate::domain::attempt::Lease;
use crate::domain::clock::{Clock, Signal};
use crate::domain::error::{Error, Result};
use crate::domain::id::{Position, Sequence, WebhookId, WebhookIds};
use crate::domain::retention::Retention;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::telemetry::metrics::Metrics;

/// Connections for claims, outcomes and leases.
const WORKING_CONNECTIONS: usize = 2;

/// Connections for what people and programs ask.
const ASKING_CONNECTIONS: usize = 4;

/// How long a webhook may take to be stored, the wait for the ones before it included. A batch takes
/// no longer when the database does not answer.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(15);

/// Windows of rows that one list looks at.
const LIST_WINDOWS: usize = 20;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database.
    pub target: Target,
    /// Jobs that may be unfinished; more are refused.
    pub max_backlog: u64,
    /// Attempts that a new job may start.
    pub max_attempts: u32,
    /// The name of this process in the history of attempts. No other process has it.
    pub worker: String,
    /// What ids are made random with.
    pub seed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct PostgresStore {
    core: Arc<Core>,
    /// None once the store is closing.
    accepting: Mutex<Option<mpsc::Sender<Accept>>>,
    ending: Mutex<Option<mpsc::Sender<Ending>>>,
    runtime: Handle,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// Brings the tables of a database up to date; answers the names of the migrations that ran.
pub async fn migrate(target: &Target) -> std::result::Result<Vec<String>, OpenError> {
    migrations::migrate(target, Connector::new(target, "migrate")?.as_ref()).await
}

impl PostgresStore {
    /// Connects and brings the tables up to date. Leases of processes that are gone expire; until
    /// then they are theirs. Work goes on in the runtime of the caller. Refuses a database that
    /// webhooks are still being moved to.
    pub async fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        let connector = Connector::new(&options.target, &options.worker)?;
        migrations::migrate(&options.target, &connector).await?;
        let asking = Pool::new(Arc::clone(&connector), ASKING_CONNECTIONS);
        let unreadable = |source| OpenError::Setup { target: options.target.clone(), source };
        let mut connection = asking.get().await.map_err(unreadable)?;
        if import::is_under_way(&mut connection).await.map_err(unreadable)? {
            return Err(OpenError::Moving { target: options.target });
        }
        let last = queries::last_id(&mut connection).await.map_err(unreadable)?;
        drop(connection);
        let last = last.map_or(Sequence::from_i64(0), |id| id.sequence());
        let core = Arc::new(Core {
            accepting: Pool::new(Arc::clone(&connector), committer::COMMITTERS),
            working: Pool::new(Arc::clone(&connector), WORKING_CONNECTIONS),
            asking,
            clock,
            ids: Mutex::new(WebhookIds::after(last, SmallRng::seed_from_u64(options.seed))),
            backlog: Backlog::new(options.max_backlog),
            beginning: Beginning::default(),
            max_attempts: options.max_attempts,
            worker: options.worker,
            changes: Changes::default(),
            wake: OnceLock::new(),
            starter: OnceLock::new(),
            notifier: Notifier::default(),
            metrics,
            next_slot: AtomicU32::new(options.seed as u32),
        });
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let (accepting, queue) = mpsc::channel(committer::QUEUE_WEBHOOKS);
        tasks.spawn(committer::commit(Arc::clone(&core), queue));
        let (ending, endings) = mpsc::channel(recorder::QUEUE_OUTCOMES);
        tasks.spawn(recorder::record(Arc::clone(&core), endings));
        tasks.spawn(notify::tell_others(Arc::clone(&core), Arc::clone(&connector), closing.clone()));
        tasks.spawn(vacuum::keep_clean(Arc::clone(&core), Arc::clone(&connector), closing.clone()));
        let (armed, is_armed) = oneshot::channel();
        tasks.spawn(notify::listen(Arc::clone(&core), connector, closing.clone(), armed));
        // Ready either way: it fails when listening does, and then it polls.
        let _ = is_armed.await;
        Ok(Self {
            core,
            accepting: Mutex::new(Some(accepting)),
            ending: Mutex::new(Some(ending)),
            runtime: Handle::current(),
            tasks,
            closing,
        })
    }

    /// Runs work where connections live, whoever asks for it, and to its end, even if who asked
    /// goes away.
    async fn run<T, W, F>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(Arc<Core>) -> F,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if self.closing.is_cancelled() {
            return Err(Error::shutting_down());
        }
        let work = work(Arc::clone(&self.core));
        self.tasks.spawn_on(work, &self.runtime).await.map_err(Error::internal)?
    }
}

/// The way to a queue, unless the store is closing.
fn way<T>(queue: &Mutex<Option<mpsc::Sender<T>>>) -> Result<mpsc::Sender<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(Error::shutting_down)
}

#[async_trait]
impl Store for PostgresStore {
    async fn accept(&self, webhook: NewWebhook) -> Result<Accepted> {
        let (reply, outcome) = oneshot::channel();
        way(&self.accepting)?.try_send(Accept { webhook, reply }).map_err(|refused| match refused {
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

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claims> {
        self.run(async move |core| claim::claim(&core, limit, lease).await.map_err(refused)).await
    }

    async fn finish(&self, finish: Finish) -> Result<bool> {
        let (reply, ended) = oneshot::channel();
        let way = way(&self.ending)?;
        way.send(Ending { finish, reply }).await.map_err(|_| Error::shutting_down())?;
        drop(way);
        ended.await.map_err(|_| Error::shutting_down())?
    }

    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>> {
        self.run(async move |core| lease::renew(&core, &leases, lease).await.map_err(refused)).await
    }

    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize> {
        self.run(async move |core| {
            let mut all = 0;
            loop {
                let taken = lease::take_over(&core, &held).await.map_err(refused)?;
                all += taken;
                if taken == 0 {
                    return Ok(all);
                }
            }
        })
        .await
    }

    async fn give_back_unheld(&self, held: Vec<Lease>, leased: RangeInclusive<Timestamp>) -> Result<usize> {
        self.run(async move |core| lease::give_back_unheld(&core, &held, &leased).await.map_err(refused))
            .await
    }

    async fn retry(&self, id: WebhookId, attempts: u32) -> Result<WebhookStatus> {
        self.run(async move |core| operate::retry(&core, id, attempts).await).await
    }

    async fn cancel(&self, id: WebhookId) -> Result<WebhookStatus> {
        self.run(async move |core| operate::cancel(&core, id).await).await
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        self.run(async move |core| {
            let mut connection = core.asking.get().await.map_err(refused)?;
            let found = answer(queries::status(&mut connection, &name)).await;
            connection.settle(found).map_err(refused)?.ok_or_else(|| Error::not_found(name))
        })
        .await
    }

    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        self.run(async move |core| {
            let mut connection = core.asking.get().await.map_err(refused)?;
            let found = answer(queries::webhook(&mut connection, id)).await;
            connection.settle(found).map_err(refused)?.ok_or_else(|| Error::not_found(id))
        })
        .await
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        self.run(async move |core| {
            let newest = query.accepted_before;
            let newest = newest.map_or(Position::END, |time| Position::before_all(Sequence::first_at(time)));
            let mut before = newest.min(query.before.unwrap_or(Position::END));
            let mut page = Page::default();
            for _ in 0..LIST_WINDOWS {
                let wanted = query.limit - page.webhooks.len();
                let mut connection = core.asking.get().await.map_err(refused)?;
                let window = answer(queries::list(&mut connection, &query, before, wanted)).await;
                let window = connection.settle(window).map_err(refused)?;
                page.webhooks.extend(window.webhooks);
                if page.webhooks.len() >= query.limit {
                    page.next = page.webhooks.last().map(|webhook| Position::before(webhook.id));
                    return Ok(page);
                }
                let Some(next) = window.next else { return Ok(page) };
                before = next;
            }
            page.next = Some(before);
            Ok(page)
        })
        .await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.run(async move |core| {
            let mut connection = core.asking.get().await.map_err(refused)?;
            let counted = answer(queries::counts(&mut connection)).await;
            let (counts, oldest_due) = connection.settle(counted).map_err(refused)?;
            let oldest_due = oldest_due.map(rows::time).transpose().map_err(refused)?;
            Ok(StoreStats { counts, oldest_due: oldest_due.filter(|due| *due <= core.clock.now()) })
        })
        .await
    }

    async fn purge(&self, retention: Retention) -> Result<Purged> {
        self.run(async move |core| purge::purge(&core, &retention).await.map_err(refused)).await
    }

    async fn probe(&self) -> Result<Probe> {
        self.run(async move |core| operate::probe(&core).await.map_err(refused)).await
    }

    fn on_due(&self, wake: Arc<Signal>) {
        // Set once, when the process is put together.
        let _ = self.core.wake.set(wake);
    }

    fn on_accept(&self, starter: Weak<dyn Starter>) {
        // Set once, when the process is put together.
        let _ = self.core.starter.set(starter);
    }

    fn changes(&self) -> &Changes {
        &self.core.changes
    }

    async fn close(&self) {
        self.closing.cancel();
        drop(self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.ending.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.tasks.close();
        self.tasks.wait().await;
        for pool in [&self.core.accepting, &self.core.working, &self.core.asking] {
            pool.close();
        }
    }
}

impl Drop for PostgresStore {
    /// The tasks end with their queues, and those that listen when they are told.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}
