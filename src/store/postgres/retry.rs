//! Makes finished jobs pending again, in a new run: they move from `finished_jobs` to `jobs`. For retries by hand and
//! replays.

use std::collections::BTreeSet;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::effects::{ChangedJob, Effects};
use super::rows::{self, pg_time};
use super::schema::attempts;
use crate::domain::job::{JobId, QueueId, Status};
use crate::store::statement::statement;

/// A job that was finished, with its status before.
#[derive(Queryable)]
struct RestartedRow {
    webhook: Uuid,
    queue: i32,
    status: i16,
    attempts: i32,
    revision: i64,
    lane: Option<String>,
    /// Whether it was a dead letter that blocked its lane.
    blocks: bool,
}

/// An attempt that no longer ends its job.
#[derive(Insertable)]
#[diesel(table_name = attempts)]
pub(super) struct AttemptRow {
    webhook: Uuid,
    queue: i32,
    number: i32,
    run: i32,
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
    pub(super) run: i32,
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
        let Self { webhook, queue, number, run, finished_at, error, delivery, .. } = self;
        let (outcome, started_at, worker) = (self.outcome?, self.started_at?, self.worker?);
        Some(AttemptRow {
            webhook,
            queue,
            number,
            run,
            outcome,
            started_at,
            finished_at,
            error,
            worker,
            delivery,
        })
    }
}

/// Finished jobs as the arrays that the statements take: webhooks, queues and statuses.
pub(super) struct Finished {
    webhooks: Vec<Uuid>,
    queues: Vec<i32>,
    statuses: Vec<i16>,
}

impl Finished {
    pub(super) fn new(jobs: impl Iterator<Item = (JobId, Status)>) -> Self {
        let (mut webhooks, mut queues, mut statuses) = (Vec::new(), Vec::new(), Vec::new());
        for (job, status) in jobs {
            webhooks.push(rows::uuid(job.webhook));
            queues.push(rows::queue_number(job.queue));
            statuses.push(status as i16);
        }
        Self { webhooks, queues, statuses }
    }

    /// The lanes of the jobs, each lane with its queue.
    pub(super) async fn lanes(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> QueryResult<BTreeSet<(String, QueueId)>> {
        let reading = SelectLanes { webhooks: self.webhooks.clone(), queues: self.queues.clone() };
        let lanes = reading.load::<(String, i32)>(connection).await?;
        lanes.into_iter().map(|(lane, queue)| Ok((lane, rows::queue(queue)?))).collect()
    }

    /// Locks the jobs that still have their status, and returns these. The caller has locked their webhooks and lanes.
    pub(super) async fn lock(self, connection: &mut AsyncPgConnection) -> QueryResult<Vec<(Uuid, i32)>> {
        let Self { webhooks, queues, statuses } = self;
        LockFinished { webhooks, queues, statuses }.load(connection).await
    }
}

/// Makes locked jobs pending, in a new run that this replay begins; without one, an operator. Returns how many there
/// were.
pub(super) async fn restart(
    connection: &mut AsyncPgConnection,
    finished: Vec<(Uuid, i32)>,
    replay: Option<i64>,
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<usize> {
    if finished.is_empty() {
        return Ok(0);
    }
    let (webhooks, queues) = finished.into_iter().unzip();
    let restarting = RestartJobs { webhooks, queues, now: pg_time(now), replay };
    let restarted = restarting.load::<RestartedRow>(connection).await?;
    let count = restarted.len();
    for row in restarted {
        let (job, from) = (rows::job_id(row.webhook, row.queue)?, rows::job_status(row.status)?);
        effects.counts.moved(job.queue, Some(from), Some(Status::Pending));
        match row.lane {
            Some(lane) if row.blocks => effects.lanes.unblock(lane, job.queue),
            Some(lane) => effects.lanes.enter(lane, job.queue),
            None => {}
        }
        effects.changed.push(ChangedJob {
            job,
            status: Status::Pending,
            attempts: row.attempts,
            revision: row.revision,
            next_attempt_at: Some(now),
        });
    }
    Ok(count)
}

statement! { Pg;
    struct SelectLanes {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
    }
    returns (Text, Integer);
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS g (webhook, queue)
     )
     SELECT lane, queue FROM finished_jobs
     WHERE webhook = ANY (ARRAY(SELECT webhook FROM given))
       AND ((webhook, queue) IN (SELECT webhook, queue FROM given)) IS TRUE AND lane IS NOT NULL"
}

statement! { Pg;
    struct LockFinished {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
    }
    returns (SqlUuid, Integer);
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?, ?) AS g (webhook, queue, status)
     )
     SELECT webhook, queue FROM finished_jobs
     WHERE webhook = ANY (ARRAY(SELECT webhook FROM given))
       AND ((webhook, queue, status) IN (SELECT webhook, queue, status FROM given)) IS TRUE
     FOR UPDATE"
}

// The result of an earlier run is not kept: only the attempt that ended a job has one.
statement! { Pg;
    struct RestartJobs {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        now: PgTimestamp as Timestamptz,
        replay: Option<i64> as Nullable<BigInt>,
    }
    returns (SqlUuid, Integer, SmallInt, Integer, BigInt, Nullable<Text>, Bool);
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS g (webhook, queue)
     ), restarted AS (
         DELETE FROM finished_jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM given))
           AND ((webhook, queue) IN (SELECT webhook, queue FROM given)) IS TRUE
         RETURNING *
     ), waiting AS (
         INSERT INTO jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at, updated_at, revision,
                           lease_token, lane, position, replay)
         SELECT webhook, queue, 0, run + 1, attempts, attempts, n.now, n.now, revision + 1, lease_token, lane, position,
                n.replay
         FROM restarted, (SELECT ? AS now, ? AS replay) AS n
     ), told AS (
         INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, error, worker, delivery)
         SELECT webhook, queue, attempts, run, outcome, started_at, completed_at, error, worker, delivery
         FROM restarted WHERE outcome IS NOT NULL AND started_at IS NOT NULL AND worker IS NOT NULL
     )
     SELECT webhook, queue, status, attempts, revision + 1, lane, blocks FROM restarted"
}
