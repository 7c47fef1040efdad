//! What operators ask for: another run, or none.
//!
//! A transaction each: the jobs that allow it are read, their lanes locked and then they themselves, and
//! changed if they are still as they were.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::counts::CountChanges;
use super::lanes::{self, LaneChanges};
use super::pool::{answer, refused};
use super::rows::{self, NamesRow};
use super::schema::{finished_jobs, jobs, webhooks};
use super::shared::Shared;
use super::{cancel, queries, queue_names, retry};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, JobId, QueueId, Rules, Status, next_status};
use crate::domain::route::{OnInterrupt, RouteName};
use crate::domain::webhook::WebhookStatus;
use crate::store::acceptance::payload_gone;
use crate::store::changes::Change;

/// How often an operation is tried that another change comes before.
const TRIES: usize = 5;

/// What does not decide about retrying and cancelling.
const NO_RULES: Rules = Rules { attempts_left: true, on_interrupt: OnInterrupt::Retry };

/// Makes dead-lettered and cancelled jobs pending in a new run.
pub(super) async fn retry(
    shared: &Shared,
    id: WebhookId,
    route: Option<&RouteName>,
) -> Result<WebhookStatus> {
    operate(shared, id, route, Event::Retry).await
}

/// Cancels waiting and dead-lettered jobs.
pub(super) async fn cancel(
    shared: &Shared,
    id: WebhookId,
    route: Option<&RouteName>,
) -> Result<WebhookStatus> {
    operate(shared, id, route, Event::Cancel).await
}

/// What changes in the transaction of an operation, besides its jobs.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) counts: CountChanges,
    pub(super) lanes: LaneChanges,
    /// The jobs as they are now.
    pub(super) changed: Vec<ChangedJob>,
}

/// A job that was changed.
pub(super) struct ChangedJob {
    pub(super) job: JobId,
    pub(super) status: Status,
    pub(super) attempts: i32,
    pub(super) revision: i64,
}

impl Effects {
    /// Changes lanes and counts, in this order, as the last in the transaction.
    pub(super) async fn apply(&self, connection: &mut AsyncPgConnection, slot: i16) -> QueryResult<()> {
        self.lanes.apply(connection).await?;
        self.counts.apply(connection, slot).await
    }

    /// Makes the changes known, once they are committed.
    pub(super) fn announce(&self, shared: &Shared, now: Timestamp) -> QueryResult<()> {
        let change = |changed: &ChangedJob| {
            Ok(Change {
                job: changed.job,
                route: rows::route(&shared.schedule, changed.job.queue)?,
                status: changed.status,
                attempt_count: rows::count(changed.attempts)?,
                updated_at: now,
                revision: changed.revision.cast_unsigned(),
            })
        };
        shared.changed(&self.changed.iter().map(change).collect::<QueryResult<Vec<_>>>()?);
        shared.backlog.change(self.counts.unfinished());
        let waiting = self.changed.iter().filter(|changed| changed.status.is_waiting());
        let due = waiting.map(|changed| changed.job.queue).chain(self.lanes.queues());
        let at_once =
            |queues: BTreeSet<QueueId>| queues.into_iter().map(|queue| (queue, now)).collect::<Vec<_>>();
        shared.due(&at_once(due.collect()));
        // The next claim reads again when something of these is due.
        shared.schedule.note(&at_once(self.changed.iter().map(|changed| changed.job.queue).collect()));
        Ok(())
    }
}

/// A job of a webhook, as an operation has to know it.
#[derive(Queryable)]
pub(super) struct OperableRow {
    pub(super) queue: i32,
    pub(super) status: i16,
    pub(super) lane: Option<String>,
}

/// What an operation came to.
enum Operated {
    Done(WebhookStatus, Effects),
    Refused(Error),
    /// The jobs are no longer as they were read.
    Overtaken,
}

async fn operate(
    shared: &Shared,
    id: WebhookId,
    route: Option<&RouteName>,
    event: Event,
) -> Result<WebhookStatus> {
    for _ in 0..TRIES {
        let now = shared.clock.now();
        let mut connection = shared.asking.get().await.map_err(refused)?;
        let operating = connection.transaction::<_, QueryError, _>(async |connection| {
            operate_once(shared, connection, id, route, event, now).await
        });
        let operating = answer(operating).await;
        match connection.release(operating).map_err(refused)? {
            Operated::Done(status, effects) => {
                effects.announce(shared, now).map_err(refused)?;
                return Ok(status);
            }
            Operated::Refused(error) => return Err(error),
            Operated::Overtaken => {}
        }
    }
    Err(Error::store_unavailable("the webhook changes all the time; try again", "tried in vain"))
}

