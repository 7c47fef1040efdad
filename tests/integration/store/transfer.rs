//! Moving an inbox from a SQLite file to a PostgreSQL database.

pub(super) mod equal;
mod everything;
mod jobs;
mod leases;
mod marks;
mod order;
mod quarantined;
mod refusals;
mod replays;
mod retention;
mod starts;
mod stops;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::route::RouteName;
use hookbox::internals::store::sqlite::{self, SqliteStore};
use hookbox::internals::store::transfer::{Begun, Limits, Plan, RowCounts, Transfer, TransferError};
use hookbox::internals::store::{Inbox as _, Store as _};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::store::harness::Options;
use crate::store::inbox::{Inbox, webhook};
use crate::store::postgres::EmptiedPostgres;
use crate::store::routes::{default_job, in_force, policy};
use crate::store::sqlite::SqliteHarness;
use crate::support::folder::store_folder;
use crate::support::inbox_database::inbox_database_for;
use crate::support::inbox_file::create_inbox_file;
use crate::support::postgres::{Database, Session};

/// Small batches, so that a transfer needs several of them.
const SMALL: Limits = Limits { webhooks: 2, bytes: 1_000_000 };

/// The two ends of a transfer: a SQLite file, which need not be there yet, and an empty database.
struct Ends {
    folder: TempDir,
    database: Database,
    clock: Arc<ManualClock>,
}

impl Ends {
    fn new() -> Self {
        Self {
            folder: store_folder(),
            database: inbox_database_for(1),
            clock: Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range"))),
        }
    }

    /// Creates both ends with this number of webhooks in the file.
    async fn with(webhooks: usize) -> Self {
        let ends = Self::new();
        create_inbox_file(&ends.file());
        let store = ends.open_file().await.expect("opens");
        for number in 0..webhooks {
            store.accept(webhook(&number.to_string()), default_job()).await.expect("accepted");
        }
        store.close().await;
        ends
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("inbox.db")
    }

    async fn open_file(&self) -> Result<SqliteStore, sqlite::OpenError> {
        crate::store::sqlite::open(&self.file(), &options(), Arc::clone(&self.clock)).await
    }

    async fn begin(&self) -> Result<Begun, TransferError> {
        self.begin_at(&self.database.url(), SMALL).await
    }

    async fn begin_at(&self, url: &str, limits: Limits) -> Result<Begun, TransferError> {
        begin(&self.file(), url, limits, &self.clock).await
    }

    /// Begins a transfer that still has webhooks to move.
    async fn ready(&self) -> Transfer {
        ready(self.begin().await)
    }

    /// Runs a statement in the database and returns its rows.
    fn ask(&self, sql: &str) -> Vec<String> {
        Session::open(&self.database.url()).expect("connects").ask(sql).expect(sql)
    }
}

fn options() -> Options {
    Options { max_backlog: 1_000_000, policies: in_force([policy(RouteName::DEFAULT)]), seed: 1 }
}

pub(super) async fn begin(
    file: &Path,
    url: &str,
    limits: Limits,
    clock: &Arc<ManualClock>,
) -> Result<Begun, TransferError> {
    static BEGUN: AtomicU64 = AtomicU64::new(1);
    let id = uuid::Uuid::from_u64_pair(BEGUN.fetch_add(1, Ordering::Relaxed), 0);
    let plan = Plan { from: file.to_owned(), to: url.parse().expect("a URL"), id, limits };
    Transfer::begin(plan, Arc::clone(clock) as _).await
}

pub(super) fn ready(begun: Result<Begun, TransferError>) -> Transfer {
    match begun.expect("begins") {
        Begun::Ready(transfer) => *transfer,
        Begun::Finished(mark) => panic!("was finished before: {mark:?}"),
    }
}

/// Moves all remaining webhooks, finishes the transfer and returns the row counts.
pub(super) async fn complete(mut transfer: Transfer) -> RowCounts {
    while transfer.step().await.expect("moves") {}
    let counts = transfer.finish().await.expect("both sides are equal");
    transfer.close().await;
    counts
}

/// Moves all webhooks of `inbox` and returns an inbox on the database. `inbox` continues on a copy of its file,
/// because the moved file can no longer be opened.
async fn moved(inbox: &mut Inbox<SqliteHarness>) -> (Inbox<EmptiedPostgres>, RowCounts) {
    let mut target = Inbox::<EmptiedPostgres>::new().await;
    let counts = move_into(&mut target, inbox).await;
    // A worker does this when it starts. For `inbox`, it happened when the store was opened.
    target.take_over_expired(Vec::new()).await.expect("takes over");
    (target, counts)
}

/// Moves all webhooks of `inbox` to the database of `target`. `inbox` continues on a copy of its file.
async fn move_into(target: &mut Inbox<EmptiedPostgres>, inbox: &mut Inbox<SqliteHarness>) -> RowCounts {
    target.close().await;
    let file = inbox.harness().path();
    inbox.crash_and_reopen().await;
    let begun = begin(&file, &target.harness().url(), Limits::default(), &inbox.clock).await;
    let counts = complete(ready(begun)).await;
    target.reopen_like(inbox).await;
    counts
}

/// Executes a statement on the file, which no store has open.
fn execute(file: &Path, statement: &str) {
    let mut connection = SqliteConnection::establish(&file.to_string_lossy()).expect("connects");
    connection.batch_execute(statement).expect("executes");
}

/// The text of an error with its causes, as the command prints it.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
