//! Rows as SQLite answers them, and the domain's types made of them.

use diesel::result::Error as QueryError;
use diesel::sql_types::{BigInt, Binary, Text};
use jiff::Timestamp;

use crate::domain::id::WebhookId;
use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookStatus};
pub(super) use crate::store::columns::{count, job_status, outcome, traceparent, unreadable};

/// id, source, key, event type, accepted at; status, attempts, updated at, revision.
pub(super) type StatusRow = (Vec<u8>, String, String, String, i64, i64, i64, i64, i64);

/// The columns of a [`StatusRow`].
pub(super) type StatusRowTypes = (Binary, Text, Text, Text, BigInt, BigInt, BigInt, BigInt, BigInt);

/// The status that a row stands for.
pub(super) fn status(row: StatusRow) -> Result<WebhookStatus, QueryError> {
    let (webhook, source, key, event_type, accepted_at, status, attempts, updated_at, revision) = row;
    Ok(WebhookStatus {
        id: id(&webhook)?,
        source: Source::new(source).map_err(unreadable)?,
        idempotency_key: IdempotencyKey::new(key).map_err(unreadable)?,
        event_type: EventType::new(event_type).map_err(unreadable)?,
        status: job_status(status)?,
        attempt_count: count(attempts)?,
        accepted_at: time(accepted_at)?,
        updated_at: time(updated_at)?,
        revision: revision.cast_unsigned(),
    })
}

pub(super) fn id(bytes: &[u8]) -> Result<WebhookId, QueryError> {
    bytes.try_into().map(WebhookId::from_bytes).map_err(unreadable)
}

pub(super) fn time(milliseconds: i64) -> Result<Timestamp, QueryError> {
    Timestamp::from_millisecond(milliseconds).map_err(unreadable)
}
