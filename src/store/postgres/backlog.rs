//! The number of unfinished jobs: an estimate far from the limit, exact near it.
//!
//! An exact count requires that only one process of all replicas accepts at a time. So the store counts
//! exactly only near the limit.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::SmallInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};

use super::counts::unfinished;
use crate::store::statement::statement;
use crate::telemetry::metrics::Stopwatch;

/// How old the estimate may be.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// The minimum distance to the limit that counts as near: more jobs than all replicas of one database accept
/// within [`KNOWN_FOR`].
const NEAR_JOBS: u64 = 20_000;

/// The limit and the estimate.
#[derive(Debug)]
pub(super) struct Backlog {
    limit: u64,
    /// The count that the database had at `known`, plus the changes of this process since.
    unfinished: AtomicI64,
    /// When the count was last read from the database.
    known: Mutex<Option<Stopwatch>>,
}

impl Backlog {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, unfinished: AtomicI64::new(0), known: Mutex::default() }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Adds the change of the number of unfinished jobs that this process has committed. Negative if jobs
    /// ended.
    pub(super) fn change(&self, by: i64) {
        self.unfinished.fetch_add(by, Ordering::Relaxed);
    }

    /// Whether the backlog is far from the limit, even with `more` jobs. Reads the count if the estimate is
    /// too old.
    pub(super) async fn is_far(&self, connection: &mut AsyncPgConnection, more: usize) -> QueryResult<bool> {
        let near = NEAR_JOBS.max(self.limit / 10);
        if near >= self.limit {
            return Ok(false);
        }
        let unfinished = self.estimate(connection).await?;
        Ok(unfinished.saturating_add(more as u64).saturating_add(near) <= self.limit)
    }

    /// Whether the backlog is at least half of the limit. Reads the count if the estimate is too old.
    pub(super) async fn is_half_full(&self, connection: &mut AsyncPgConnection) -> QueryResult<bool> {
        Ok(self.estimate(connection).await?.saturating_mul(2) >= self.limit)
    }

    /// About how many jobs are unfinished. Reads the count if the estimate is too old.
    async fn estimate(&self, connection: &mut AsyncPgConnection) -> QueryResult<u64> {
        let is_known = |known: Option<Stopwatch>| known.is_some_and(|since| since.elapsed() < KNOWN_FOR);
        if !is_known(*self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.unfinished.store(unfinished(connection).await?, Ordering::Relaxed);
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        }
        Ok(u64::try_from(AtomicI64::load(&self.unfinished, Ordering::Relaxed)).unwrap_or(0))
    }

    /// Locks the gate until the transaction ends, so that no other process accepts near the limit. Returns
    /// how many more jobs the limit allows.
    pub(super) async fn room(&self, connection: &mut AsyncPgConnection) -> QueryResult<usize> {
        LockGate {}.get_result::<i16>(connection).await?;
        let unfinished = u64::try_from(unfinished(connection).await?).unwrap_or(0);
        Ok(usize::try_from(self.limit.saturating_sub(unfinished)).unwrap_or(usize::MAX))
    }
}

statement! { Pg;
    struct LockGate {}
    returns SmallInt;
    "SELECT id FROM backlog_gate WHERE id = 1 FOR UPDATE"
}
