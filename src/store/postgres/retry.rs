//! Retries jobs by hand: they move from `finished_jobs` to `jobs`.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::effects::{ChangedJob, Effects};
use super::rows::{self, pg_time};
use super::schema::{attempts, finished_jobs, jobs};
use crate::domain::job::Status;

/// A finished job with the attempt that ended it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = finished_jobs)]
pub(super) struct FinishedRow {
    webhook: Uuid,
    queue: i32,
    status: i16,
    run: i32,
    attempts: i32,
    completed_at: PgTimestamp,
    revision: i64,
    lease_token: i64,
    lane: Option<String>,
    position: Option<i64>,
    blocks: bool,
    outcome: Option<i16>,
    started_at: Option<PgTimestamp>,
    error: Option<String>,
    worker: Option<String>,
    delivery: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = jobs)]
struct WaitingRow {
    webhook: Uuid,
    queue: i32,
    status: i16,
    run: i32,
    attempts: i32,
    uncounted_attempts: i32,
    available_at: PgTimestamp,
    updated_at: PgTimestamp,
    revision: i64,
    lease_token: i64,
    lane: Option<String>,
    position: Option<i64>,
}

/// An attempt that no longer ends its job.
#[derive(Insertable)]
#[diesel(table_name = attempts)]
pub(super) struct AttemptRow {
    webhook: Uuid,
    queue: i32,
    number: i32,
    outcome: i16,
    started_at: PgTimestamp,
    finished_at: PgTimestamp,
    error: Option<String>,
    worker: String,
    delivery: Option<String>,
}

/// The columns of `finished_jobs` about the attempt that ended the job. Some are `None` if no attempt did.
pub(super) struct LastAttempt {
    pub(super) webhook: Uuid,
    pub(super) queue: i32,
    pub(super) number: i32,
    pub(super) outcome: Option<i16>,
    pub(super) started_at: Option<PgTimestamp>,
    pub(super) finished_at: PgTimestamp,
    pub(super) error: Option<String>,
    pub(super) worker: Option<String>,
    pub(super) delivery: Option<String>,
}

impl LastAttempt {
    /// The attempt as a row of `attempts`; `None` if no attempt ended the job.
    pub(super) fn into_row(self) -> Option<AttemptRow> {
        let Self { webhook, queue, number, finished_at, error, delivery, .. } = self;
        let (outcome, started_at, worker) = (self.outcome?, self.started_at?, self.worker?);
        Some(AttemptRow { webhook, queue, number, outcome, started_at, finished_at, error, worker, delivery })
    }
}

/// Locks those jobs of a webhook in these queues that are dead letters or cancelled. The caller has locked
/// their lanes.
pub(super) async fn lock(
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
    queues: &[i32],
) -> QueryResult<Vec<FinishedRow>> {
    let retriable = [Status::DeadLettered as i16, Status::Cancelled as i16];
    let finished = finished_jobs::table
        .filter(finished_jobs::webhook.eq(webhook).and(finished_jobs::queue.eq_any(queues)))
        .filter(finished_jobs::status.eq_any(retriable));
    let finished = finished.order(finished_jobs::queue).select(FinishedRow::as_select());
    finished.for_update().load(connection).await
}

/// Makes locked jobs of one webhook pending, in a new run.
pub(super) async fn retry(
    connection: &mut AsyncPgConnection,
    finished: Vec<FinishedRow>,
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<()> {
    let webhooks = finished.iter().map(|job| job.webhook).collect::<Vec<_>>();
    let queues = finished.iter().map(|job| job.queue).collect::<Vec<_>>();
    for job in &finished {
        let (queue, from) = (rows::queue(job.queue)?, rows::job_status(job.status)?);
        effects.counts.moved(queue, Some(from), Some(Status::Pending));
        match &job.lane {
            Some(lane) if job.blocks => effects.lanes.unblock(lane.clone(), queue),
            Some(lane) => effects.lanes.enter(lane.clone(), queue),
            None => {}
        }
        effects.changed.push(ChangedJob {
            job: rows::job_id(job.webhook, job.queue)?,
            status: Status::Pending,
            attempts: job.attempts,
            revision: job.revision + 1,
            next_attempt_at: Some(now),
        });
    }
    let leaving = finished_jobs::webhook.eq_any(webhooks).and(finished_jobs::queue.eq_any(queues));
    diesel::delete(finished_jobs::table.filter(leaving)).execute(connection).await?;
    let (waiting, told): (Vec<_>, Vec<_>) = finished.into_iter().map(|job| job.retried(now)).unzip();
    diesel::insert_into(jobs::table).values(waiting).execute(connection).await?;
    let told = told.into_iter().flatten().collect::<Vec<_>>();
    diesel::insert_into(attempts::table).values(told).execute(connection).await?;
    Ok(())
}

impl FinishedRow {
    /// The job in its next run, and the attempt that had ended the job.
    fn retried(self, now: Timestamp) -> (WaitingRow, Option<AttemptRow>) {
        let Self { webhook, queue, attempts, .. } = self;
        let last = LastAttempt {
            webhook,
            queue,
            number: attempts,
            outcome: self.outcome,
            started_at: self.started_at,
            finished_at: self.completed_at,
            error: self.error,
            worker: self.worker,
            delivery: self.delivery,
        };
        let waiting = WaitingRow {
            webhook,
            queue,
            status: Status::Pending as i16,
            run: self.run + 1,
            attempts,
            uncounted_attempts: attempts,
            available_at: pg_time(now),
            updated_at: pg_time(now),
            revision: self.revision + 1,
            lease_token: self.lease_token,
            lane: self.lane,
            position: self.position,
        };
        (waiting, last.into_row())
    }
}
