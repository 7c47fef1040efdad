//! The time of the database, as this process knows it.
//!
//! The clocks of replicas differ, and anyone may set one of them. So the store compares and stores only times of the
//! database. It reads the clock of the database once a second, and in between goes on by the monotonic time of the
//! process: setting the time of day of its machine changes nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use jiff::{SignedDuration, Timestamp};

use super::rows;
use crate::domain::clock::Clock;
use crate::store::statement::statement;

/// A smaller step of the database's clock is not reported: clocks are corrected by small steps all the time.
const SMALLEST_STEP_MS: i64 = 1_000;

/// A reading that took longer is ignored: it says too little about when the clock was read.
const LONGEST_READING_MS: i64 = 500;

/// How much two readings may differ that agree.
const AGREEMENT_MS: i64 = 500;

/// The least time between two readings that confirm each other. A single reading may be wrong.
const CONFIRMED_AFTER_MS: i64 = 1_000;

/// The time of the database.
pub(super) struct DatabaseTime {
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// How far the database's clock is ahead of the monotonic time of the process, in milliseconds.
    lead: i64,
    /// The last reading, or the first of several that agree.
    unconfirmed: Option<Reading>,
}

/// A reading of the database's clock. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// How far the clock is ahead of the monotonic time of the process.
    lead: i64,
    /// The monotonic time of the reading.
    at: i64,
    took: i64,
}

/// By how many milliseconds the database's clock has moved more, or less, than the monotonic time of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The database's clock was set forward, or the machine of this process slept.
    Forward(i64),
    /// The database's clock was set back.
    Back(i64),
}

impl DatabaseTime {
    /// Reads the clock of the database for the first time.
    pub(super) async fn read(clock: Arc<dyn Clock>, connection: &mut AsyncPgConnection) -> QueryResult<Self> {
        let lead = Reading::take(clock.as_ref(), connection).await?.lead;
        Ok(Self { clock, known: Mutex::new(Known { lead, unconfirmed: None }) })
    }

    /// The time of the database now, in whole milliseconds.
    pub(super) fn now(&self) -> Timestamp {
        let now = self.known().lead.saturating_add(monotonic(self.clock.as_ref()));
        Timestamp::from_millisecond(now).unwrap_or(Timestamp::MAX)
    }

    /// The time of the database at a past moment of the process's time of day. If the moment seems to be in the
    /// future, because the time of day was set back since, it is now.
    pub(super) fn at(&self, moment: Timestamp) -> Timestamp {
        let ago = self.clock.now().duration_since(moment).max(SignedDuration::ZERO);
        self.now().saturating_sub(ago).unwrap_or(Timestamp::MIN)
    }

    /// Reads the clock of the database again. Goes by the reading once another one agrees with it. Returns the step
    /// that the clock has made, if there was one.
    pub(super) async fn follow(&self, connection: &mut AsyncPgConnection) -> QueryResult<Option<Step>> {
        let reading = Reading::take(self.clock.as_ref(), connection).await?;
        Ok(self.known().add(reading))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    async fn take(clock: &dyn Clock, connection: &mut AsyncPgConnection) -> QueryResult<Self> {
        let before = monotonic(clock);
        let shown = ReadClock {}.get_result::<PgTimestamp>(connection).await?;
        let after = monotonic(clock);
        let at = before.midpoint(after);
        Ok(Self { lead: rows::time(shown)?.as_millisecond().saturating_sub(at), at, took: after - before })
    }
}

impl Known {
    fn add(&mut self, reading: Reading) -> Option<Step> {
        if reading.took > LONGEST_READING_MS {
            return None;
        }
        let agrees = |first: &Reading| first.lead.abs_diff(reading.lead) < AGREEMENT_MS.unsigned_abs();
        let Some(first) = self.unconfirmed.filter(agrees) else {
            self.unconfirmed = Some(reading);
            return None;
        };
        if reading.at.saturating_sub(first.at) < CONFIRMED_AFTER_MS {
            return None;
        }
        self.unconfirmed = Some(reading);
        let step = reading.lead.saturating_sub(self.lead);
        self.lead = reading.lead;
        match step {
            SMALLEST_STEP_MS.. => Some(Step::Forward(step)),
            _ if step <= -SMALLEST_STEP_MS => Some(Step::Back(step.saturating_neg())),
            _ => None,
        }
    }
}

/// The monotonic time of the process, in milliseconds.
fn monotonic(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX)
}

statement! { Pg;
    struct ReadClock {}
    returns Timestamptz;
    "SELECT now()"
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn reading(lead: i64, at: i64) -> Reading {
        Reading { lead, at, took: 0 }
    }

    /// The steps that readings report, each with its lead and its time, and the lead at the end.
    fn follow(readings: &[(i64, i64)]) -> (Vec<Option<Step>>, i64) {
        let mut known = Known { lead: 0, unconfirmed: None };
        let steps = readings.iter().map(|(lead, at)| known.add(reading(*lead, *at))).collect();
        (steps, known.lead)
    }

    #[test]
    fn a_step_counts_once_a_second_reading_confirms_it() {
        let steps =
            |lead: i64| follow(&[(0, 0), (0, 1_000), (lead, 2_000), (lead + 3, 3_000), (lead, 4_000)]);
        let (forward, lead) = steps(HOUR_MS);
        assert_eq!(forward, [None, None, None, Some(Step::Forward(HOUR_MS + 3)), None]);
        assert_eq!(lead, HOUR_MS);
        let (back, lead) = steps(-HOUR_MS);
        assert_eq!(back, [None, None, None, Some(Step::Back(HOUR_MS - 3)), None]);
        assert_eq!(lead, -HOUR_MS);
    }

    #[test]
    fn readings_that_do_not_agree_or_come_too_soon_change_nothing() {
        assert_eq!(follow(&[(HOUR_MS, 0), (0, 1_000), (HOUR_MS, 2_000)]), (vec![None; 3], 0));
        assert_eq!(follow(&[(HOUR_MS, 0), (HOUR_MS, 999)]), (vec![None; 2], 0));
    }

    #[test]
    fn a_reading_that_took_long_is_ignored() {
        let mut known = Known { lead: 0, unconfirmed: Some(reading(HOUR_MS, 0)) };
        let slow = Reading { took: LONGEST_READING_MS + 1, ..reading(HOUR_MS, 2_000) };
        assert_eq!((known.add(slow), known.lead), (None, 0));
    }

    #[test]
    fn small_steps_are_followed_without_a_report() {
        assert_eq!(follow(&[(400, 0), (300, 1_000), (-300, 2_000)]), (vec![None; 3], 300));
        assert_eq!(follow(&[(999, 0), (999, 1_000)]), (vec![None; 2], 999));
    }
}
