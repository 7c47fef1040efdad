//! Accepting: one webhook per source and key, decided by the unique constraint of `webhooks`.

use std::collections::{HashMap, HashSet};

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::core::Core;
use super::pool::answer;
use super::rows::{self, StatusRow, StatusRowTypes, pg_time};
use super::start::Starting;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::webhook::{NewWebhook, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{backlog_full, duplicate};
use crate::store::statement::statement;

/// How often a batch is tried whose keys are removed between the look at the constraint and the
/// look at the row.
const TRIES: usize = 3;

/// Stores a batch; answers what to say to each.
pub(super) async fn store(
    core: &Core,
    batch: &[NewWebhook],
    starting: &mut Starting,
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut connection = core.accepting.get().await?;
    let before = starting.len();
    let mut is_near = false;
    let storing = async {
        if core.backlog.is_far(&mut connection, batch.len()).await? {
            return store_all(core, &mut connection, batch, (0..batch.len()).collect(), starting).await;
        }
        is_near = true;
        connection
            .transaction(async |connection| store_what_fits(core, connection, batch, starting).await)
            .await
    };
    let stored = answer(storing).await;
    if is_near && !matches!(stored, Ok(Ok(_))) {
        starting.roll_back(before);
    }
    let stored = connection.settle(stored).inspect_err(|_| starting.unanswered())?;
    let new =
        stored.iter().filter(|outcome| outcome.as_ref().is_ok_and(|accepted| !accepted.duplicate)).count();
    core.backlog.change(i64::try_from(new).unwrap_or(i64::MAX));
    core.committed(&starting.changes(), new > starting.len() - before);
    Ok(stored)
}

/// Near the limit: nobody else accepts meanwhile, and only as many new ones as fit are stored.
async fn store_what_fits(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[NewWebhook],
    starting: &mut Starting,
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut room = core.backlog.room(connection).await?;
    let kept = find(connection, batch, &(0..batch.len()).collect::<Vec<_>>()).await?;
    let mut taken = HashSet::new();
    let fits = |at: &usize| {
        let new = &batch[*at];
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
    let stored = store_all(core, connection, batch, fitting.clone(), starting).await?;
    let mut outcomes = fitting.into_iter().zip(stored).collect::<HashMap<_, _>>();
    outcomes.extend(full.into_iter().map(|at| (at, Err(backlog_full(core.backlog.limit())))));
    Ok((0..batch.len()).filter_map(|at| outcomes.remove(&at)).collect())
}

/// Stores those of the batch that are new, and finds the first one of each that is not. Answers in
/// the order of `which`.
async fn store_all(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[NewWebhook],
    which: Vec<usize>,
    starting: &mut Starting,
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut outcomes = HashMap::with_capacity(which.len());
    let mut left = which.clone();
    for _ in 0..TRIES {
        insert(core, connection, batch, &left, starting, &mut outcomes).await?;
        left.retain(|at| !outcomes.contains_key(at));
        if left.is_empty() {
            break;
        }
        for (at, (first, digest)) in find(connection, batch, &left).await? {
            outcomes.insert(at, duplicate(&batch[at], first, &digest));
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

/// Inserts what is new, leases as many of them as there are idle threads, and says so in `starting`
/// and `outcomes`.
async fn insert(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[NewWebhook],
    which: &[usize],
    starting: &mut Starting,
    outcomes: &mut HashMap<usize, Result<Accepted>>,
) -> QueryResult<()> {
    let now = core.clock.now();
    let ids = core.new_ids(which.len(), now);
    let mut rows = which.iter().copied().zip(ids).collect::<Vec<_>>();
    // Two batches that meet at several keys meet in the same order, and never wait in a circle.
    rows.sort_by_key(|(at, _)| {
        let new = &batch[*at];
        (new.source.as_str(), new.idempotency_key.as_str())
    });
    let of = |at: usize| &batch[at];
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
        threads: i64::try_from(starting.threads()).unwrap_or(i64::MAX),
        lease_ms: i64::try_from(starting.lease().as_millis()).unwrap_or(i64::MAX),
        worker: &core.worker,
        slot: core.slot(),
    }
    .load::<(Uuid, bool)>(connection)
    .await?;
    let stored = stored.into_iter().collect::<HashMap<_, _>>();
    for (at, id) in rows {
        let Some(is_leased) = stored.get(&rows::uuid(id)) else { continue };
        let new = of(at);
        if *is_leased {
            starting.add(id, new, core.max_attempts, now);
        }
        // As it was stored; its lease is the first change.
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
    batch: &[NewWebhook],
    which: &[usize],
) -> QueryResult<HashMap<usize, (WebhookStatus, Vec<u8>)>> {
    let found = SelectByKeys {
        sources: which.iter().map(|at| batch[*at].source.as_str()).collect(),
        keys: which.iter().map(|at| batch[*at].idempotency_key.as_str()).collect(),
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
        threads: i64 as BigInt,
        lease_ms: i64 as BigInt,
        worker: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Bool);
    "WITH stored AS (
         INSERT INTO webhooks (id, source, idempotency_key, event_type, payload, payload_digest, traceparent, accepted_at)
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (source, idempotency_key) DO NOTHING
         RETURNING id
     ), given AS (
         SELECT ? AS max_attempts, ? AS now, ? AS threads, ? AS lease_ms, ? AS worker
     ), numbered AS (
         SELECT id, row_number() OVER () <= threads AS is_leased FROM stored, given
     ), queued AS (
         INSERT INTO jobs (webhook, status, attempts, attempts_before, max_attempts, available_at, updated_at, revision,
                           lease_token, lease_until, worker)
         SELECT id, is_leased::int, is_leased::int, 0, max_attempts, now, now, is_leased::int, is_leased::int,
                CASE WHEN is_leased THEN now() + lease_ms * interval '1 millisecond' END, CASE WHEN is_leased THEN worker END
         FROM numbered, given
     ), counted AS (
         UPDATE status_counts c SET pending = c.pending + new.pending, processing = c.processing + new.leased
         FROM (SELECT count(*) FILTER (WHERE NOT is_leased) AS pending, count(*) FILTER (WHERE is_leased) AS leased
               FROM numbered) AS new
         WHERE c.slot = ? AND new.pending + new.leased > 0
     )
     SELECT id, is_leased FROM numbered"
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
     CROSS JOIN LATERAL (
         SELECT * FROM webhooks WHERE source = k.source AND idempotency_key = k.idempotency_key OFFSET 0
     ) AS w
     LEFT JOIN jobs j ON j.webhook = w.id
     LEFT JOIN finished_jobs f ON f.webhook = w.id"
}
