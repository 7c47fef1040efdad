//! What changes together with jobs that an operator acts on.

use std::collections::BTreeSet;

use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use jiff::Timestamp;

use super::counts::CountChanges;
use super::lanes::LaneChanges;
use super::rows;
use super::shared::Shared;
use crate::domain::job::{JobId, QueueId, Status};
use crate::store::changes::Change;

/// The effects of an operation besides the changes of its jobs.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) counts: CountChanges,
    pub(super) lanes: LaneChanges,
    /// The changed jobs, with their new state.
    pub(super) changed: Vec<ChangedJob>,
}

/// The new state of a changed job.
pub(super) struct ChangedJob {
    pub(super) job: JobId,
    pub(super) status: Status,
    pub(super) attempts: i32,
    pub(super) revision: i64,
    /// When the job is due, if the operation has made it due.
    pub(super) next_attempt_at: Option<Timestamp>,
}

impl Effects {
    /// Writes the changes of lanes and counts. Must be the last step of the transaction. Lanes come before
    /// counts, so that all transactions lock rows in the same order.
    pub(super) async fn apply(&self, connection: &mut AsyncPgConnection, slot: i16) -> QueryResult<()> {
        self.lanes.apply(connection).await?;
        self.counts.apply(connection, slot).await
    }

    /// Announces the changes, and updates the schedule and the backlog. Call it only after the commit.
    pub(super) fn announce(&self, shared: &Shared, now: Timestamp) -> QueryResult<()> {
        let change = |changed: &ChangedJob| {
            Ok(Change {
                job: changed.job,
                route: rows::route(&shared.schedule, changed.job.queue)?,
                status: changed.status,
                attempt_count: rows::count(changed.attempts)?,
                updated_at: now,
                revision: changed.revision.cast_unsigned(),
                last_error: None,
                next_attempt_at: changed.next_attempt_at,
            })
        };
        shared.changed(&self.changed.iter().map(change).collect::<QueryResult<Vec<_>>>()?);
        shared.backlog.change(self.counts.unfinished());
        let waiting = self.changed.iter().filter(|changed| changed.status.is_waiting());
        let due = waiting.map(|changed| changed.job.queue).chain(self.lanes.queues());
        let at_once =
            |queues: BTreeSet<QueueId>| queues.into_iter().map(|queue| (queue, now)).collect::<Vec<_>>();
        shared.due(&at_once(due.collect()));
        // Also has the next claim read the queues of changed jobs again, to learn when something is due in
        // them.
        shared.schedule.note(&at_once(self.changed.iter().map(|changed| changed.job.queue).collect()));
        Ok(())
    }
}
