//! The time of day as the file knows it. By this row a start notices that the clock was set back, and knows which jobs
//! still go by the old time. Times are in milliseconds.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::schema::time_of_day;
use super::transaction::Context;

/// Changes of jobs note the time again after this time.
pub(super) const NOTED_EVERY: i64 = 1_000;

/// The row of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Queryable)]
pub(super) struct TimeOfDay {
    /// The time that was noted last.
    pub(super) seen_at: i64,
    /// The step back that jobs follow now, or followed last.
    pub(super) set_back_by: i64,
    /// When the step was noticed, by the new time.
    pub(super) set_back_at: i64,
    /// Waiting jobs of webhooks before this one still go by the old time. 0 if none do.
    pub(super) left_before: i64,
    /// The sum of the steps back that were noticed while jobs were left. All waiting jobs still go by the time before
    /// them.
    pub(super) next_step: i64,
}

impl TimeOfDay {
    pub(super) fn load(connection: &mut SqliteConnection) -> QueryResult<Self> {
        let columns = (
            time_of_day::seen_at,
            time_of_day::set_back_by,
            time_of_day::set_back_at,
            time_of_day::left_before,
            time_of_day::next_step,
        );
        time_of_day::table.select(columns).first::<Self>(connection)
    }

    /// Replaces the row.
    pub(super) fn store(self, connection: &mut SqliteConnection, context: &mut Context) -> QueryResult<()> {
        diesel::update(time_of_day::table)
            .set((
                time_of_day::seen_at.eq(self.seen_at),
                time_of_day::set_back_by.eq(self.set_back_by),
                time_of_day::set_back_at.eq(self.set_back_at),
                time_of_day::left_before.eq(self.left_before),
                time_of_day::next_step.eq(self.next_step),
            ))
            .execute(connection)?;
        context.memory.time_of_day = self;
        Ok(())
    }

    /// The row after the time of day was set back by `step` to `now`. While jobs are left, the step has to wait.
    pub(super) fn set_back(self, step: i64, now: i64) -> Self {
        if self.is_moving() {
            Self { seen_at: now, next_step: self.next_step.saturating_add(step), ..self }
        } else {
            Self { seen_at: now, set_back_by: step, set_back_at: now, left_before: i64::MAX, next_step: 0 }
        }
    }

    /// The row at `now`, once only waiting jobs of webhooks before this one are left. If none are, the next step begins.
    pub(super) fn moved(self, left_before: i64, now: i64) -> Self {
        let moved = Self { left_before, ..self };
        if moved.is_moving() || self.next_step == 0 {
            return moved;
        }
        Self { set_back_by: self.next_step, set_back_at: now, left_before: i64::MAX, next_step: 0, ..self }
    }

    /// Whether neither of the two follows a step back that the other one does not.
    pub(super) fn has_same_steps(self, other: Self) -> bool {
        Self { seen_at: other.seen_at, ..self } == other
    }

    /// Whether waiting jobs may still go by an old time.
    pub(super) fn is_moving(self) -> bool {
        self.left_before != 0
    }

    /// By how much the time by which waiting jobs of a webhook go is ahead of the time of day.
    pub(super) fn ahead(self, webhook: i64) -> i64 {
        let step = if webhook < self.left_before { self.set_back_by } else { 0 };
        step.saturating_add(self.next_step)
    }
}

/// Notes the present time if the noted one is older than `at_most`. Notes no earlier time: what was stored by the later
/// one has to be moved first.
pub(super) fn note(
    connection: &mut SqliteConnection,
    context: &mut Context,
    at_most: i64,
) -> QueryResult<()> {
    let (now, noted) = (context.clock.now().as_millisecond(), context.memory.time_of_day);
    if now.saturating_sub(noted.seen_at) <= at_most {
        return Ok(());
    }
    TimeOfDay { seen_at: now, ..noted }.store(connection, context)
}
