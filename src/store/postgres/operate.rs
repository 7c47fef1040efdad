//! Retries, replays and cancels the jobs of a webhook by hand.
//!
//! Each operation is one transaction. It locks the webhook, reads the jobs that allow the operation, locks
//! their lanes and then the jobs, and changes them if their status is still the one that it read. Otherwise
//! it starts again.

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::effects::Effects;
use super::lanes;
use super::pool::{answer, refused};
use super::retry::Finished;
use super::rows::{self, NamesRow};
use super::schema::{finished_jobs, jobs, webhooks};
use super::shared::Shared;
use super::{cancel, queries, retry};
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, JobId, JobStatus};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::by_hand::{jobs_to_change, payload_gone};

/// Maximum number of tries of an operation. Another try is needed if the jobs change while the operation
/// locks them.
const TRIES: usize = 5;

/// The result of one try of an operation.
enum Operated {
    Done(WebhookStatus, Effects),
    Refused(Error),
    /// The jobs have changed since they were read.
    Overtaken,
}

/// Changes the jobs of a webhook that allow `event`. A retry and a replay make them pending, in a new run; a
/// cancellation cancels them, and does not change jobs that are already cancelled.
pub(super) async fn operate(
    shared: &Shared,
    id: WebhookId,
    route: Option<&RouteName>,
    event: Event,
) -> Result<WebhookStatus> {
    for _ in 0..TRIES {
        let now = shared.now();
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
    Err(Error::store_unavailable(
        "the webhook kept changing during the operation; try again",
        format!("the jobs changed during each of {TRIES} tries"),
    ))
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
    let Some(has_payload) = lock(connection, webhook).await? else {
        return Ok(Operated::Refused(Error::not_found(id)));
    };
    let Some(before) = status(shared, connection, webhook).await? else { return Ok(Operated::Overtaken) };
    let named = |job: &JobStatus| (JobId { webhook: id, queue: job.queue }, job.status);
    let changing = match jobs_to_change(&before, route, event) {
        Ok(jobs) => jobs.into_iter().map(named).collect::<Vec<_>>(),
        Err(error) => return Ok(Operated::Refused(error)),
    };
    if event != Event::Cancel && !has_payload {
        return Ok(Operated::Refused(payload_gone()));
    }
    if changing.is_empty() {
        return Ok(Operated::Done(before, Effects::default()));
    }
    let mut effects = Effects::default();
    let changed = if event == Event::Cancel {
        let queues = changing.iter().map(|(job, _)| rows::queue_number(job.queue)).collect::<Vec<_>>();
        let lanes = lanes_of(connection, webhook, &queues).await?;
        lanes::lock(connection, lanes).await?;
        cancel::cancel(connection, webhook, &queues, now, &mut effects).await?
    } else {
        let finished = Finished::new(changing.iter().copied());
        let lanes = finished.lanes(connection).await?;
        lanes::lock_or_add(connection, lanes, now).await?;
        let finished = finished.lock(connection).await?;
        let is_all = finished.len() == changing.len();
        if is_all {
            retry::restart(connection, finished, None, now, &mut effects).await?;
        }
        is_all
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

/// The lanes of the jobs of a webhook in these queues.
async fn lanes_of(
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
    queues: &[i32],
) -> QueryResult<Vec<String>> {
    let waiting = jobs::table.filter(jobs::webhook.eq(webhook).and(jobs::queue.eq_any(queues)));
    let finished = finished_jobs::table
        .filter(finished_jobs::webhook.eq(webhook).and(finished_jobs::queue.eq_any(queues)));
    let lanes = waiting.select(jobs::lane).union_all(finished.select(finished_jobs::lane));
    Ok(lanes.load::<Option<String>>(connection).await?.into_iter().flatten().collect())
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

/// Locks a webhook until the transaction ends, so that a purge and other operations cannot change it. Returns
/// whether its payload is still stored, or `None` if there is no such webhook.
async fn lock(connection: &mut AsyncPgConnection, webhook: Uuid) -> QueryResult<Option<bool>> {
    let payload = webhooks::table.find(webhook).select(webhooks::payload.is_not_null());
    payload.for_no_key_update().first(connection).await.optional()
}
