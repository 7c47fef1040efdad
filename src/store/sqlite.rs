//! The store in one SQLite file, owned by one process.
//!
//! Writes go through one thread (`writer`), reads through a few (`readers`). The only place,
//! with its siblings, that names diesel.

mod accept;
mod claim;
mod command;
mod connection;
mod counts;
mod export;
mod finish;
mod keys;
mod mark;
mod operate;
mod purge;
mod queries;
mod readers;
mod rows;
mod transaction;
mod wal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::SmallRng;

pub use self::connection::OpenError;
use self::connection::OwnedFile;
use self::counts::{CommittedCounts, Counts};
pub(super) use self::export::{Export, take_mark};
use self::readers::Readers;
use self::transaction::{Context, Limits};
use self::writer::WriterHandle;
use super::changes::{Change, Changes};
use super::{Accepted, Claims, Finish, ListQuery, Page, Probe, Purged, Store, StoreStats};
use crate::domain::attempt::Lease;
use crate::domain::clock::{Clock, Signal};
use crate::domain::error::{Error, Result};
use crate::domain::id::{Position, Sequence, WebhookId, WebhookIds};
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::telemetry::metrics::Metrics;

/// Reading connections for requests, each with a thread.
const READERS: usize = 4;

/// Windows of rows that one list looks at.
const LIST_WINDOWS: usize = 20;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file; made if it is missing, its folder is not.
    pub path: PathBuf,
    /// Jobs that may be unfinished; more are refused.
    pub max_backlog: u64,
    /// Attempts that a new job may start.
    pub max_attempts: u32,
    /// The name of this process in the history of attempts.
    pub worker: String,
    /// What ids are made random with.
    pub seed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct SqliteStore {
    writer: WriterHandle,
    readers: Mutex<Option<Arc<Readers>>>,
    /// Reads what was claimed; however many others read, claimed jobs start.
    claim_reader: Mutex<Option<Arc<Readers>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    counts: Arc<CommittedCounts>,
    changes: Arc<Changes>,
    wake: Arc<OnceLock<Arc<Signal>>>,
    log: Arc<wal::Log>,
    worker: Arc<str>,
    clock: Arc<dyn Clock>,
}

/// Brings the tables of a file up to date; answers the names of the migrations that ran.
pub fn migrate(path: &Path) -> std::result::Result<Vec<String>, OpenError> {
    OwnedFile::open(path).map(|file| file.applied)
}

