//! Retries and cancels jobs by hand.

use diesel::prelude::*;
use jiff::Timestamp;

use super::lanes::{self, Lane};
use super::queries;
use super::rows;
use super::schema::jobs;
use super::transaction::{JobChange, Refusal, Transaction};
use crate::domain::error::Error;
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, JobId, Status};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::acceptance::{jobs_to_change, payload_gone};

/// Makes dead-lettered and cancelled jobs of a webhook pending, in a new run.
pub(super) fn retry(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    route: Option<&RouteName>,
) -> Result<WebhookStatus, Refusal> {
    let webhook = find(transaction, id)?;
    let jobs = jobs_to_change(&webhook, route, Event::Retry)?;
    if !queries::has_payload(transaction.connection, id)? {
        return Err(payload_gone().into());
    }
    let now = transaction.context.clock.now();
    for job in jobs {
        retry_job(transaction, JobId { webhook: id, queue: job.queue }, job.status, now)?;
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

fn retry_job(transaction: &mut Transaction<'_>, job: JobId, from: Status, now: Timestamp) -> QueryResult<()> {
    let row = jobs::table.find(key_of(job));
    let InLane { lane, blocks } = row.select(InLane::as_select()).get_result(transaction.connection)?;
    let now_ms = now.as_millisecond();
    let changed = diesel::update(row)
        .set((
            jobs::status.eq(Status::Pending as i64),
            jobs::uncounted_attempts.eq(jobs::attempts),
            jobs::run.eq(jobs::run + 1),
            jobs::available_at.eq(now_ms),
            jobs::updated_at.eq(now_ms),
            jobs::completed_at.eq(None::<i64>),
            jobs::blocks.eq(false),
            jobs::purged.eq(0),
            jobs::revision.eq(jobs::revision + 1),
        ))
        .returning(Changed::as_returning())
        .get_result(transaction.connection)?;
    record(transaction, job, from, Status::Pending, now, changed)?;
    match lane.as_deref() {
        None => transaction.note_due(job.queue, now),
        Some(value) => update_lane(transaction, job, value, blocks, now_ms)?,
    }
    Ok(())
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
    let changed = diesel::update(row)
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
    record(transaction, job, from, Status::Cancelled, now, changed)?;
    if let Some(value) = lane.as_deref().filter(|_| from.is_waiting() || blocks) {
        update_lane(transaction, job, value, blocks, now_ms)?;
    }
    transaction.look_again(job.queue)
}

/// Updates the lane of a retried or cancelled job. `blocked`: the job was the dead letter that blocked the
/// lane. `now` is in milliseconds since the epoch.
fn update_lane(
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

fn record(
    transaction: &mut Transaction<'_>,
    job: JobId,
    from: Status,
    to: Status,
    at: Timestamp,
    Changed { revision, attempts }: Changed,
) -> QueryResult<()> {
    let change = JobChange {
        job,
        status: to,
        attempts: rows::count(attempts)?,
        at,
        revision,
        last_error: None,
        // A retried job is due at once.
        next_attempt_at: to.is_waiting().then_some(at),
    };
    transaction.record(from, change);
    Ok(())
}

/// The primary key of a job.
pub(super) fn key_of(job: JobId) -> (i64, i64) {
    (job.webhook.sequence().as_i64(), job.queue.0.into())
}
