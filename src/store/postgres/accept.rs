//! Accepting: one webhook per source and key, decided by the unique constraint of `webhooks`.
//!
//! A few committers share one queue. Each takes whatever has queued up while the last commits were
//! under way, stores it with one statement, which is one transaction and one round trip, and only
//! then answers. None waits for a batch to fill.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Binary, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::core::Core;
use super::pool::{answer, is_fault, refused};
use super::rows::{self, StatusRow, StatusRowTypes, pg_time};
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::webhook::{NewWebhook, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{backlog_full, duplicate};
use crate::store::statement::statement;
use crate::telemetry::metrics::Stopwatch;

/// Committers, each with a connection.
pub(super) const COMMITTERS: usize = 2;

/// Webhooks that may wait for a committer. More are refused.
pub(super) const QUEUE_WEBHOOKS: usize = 4_096;

/// Webhooks in one statement: bounds how long the first of them waits for the last.
const BATCH_WEBHOOKS: usize = 1_024;

/// How often a batch is tried whose keys are removed between the look at the constraint and the
/// look at the row.
const TRIES: usize = 3;

/// A webhook on its way to the database, and who waits for it.
pub(super) struct Accept {
    pub(super) webhook: NewWebhook,
    pub(super) reply: oneshot::Sender<Result<Accepted>>,
}

/// What committers share.
pub(super) type Queue = Arc<Mutex<mpsc::Receiver<Accept>>>;

/// Stores what is queued, until the queue is closed and empty.
pub(super) async fn commit(core: Arc<Core>, queue: Queue) {
    loop {
        let mut batch = Vec::new();
        {
            let mut queue = queue.lock().await;
            // Whoever is ready to run goes first: on busy cores more of them join this batch.
            tokio::task::yield_now().await;
            if queue.recv_many(&mut batch, BATCH_WEBHOOKS).await == 0 {
                return;
            }
        }
        let took = Stopwatch::start();
        let stored = store(&core, &batch).await;
        if stored.is_ok() {
            core.metrics.committed(took, batch.len());
        }
        match stored {
            Ok(outcomes) => reply(batch, outcomes),
            Err(error) if !is_fault(&error) && batch.len() > 1 => {
                tracing::error!(error = %error, "a webhook could not be stored; its batch is stored one by one");
                for single in batch {
                    let outcome = match store(&core, std::slice::from_ref(&single)).await {
                        Ok(mut outcomes) => outcomes.pop().unwrap_or_else(|| Err(Error::shutting_down())),
                        Err(error) => Err(refused(error)),
                    };
                    reply(vec![single], vec![outcome]);
                }
            }
            failed @ Err(_) => {
                core.failed("accept", &failed);
                let Err(error) = failed else { return };
                let text = error.to_string();
                let is_fault = is_fault(&error);
                let outcomes = batch.iter().map(|_| {
                    Err(if is_fault { unknown(text.clone()) } else { Error::internal(text.clone()) })
                });
                let outcomes = outcomes.collect();
                reply(batch, outcomes);
            }
        }
    }
}

/// The answer for a webhook that may have been stored, and may not.
pub(super) fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::store_unavailable(
        "the database cannot be written at the moment; it is not known to be stored, send it again",
        cause,
    )
}

fn reply(batch: Vec<Accept>, outcomes: Vec<Result<Accepted>>) {
    for (accept, outcome) in batch.into_iter().zip(outcomes) {
        // The sender may have hung up; the webhook is stored all the same.
        let _ = accept.reply.send(outcome);
    }
}

/// Stores a batch; answers what to say to each.
async fn store(core: &Core, batch: &[Accept]) -> QueryResult<Vec<Result<Accepted>>> {
    let mut connection = core.accepting.get().await?;
    let storing = async {
        if core.backlog.is_far(&mut connection, batch.len()).await? {
            return store_all(core, &mut connection, batch, (0..batch.len()).collect()).await;
        }
        connection.transaction(async |connection| store_what_fits(core, connection, batch).await).await
    };
    let stored = answer(storing).await;
    let stored = connection.settle(stored)?;
    let new =
        stored.iter().filter(|outcome| outcome.as_ref().is_ok_and(|accepted| !accepted.duplicate)).count();
    core.backlog.change(i64::try_from(new).unwrap_or(i64::MAX));
    core.committed(&[], new > 0);
    Ok(stored)
}

