//! The harness of the PostgreSQL store: one database per store, with a clock of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox::internals::domain::clock::{Clock, ManualClock};
use hookbox::internals::store::Store;
use hookbox::internals::store::postgres::{self, OpenError, PostgresStore};
use hookbox::internals::telemetry::metrics::Metrics;
use jiff::Timestamp;

use crate::store::harness::{Harness, Options};
use crate::support::inbox_database::inbox_database;
use crate::support::postgres::{Database, DatabaseClock, Session, server};

/// A database for one store. If it is `REUSED`, an earlier test may have used it.
pub(crate) struct OnPostgres<const REUSED: bool> {
    database: Database,
    clock: DatabaseClock,
    metrics: Arc<Metrics>,
}

/// A new database, for tests that change its tables, or look at what they have become.
pub(crate) type PostgresHarness = OnPostgres<false>;

/// A database with empty tables, for tests that change rows at most.
pub(crate) type EmptiedPostgres = OnPostgres<true>;

impl<const REUSED: bool> OnPostgres<REUSED> {
    /// The URL of the database.
    pub(crate) fn url(&self) -> String {
        self.database.url()
    }
}

#[async_trait]
impl<const REUSED: bool> Harness for OnPostgres<REUSED> {
    const TAKES_OVER_AT_OPEN: bool = false;
    const LEFT_TO_OTHERS: Duration = Duration::from_secs(600);
    // It looks at all queues.
    const WAKES_AFTER: Duration = Duration::from_secs(5);
    const LIVES: u32 = 15;

    fn new() -> Self {
        let (database, clock) = if REUSED { inbox_database() } else { new_database() };
        Self { database, clock, metrics: Arc::default() }
    }

    async fn open(&self, options: &Options, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        self.set_time(clock.now());
        // The name under which the tests of all stores claim.
        let worker = format!("process {}", options.seed);
        let metrics = Arc::clone(&self.metrics);
        Arc::new(open_as(&worker, &self.database.url(), options, clock, metrics).await.expect("opens"))
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Closes the connections of the store, as the server does when it notices that the client is gone.
    async fn crash(&mut self, store: Arc<dyn Store>) {
        close_connections(&self.database.url());
        // Only ends the store's background tasks.
        store.close().await;
    }

    fn set_time(&self, now: Timestamp) {
        self.clock.set(now.as_microsecond());
    }
}

fn new_database() -> (Database, DatabaseClock) {
    let database = server().database();
    let clock = database.manual_clock(0);
    (database, clock)
}

/// Closes every connection of a store to a database.
pub(crate) fn close_connections(url: &str) {
    let session = Session::open(url).expect("connects");
    let closed = session.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'hookbox %'",
    );
    closed.expect("closes");
}

pub(crate) async fn open(
    url: &str,
    options: &Options,
    clock: Arc<dyn Clock>,
) -> Result<PostgresStore, OpenError> {
    open_as(&format!("process-{}", options.seed), url, options, clock, Arc::default()).await
}

/// Opens the store of a process that claims as `worker`.
pub(crate) async fn open_as(
    worker: &str,
    url: &str,
    options: &Options,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> Result<PostgresStore, OpenError> {
    let options = postgres::Options {
        target: url.parse().expect("a URL"),
        max_backlog: options.max_backlog,
        policies: Arc::clone(&options.policies),
        worker: worker.to_owned(),
        seed: options.seed,
    };
    PostgresStore::open(options, clock, metrics).await
}
