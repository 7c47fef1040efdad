//! Retries and cancels jobs by hand.
//!
//! Each operation is one transaction. It locks the webhook, reads the jobs that allow the operation, locks
//! their lanes and then the jobs, and changes them if their status is still the one that it read. Otherwise
//! it starts again.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::effects::Effects;
use super::lanes;
use super::pool::{answer, refused};
use super::rows::{self, NamesRow};
use super::schema::{finished_jobs, jobs, webhooks};
use super::shared::Shared;
use super::{cancel, queries, retry};
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, QueueId};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::acceptance::{jobs_to_change, payload_gone};

/// Maximum number of tries of an operation. Another try is needed if the jobs change while the operation
/// locks them.
const TRIES: usize = 5;

/// Makes dead-lettered and cancelled jobs of a webhook pending, in a new run.
pub(super) async fn retry(
    shared: &Shared,
    id: WebhookId,
    route: Option<&RouteName>,
) -> Result<WebhookStatus> {
    operate(shared, id, route, Event::Retry).await
}

/// Cancels waiting and dead-lettered jobs of a webhook. Does not change jobs that are already cancelled.
pub(super) async fn cancel(
    shared: &Shared,
    id: WebhookId,
    route: Option<&RouteName>,
) -> Result<WebhookStatus> {
    operate(shared, id, route, Event::Cancel).await
}

/// The result of one try of an operation.
enum Operated {
    Done(WebhookStatus, Effects),
    Refused(Error),
    /// The jobs have changed since they were read.
    Overtaken,
}

async fn operate(
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
    let queues = match jobs_to_change(&before, route, event) {
        Ok(jobs) => jobs.iter().map(|job| rows::queue_number(job.queue)).collect::<Vec<_>>(),
        Err(error) => return Ok(Operated::Refused(error)),
    };
    if event == Event::Retry && !has_payload {
        return Ok(Operated::Refused(payload_gone()));
    }
    if queues.is_empty() {
        return Ok(Operated::Done(before, Effects::default()));
    }
    let lanes = lanes_of(connection, webhook, &queues).await?;
    match event {
        Event::Retry => lanes::lock_or_add(connection, lanes, now).await?,
        _ => lanes::lock(connection, lanes.into_iter().map(|(lane, _)| lane).collect()).await?,
    }
    let mut effects = Effects::default();
    let changed = match event {
        Event::Retry => {
            let finished = retry::lock(connection, webhook, &queues).await?;
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

/// The lanes of the jobs of a webhook in these queues, each lane with its queue.
async fn lanes_of(
    connection: &mut AsyncPgConnection,
    webhook: Uuid,
    queues: &[i32],
) -> QueryResult<BTreeSet<(String, QueueId)>> {
    let waiting = jobs::table.filter(jobs::webhook.eq(webhook).and(jobs::queue.eq_any(queues)));
    let finished = finished_jobs::table
        .filter(finished_jobs::webhook.eq(webhook).and(finished_jobs::queue.eq_any(queues)));
    let lanes = waiting
        .select((jobs::lane, jobs::queue))
        .union_all(finished.select((finished_jobs::lane, finished_jobs::queue)));
    let lanes = lanes.load::<(Option<String>, i32)>(connection).await?;
    let in_lane = lanes.into_iter().filter_map(|(lane, queue)| Some((lane?, queue)));
    in_lane.map(|(lane, queue)| Ok((lane, rows::queue(queue)?))).collect()
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
