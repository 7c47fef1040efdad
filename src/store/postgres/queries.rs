//! Reading: status, the whole webhook, lists, counts.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel::{OptionalExtension as _, QueryResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::rows::{self, StatusRow, StatusRowTypes};
use crate::domain::attempt::AttemptRecord;
use crate::domain::id::{Position, Sequence, WebhookId};
use crate::domain::job::Status;
use crate::domain::webhook::{WebhookDetail, WebhookName, WebhookStatus};
use crate::store::changes::Change;
use crate::store::statement::statement;
use crate::store::{ListQuery, StatusCounts};

/// Rows that one statement of a list looks at.
const LIST_WINDOW_ROWS: i64 = 10_000;

/// number, outcome, started at, finished at, error, result, worker.
type AttemptRow = (i32, i16, PgTimestamp, PgTimestamp, Option<String>, Option<String>, String);

/// The status of a webhook.
pub(super) async fn status(
    connection: &mut AsyncPgConnection,
    name: &WebhookName,
) -> QueryResult<Option<WebhookStatus>> {
    let row = match name {
        WebhookName::Id(id) => {
            SelectStatusById { webhook: rows::uuid(*id) }.get_result::<StatusRow>(connection).await
        }
        WebhookName::Key(source, key) => {
            let by_key = SelectStatusByKey { source: source.as_str(), idempotency_key: key.as_str() };
            by_key.get_result::<StatusRow>(connection).await
        }
    };
    row.optional()?.map(rows::status).transpose()
}

/// All of a webhook, as it was at one moment.
pub(super) async fn webhook(
    connection: &mut AsyncPgConnection,
    id: WebhookId,
) -> QueryResult<Option<WebhookDetail>> {
    let webhook = rows::uuid(id);
    let mut transaction = connection.build_transaction().repeatable_read().read_only();
    let (status, detail, attempts) = transaction
        .run(async |connection| {
            let status = SelectStatusById { webhook }.get_result::<StatusRow>(connection).await.optional()?;
            let detail = SelectDetail { webhook }
                .get_result::<(Option<String>, String, i32, PgTimestamp, Option<PgTimestamp>)>(connection)
                .await
                .optional()?;
            let attempts = SelectAttempts { webhook }.load::<AttemptRow>(connection).await?;
            Ok::<_, diesel::result::Error>((status, detail, attempts))
        })
        .await?;
    let (Some(status), Some((payload, traceparent, max_attempts, available_at, completed_at))) =
        (status, detail)
    else {
        return Ok(None);
    };
    let mut result = None;
    let mut records = Vec::with_capacity(attempts.len());
    for (number, outcome, started_at, finished_at, error, returned, worker) in attempts {
        result = returned.or(result);
        records.push(AttemptRecord {
            number: rows::count(number)?,
            outcome: rows::outcome(outcome)?,
            started_at: rows::time(started_at)?,
            finished_at: rows::time(finished_at)?,
            error,
            worker,
        });
    }
    Ok(Some(WebhookDetail {
        status: rows::status(status)?,
        payload,
        result,
        max_attempts: rows::count(max_attempts)?,
        available_at: rows::time(available_at)?,
        completed_at: completed_at.map(rows::time).transpose()?,
        traceparent: rows::traceparent(&traceparent)?,
        attempts: records,
    }))
}

/// What one window of a list holds.
pub(super) struct Window {
    pub(super) webhooks: Vec<WebhookStatus>,
    /// Where the next window begins; none if this is the last.
    pub(super) next: Option<Position>,
}

