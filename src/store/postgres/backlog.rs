//! How many jobs are unfinished: known well enough while there is much room, and to the last one
//! when there is little.
//!
//! Counting exactly means that one process at a time accepts, in the whole cluster. So it is done
//! only near the limit.

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

/// How old what is known may be.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// The least distance from the limit that is near: more than all replicas of one database accept
/// while what is known grows old.
const NEAR_JOBS: u64 = 20_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Backlog {
    limit: u64,
    /// As the database had it, and what this process has changed since.
    unfinished: AtomicI64,
    known: Mutex<Option<Stopwatch>>,
}

impl Backlog {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, unfinished: AtomicI64::new(0), known: Mutex::default() }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// This process has made so many jobs, or finished them where it is negative.
    pub(super) fn change(&self, by: i64) {
        self.unfinished.fetch_add(by, Ordering::Relaxed);
    }

    /// Whether so many more are far from the limit.
    pub(super) async fn is_far(&self, connection: &mut AsyncPgConnection, more: usize) -> QueryResult<bool> {
        let near = NEAR_JOBS.max(self.limit / 10);
        if near >= self.limit {
            return Ok(false);
        }
        let is_known = |known: Option<Stopwatch>| known.is_some_and(|since| since.elapsed() < KNOWN_FOR);
        if !is_known(*self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            self.unfinished.store(unfinished(connection).await?, Ordering::Relaxed);
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Stopwatch::start());
        }
        let unfinished = u64::try_from(AtomicI64::load(&self.unfinished, Ordering::Relaxed)).unwrap_or(0);
        Ok(unfinished.saturating_add(more as u64).saturating_add(near) <= self.limit)
    }

    /// Waits until no other process accepts near the limit, for as long as the transaction lasts,
    /// and answers how many more there may be.
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