/// Near the limit: nobody else accepts meanwhile, and only as many new ones as fit are stored.
async fn store_what_fits(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[Accept],
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut room = core.backlog.room(connection).await?;
    let kept = find(connection, batch, &(0..batch.len()).collect::<Vec<_>>()).await?;
    let mut taken = HashSet::new();
    let fits = |at: &usize| {
        let new = &batch[*at].webhook;
        if kept.contains_key(at) || taken.contains(&(&new.source, &new.idempotency_key)) {
            return true;
        }
        let fits = room > 0;
        if fits {
            room -= 1;
            taken.insert((&new.source, &new.idempotency_key));
        }
        fits
    };
    let (fitting, full): (Vec<_>, Vec<_>) = (0..batch.len()).partition(fits);
    let stored = store_all(core, connection, batch, fitting.clone()).await?;
    let mut outcomes = fitting.into_iter().zip(stored).collect::<HashMap<_, _>>();
    outcomes.extend(full.into_iter().map(|at| (at, Err(backlog_full(core.backlog.limit())))));
    Ok((0..batch.len()).filter_map(|at| outcomes.remove(&at)).collect())
}

/// Stores those of the batch that are new, and finds the first one of each that is not. Answers in
/// the order of `which`.
async fn store_all(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[Accept],
    which: Vec<usize>,
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut outcomes = HashMap::with_capacity(which.len());
    let mut left = which.clone();
    for _ in 0..TRIES {
        insert(core, connection, batch, &left, &mut outcomes).await?;
        left.retain(|at| !outcomes.contains_key(at));
        if left.is_empty() {
            break;
        }
        for (at, (first, digest)) in find(connection, batch, &left).await? {
            outcomes.insert(at, duplicate(&batch[at].webhook, first, &digest));
        }
        // What is neither new nor kept was removed in between, at the end of its retention.
        left.retain(|at| !outcomes.contains_key(at));
        if left.is_empty() {
            break;
        }
    }
    let unsettled = || Error::store_unavailable("the key was being removed; send it again", "tried in vain");
    Ok(which.into_iter().map(|at| outcomes.remove(&at).unwrap_or_else(|| Err(unsettled()))).collect())
}

/// Inserts what is new, and says so in `outcomes`.
async fn insert(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[Accept],
    which: &[usize],
    outcomes: &mut HashMap<usize, Result<Accepted>>,
) -> QueryResult<()> {
    let now = core.clock.now();
    let ids = core.new_ids(which.len(), now);
    let mut rows = which.iter().copied().zip(ids).collect::<Vec<_>>();
    // Two batches that meet at several keys meet in the same order, and never wait in a circle.
    rows.sort_by_key(|(at, _)| {
        let new = &batch[*at].webhook;
        (new.source.as_str(), new.idempotency_key.as_str())
    });
    let of = |at: usize| &batch[at].webhook;
    let stored = InsertWebhooks {
        ids: rows.iter().map(|(_, id)| rows::uuid(*id)).collect(),
        sources: rows.iter().map(|(at, _)| of(*at).source.as_str()).collect(),
        keys: rows.iter().map(|(at, _)| of(*at).idempotency_key.as_str()).collect(),
        event_types: rows.iter().map(|(at, _)| of(*at).event_type.as_str()).collect(),
        payloads: rows.iter().map(|(at, _)| of(*at).payload.json()).collect(),
        digests: rows.iter().map(|(at, _)| of(*at).payload.digest().as_bytes().to_vec()).collect(),
        traceparents: rows.iter().map(|(at, _)| of(*at).traceparent.as_str()).collect(),
        // The id's time, so that lists by id and by time agree even if the clock goes back.
        accepted_at: rows.iter().map(|(_, id)| pg_time(id.time())).collect(),
        max_attempts: i32::try_from(core.max_attempts).unwrap_or(i32::MAX),
        now: pg_time(now),
        slot: core.slot(),
    }
    .load::<Uuid>(connection)
    .await?;
    let stored = stored.into_iter().collect::<HashSet<_>>();
    for (at, id) in rows {
        if !stored.contains(&rows::uuid(id)) {
            continue;
        }
        let new = of(at);
        let webhook = WebhookStatus {
            id,
            source: new.source.clone(),
            idempotency_key: new.idempotency_key.clone(),
            event_type: new.event_type.clone(),
            status: Status::Pending,
            attempt_count: 0,
            accepted_at: id.time(),
            updated_at: now,
            revision: 0,
        };
        outcomes.insert(at, Ok(Accepted { webhook, duplicate: false }));
    }
    Ok(())
}

