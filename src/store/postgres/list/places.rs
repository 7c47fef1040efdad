//! Where a window looks: at the places that an index has, or at all webhooks of a range.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::place;
use crate::domain::id::{Position, Sequence};
use crate::domain::job::Status;
use crate::domain::webhook::{IdempotencyKey, Source};
use crate::store::ListQuery;
use crate::store::list::{INDEX_ROWS, Look, Names, merge};
use crate::store::postgres::schema::{jobs, webhooks};
use crate::store::statement::statement;

/// The statuses of the index `finished_jobs_by_status`.
const INDEXED: [Status; 4] = [Status::DeadLettered, Status::Cancelled, Status::Filtered, Status::Quarantined];

/// Where to look.
pub(super) enum Places {
    /// At all webhooks from this one on.
    From(Uuid),
    /// At these.
    Among(Vec<Uuid>),
}

/// What the next window looks at.
pub(super) struct Area {
    pub(super) places: Places,
    /// The number of rows, at most.
    pub(super) rows: i64,
    /// The next window looks at the webhooks before this one; `None` if this window is the last.
    pub(super) next: Option<Uuid>,
}

/// The webhooks before one id, and from another on.
#[derive(Clone, Copy)]
struct Bounds {
    before: Uuid,
    from: Uuid,
}

/// What the next window looks at.
pub(super) async fn next(
    connection: &mut AsyncPgConnection,
    query: &ListQuery,
    names: &Names<i32>,
    look: Look,
) -> QueryResult<Area> {
    let from = query
        .accepted_after
        .map_or(Uuid::nil(), |time| place(Position::before_all(Sequence::first_at(time))));
    let bounds = Bounds { before: place(look.before), from };
    let most = look.rows.min(INDEX_ROWS);
    let lists = match &query.idempotency_key {
        Some(key) => Some(with_key(connection, key, names, bounds, most).await?),
        None => with_status(connection, query, bounds, most).await?,
    };
    match lists {
        Some(lists) => {
            let (places, next) = merge(&lists, usize::try_from(most).unwrap_or(usize::MAX));
            let rows = i64::try_from(places.len()).unwrap_or(i64::MAX);
            Ok(Area { places: Places::Among(places), rows, next })
        }
        None => range(connection, bounds, look.rows).await,
    }
}

/// The next webhooks, whatever they are.
async fn range(connection: &mut AsyncPgConnection, bounds: Bounds, rows: i64) -> QueryResult<Area> {
    let next = webhooks::table
        .filter(webhooks::id.lt(bounds.before).and(webhooks::id.gt(bounds.from)))
        .order(webhooks::id.desc())
        .offset(rows - 1)
        .select(webhooks::id);
    let next = next.first::<Uuid>(connection).await.optional()?;
    Ok(Area { places: Places::From(next.unwrap_or(bounds.from)), rows, next })
}

/// The webhooks with a key: of each source, the one that has taken it, and those in quarantine.
async fn with_key(
    connection: &mut AsyncPgConnection,
    key: &IdempotencyKey,
    names: &Names<i32>,
    bounds: Bounds,
    most: i64,
) -> QueryResult<Vec<Vec<Uuid>>> {
    let sources = names.sources.iter().flatten().map(Source::as_str).collect::<Vec<_>>();
    let (key, Bounds { before, from }) = (key.as_str(), bounds);
    let held = SelectHolders { sources: sources.clone(), key, before, from, limit: most };
    let held = held.load::<Uuid>(connection).await?;
    let quarantined = SelectQuarantined {
        sources,
        key_before: key,
        before,
        key_from: key,
        from,
        limit_of_source: most,
        limit: most,
    };
    Ok(vec![held, quarantined.load::<Uuid>(connection).await?])
}

/// The webhooks with a job in one of the wanted statuses, by the indexes that have these; `None` if there is no such
/// index.
async fn with_status(
    connection: &mut AsyncPgConnection,
    query: &ListQuery,
    bounds: Bounds,
    most: i64,
) -> QueryResult<Option<Vec<Vec<Uuid>>>> {
    let Some(wanted) = query.statuses_of_jobs() else { return Ok(Some(Vec::new())) };
    if wanted.is_empty() || wanted.contains(&Status::Completed) {
        return Ok(None);
    }
    let mut lists = Vec::new();
    if wanted.iter().any(|status| !status.is_final()) {
        lists.push(unfinished(connection, bounds, most).await?);
    }
    for status in INDEXED.into_iter().filter(|status| wanted.contains(status)) {
        let indexed = SelectByStatus {
            status_before: status as i16,
            before: bounds.before,
            status_from: status as i16,
            from: bounds.from,
            limit: most,
        };
        lists.push(indexed.load::<Uuid>(connection).await?);
    }
    Ok(Some(lists))
}

/// The webhooks of the next unfinished jobs.
async fn unfinished(connection: &mut AsyncPgConnection, bounds: Bounds, most: i64) -> QueryResult<Vec<Uuid>> {
    jobs::table
        .filter(jobs::webhook.lt(bounds.before).and(jobs::webhook.ge(bounds.from)))
        .order((jobs::webhook.desc(), jobs::queue.desc()))
        .limit(most)
        .select(jobs::webhook)
        .load(connection)
        .await
}

// Comparing rows leaves PostgreSQL only the index with these columns, whatever it believes of the sizes of tables.
statement! { Pg;
    struct SelectByStatus {
        status_before: i16 as SmallInt,
        before: Uuid as SqlUuid,
        status_from: i16 as SmallInt,
        from: Uuid as SqlUuid,
        limit: i64 as BigInt,
    }
    returns SqlUuid;
    "SELECT webhook FROM finished_jobs
     WHERE status <> 3 AND (status, webhook) < (?, ?) AND (status, webhook) >= (?, ?)
     ORDER BY status DESC, webhook DESC LIMIT ?"
}

statement! { Pg;
    struct SelectHolders<'a> {
        sources: Vec<&'a str> as Array<Text>,
        key: &'a str as Text,
        before: Uuid as SqlUuid,
        from: Uuid as SqlUuid,
        limit: i64 as BigInt,
    }
    returns SqlUuid;
    "SELECT w.id FROM unnest(?) AS s (source) CROSS JOIN LATERAL (
         SELECT id FROM webhooks WHERE NOT quarantined AND source = s.source AND idempotency_key = ? OFFSET 0
     ) AS w
     WHERE w.id < ? AND w.id >= ?
     ORDER BY w.id DESC LIMIT ?"
}

statement! { Pg;
    struct SelectQuarantined<'a> {
        sources: Vec<&'a str> as Array<Text>,
        key_before: &'a str as Text,
        before: Uuid as SqlUuid,
        key_from: &'a str as Text,
        from: Uuid as SqlUuid,
        limit_of_source: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns SqlUuid;
    "SELECT w.id FROM unnest(?) AS s (source) CROSS JOIN LATERAL (
         SELECT id FROM webhooks
         WHERE quarantined AND (source, idempotency_key, id) < (s.source, ?, ?)
           AND (source, idempotency_key, id) >= (s.source, ?, ?)
         ORDER BY source DESC, idempotency_key DESC, id DESC LIMIT ?
     ) AS w
     ORDER BY w.id DESC LIMIT ?"
}
