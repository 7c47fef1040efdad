//! Follows the time of day: notices that it was set back or forward, and has due times and leases moved. A call moves due
//! times for a bounded time, and the next one goes on.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::SqliteStore;
use super::set_back::{self, JOBS_AT_ONCE, StepBack};
use super::set_forward;
use crate::domain::error::Result;

/// How long a call moves due times. Servers wait for the call at the start, and leases wait to be renewed.
const MOVING_TIME: Duration = Duration::from_millis(500);

impl SqliteStore {
    /// Does what [`follow_clock`](crate::store::JobQueue::follow_clock) says.
    pub(super) async fn follow_time_of_day(&self) -> Result<()> {
        let known = self.lead.load(Ordering::SeqCst);
        let lead = set_back::lead(self.clock.as_ref());
        if let Some(step) = self.noticed_step(known, lead) {
            let by = step.by;
            // If it fails, the next call tries it again.
            self.writer.run(move |transaction| set_back::begin(transaction, &step)).await?;
            log(by);
            *self.step_back() = None;
            // Further steps since the first try are noticed by the next call, or by the writer.
            self.lead.fetch_sub(by, Ordering::SeqCst);
        } else if set_forward::step(known, lead).is_some() {
            self.move_leases_forward().await?;
        } else {
            // Follows small steps back. If the writer has followed another step meanwhile, that one counts.
            let _ = self.lead.compare_exchange(known, lead, Ordering::SeqCst, Ordering::SeqCst);
        }
        self.move_due_times(MOVING_TIME).await
    }

    /// Has leases moved if the time of day was set forward. Later reads see leases that go by a time of day that is not
    /// earlier than the one before the call.
    pub(super) async fn follow_step_forward(&self) -> Result<()> {
        let known = self.lead.load(Ordering::SeqCst);
        if set_forward::step(known, set_back::lead(self.clock.as_ref())).is_some() {
            self.move_leases_forward().await?;
        }
        Ok(())
    }

    /// Any transaction does it, before it runs its commands.
    async fn move_leases_forward(&self) -> Result<()> {
        self.writer.run(|_| Ok(())).await
    }

    /// The step back that an earlier call could not store, or else the one since that call.
    fn noticed_step(&self, known: i64, lead: i64) -> Option<StepBack> {
        let mut noticed = self.step_back();
        if noticed.is_none() {
            *noticed = set_back::step(known, lead).map(StepBack::new);
        }
        noticed.clone()
    }

    fn step_back(&self) -> MutexGuard<'_, Option<StepBack>> {
        self.step_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notices that the clock was set back while no process had the file.
    pub(super) async fn follow_clock_at_start(&self) -> Result<()> {
        if let Some(step) = self.writer.run(set_back::begin_at_start).await? {
            log(step);
        }
        self.move_due_times(MOVING_TIME).await
    }

    /// Moves the waiting jobs that are left since the clock was set back, for `at_most` this time, but at least one part.
    pub(super) async fn move_due_times(&self, at_most: Duration) -> Result<()> {
        let until = self.clock.monotonic().saturating_add(at_most);
        while self.committed.is_moving() {
            self.writer.run(|transaction| set_back::move_some(transaction, JOBS_AT_ONCE)).await?;
            if self.clock.monotonic() >= until {
                break;
            }
        }
        Ok(())
    }
}

/// Logs that the time of day was set back.
fn log(step: i64) {
    tracing::warn!(
        seconds = step / 1_000,
        "the time of day was set back; jobs become due earlier by as much"
    );
}

#[cfg(test)]
mod tests;
