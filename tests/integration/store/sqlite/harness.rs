//! The harness of the SQLite store: one folder per store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::store::Store;
use hookbox::internals::store::sqlite::{self, OpenError, SqliteStore};
use hookbox::internals::telemetry::metrics::Metrics;
use tempfile::TempDir;

use crate::store::harness::{Harness, Options};
use crate::support::folder::store_folder;
use crate::support::inbox_file::create_inbox_file;

/// A folder for the file of one store.
pub(crate) struct SqliteHarness {
    folder: TempDir,
    crashes: usize,
    metrics: Arc<Metrics>,
}

impl SqliteHarness {
    /// The file that the next process opens.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(format!("inbox-{}.db", self.crashes))
    }
}

#[async_trait]
impl Harness for SqliteHarness {
    const TAKES_OVER_AT_OPEN: bool = true;
    const LEFT_TO_OTHERS: Duration = Duration::ZERO;
    const WAKES_AFTER: Duration = Duration::MAX;
    const LIVES: u32 = 40;

    fn new() -> Self {
        let harness = Self { folder: store_folder(), crashes: 0, metrics: Arc::default() };
        create_inbox_file(&harness.path());
        harness
    }

    async fn open(&self, options: &Options, clock: Arc<ManualClock>) -> Arc<dyn Store> {
        let metrics = Arc::clone(&self.metrics);
        Arc::new(open_with(&self.path(), options, clock, metrics).await.expect("opens"))
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Copies the file and its log as they are on disk now. The next process opens the copy.
    async fn crash(&mut self, store: Arc<dyn Store>) {
        let before = self.path();
        self.crashes += 1;
        for suffix in ["", "-wal"] {
            std::fs::copy(with_suffix(&before, suffix), with_suffix(&self.path(), suffix)).expect("copies");
        }
        // Only ends the store's threads. Later writes go to the old file, which is not read again.
        store.close().await;
    }
}

pub(crate) async fn open(
    path: &Path,
    options: &Options,
    clock: Arc<ManualClock>,
) -> Result<SqliteStore, OpenError> {
    open_with(path, options, clock, Arc::default()).await
}

async fn open_with(
    path: &Path,
    options: &Options,
    clock: Arc<ManualClock>,
    metrics: Arc<Metrics>,
) -> Result<SqliteStore, OpenError> {
    let options = sqlite::Options {
        path: path.to_owned(),
        max_backlog: options.max_backlog,
        policies: Arc::clone(&options.policies),
        seed: options.seed,
    };
    SqliteStore::open(options, clock, metrics).await
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
