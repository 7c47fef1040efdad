//! Reading: status, the whole webhook, lists.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::keys::key_name;
use super::rows::{self, StatusRow, StatusRowTypes};
use crate::domain::attempt::AttemptRecord;
use crate::domain::id::{Sequence, WebhookId};
use crate::domain::webhook::{WebhookDetail, WebhookName, WebhookStatus};
use crate::store::ListQuery;
use crate::store::statement::statement;

/// Rows that one read transaction of a list looks at. A long reader would hold up checkpoints.
const LIST_WINDOW_ROWS: i64 = 10_000;

/// The status of a webhook.
pub(super) fn status(
    connection: &mut SqliteConnection,
    name: &WebhookName,
) -> QueryResult<Option<WebhookStatus>> {
    let row = match name {
        WebhookName::Id(id) => {
            SelectStatusById { sequence: id.sequence().as_i64() }.get_result::<StatusRow>(connection)
        }
        WebhookName::Key(source, key) => {
            SelectStatusByKey { name: &key_name(source, key) }.get_result::<StatusRow>(connection)
        }
    };
    let Some(row) = row.optional()? else { return Ok(None) };
    let status = rows::status(row)?;
    let named = match name {
        WebhookName::Id(id) => status.id == *id,
        WebhookName::Key(source, key) => status.source == *source && status.idempotency_key == *key,
    };
    Ok(named.then_some(status))
}

/// All of a webhook.
pub(super) fn webhook(
    connection: &mut SqliteConnection,
    id: WebhookId,
) -> QueryResult<Option<WebhookDetail>> {
    connection.transaction(|connection| {
        let Some(status) = status(connection, &WebhookName::Id(id))? else { return Ok(None) };
        let sequence = id.sequence().as_i64();
        let (payload, traceparent, max_attempts, available_at, completed_at) = SelectDetail { sequence }
            .get_result::<(Option<String>, String, i64, i64, Option<i64>)>(connection)?;
        let rows = SelectAttempts { webhook: sequence }.load::<(
            i64,
            i64,
            i64,
            i64,
            Option<String>,
            Option<String>,
            String,
        )>(connection)?;
        let mut result = None;
        let mut attempts = Vec::with_capacity(rows.len());
        for (number, outcome, started_at, finished_at, error, returned, worker) in rows {
            result = returned.or(result);
            attempts.push(AttemptRecord {
                number: rows::count(number)?,
                outcome: rows::outcome(outcome)?,
                started_at: rows::time(started_at)?,
                finished_at: rows::time(finished_at)?,
                error,
                worker,
            });
        }
        Ok(Some(WebhookDetail {
            status,
            payload,
            result,
            max_attempts: rows::count(max_attempts)?,
            available_at: rows::time(available_at)?,
            completed_at: completed_at.map(rows::time).transpose()?,
            traceparent: rows::traceparent(&traceparent)?,
            attempts,
        }))
    })
}

/// What one window of a list holds.
pub(super) struct Window {
    pub(super) webhooks: Vec<WebhookStatus>,
    /// Where the next window begins; none if this is the last.
    pub(super) next: Option<i64>,
}

/// Those of the next [`LIST_WINDOW_ROWS`] rows before `before` that match, newest first.
pub(super) fn list(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    before: i64,
    limit: usize,
) -> QueryResult<Window> {
    let lowest = query.accepted_after.map_or(0, |time| Sequence::first_at(time).as_i64());
    let next = SelectWindowEnd { before, lowest, rows: LIST_WINDOW_ROWS - 1 }
        .get_result::<i64>(connection)
        .optional()?;
    let rows = SelectPage {
        before,
        from: next.unwrap_or(lowest),
        any_status: i64::from(query.status.is_none()),
        status: query.status.map_or(0, |status| status as i64),
        any_source: i64::from(query.source.is_none()),
        source: query.source.as_ref().map_or("", |source| source.as_str()),
        any_event_type: i64::from(query.event_type.is_none()),
        event_type: query.event_type.as_ref().map_or("", |event_type| event_type.as_str()),
        limit: limit.try_into().unwrap_or(i64::MAX),
    }
    .load::<StatusRow>(connection)?;
    Ok(Window { webhooks: rows.into_iter().map(rows::status).collect::<QueryResult<_>>()?, next })
}

