//! The interface through which tests create, open and crash one kind of store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::policy::Policies;
use hookbox::internals::store::Store;
use hookbox::internals::telemetry::metrics::Metrics;
use jiff::Timestamp;

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The maximum number of unfinished jobs.
    pub(crate) max_backlog: u64,
    /// The policies in force.
    pub(crate) policies: Arc<Policies>,
    /// The seed of the random parts of ids.
    pub(crate) seed: u64,
}

/// The storage of one store: a file or a database. Removed when the harness is dropped.
#[async_trait]
pub(crate) trait Harness: Send + Sync + Sized + 'static {
    /// Whether a process that opens the store immediately takes over the leases of the previous process, except those
    /// that workers elsewhere may hold. If several processes can share a store, a lease must expire first.
    const TAKES_OVER_AT_OPEN: bool;

    /// How long a process leaves expired leases of a route that is not in its policies to other processes.
    const LEFT_TO_OTHERS: Duration;

    /// The time after which an open store may wake the dispatcher by itself. It is real, whatever the clock of a test shows.
    const WAKES_AFTER: Duration;

    /// The number of random operation sequences to test. Bounded so that the test takes a few seconds.
    const LIVES: u32;

    /// Creates empty storage.
    fn new() -> Self;

    /// Opens the store as a starting process does.
    async fn open(&self, options: &Options, clock: Arc<ManualClock>) -> Arc<dyn Store>;

    /// What the processes that open the store count, and the alerts that they raise.
    fn metrics(&self) -> &Metrics;

    /// Simulates a crash of the process that uses `store`: uncommitted changes are lost and nothing is cleaned up.
    async fn crash(&mut self, store: Arc<dyn Store>);

    /// Sets the store's own clock, if it has one.
    fn set_time(&self, _now: Timestamp) {}
}
