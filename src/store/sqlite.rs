//! The store in one SQLite file, owned by one process.
//!
//! One thread makes all writes (`writer`), a few threads serve reads (`readers`).

mod accept;
mod accept_batch;
mod actions;
mod arrivals;
pub mod backup;
mod breakers;
mod by_hand;
mod claim;
mod claimed;
mod command;
mod committed;
mod connection;
mod counts;
mod due;
mod export;
mod finish;
#[cfg(test)]
mod fixture;
mod follow_clock;
mod give_back;
mod inbox;
mod job_queue;
mod keys;
mod lanes;
mod leased;
mod leases;
mod list;
mod mark;
mod memory;
mod open_error;
mod operations;
mod owner;
mod pauses;
#[cfg(test)]
mod plans;
mod policies;
mod probe;
mod purge;
mod quarantine;
mod queries;
mod readers;
mod replay_step;
mod replays;
mod reroute;
mod restart;
mod rows;
mod schema;
mod set_back;
mod set_forward;
mod size;
mod time_of_day;
mod transaction;
mod wal;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::committed::Committed;
use self::connection::OwnedFile;
pub(super) use self::export::{Export, take_mark};
use self::leases::Takeable;
use self::memory::Memory;
pub use self::open_error::OpenError;
use self::readers::Readers;
use self::set_back::StepBack;
use self::transaction::Context;
use self::writer::WriterHandle;
use super::Store;
use super::changes::Changes;
use super::interrupted::TakeOver;
use super::refusals::Refusals;
use super::wakes::Wakes;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::id::{Sequence, WebhookIds};
use crate::domain::policy::Policies;
use crate::telemetry::metrics::Metrics;

/// Reading connections for requests. Each has a thread.
const READERS: usize = 4;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the file. A missing file is created; a missing folder is an error.
    pub path: PathBuf,
    /// The maximum number of unfinished jobs. At this limit new webhooks are refused.
    pub max_backlog: u64,
    /// The policies in force.
    pub policies: Arc<Policies>,
    /// The seed of the random part of ids.
    pub seed: u64,
}

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    writer: WriterHandle,
    readers: Mutex<Option<Arc<Readers>>>,
    /// Reads the webhooks of claimed jobs. Separate, so that a claim does not wait for other reads.
    claim_reader: Mutex<Option<Arc<Readers>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    committed: Arc<Committed>,
    changes: Arc<Changes>,
    wakes: Arc<Wakes>,
    log: Arc<wal::Log>,
    refusals: Arc<Refusals>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// The lead of the time of day by which leases go; see [`set_back::lead`].
    lead: Arc<AtomicI64>,
    /// The step back that is not known to be stored.
    step_back: Mutex<Option<StepBack>>,
}

/// Runs the missing migrations of a file, and returns their names. Creates a missing file.
pub fn migrate(path: &Path) -> std::result::Result<Vec<String>, OpenError> {
    OwnedFile::open(path).map(|file| file.applied)
}