async fn operate_once(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    id: WebhookId,
    route: Option<&RouteName>,
    event: Event,
    now: Timestamp,
) -> QueryResult<Operated> {
    let webhook = rows::uuid(id);
    let all = jobs_of(shared, connection, webhook).await?;
    let is_meant = |(_, of): &&(OperableRow, RouteName)| route.is_none_or(|route| route == of);
    let meant = all.iter().filter(is_meant).map(|(job, _)| job).collect::<Vec<_>>();
    let Some(before) = status(shared, connection, webhook).await? else {
        return Ok(Operated::Refused(Error::not_found(id)));
    };
    if let Some(route) = route.filter(|_| meant.is_empty()) {
        return Ok(Operated::Refused(no_job(id, route)));
    }
    let next = |job: &OperableRow| {
        Ok((rows::job_status(job.status)?, next_status(rows::job_status(job.status)?, event, NO_RULES)))
    };
    let decided = meant.iter().map(|job| next(job)).collect::<QueryResult<Vec<_>>>()?;
    let changing = || {
        meant
            .iter()
            .zip(&decided)
            .filter(|(_, (from, next))| next.is_some_and(|next| next != *from))
            .map(|(job, _)| job)
    };
    if changing().next().is_none() {
        return Ok(match decided.iter().any(|(_, next)| next.is_some()) {
            true => Operated::Done(before, Effects::default()),
            false => {
                let status = Status::of_webhook(decided.iter().map(|(status, _)| *status));
                let done = if event == Event::Retry { "retried" } else { "cancelled" };
                Operated::Refused(Error::wrong_status(status, done))
            }
        });
    }
    let candidates = changing().collect::<Vec<_>>();
    let lanes = candidates.iter().filter_map(|job| Some((job.lane.clone()?, job.queue)));
    let lanes =
        lanes.map(|(lane, queue)| Ok((lane, rows::queue(queue)?))).collect::<QueryResult<BTreeSet<_>>>()?;
    match event {
        Event::Retry => lanes::lock_or_add(connection, lanes, now).await?,
        _ => lanes::lock(connection, lanes.into_iter().map(|(lane, _)| lane).collect()).await?,
    }
    let queues = candidates.iter().map(|job| job.queue).collect::<Vec<_>>();
    let mut effects = Effects::default();
    let changed = match event {
        Event::Retry => {
            let finished = retry::lock(connection, webhook, &queues).await?;
            // A purge would have to lock these jobs, so that the payload stays from here on.
            if !has_payload(connection, webhook).await? {
                return Ok(Operated::Refused(payload_gone()));
            }
            let is_all = finished.len() == queues.len();
            if is_all {
                retry::retry(connection, finished, now, &mut effects).await?;
            }
            is_all
        }
        _ => cancel::cancel(connection, webhook, &queues, now, &mut effects).await?,
    };
    if !changed {
        return Ok(Operated::Overtaken);
    }
    effects.apply(connection, shared.slot()).await?;
    Ok(match status(shared, connection, webhook).await? {
        Some(after) => Operated::Done(after, effects),
        None => Operated::Refused(Error::not_found(id)),
    })
}

/// The jobs of a webhook, with their routes.
async fn jobs_of(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
) -> QueryResult<Vec<(OperableRow, RouteName)>> {
    let waiting =
        jobs::table.filter(jobs::webhook.eq(webhook)).select((jobs::queue, jobs::status, jobs::lane));
    let finished = finished_jobs::table
        .filter(finished_jobs::webhook.eq(webhook).and(finished_jobs::queue.gt(0)))
        .select((finished_jobs::queue, finished_jobs::status, finished_jobs::lane));
    let found = waiting.union_all(finished).load::<OperableRow>(connection).await?;
    let queues = found.iter().map(|job| rows::queue(job.queue)).collect::<QueryResult<Vec<QueueId>>>()?;
    queue_names::know(&shared.schedule, connection, queues.iter().copied()).await?;
    let named = |(job, queue)| Ok((job, rows::route(&shared.schedule, queue)?));
    found.into_iter().zip(queues).map(named).collect()
}

async fn status(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
) -> QueryResult<Option<WebhookStatus>> {
    let names = webhooks::table.find(webhook).select(NamesRow::as_select());
    let names = names.load::<NamesRow>(connection).await?;
    Ok(queries::with_jobs(&shared.schedule, connection, names).await?.pop())
}

async fn has_payload(connection: &mut AsyncPgConnection, webhook: Uuid) -> QueryResult<bool> {
    let payload = webhooks::table.find(webhook).select(webhooks::payload.is_not_null());
    Ok(payload.first(connection).await.optional()?.unwrap_or(false))
}

fn no_job(id: WebhookId, route: &RouteName) -> Error {
    Error::new(Reason::WebhookNotFound, format!("webhook {id} has no job of the route `{route}`"))
}
