//! Where claims begin to read the index of due jobs.
//!
//! Until it is vacuumed, the part of a queue begins with dead entries of jobs that were claimed
//! before, and reading over them takes longer and longer.

use std::time::Duration;

use jiff::Timestamp;

use crate::telemetry::metrics::Stopwatch;

/// How far before the oldest due job of a queue the next claim begins to read. The clocks of replicas
/// differ, and a commit takes its time.
const BEHIND: Duration = Duration::from_secs(2);

/// How often a claim reads a queue from its beginning, to find jobs that are still further behind.
const FROM_THE_BEGINNING_EVERY: Duration = Duration::from_secs(5);

/// Where the next claim begins to read a queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    from: Timestamp,
    /// When the queue was last read from its beginning.
    since: Stopwatch,
}

impl Cursor {
    /// From when on to read; none: from the beginning.
    pub(super) fn from(self, now: Timestamp) -> Option<Timestamp> {
        // A clock that went back makes jobs due before the cursor.
        (self.from <= now && self.since.elapsed() < FROM_THE_BEGINNING_EVERY).then_some(self.from)
    }

    /// The cursor after a read that found nothing due before `oldest`. `last` is the one it began at;
    /// none: at the beginning.
    pub(super) fn after(last: Option<Self>, oldest: Timestamp) -> Self {
        let from = oldest.saturating_sub(BEHIND).unwrap_or(Timestamp::MIN);
        Self { from, since: last.map_or_else(Stopwatch::start, |last| last.since) }
    }
}