/// Those of the batch whose key is kept: the status and the payload's digest of the first one.
async fn find(
    connection: &mut AsyncPgConnection,
    batch: &[Accept],
    which: &[usize],
) -> QueryResult<HashMap<usize, (WebhookStatus, Vec<u8>)>> {
    let found = SelectByKeys {
        sources: which.iter().map(|at| batch[*at].webhook.source.as_str()).collect(),
        keys: which.iter().map(|at| batch[*at].webhook.idempotency_key.as_str()).collect(),
    }
    .load::<(i64, Vec<u8>, StatusRow)>(connection)
    .await?;
    found
        .into_iter()
        .map(|(number, digest, row)| {
            let at = usize::try_from(number - 1).map_err(rows::unreadable)?;
            Ok((which[at], (rows::status(row)?, digest)))
        })
        .collect()
}

statement! { Pg;
    struct InsertWebhooks<'a> {
        ids: Vec<Uuid> as Array<SqlUuid>,
        sources: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
        event_types: Vec<&'a str> as Array<Text>,
        payloads: Vec<&'a str> as Array<Text>,
        digests: Vec<Vec<u8>> as Array<Binary>,
        traceparents: Vec<&'a str> as Array<Text>,
        accepted_at: Vec<PgTimestamp> as Array<Timestamptz>,
        max_attempts: i32 as Integer,
        now: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns SqlUuid;
    "WITH stored AS (
         INSERT INTO webhooks (id, source, idempotency_key, event_type, payload, payload_digest, traceparent, accepted_at)
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (source, idempotency_key) DO NOTHING
         RETURNING id
     ), given AS (
         SELECT ? AS max_attempts, ? AS now
     ), queued AS (
         INSERT INTO jobs (webhook, status, attempts, attempts_before, max_attempts, available_at, updated_at, revision, lease_token)
         SELECT id, 0, 0, 0, max_attempts, now, now, 0, 0 FROM stored, given
     ), counted AS (
         UPDATE status_counts c SET pending = c.pending + new.webhooks
         FROM (SELECT count(*) AS webhooks FROM stored) AS new WHERE c.slot = ? AND new.webhooks > 0
     )
     SELECT id FROM stored"
}

statement! { Pg;
    struct SelectByKeys<'a> {
        sources: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
    }
    returns (BigInt, Binary, StatusRowTypes);
    "SELECT k.number, w.payload_digest, w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            coalesce(j.status, f.status), coalesce(j.attempts, f.attempts),
            coalesce(j.updated_at, f.completed_at), coalesce(j.revision, f.revision)
     FROM unnest(?, ?) WITH ORDINALITY AS k (source, idempotency_key, number)
     JOIN webhooks w ON w.source = k.source AND w.idempotency_key = k.idempotency_key
     LEFT JOIN jobs j ON j.webhook = w.id
     LEFT JOIN finished_jobs f ON f.webhook = w.id"
}