impl SqliteStore {
    /// Opens the file, brings its tables up to date, and takes over the jobs of the process
    /// before this one. Refuses a file whose webhooks are being moved, or were moved, elsewhere.
    pub async fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        let mut file = OwnedFile::open(&options.path)?;
        mark::refuse(&file.path, &mut file.connection)?;
        Self::start(file, options, clock, metrics).await
    }

    async fn start(
        file: OwnedFile,
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        let OwnedFile { path, owner, mut connection, .. } = file;
        let unreadable = |source| OpenError::Setup { path: path.clone(), source };
        let mut counts = Counts::default();
        counts.load(&mut connection).map_err(unreadable)?;
        let last = queries::last_sequence(&mut connection).map_err(unreadable)?.unwrap_or(0);
        let (readers, mut threads) = Readers::start(&path, "store-reader", READERS)?;
        let (claim_reader, thread) = Readers::start(&path, "claim-reader", 1)?;
        threads.extend(thread);
        let log = Arc::new(wal::Log::default());
        threads.push(wal::start(&path, Arc::clone(&log))?);
        let changes = Arc::new(Changes::default());
        let wake = Arc::new(OnceLock::new());
        let committed = counts.committed();
        let context = Context {
            path,
            _owner: owner,
            clock: Arc::clone(&clock),
            ids: WebhookIds::after(Sequence::from_i64(last), SmallRng::seed_from_u64(options.seed)),
            counts,
            limits: Limits { max_backlog: options.max_backlog, max_attempts: options.max_attempts },
            changes: Arc::clone(&changes),
            wake: Arc::clone(&wake),
            log: Arc::clone(&log),
            metrics,
        };
        let (writer, thread) = writer::start(connection, context)?;
        threads.push(thread);
        let store = Self {
            writer,
            readers: Mutex::new(Some(Arc::new(readers))),
            claim_reader: Mutex::new(Some(Arc::new(claim_reader))),
            threads: Mutex::new(threads),
            counts: committed,
            changes,
            wake,
            log,
            worker: options.worker.into(),
            clock,
        };
        let taken = store.take_over(finish::Takeable::All).await.map_err(OpenError::TakeOver)?;
        if taken > 0 {
            tracing::info!(
                jobs = taken,
                "took over the jobs that the process before this one had not finished"
            );
        }
        Ok(store)
    }

    async fn take_over(&self, what: finish::Takeable) -> Result<usize> {
        let what = Arc::new(what);
        let mut all = 0;
        loop {
            let what = Arc::clone(&what);
            let taken = self.writer.run(move |transaction| finish::take_over(transaction, &what)).await?;
            all += taken;
            if taken == 0 {
                return Ok(all);
            }
        }
    }

    async fn read<T, R>(&self, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&mut diesel::SqliteConnection) -> diesel::QueryResult<T> + Send + 'static,
    {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        readers.ok_or_else(Error::shutting_down)?.run(read).await
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn accept(&self, webhook: NewWebhook) -> Result<Accepted> {
        self.writer.accept(webhook).await
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Claims> {
        let worker = Arc::clone(&self.worker);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let claimed =
            self.writer.run(move |transaction| claim::claim(transaction, limit, lease, &worker)).await?;
        let next_due = claimed.next_due;
        if claimed.jobs.is_empty() {
            return Ok(Claims { jobs: Vec::new(), next_due });
        }
        let reader = self.claim_reader.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reader = reader.ok_or_else(Error::shutting_down)?;
        let leased = claimed.leases();
        let read = reader.run(move |connection| claim::read_webhooks(connection, claimed)).await;
        let (jobs, unread, failure) = match read {
            Ok(read) => (read.jobs, read.unread, None),
            Err(error) => (Vec::new(), leased, Some(error)),
        };
        if !unread.is_empty() {
            tracing::error!(
                jobs = unread.len(),
                "claimed webhooks could not be read; their leases are given back"
            );
            self.writer.run(move |transaction| claim::give_back(transaction, &unread)).await?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let changes = jobs
            .iter()
            .map(|(job, revision)| Change {
                id: job.lease.webhook,
                status: Status::Processing,
                attempt_count: job.attempt,
                updated_at: job.claimed_at,
                revision: *revision,
            })
            .collect::<Vec<_>>();
        self.changes.announce(&changes);
        Ok(Claims { jobs: jobs.into_iter().map(|(job, _)| job).collect(), next_due })
    }

    async fn finish(&self, finish: Finish) -> Result<bool> {
        let worker = Arc::clone(&self.worker);
        self.writer.run(move |transaction| finish::finish(transaction, &finish, &worker)).await
    }

    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>> {
        self.writer.run(move |transaction| finish::renew(transaction, &leases, lease)).await
    }

    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize> {
        self.take_over(finish::Takeable::ExpiredBut(held)).await
    }

    async fn retry(&self, id: WebhookId, attempts: u32) -> Result<WebhookStatus> {
        self.writer.run(move |transaction| operate::retry(transaction, id, attempts)).await
    }

    async fn cancel(&self, id: WebhookId) -> Result<WebhookStatus> {
        self.writer.run(move |transaction| operate::cancel(transaction, id)).await
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        let wanted = name.clone();
        self.read(move |connection| queries::status(connection, &wanted))
            .await?
            .ok_or_else(|| Error::not_found(name))
    }

    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        self.read(move |connection| queries::webhook(connection, id))
            .await?
            .ok_or_else(|| Error::not_found(id))
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        let newest = query.accepted_before.map_or(i64::MAX, |time| Sequence::first_at(time).as_i64());
        let mut before = newest.min(query.before.map_or(i64::MAX, |before| before.sequence().as_i64()));
        let query = Arc::new(query);
        let mut page = Page::default();
        for _ in 0..LIST_WINDOWS {
            // Each window queues up anew, so that other reads have their turn.
            let wanted = query.limit - page.webhooks.len();
            let asked = Arc::clone(&query);
            let window =
                self.read(move |connection| queries::list(connection, &asked, before, wanted)).await?;
            page.webhooks.extend(window.webhooks);
            if page.webhooks.len() >= query.limit {
                page.next = page.webhooks.last().map(|webhook| Position::before(webhook.id));
                return Ok(page);
            }
            let Some(next) = window.next else { return Ok(page) };
            before = next;
        }
        page.next = Some(Position::before_all(Sequence::from_i64(before)));
        Ok(page)
    }

    async fn stats(&self) -> Result<StoreStats> {
        if self.readers.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(Error::shutting_down());
        }
        let counts = self.counts.get();
        let due = if counts.of(Status::Pending) + counts.of(Status::Retrying) == 0 {
            None
        } else {
            self.read(queries::oldest_due).await?
        };
        let oldest_due = due
            .and_then(|due| jiff::Timestamp::from_millisecond(due).ok())
            .filter(|due| *due <= self.clock.now());
        Ok(StoreStats { counts, oldest_due })
    }

    async fn purge(&self, retention: Retention) -> Result<Purged> {
        self.writer.run(move |transaction| purge::purge(transaction, &retention)).await
    }

    async fn probe(&self) -> Result<Probe> {
        self.writer.run(operate::probe).await
    }

    fn on_due(&self, wake: Arc<Signal>) {
        // Set once, when the process is put together.
        let _ = self.wake.set(wake);
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    async fn close(&self) {
        self.writer.stop().await;
        self.log.stop();
        drop(self.readers.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.claim_reader.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // Joined off the runtime: closing copies the log back, which can take a moment.
        let (joined, all_joined) = tokio::sync::oneshot::channel();
        let joiner = std::thread::Builder::new().name("store-close".into()).spawn(move || {
            threads.into_iter().for_each(|thread| drop(thread.join()));
            let _ = joined.send(());
        });
        if joiner.is_ok() {
            let _ = all_joined.await;
        }
    }
}

impl Drop for SqliteStore {
    /// The other threads end with their channels; the one that copies the log is told.
    fn drop(&mut self) {
        self.log.stop();
    }
}

/// A time `by` after `now`, in milliseconds.
fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

/// A time `by` before `now`, in milliseconds.
fn earlier(now: i64, by: Duration) -> i64 {
    now.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}
