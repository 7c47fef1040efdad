//! The time of the database, as this process knows it.
//!
//! The clocks of replicas differ, and anyone may set one of them. So the store compares and stores only times of the
//! database. It reads the clock of the database once a second, and in between goes on by the monotonic time of the
//! process: setting the time of day of its machine changes nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Timestamptz};
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
    /// How many steps forward leases had followed when a reading last agreed with that.
    steps: i64,
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
    /// How many steps forward leases have followed; see `set_forward`.
    steps: i64,
}

/// By how many milliseconds the database's clock has moved more, or less, than the monotonic time of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The database's clock was set forward, or the machine of this process slept.
    Forward(Forward),
    /// The database's clock was set back.
    Back(i64),
}

/// A step forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forward {
    pub(super) by: i64,
    /// How many steps forward leases had followed before this one.
    pub(super) steps_before: i64,
}

impl DatabaseTime {
    /// Reads the clock of the database for the first time.
    pub(super) async fn read(clock: Arc<dyn Clock>, connection: &mut AsyncPgConnection) -> QueryResult<Self> {
        let Reading { lead, steps, .. } = Reading::take(clock.as_ref(), connection).await?;
        Ok(Self { clock, known: Mutex::new(Known { lead, steps, unconfirmed: None }) })
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
    /// that the clock has made, if there was one. Returns a step forward again, and does not go by it, until
    /// [`go_forward`](Self::go_forward) was called.
    pub(super) async fn follow(&self, connection: &mut AsyncPgConnection) -> QueryResult<Option<Step>> {
        let reading = Reading::take(self.clock.as_ref(), connection).await?;
        Ok(self.known().add(reading))
    }

    /// Goes by a step forward, now that leases have followed it and are at this number of steps.
    pub(super) fn go_forward(&self, step: Forward, steps: i64) {
        self.known().go_forward(step, steps);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    async fn take(clock: &dyn Clock, connection: &mut AsyncPgConnection) -> QueryResult<Self> {
        let before = monotonic(clock);
        let (shown, steps) = ReadClock {}.get_result::<(PgTimestamp, i64)>(connection).await?;
        let after = monotonic(clock);
        let at = before.midpoint(after);
        Ok(Self {
            lead: rows::time(shown)?.as_millisecond().saturating_sub(at),
            at,
            took: after - before,
            steps,
        })
    }
}

impl Known {
    fn add(&mut self, reading: Reading) -> Option<Step> {
        if reading.took > LONGEST_READING_MS {
            return None;
        }
        if reading.lead.abs_diff(self.lead) < SMALLEST_STEP_MS.unsigned_abs() {
            self.steps = reading.steps;
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
        if step >= SMALLEST_STEP_MS {
            return Some(Step::Forward(Forward { by: step, steps_before: self.steps }));
        }
        self.lead = reading.lead;
        self.steps = reading.steps;
        (step <= -SMALLEST_STEP_MS).then(|| Step::Back(step.saturating_neg()))
    }

    fn go_forward(&mut self, step: Forward, steps: i64) {
        self.lead = self.lead.saturating_add(step.by);
        self.steps = steps;
    }
}

/// The monotonic time of the process, in milliseconds.
fn monotonic(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX)
}

statement! { Pg;
    struct ReadClock {}
    returns (Timestamptz, BigInt);
    "SELECT now(), steps_forward FROM clock WHERE id = 1"
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn reading(lead: i64, at: i64) -> Reading {
        Reading { lead, at, took: 0, steps: 0 }
    }

    fn forward(by: i64, steps_before: i64) -> Option<Step> {
        Some(Step::Forward(Forward { by, steps_before }))
    }

    /// The steps that readings report, each with its lead and its time, and the lead at the end. Leases follow a step
    /// forward at once.
    fn follow(readings: &[(i64, i64)]) -> (Vec<Option<Step>>, i64) {
        let mut known = Known { lead: 0, steps: 0, unconfirmed: None };
        let steps = readings.iter().map(|(lead, at)| {
            let step = known.add(reading(*lead, *at));
            if let Some(Step::Forward(step)) = step {
                known.go_forward(step, 0);
            }
            step
        });
        let steps = steps.collect();
        (steps, known.lead)
    }

    #[test]
    fn a_step_counts_once_a_second_reading_confirms_it() {
        let steps =
            |lead: i64| follow(&[(0, 0), (0, 1_000), (lead, 2_000), (lead + 3, 3_000), (lead, 4_000)]);
        let (ahead, lead) = steps(HOUR_MS);
        assert_eq!(ahead, [None, None, None, forward(HOUR_MS + 3, 0), None]);
        assert_eq!(lead, HOUR_MS);
        let (back, lead) = steps(-HOUR_MS);
        assert_eq!(back, [None, None, None, Some(Step::Back(HOUR_MS - 3)), None]);
        assert_eq!(lead, -HOUR_MS);
    }

    #[test]
    fn a_step_forward_is_reported_until_leases_have_followed_it() {
        let mut known = Known { lead: 0, steps: 0, unconfirmed: None };
        // Another process moves the leases between the last two readings.
        let mut add = |lead: i64, at: i64, steps: i64| known.add(Reading { steps, ..reading(lead, at) });
        assert_eq!(add(0, 0, 7), None);
        assert_eq!(add(HOUR_MS, 1_000, 7), None);
        assert_eq!(add(HOUR_MS, 2_000, 7), forward(HOUR_MS, 7));
        assert_eq!(add(HOUR_MS, 3_000, 8), forward(HOUR_MS, 7));
        known.go_forward(Forward { by: HOUR_MS, steps_before: 7 }, 8);
        assert_eq!((known.add(reading(HOUR_MS, 4_000)), known.lead), (None, HOUR_MS));
    }

    #[test]
    fn readings_that_do_not_agree_or_come_too_soon_change_nothing() {
        assert_eq!(follow(&[(HOUR_MS, 0), (0, 1_000), (HOUR_MS, 2_000)]), (vec![None; 3], 0));
        assert_eq!(follow(&[(HOUR_MS, 0), (HOUR_MS, 999)]), (vec![None; 2], 0));
    }

    #[test]
    fn a_reading_that_took_long_is_ignored() {
        let mut known = Known { lead: 0, steps: 0, unconfirmed: Some(reading(HOUR_MS, 0)) };
        let slow = Reading { took: LONGEST_READING_MS + 1, ..reading(HOUR_MS, 2_000) };
        assert_eq!((known.add(slow), known.lead), (None, 0));
    }

    #[test]
    fn small_steps_are_followed_without_a_report() {
        assert_eq!(follow(&[(400, 0), (300, 1_000), (-300, 2_000)]), (vec![None; 3], 300));
        assert_eq!(follow(&[(999, 0), (999, 1_000)]), (vec![None; 2], 999));
    }
}
