//! What a kind of store has to offer to be tested: a place, and processes that open it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hookbox::domain::clock::ManualClock;
use hookbox::domain::policy::Policies;
use hookbox::store::Store;
use jiff::Timestamp;

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Jobs that may be unfinished.
    pub(crate) max_backlog: u64,
    /// The policies in force.
    pub(crate) policies: Arc<Policies>,
    /// What ids are made random with.
    pub(crate) seed: u64,
}

/// A place for one store, emptied when it is dropped.
#[async_trait]
pub(crate) trait Harness: Send + Sync + Sized + 'static {
    /// Whether a process that opens the store takes over every lease of the one before at once.
    /// Where several processes share a store, a lease has to expire first.
    const TAKES_OVER_AT_OPEN: bool;

    /// How long expired leases of a route that this process does not have are left to other processes.
    const LEFT_TO_OTHERS: Duration;

    /// Random lives that are tried. Bounded so that the test takes a few seconds.
    const LIVES: u32;

    /// A place with nothing in it.
    fn new() -> Self;

    /// Opens the store as a process that starts.
    async fn open(&self, options: &Options, clock: Arc<ManualClock>) -> Arc<dyn Store>;

    /// The process of `store` dies: uncommitted changes are gone, and nothing is tidied up.
    async fn crash(&mut self, store: Arc<dyn Store>);

    /// The time that the store's own clock shows, if it has one.
    fn set_time(&self, _now: Timestamp) {}
}