/// Those of the next [`LIST_WINDOW_ROWS`] rows after `before` that match, newest first.
pub(super) async fn list(
    connection: &mut AsyncPgConnection,
    query: &ListQuery,
    before: Position,
    limit: usize,
) -> QueryResult<Window> {
    let lowest = query
        .accepted_after
        .map_or(Uuid::nil(), |time| place(Position::before_all(Sequence::first_at(time))));
    let before = place(before);
    let end = SelectWindowEnd { before, lowest, rows: LIST_WINDOW_ROWS - 1 };
    let end = end.get_result::<Uuid>(connection).await.optional()?;
    let found = SelectPage {
        before,
        from: end.unwrap_or(lowest),
        any_status: query.status.is_none(),
        status: query.status.map_or(0, |status| status as i16),
        any_source: query.source.is_none(),
        source: query.source.as_ref().map_or("", |source| source.as_str()),
        any_event_type: query.event_type.is_none(),
        event_type: query.event_type.as_ref().map_or("", |event_type| event_type.as_str()),
        limit: limit.try_into().unwrap_or(i64::MAX),
    }
    .load::<StatusRow>(connection)
    .await?;
    Ok(Window {
        webhooks: found.into_iter().map(rows::status).collect::<QueryResult<_>>()?,
        next: end.map(|end| Position::before(rows::id(end))),
    })
}

fn place(position: Position) -> Uuid {
    Uuid::from_bytes(*position.as_bytes())
}

/// Whether the payload of a webhook is gone.
pub(super) async fn is_purged(connection: &mut AsyncPgConnection, id: WebhookId) -> QueryResult<bool> {
    let purged = SelectPurged { webhook: rows::uuid(id) }.get_result::<bool>(connection).await.optional()?;
    Ok(purged.unwrap_or(false))
}

/// Webhooks by status, and when the oldest waiting job became due.
pub(super) async fn counts(
    connection: &mut AsyncPgConnection,
) -> QueryResult<(StatusCounts, Option<PgTimestamp>)> {
    let (pending, processing, retrying, completed, dead_lettered, cancelled, oldest_due) =
        SelectCounts {}.get_result::<(i64, i64, i64, i64, i64, i64, Option<PgTimestamp>)>(connection).await?;
    let mut counts = [0; Status::ALL.len()];
    for (status, count) in [
        (Status::Pending, pending),
        (Status::Processing, processing),
        (Status::Retrying, retrying),
        (Status::Completed, completed),
        (Status::DeadLettered, dead_lettered),
        (Status::Cancelled, cancelled),
    ] {
        counts[status as usize] = u64::try_from(count).unwrap_or(0);
    }
    Ok((StatusCounts::new(counts), oldest_due))
}

/// How webhooks stand, as changes to whoever watches them.
pub(super) async fn stand(connection: &mut AsyncPgConnection, ids: &[WebhookId]) -> QueryResult<Vec<Change>> {
    let webhooks = ids.iter().map(|id| rows::uuid(*id)).collect();
    let found = SelectStands { webhooks }.load::<(Uuid, i16, i32, PgTimestamp, i64)>(connection).await?;
    found
        .into_iter()
        .map(|(webhook, status, attempts, updated_at, revision)| {
            Ok(Change {
                id: rows::id(webhook),
                status: rows::job_status(status)?,
                attempt_count: rows::count(attempts)?,
                updated_at: rows::time(updated_at)?,
                revision: revision.cast_unsigned(),
            })
        })
        .collect()
}

/// The latest id in use.
pub(super) async fn last_id(connection: &mut AsyncPgConnection) -> QueryResult<Option<WebhookId>> {
    Ok(SelectLastId {}.get_result::<Uuid>(connection).await.optional()?.map(rows::id))
}

statement! { Pg;
    struct SelectStatusById {
        webhook: Uuid as SqlUuid,
    }
    returns StatusRowTypes;
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            coalesce(j.status, f.status), coalesce(j.attempts, f.attempts),
            coalesce(j.updated_at, f.completed_at), coalesce(j.revision, f.revision)
     FROM webhooks w LEFT JOIN jobs j ON j.webhook = w.id LEFT JOIN finished_jobs f ON f.webhook = w.id
     WHERE w.id = ?"
}

statement! { Pg;
    struct SelectStatusByKey<'a> {
        source: &'a str as Text,
        idempotency_key: &'a str as Text,
    }
    returns StatusRowTypes;
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            coalesce(j.status, f.status), coalesce(j.attempts, f.attempts),
            coalesce(j.updated_at, f.completed_at), coalesce(j.revision, f.revision)
     FROM webhooks w LEFT JOIN jobs j ON j.webhook = w.id LEFT JOIN finished_jobs f ON f.webhook = w.id
     WHERE w.source = ? AND w.idempotency_key = ?"
}

