//! Rows as PostgreSQL answers them, and the domain's types made of them.

use diesel::data_types::PgTimestamp;
use diesel::result::Error as QueryError;
use diesel::sql_types::{BigInt, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::id::WebhookId;
use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookStatus};
pub(super) use crate::store::columns::{count, job_status, outcome, traceparent, unreadable};

/// PostgreSQL counts from the year 2000.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// id, source, key, event type, accepted at; status, attempts, updated at, revision.
pub(super) type StatusRow = (Uuid, String, String, String, PgTimestamp, i16, i32, PgTimestamp, i64);

/// The columns of a [`StatusRow`].
pub(super) type StatusRowTypes =
    (SqlUuid, Text, Text, Text, Timestamptz, SmallInt, Integer, Timestamptz, BigInt);

/// The status that a row stands for.
pub(super) fn status(row: StatusRow) -> Result<WebhookStatus, QueryError> {
    let (webhook, source, key, event_type, accepted_at, status, attempts, updated_at, revision) = row;
    Ok(WebhookStatus {
        id: id(webhook),
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

pub(super) fn id(uuid: Uuid) -> WebhookId {
    WebhookId::from_bytes(uuid.into_bytes())
}

pub(super) fn uuid(id: WebhookId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

pub(super) fn time(time: PgTimestamp) -> Result<Timestamp, QueryError> {
    Timestamp::from_microsecond(time.0.saturating_add(EPOCH_MICROSECONDS)).map_err(unreadable)
}

pub(super) fn pg_time(time: Timestamp) -> PgTimestamp {
    PgTimestamp(time.as_microsecond().saturating_sub(EPOCH_MICROSECONDS))
}
