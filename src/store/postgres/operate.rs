//! What people ask for: another run, or none.

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Integer, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use jiff::Timestamp;
use uuid::Uuid;

use super::core::Core;
use super::pool::{answer, refused};
use super::rows::{self, pg_time};
use super::{migrations, queries};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, Status, next_status};
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::store::Probe;
use crate::store::changes::Change;
use crate::store::statement::statement;

/// How often a change is tried that somebody else's comes before.
const TRIES: usize = 5;

/// Makes a dead-lettered or cancelled job pending, with a budget of `attempts` more.
pub(super) async fn retry(core: &Core, id: WebhookId, attempts: u32) -> Result<WebhookStatus> {
    let more_attempts = i32::try_from(attempts).unwrap_or(i32::MAX);
    change(core, id, Event::Retry, "retried", more_attempts).await
}

/// Cancels a waiting job. One that is cancelled stays as it is.
pub(super) async fn cancel(core: &Core, id: WebhookId) -> Result<WebhookStatus> {
    change(core, id, Event::Cancel, "cancelled", 0).await
}

/// Looks at the job, decides, and changes it if it is still as it was.
async fn change(core: &Core, id: WebhookId, event: Event, done: &str, more: i32) -> Result<WebhookStatus> {
    for _ in 0..TRIES {
        let mut connection = core.asking.get().await.map_err(refused)?;
        let now = core.clock.now();
        let changing = async {
            let Some(webhook) = queries::status(&mut connection, &WebhookName::Id(id)).await? else {
                return Ok(Err(Error::not_found(id)));
            };
            let from = webhook.status;
            let Some(next) = next_status(from, event, true) else {
                return Ok(Err(Error::wrong_status(from, done)));
            };
            if next == from {
                return Ok(Ok(Some((webhook, false))));
            }
            if event == Event::Retry && queries::is_purged(&mut connection, id).await? {
                return Ok(Err(payload_gone()));
            }
            let changed = match event {
                Event::Retry => retry_job(core, &mut connection, &webhook, more, now).await?,
                _ => stop_job(core, &mut connection, &webhook, next, now).await?,
            };
            let status =
                WebhookStatus { status: next, updated_at: now, revision: webhook.revision + 1, ..webhook };
            Ok(Ok(changed.then_some((status, true))))
        };
        let changing = answer(changing).await;
        let Some((webhook, changed)) = connection.settle(changing).map_err(refused)?? else { continue };
        if changed {
            let is_due = webhook.status == Status::Pending;
            core.backlog.change(if is_due { 1 } else { -1 });
            let change = Change {
                id,
                status: webhook.status,
                attempt_count: webhook.attempt_count,
                updated_at: now,
                revision: webhook.revision,
            };
            core.committed(&[change], is_due);
        }
        return Ok(webhook);
    }
    Err(Error::store_unavailable("the webhook changes all the time; try again", "tried in vain"))
}

fn payload_gone() -> Error {
    Error::new(
        Reason::WrongStatus,
        "the retention of its payload is over, so it cannot be retried; send it again under a new key",
    )
}

async fn retry_job(
    core: &Core,
    connection: &mut AsyncPgConnection,
    webhook: &WebhookStatus,
    more_attempts: i32,
    now: Timestamp,
) -> QueryResult<bool> {
    let retried = RetryJob {
        webhook: rows::uuid(webhook.id),
        revision: webhook.revision.cast_signed(),
        more_attempts,
        now: pg_time(now),
        slot: core.slot(),
    };
    Ok(!retried.load::<Uuid>(connection).await?.is_empty())
}

async fn stop_job(
    core: &Core,
    connection: &mut AsyncPgConnection,
    webhook: &WebhookStatus,
    next: Status,
    now: Timestamp,
) -> QueryResult<bool> {
    let stopped = StopJob {
        webhook: rows::uuid(webhook.id),
        revision: webhook.revision.cast_signed(),
        status: next as i16,
        now: pg_time(now),
        slot: core.slot(),
    };
    Ok(!stopped.load::<Uuid>(connection).await?.is_empty())
}

/// Writes a row, to learn whether that works.
pub(super) async fn probe(core: &Core) -> QueryResult<Probe> {
    let mut connection = core.asking.get().await?;
    let probing = async {
        WriteProbe {}.execute(&mut *connection).await?;
        migrations::is_current(&mut connection).await
    };
    let probing = answer(probing).await;
    Ok(Probe { migrations_current: connection.settle(probing)? })
}

statement! { Pg;
    struct RetryJob {
        webhook: Uuid as SqlUuid,
        revision: i64 as BigInt,
        more_attempts: i32 as Integer,
        now: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns SqlUuid;
    "WITH retried AS (
         DELETE FROM finished_jobs WHERE webhook = ? AND revision = ? AND NOT purged RETURNING *
     ), given AS (
         SELECT ? AS more_attempts, ? AS now
     ), told AS (
         INSERT INTO attempts (webhook, number, outcome, started_at, finished_at, error, result, worker)
         SELECT webhook, attempts, outcome, started_at, completed_at, error, result, worker
         FROM retried WHERE outcome IS NOT NULL
     ), waiting AS (
         INSERT INTO jobs (webhook, status, attempts, attempts_before, max_attempts, available_at, updated_at, revision, lease_token)
         SELECT webhook, 0, attempts, attempts, attempts + given.more_attempts, given.now, given.now, revision + 1, lease_token
         FROM retried, given
     ), counted AS (
         UPDATE status_counts c
         SET pending = c.pending + 1, completed = c.completed - (r.status = 3)::integer,
             dead_lettered = c.dead_lettered - (r.status = 4)::integer, cancelled = c.cancelled - (r.status = 5)::integer
         FROM retried r WHERE c.slot = ?
     )
     SELECT webhook FROM retried"
}

statement! { Pg;
    struct StopJob {
        webhook: Uuid as SqlUuid,
        revision: i64 as BigInt,
        status: i16 as SmallInt,
        now: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns SqlUuid;
    "WITH stopped AS (
         DELETE FROM jobs WHERE webhook = ? AND revision = ? RETURNING *
     ), given AS (
         SELECT ? AS status, ? AS now
     ), kept AS (
         INSERT INTO finished_jobs (webhook, status, attempts, max_attempts, available_at, completed_at, revision, lease_token)
         SELECT webhook, given.status, attempts, max_attempts, available_at, given.now, revision + 1, lease_token
         FROM stopped, given
     ), counted AS (
         UPDATE status_counts c
         SET pending = c.pending - (s.status = 0)::integer, retrying = c.retrying - (s.status = 2)::integer,
             cancelled = c.cancelled + 1
         FROM stopped s WHERE c.slot = ?
     )
     SELECT webhook FROM stopped"
}

statement! { Pg;
    struct WriteProbe {}
    returns ();
    "UPDATE probe SET written_at = now() WHERE id = 1"
}