statement! { Pg;
    struct SelectDetail {
        webhook: Uuid as SqlUuid,
    }
    returns (Nullable<Text>, Text, Integer, Timestamptz, Nullable<Timestamptz>);
    "SELECT w.payload, w.traceparent, coalesce(j.max_attempts, f.max_attempts),
            coalesce(j.available_at, f.available_at), f.completed_at
     FROM webhooks w LEFT JOIN jobs j ON j.webhook = w.id LEFT JOIN finished_jobs f ON f.webhook = w.id
     WHERE w.id = ?"
}

statement! { Pg;
    struct SelectAttempts {
        webhook: Uuid as SqlUuid,
    }
    returns (Integer, SmallInt, Timestamptz, Timestamptz, Nullable<Text>, Nullable<Text>, Text);
    "WITH wanted AS (SELECT ? AS webhook)
     SELECT a.number, a.outcome, a.started_at, a.finished_at, a.error, a.result, a.worker
     FROM wanted w JOIN attempts a ON a.webhook = w.webhook
     UNION ALL
     SELECT f.attempts, f.outcome, f.started_at, f.completed_at, f.error, f.result, f.worker
     FROM wanted w JOIN finished_jobs f ON f.webhook = w.webhook WHERE f.outcome IS NOT NULL
     ORDER BY number"
}

statement! { Pg;
    struct SelectWindowEnd {
        before: Uuid as SqlUuid,
        lowest: Uuid as SqlUuid,
        rows: i64 as BigInt,
    }
    returns SqlUuid;
    "SELECT id FROM webhooks WHERE id < ? AND id > ? ORDER BY id DESC LIMIT 1 OFFSET ?"
}

statement! { Pg;
    struct SelectPage<'a> {
        before: Uuid as SqlUuid,
        from: Uuid as SqlUuid,
        any_status: bool as Bool,
        status: i16 as SmallInt,
        any_source: bool as Bool,
        source: &'a str as Text,
        any_event_type: bool as Bool,
        event_type: &'a str as Text,
        limit: i64 as BigInt,
    }
    returns StatusRowTypes;
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            coalesce(j.status, f.status), coalesce(j.attempts, f.attempts),
            coalesce(j.updated_at, f.completed_at), coalesce(j.revision, f.revision)
     FROM webhooks w LEFT JOIN jobs j ON j.webhook = w.id LEFT JOIN finished_jobs f ON f.webhook = w.id
     WHERE w.id < ? AND w.id >= ?
       AND (? OR coalesce(j.status, f.status) = ?) AND (? OR w.source = ?) AND (? OR w.event_type = ?)
     ORDER BY w.id DESC LIMIT ?"
}

statement! { Pg;
    struct SelectPurged {
        webhook: Uuid as SqlUuid,
    }
    returns Bool;
    "SELECT purged FROM finished_jobs WHERE webhook = ?"
}

statement! { Pg;
    struct SelectCounts {}
    returns (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, Nullable<Timestamptz>);
    "SELECT sum(pending)::bigint, sum(processing)::bigint, sum(retrying)::bigint,
            sum(completed)::bigint, sum(dead_lettered)::bigint, sum(cancelled)::bigint,
            (SELECT min(available_at) FROM jobs WHERE status IN (0, 2))
     FROM status_counts"
}

statement! { Pg;
    struct SelectStands {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
    }
    returns (SqlUuid, SmallInt, Integer, Timestamptz, BigInt);
    "SELECT w.id, coalesce(j.status, f.status), coalesce(j.attempts, f.attempts),
            coalesce(j.updated_at, f.completed_at), coalesce(j.revision, f.revision)
     FROM unnest(?) AS w (id)
     LEFT JOIN jobs j ON j.webhook = w.id LEFT JOIN finished_jobs f ON f.webhook = w.id
     WHERE j.webhook IS NOT NULL OR f.webhook IS NOT NULL"
}

statement! { Pg;
    struct SelectLastId {}
    returns SqlUuid;
    "SELECT id FROM webhooks ORDER BY id DESC LIMIT 1"
}