/// Whether the payload of a webhook is gone.
pub(super) fn is_purged(connection: &mut SqliteConnection, id: WebhookId) -> QueryResult<bool> {
    SelectPurged { webhook: id.sequence().as_i64() }.get_result::<i64>(connection).map(|purged| purged != 0)
}

/// When the oldest waiting job became due.
pub(super) fn oldest_due(connection: &mut SqliteConnection) -> QueryResult<Option<i64>> {
    SelectOldestDue {}.get_result(connection)
}

/// The latest sequence in use.
pub(super) fn last_sequence(connection: &mut SqliteConnection) -> QueryResult<Option<i64>> {
    SelectLastSequence {}.get_result(connection)
}

statement! { Sqlite;
    struct SelectStatusById {
        sequence: i64 as BigInt,
    }
    returns StatusRowTypes;
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            j.status, j.attempts, j.updated_at, j.revision
     FROM webhooks w JOIN jobs j ON j.webhook = w.sequence
     WHERE w.sequence = ?"
}

statement! { Sqlite;
    struct SelectStatusByKey<'a> {
        name: &'a [u8] as Binary,
    }
    returns StatusRowTypes;
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            j.status, j.attempts, j.updated_at, j.revision
     FROM idempotency_keys k
     JOIN webhooks w ON w.sequence = k.webhook
     JOIN jobs j ON j.webhook = k.webhook
     WHERE k.name = ?"
}

statement! { Sqlite;
    struct SelectPurged {
        webhook: i64 as BigInt,
    }
    returns BigInt;
    "SELECT purged FROM jobs WHERE webhook = ?"
}

statement! { Sqlite;
    struct SelectDetail {
        sequence: i64 as BigInt,
    }
    returns (Nullable<Text>, Text, BigInt, BigInt, Nullable<BigInt>);
    "SELECT w.payload, w.traceparent, j.max_attempts, j.available_at, j.completed_at
     FROM webhooks w JOIN jobs j ON j.webhook = w.sequence
     WHERE w.sequence = ?"
}

statement! { Sqlite;
    struct SelectAttempts {
        webhook: i64 as BigInt,
    }
    returns (BigInt, BigInt, BigInt, BigInt, Nullable<Text>, Nullable<Text>, Text);
    "SELECT number, outcome, started_at, finished_at, error, result, worker
     FROM attempts WHERE webhook = ? ORDER BY number"
}

statement! { Sqlite;
    struct SelectWindowEnd {
        before: i64 as BigInt,
        lowest: i64 as BigInt,
        rows: i64 as BigInt,
    }
    returns BigInt;
    "SELECT webhook FROM jobs WHERE webhook < ? AND webhook > ? ORDER BY webhook DESC LIMIT 1 OFFSET ?"
}

statement! { Sqlite;
    struct SelectPage<'a> {
        before: i64 as BigInt,
        from: i64 as BigInt,
        any_status: i64 as BigInt,
        status: i64 as BigInt,
        any_source: i64 as BigInt,
        source: &'a str as Text,
        any_event_type: i64 as BigInt,
        event_type: &'a str as Text,
        limit: i64 as BigInt,
    }
    returns StatusRowTypes;
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            j.status, j.attempts, j.updated_at, j.revision
     FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.webhook < ? AND j.webhook >= ?
       AND (? OR j.status = ?) AND (? OR w.source = ?) AND (? OR w.event_type = ?)
     ORDER BY j.webhook DESC LIMIT ?"
}

statement! { Sqlite;
    struct SelectOldestDue {}
    returns Nullable<BigInt>;
    "SELECT MIN(available_at) FROM jobs WHERE status IN (0, 2)"
}

statement! { Sqlite;
    struct SelectLastSequence {}
    returns Nullable<BigInt>;
    "SELECT MAX(sequence) FROM webhooks"
}
