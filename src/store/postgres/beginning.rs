//! Where claims begin to look for what is due.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::telemetry::metrics::Stopwatch;

/// How far behind the oldest job that was claimed last a claim begins to look. The clocks of replicas
/// differ, and a commit takes its time.
const BEHIND: Duration = Duration::from_secs(2);

/// How often a claim looks from the beginning: at the latest then are those found that are still
/// further behind.
const FROM_THE_BEGINNING_EVERY: Duration = Duration::from_secs(5);

/// Where claims begin to look. Until it is vacuumed, the index of due jobs begins with entries of
/// all those that were claimed before, and reading over them takes longer and longer.
#[derive(Debug, Default)]
pub(super) struct Beginning(Mutex<Option<(Timestamp, Stopwatch)>>);

impl Beginning {
    /// From when on to look, none for all; and since when it is known.
    pub(super) fn get(&self, now: Timestamp) -> Option<(Timestamp, Stopwatch)> {
        let beginning = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that went back makes jobs due before.
        beginning.filter(|(from, since)| *from <= now && since.elapsed() < FROM_THE_BEGINNING_EVERY)
    }

    /// The next look is from the very beginning.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A look from `looked` found `oldest`.
    pub(super) fn found(&self, looked: Option<(Timestamp, Stopwatch)>, oldest: Timestamp) {
        let from = oldest.saturating_sub(BEHIND).unwrap_or(Timestamp::MIN);
        let since = looked.map_or_else(Stopwatch::start, |(_, since)| since);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, since));
    }
}
