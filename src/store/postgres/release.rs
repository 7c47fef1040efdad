//! Releases quarantined webhooks, and discards them.
//!
//! Each operation is one transaction. It locks the webhook, so that a purge and other operations cannot change it. The
//! unique index decides which of several webhooks gets a key.

use std::collections::{BTreeSet, HashSet};

use diesel::dsl::not;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::accept::{TRIES, job_rows};
use super::effects::{ChangedJob, Effects};
use super::insert::NewJobRow;
use super::insert_steps::{JobsOf, insert_jobs};
use super::pool::{answer, refused};
use super::rows::{self, NO_ROUTE_QUEUE};
use super::schema::{finished_jobs, webhooks};
use super::shared::Shared;
use super::undone::{Tried, Undone, tried};
use super::{lanes, queries, queue_names};
use crate::domain::conflict::OtherWebhook;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{JobId, Status};
use crate::domain::route::NewJob;
use crate::domain::webhook::{Source, WebhookName, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{backlog_full, check_quarantined, duplicate_of_released};

/// The result of a transaction that may be undone.
type Attempted<T> = std::result::Result<T, Undone<Error>>;

/// A webhook with the digest of its payload.
struct Content {
    webhook: WebhookStatus,
    digest: Vec<u8>,
}

/// A release, and what has to be announced after its commit.
struct Released {
    accepted: Accepted,
    effects: Effects,
}

/// Accepts a quarantined webhook with these jobs, under its id. If its key is taken by the same content, or with
/// `as_duplicate` by any, removes it, and returns the webhook that has the key as a duplicate.
pub(super) async fn release(
    shared: &Shared,
    id: WebhookId,
    jobs: &[NewJob],
    as_duplicate: Option<&OtherWebhook>,
) -> Result<Accepted> {
    for _ in 0..TRIES {
        let now = shared.now();
        let mut connection = shared.asking.get().await.map_err(refused)?;
        let releasing =
            async { tried(release_once(shared, &mut connection, id, jobs, as_duplicate, now).await) };
        let releasing = answer(releasing).await;
        match connection.release(releasing).map_err(refused)? {
            Tried::Done(Released { accepted, effects }) => {
                shared.quarantining.make_room();
                effects.announce(shared, now).map_err(refused)?;
                return Ok(accepted);
            }
            Tried::Refused(error) => return Err(error),
            Tried::Overtaken => {}
        }
    }
    Err(Error::store_unavailable(
        "the webhook, or the queues of its jobs, changed during the release; try again",
        format!("the key was taken or freed, or a queue was another one, in each of {TRIES} tries"),
    ))
}

/// Removes a quarantined webhook.
pub(super) async fn discard(shared: &Shared, id: WebhookId) -> Result<()> {
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let discarding = async {
        let discarding =
            connection.transaction(async |connection| discard_locked(shared, connection, id).await);
        tried(discarding.await)
    };
    let discarding = answer(discarding).await;
    match connection.release(discarding).map_err(refused)? {
        Tried::Refused(error) => return Err(error),
        Tried::Done(()) | Tried::Overtaken => shared.quarantining.make_room(),
    }
    Ok(())
}

async fn discard_locked(shared: &Shared, connection: &mut AsyncPgConnection, id: WebhookId) -> Attempted<()> {
    lock(shared, connection, id).await?;
    remove(shared, connection, id).await?;
    Ok(())
}

async fn release_once(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    id: WebhookId,
    jobs: &[NewJob],
    as_duplicate: Option<&OtherWebhook>,
    now: Timestamp,
) -> Attempted<Released> {
    let source = webhooks::table.find(rows::uuid(id)).select(webhooks::source);
    let source = source.first::<String>(connection).await.optional()?;
    let source = source.ok_or_else(|| Undone::Refused(Error::not_found(id)))?;
    let source = Source::new(source).map_err(rows::unreadable)?;
    // Before the transaction, as for new webhooks, so that no other process waits for it to create the same queues.
    let names = jobs.iter().map(|job| (&job.route, &source)).collect::<HashSet<_>>();
    queue_names::number_anew(&shared.schedule, connection, &names).await?;
    let jobs = job_rows(shared, &source, jobs)?;
    let releasing = connection.transaction(async |connection| {
        release_locked(shared, connection, id, &jobs, as_duplicate, now).await
    });
    releasing.await
}

async fn release_locked(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    id: WebhookId,
    jobs: &[NewJobRow<'_>],
    as_duplicate: Option<&OtherWebhook>,
    now: Timestamp,
) -> Attempted<Released> {
    let quarantined = lock(shared, connection, id).await?;
    let Some(first) = holder(shared, connection, &quarantined.webhook).await? else {
        if !queue_names::agree(connection, quarantined.webhook.source.as_str(), jobs).await? {
            return Err(Undone::Overtaken);
        }
        return take_key(shared, connection, id, jobs, now).await;
    };
    let digests = [quarantined.digest.as_slice(), first.digest.as_slice()];
    let accepted = duplicate_of_released(&quarantined.webhook, first.webhook, digests, as_duplicate);
    let accepted = accepted.map_err(Undone::Refused)?;
    Ok(Released { accepted, effects: remove(shared, connection, id).await? })
}

/// Locks a quarantined webhook until the transaction ends.
async fn lock(shared: &Shared, connection: &mut AsyncPgConnection, id: WebhookId) -> Attempted<Content> {
    let digest = webhooks::table.find(rows::uuid(id)).select(webhooks::payload_digest);
    let digest = digest.for_no_key_update().first::<Vec<u8>>(connection).await.optional()?;
    let digest = digest.ok_or_else(|| Undone::Refused(Error::not_found(id)))?;
    let webhook = status(shared, connection, id).await?;
    check_quarantined(&webhook).map_err(Undone::Refused)?;
    Ok(Content { webhook, digest })
}

/// The webhook that has the key of a quarantined one.
async fn holder(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    quarantined: &WebhookStatus,
) -> Attempted<Option<Content>> {
    let has_key = webhooks::source
        .eq(quarantined.source.as_str())
        .and(webhooks::idempotency_key.eq(quarantined.idempotency_key.as_str()))
        .and(not(webhooks::quarantined));
    let holder = webhooks::table.filter(has_key).select((webhooks::id, webhooks::payload_digest));
    let Some((id, digest)) = holder.first::<(Uuid, Vec<u8>)>(connection).await.optional()? else {
        return Ok(None);
    };
    let webhook = status(shared, connection, rows::id(id)).await?;
    Ok(Some(Content { webhook, digest }))
}

/// Accepts a locked webhook that is quarantined and whose key is free.
async fn take_key(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    id: WebhookId,
    jobs: &[NewJobRow<'_>],
    now: Timestamp,
) -> Attempted<Released> {
    let is_far = shared.backlog.is_far(connection, jobs.len()).await?;
    if !is_far && shared.backlog.room(connection).await? == 0 {
        return Err(Undone::Refused(backlog_full(shared.backlog.limit())));
    }
    let released = webhooks::table.find(rows::uuid(id));
    let released = diesel::update(released).set(webhooks::quarantined.eq(false)).execute(connection).await;
    if let Err(QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) = released {
        // Another webhook has got the key since it was looked up.
        return Err(Undone::Overtaken);
    }
    released?;
    let mut effects = Effects::default();
    let position = remove_row(connection, id, &mut effects).await?;
    insert_jobs(connection, &[JobsOf { webhook: id, jobs, position }], now, &mut effects.counts).await?;
    let ordered = jobs.iter().filter_map(|job| Some((job.lane.clone()?, job.queue)));
    let ordered = ordered.collect::<BTreeSet<_>>();
    if !ordered.is_empty() {
        shared.schedule.note_ordered(ordered.iter().map(|(_, queue)| *queue));
        // The job may now be the first one of its lane, before one that waits for its next attempt.
        lanes::refresh(connection, ordered.into_iter().map(|(lane, _)| lane).collect()).await?;
    }
    effects.changed = jobs.iter().map(|job| released_job(id, job, now)).collect();
    effects.apply(connection, shared.slot()).await?;
    let webhook = status(shared, connection, id).await?;
    Ok(Released { accepted: Accepted::new(webhook), effects })
}

/// Removes a locked webhook that is quarantined.
async fn remove(shared: &Shared, connection: &mut AsyncPgConnection, id: WebhookId) -> QueryResult<Effects> {
    let mut effects = Effects::default();
    remove_row(connection, id, &mut effects).await?;
    diesel::delete(webhooks::table.find(rows::uuid(id))).execute(connection).await?;
    effects.apply(connection, shared.slot()).await?;
    Ok(effects)
}

/// Removes the row that stands for the jobs of a locked webhook that is quarantined. Returns the position that ordered
/// jobs get.
async fn remove_row(
    connection: &mut AsyncPgConnection,
    id: WebhookId,
    effects: &mut Effects,
) -> QueryResult<Option<i64>> {
    let row = finished_jobs::table.find((rows::uuid(id), rows::queue_number(NO_ROUTE_QUEUE)));
    let position = diesel::delete(row).returning(finished_jobs::position);
    let position = position.get_result::<Option<i64>>(connection).await?;
    effects.counts.moved(NO_ROUTE_QUEUE, Some(Status::Quarantined), None);
    Ok(position)
}

/// The status of a webhook; [`Undone::Overtaken`] if it was removed.
async fn status(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    id: WebhookId,
) -> Attempted<WebhookStatus> {
    let found = queries::status(&shared.schedule, connection, &WebhookName::Id(id)).await?;
    found.ok_or(Undone::Overtaken)
}

/// A pending job of a webhook that was released.
fn released_job(webhook: WebhookId, job: &NewJobRow<'_>, now: Timestamp) -> ChangedJob {
    ChangedJob {
        job: JobId { webhook, queue: job.queue },
        status: Status::Pending,
        attempts: 0,
        revision: 0,
        next_attempt_at: Some(now),
    }
}
