//! Cancels jobs by hand: waiting jobs move to `finished_jobs`; dead letters stay there and become
//! `cancelled`.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::effects::{ChangedJob, Effects};
use super::retry::LastAttempt;
use super::rows::{self, pg_time};
use super::schema::{attempts, finished_jobs, jobs};
use crate::domain::job::Status;
use crate::store::statement::statement;

/// A cancelled job, with its status before.
#[derive(Queryable)]
struct CancelledRow {
    webhook: Uuid,
    queue: i32,
    status: i16,
    attempts: i32,
    revision: i64,
    lane: Option<String>,
}

/// A dead letter.
#[derive(Queryable, Selectable)]
#[diesel(table_name = finished_jobs)]
struct DeadLetterRow {
    queue: i32,
    lane: Option<String>,
    blocks: bool,
    revision: i64,
    run: i32,
    attempts: i32,
    outcome: Option<i16>,
    started_at: Option<PgTimestamp>,
    completed_at: PgTimestamp,
    error: Option<String>,
    worker: Option<String>,
    delivery: Option<String>,
}

/// Cancels the jobs of a webhook in these queues, if each of them is waiting or a dead letter. Otherwise
/// returns false and changes nothing. The caller has locked their lanes.
pub(super) async fn cancel(
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
    queues: &[i32],
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<bool> {
    let waiting = jobs::table
        .filter(jobs::webhook.eq(webhook).and(jobs::queue.eq_any(queues)))
        .filter(jobs::status.eq_any([Status::Pending as i16, Status::Retrying as i16]));
    let waiting = waiting.order(jobs::queue).select((jobs::webhook, jobs::queue)).for_update();
    let waiting = waiting.load::<(Uuid, i32)>(connection).await?;
    let dead = finished_jobs::table
        .filter(finished_jobs::webhook.eq(webhook).and(finished_jobs::queue.eq_any(queues)))
        .filter(finished_jobs::status.eq(Status::DeadLettered as i16));
    let dead = dead.order(finished_jobs::queue).select(DeadLetterRow::as_select()).for_update();
    let dead = dead.load(connection).await?;
    if waiting.len() + dead.len() != queues.len() {
        return Ok(false);
    }
    cancel_waiting(connection, waiting, now, effects).await?;
    give_up(connection, webhook, dead, now, effects).await?;
    Ok(true)
}

/// Cancels waiting jobs. The caller has locked the jobs and their lanes. Returns how many it cancelled.
pub(super) async fn cancel_waiting(
    connection: &mut AsyncPgConnection,
    waiting: Vec<(Uuid, i32)>,
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<usize> {
    if waiting.is_empty() {
        return Ok(0);
    }
    let (webhooks, queues) = waiting.into_iter().unzip();
    let cancelling = CancelWaiting { webhooks, queues, now: pg_time(now) };
    let cancelled = cancelling.load::<CancelledRow>(connection).await?;
    let count = cancelled.len();
    for row in cancelled {
        let (job, from) = (rows::job_id(row.webhook, row.queue)?, rows::job_status(row.status)?);
        effects.counts.moved(job.queue, Some(from), Some(Status::Cancelled));
        row.lane.into_iter().for_each(|lane| effects.lanes.leave(lane, job.queue));
        let (status, attempts, revision) = (Status::Cancelled, row.attempts, row.revision);
        effects.changed.push(ChangedJob { job, status, attempts, revision, next_attempt_at: None });
    }
    Ok(count)
}

/// Cancels dead letters. The caller has locked the jobs and their lanes.
async fn give_up(
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
    dead: Vec<DeadLetterRow>,
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<()> {
    let queues = dead.iter().map(|job| job.queue).collect::<Vec<_>>();
    let given_up = finished_jobs::webhook.eq(webhook).and(finished_jobs::queue.eq_any(queues));
    let giving_up = diesel::update(finished_jobs::table.filter(given_up)).set((
        finished_jobs::status.eq(Status::Cancelled as i16),
        finished_jobs::completed_at.eq(pg_time(now)),
        finished_jobs::revision.eq(finished_jobs::revision + 1),
        finished_jobs::blocks.eq(false),
        // Its retention begins anew.
        finished_jobs::purged.eq(0),
        finished_jobs::outcome.eq(None::<i16>),
        finished_jobs::started_at.eq(None::<PgTimestamp>),
        finished_jobs::error.eq(None::<String>),
        finished_jobs::worker.eq(None::<String>),
        finished_jobs::delivery.eq(None::<String>),
    ));
    giving_up.execute(connection).await?;
    let mut told = Vec::with_capacity(dead.len());
    for row in dead {
        told.extend(
            LastAttempt {
                webhook,
                queue: row.queue,
                number: row.attempts,
                run: row.run,
                outcome: row.outcome,
                started_at: row.started_at,
                finished_at: row.completed_at,
                error: row.error,
                worker: row.worker,
                delivery: row.delivery,
            }
            .into_row(),
        );
        let job = rows::job_id(webhook, row.queue)?;
        effects.counts.moved(job.queue, Some(Status::DeadLettered), Some(Status::Cancelled));
        if let Some(lane) = row.lane.filter(|_| row.blocks) {
            effects.lanes.give_up(lane, job.queue);
        }
        let (status, attempts, revision) = (Status::Cancelled, row.attempts, row.revision + 1);
        effects.changed.push(ChangedJob { job, status, attempts, revision, next_attempt_at: None });
    }
    diesel::insert_into(attempts::table).values(told).execute(connection).await?;
    Ok(())
}

statement! { Pg;
    struct CancelWaiting {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        now: PgTimestamp as Timestamptz,
    }
    returns (SqlUuid, Integer, SmallInt, Integer, BigInt, Nullable<Text>);
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS g (webhook, queue)
     ), cancelled AS (
         DELETE FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM given))
           AND ((webhook, queue) IN (SELECT webhook, queue FROM given)) IS TRUE
         RETURNING *
     ), kept AS (
         INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at, completed_at,
                                    revision, lease_token, lane, position, replay)
         SELECT webhook, queue, 5, run, attempts, uncounted_attempts, available_at, n.now, revision + 1, lease_token,
                lane, position, replay
         FROM cancelled, (SELECT ? AS now) AS n
     )
     SELECT webhook, queue, status, attempts, revision + 1, lane FROM cancelled"
}
