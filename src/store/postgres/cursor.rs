//! Cursors: where claims begin to read the index of due jobs.
//!
//! Until the next vacuum, a queue's part of the index begins with dead entries of jobs that were claimed
//! before. Without a cursor, every claim would read over all of them.

use std::time::Duration;

use jiff::Timestamp;

use crate::telemetry::metrics::Stopwatch;

/// How far before the oldest due job of a queue the next claim begins to read. Jobs may appear with an
/// earlier due time, because replicas know the time of the database with small errors, and commits take time.
const BEHIND: Duration = Duration::from_secs(2);

/// How often a claim reads a queue from its beginning, to find jobs that are even further behind the cursor.
const FROM_THE_BEGINNING_EVERY: Duration = Duration::from_secs(5);

/// Where the next claim begins to read a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    from: Timestamp,
    /// When the queue was last read from its beginning.
    since: Stopwatch,
}

impl Cursor {
    /// The time from which on to read; `None`: from the beginning.
    pub(super) fn from(self, now: Timestamp) -> Option<Timestamp> {
        // If the clock of the database went back, jobs may be due before the cursor.
        (self.from <= now && self.since.elapsed() < FROM_THE_BEGINNING_EVERY).then_some(self.from)
    }

    /// The cursor after a read that found nothing due before `oldest`. `last` is the cursor at which the read
    /// began; `None`: at the beginning.
    pub(super) fn after(last: Option<Self>, oldest: Timestamp) -> Self {
        let from = oldest.saturating_sub(BEHIND).unwrap_or(Timestamp::MIN);
        Self { from, since: last.map_or_else(Stopwatch::start, |last| last.since) }
    }
}