impl SqliteStore {
    /// Opens the file, runs missing migrations, begins to move what waits for an old time, and takes over the leased jobs
    /// of the previous process, but not those that workers elsewhere may hold.
    /// Refuses a file whose webhooks are being moved, or were moved, to a database.
    pub async fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        let mut file = OwnedFile::open(&options.path)?;
        mark::refuse(&file.path, &mut file.connection)?;
        let store = Self::start(file, options, clock, metrics).await?;
        // Before jobs are taken over: their retries go by the same time as the jobs that are left to move.
        store.follow_clock_at_start().await.map_err(OpenError::FollowClock)?;
        store.take_over_all().await.map_err(OpenError::TakeOver)?;
        Ok(store)
    }

    /// Starts without taking over anything.
    async fn start(
        file: OwnedFile,
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> std::result::Result<Self, OpenError> {
        let OwnedFile { path, owner, mut connection, .. } = file;
        let owner = Arc::new(owner);
        let unreadable = |source| OpenError::Setup { path: path.clone(), source };
        let memory = Memory::load(&mut connection, options.policies).map_err(unreadable)?;
        let last = queries::last_sequence(&mut connection).map_err(unreadable)?.unwrap_or(0);
        let (readers, mut threads) = Readers::start(&path, &owner, "store-reader", READERS)?;
        let (claim_reader, thread) = Readers::start(&path, &owner, "claim-reader", 1)?;
        threads.extend(thread);
        let log = Arc::new(wal::Log::default());
        threads.push(wal::start(&path, Arc::clone(&owner), Arc::clone(&log))?);
        let committed = Arc::new(Committed::default());
        committed.publish_all(&memory);
        let changes = Arc::new(Changes::default());
        let refusals = Arc::new(Refusals::default());
        let wakes = Arc::new(Wakes::default());
        let lead = Arc::new(AtomicI64::new(set_back::lead(clock.as_ref())));
        let context = Context {
            path: path.clone(),
            lead: Arc::clone(&lead),
            owner,
            clock: Arc::clone(&clock),
            ids: WebhookIds::after(Sequence::from_i64(last), SmallRng::seed_from_u64(options.seed)),
            memory,
            max_backlog: options.max_backlog,
            committed: Arc::clone(&committed),
            changes: Arc::clone(&changes),
            wakes: Arc::clone(&wakes),
            log: Arc::clone(&log),
            refusals: Arc::clone(&refusals),
            metrics: Arc::clone(&metrics),
        };
        let (writer, thread) = writer::start(connection, context)?;
        threads.push(thread);
        Ok(Self {
            path,
            writer,
            readers: Mutex::new(Some(Arc::new(readers))),
            claim_reader: Mutex::new(Some(Arc::new(claim_reader))),
            threads: Mutex::new(threads),
            committed,
            changes,
            wakes,
            log,
            refusals,
            lead,
            step_back: Mutex::default(),
            clock,
            metrics,
        })
    }

    /// Takes over the leased jobs of the previous process, but not those of workers elsewhere, and frees lanes, by the
    /// policies in force now.
    async fn take_over_all(&self) -> Result<()> {
        let taken = self.take_over(Takeable::AllOfPool).await?;
        if taken > 0 {
            tracing::info!(jobs = taken, "took over the unfinished jobs of the previous process");
        }
        self.free_lanes().await
    }

    async fn take_over(&self, what: Takeable) -> Result<usize> {
        let mut take_over = TakeOver::new(&self.metrics);
        let taken = self.take_over_in_steps(what, &mut take_over).await;
        take_over.log_others();
        taken
    }

    async fn take_over_in_steps(&self, what: Takeable, take_over: &mut TakeOver<'_>) -> Result<usize> {
        let what = Arc::new(what);
        let mut all = 0;
        loop {
            let what = Arc::clone(&what);
            let taken = self.writer.run(move |transaction| leases::take_over(transaction, &what)).await?;
            taken.interrupted.iter().for_each(|interrupted| take_over.add(interrupted));
            all += taken.jobs;
            if taken.jobs == 0 {
                return Ok(all);
            }
        }
    }

    /// Frees the blocked lanes of routes that skip dead letters.
    async fn free_lanes(&self) -> Result<()> {
        while self.writer.run(policies::free_lanes).await? > 0 {}
        Ok(())
    }

    fn readers(&self) -> Result<Arc<Readers>> {
        open(&self.readers)
    }

    fn claim_reader(&self) -> Result<Arc<Readers>> {
        open(&self.claim_reader)
    }
}

fn open(readers: &Mutex<Option<Arc<Readers>>>) -> Result<Arc<Readers>> {
    readers.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(Error::shutting_down)
}

#[async_trait]
impl Store for SqliteStore {
    async fn close(&self) {
        self.writer.stop().await;
        self.log.stop();
        drop(self.readers.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.claim_reader.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // Joined by a thread of its own, so that the runtime does not block: the final checkpoint can take
        // long.
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
    /// The writer and the readers end when their channels close. The checkpoint thread needs a signal.
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
