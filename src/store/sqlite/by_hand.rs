//! Retries, replays and cancels the jobs of a webhook by hand.

use diesel::prelude::*;
use jiff::Timestamp;

use super::lanes::{self, Lane};
use super::schema::jobs;
use super::transaction::{JobChange, Refusal, Transaction};
use super::{queries, restart, rows};
use crate::domain::error::Error;
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, JobId, JobStatus, Status};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::by_hand::{jobs_to_change, payload_gone};

/// Makes finished jobs of a webhook pending, in a new run: those that allow `event`, a retry or a replay.
pub(super) fn run_again(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    route: Option<&RouteName>,
    event: Event,
) -> Result<WebhookStatus, Refusal> {
    let webhook = find(transaction, id)?;
    let jobs = jobs_to_change(&webhook, route, event)?;
    if !queries::has_payload(transaction.connection, id)? {
        return Err(payload_gone().into());
    }
    let now = transaction.context.clock.now();
    for JobStatus { queue, status, .. } in jobs {
        let job = JobId { webhook: id, queue: *queue };
        if let Some(finished) = restart::find(transaction.connection, job, *status)? {
            restart::restart(transaction, job, &finished, None, now)?;
        }
    }
    find(transaction, id)
}

/// Cancels waiting and dead-lettered jobs of a webhook. Does not change jobs that are already cancelled.
pub(super) fn cancel(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    route: Option<&RouteName>,
) -> Result<WebhookStatus, Refusal> {
    let webhook = find(transaction, id)?;
    let jobs = jobs_to_change(&webhook, route, Event::Cancel)?;
    let now = transaction.context.clock.now();
    for job in jobs {
        cancel_job(transaction, JobId { webhook: id, queue: job.queue }, job.status, now)?;
    }
    find(transaction, id)
}

fn find(transaction: &mut Transaction<'_>, id: WebhookId) -> Result<WebhookStatus, Refusal> {
    Ok(queries::status_by_id(transaction.connection, id)?.ok_or_else(|| Error::not_found(id))?)
}

/// The columns of a job that decide how its lane changes.
#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs, check_for_backend(diesel::sqlite::Sqlite))]
struct InLane {
    lane: Option<String>,
    blocks: bool,
}

/// A job after the change.
#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs, check_for_backend(diesel::sqlite::Sqlite))]
struct Changed {
    revision: i64,
    attempts: i64,
}

/// Cancels a job in the status `from`, which must allow it.
pub(super) fn cancel_job(
    transaction: &mut Transaction<'_>,
    job: JobId,
    from: Status,
    now: Timestamp,
) -> QueryResult<()> {
    let row = jobs::table.find(key_of(job));
    let InLane { lane, blocks } = row.select(InLane::as_select()).get_result(transaction.connection)?;
    let now_ms = now.as_millisecond();
    let Changed { revision, attempts } = diesel::update(row)
        .set((
            jobs::status.eq(Status::Cancelled as i64),
            jobs::updated_at.eq(now_ms),
            jobs::completed_at.eq(now_ms),
            jobs::blocks.eq(false),
            jobs::purged.eq(0),
            jobs::revision.eq(jobs::revision + 1),
        ))
        .returning(Changed::as_returning())
        .get_result(transaction.connection)?;
    let change = JobChange {
        job,
        status: Status::Cancelled,
        attempts: rows::count(attempts)?,
        at: now,
        revision,
        last_error: None,
        next_attempt_at: None,
    };
    transaction.record(from, change);
    if let Some(value) = lane.as_deref().filter(|_| from.is_waiting() || blocks) {
        update_lane(transaction, job, value, blocks, now_ms)?;
    }
    transaction.look_again(job.queue)
}

/// Updates the lane of a restarted or cancelled job. `blocked`: the job was the dead letter that blocked the
/// lane. `now` is in milliseconds since the epoch.
pub(super) fn update_lane(
    transaction: &mut Transaction<'_>,
    job: JobId,
    value: &str,
    blocked: bool,
    now: i64,
) -> QueryResult<()> {
    let lane = Lane { queue: job.queue, value };
    if blocked {
        lanes::release(transaction, lane, now)
    } else {
        lanes::changed(transaction, lane, job.webhook.sequence().as_i64(), now)
    }
}

/// The primary key of a job.
pub(super) fn key_of(job: JobId) -> (i64, i64) {
    (job.webhook.sequence().as_i64(), job.queue.0.into())
}
