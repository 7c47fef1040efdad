//! Accepting: one webhook per source and key, decided by the primary key of `idempotency_keys`.

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::keys::key_name;
use super::rows::{self, StatusRow, StatusRowTypes};
use super::transaction::{Refusal, Transaction};
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::webhook::{NewWebhook, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{backlog_full, duplicate};
use crate::store::statement::statement;

/// A webhook on its way to the disk, and who waits for it.
pub(super) struct Accept {
    webhook: NewWebhook,
    key_name: Vec<u8>,
    reply: oneshot::Sender<Result<Accepted>>,
    outcome: Option<Result<Accepted>>,
}

impl Accept {
    pub(super) fn new(webhook: NewWebhook, reply: oneshot::Sender<Result<Accepted>>) -> Self {
        let key_name = key_name(&webhook.source, &webhook.idempotency_key);
        Self { webhook, key_name, reply, outcome: None }
    }

    pub(super) fn committed(self) {
        let outcome = self.outcome.unwrap_or_else(|| Err(Error::shutting_down()));
        // The sender may have hung up; the webhook is stored all the same.
        let _ = self.reply.send(outcome);
    }

    pub(super) fn failed(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

/// Stores webhooks, and keeps for each what to answer.
pub(super) fn accept_all(transaction: &mut Transaction<'_>, accepts: &mut [Accept]) -> QueryResult<()> {
    if accepts.is_empty() {
        return Ok(());
    }
    let now = transaction.context.clock.now();
    for accept in accepts {
        accept.outcome = Some(match store(transaction, accept, now) {
            Ok(accepted) => Ok(accepted),
            Err(Refusal::Domain(error)) => Err(error),
            Err(Refusal::Query(error)) => return Err(error),
        });
    }
    Ok(())
}

fn store(
    transaction: &mut Transaction<'_>,
    accept: &Accept,
    now: Timestamp,
) -> std::result::Result<Accepted, Refusal> {
    let Transaction { connection, context, made_due, .. } = transaction;
    let new = &accept.webhook;
    let limits = context.limits;

    // A full backlog takes no new webhook, but still answers duplicates.
    if context.counts.unfinished() >= limits.max_backlog {
        return match find(connection, accept)? {
            Some(first) => Ok(duplicate(new, first.status, &first.payload_digest)?),
            None => Err(backlog_full(limits.max_backlog).into()),
        };
    }

    let id = context.ids.next(now);
    let sequence = id.sequence().as_i64();
    let stored = InsertKey { name: &accept.key_name, webhook: sequence }.execute(*connection)?;
    if stored == 0 {
        let first = find(connection, accept)?.ok_or(QueryError::NotFound)?;
        return Ok(duplicate(new, first.status, &first.payload_digest)?);
    }
    let now_ms = now.as_millisecond();
    InsertWebhook {
        sequence,
        id: id.as_bytes(),
        source: new.source.as_str(),
        idempotency_key: new.idempotency_key.as_str(),
        event_type: new.event_type.as_str(),
        payload: new.payload.json(),
        payload_digest: new.payload.digest().as_bytes().as_slice(),
        traceparent: new.traceparent.as_str(),
        // The id's time, so that lists by id and by time agree even if the clock goes back.
        accepted_at: id.time().as_millisecond(),
    }
    .execute(*connection)?;
    InsertJob {
        webhook: sequence,
        max_attempts: i64::from(limits.max_attempts),
        available_at: now_ms,
        updated_at: now_ms,
    }
    .execute(*connection)?;
    context.counts.add(Status::Pending);
    *made_due = true;
    Ok(Accepted {
        webhook: WebhookStatus {
            id,
            source: new.source.clone(),
            idempotency_key: new.idempotency_key.clone(),
            event_type: new.event_type.clone(),
            status: Status::Pending,
            attempt_count: 0,
            accepted_at: id.time(),
            updated_at: now,
            revision: 0,
        },
        duplicate: false,
    })
}

/// A webhook that was stored before, with the digest of its payload.
struct First {
    status: WebhookStatus,
    payload_digest: Vec<u8>,
}

fn find(connection: &mut SqliteConnection, accept: &Accept) -> std::result::Result<Option<First>, Refusal> {
    let row = SelectByKeyWithDigest { name: &accept.key_name }
        .get_result::<(StatusRow, Vec<u8>)>(connection)
        .optional()?;
    let Some((row, payload_digest)) = row else { return Ok(None) };
    Ok(Some(First { status: rows::status(row)?, payload_digest }))
}

statement! { Sqlite;
    struct InsertKey<'a> {
        name: &'a [u8] as Binary,
        webhook: i64 as BigInt,
    }
    returns ();
    "INSERT INTO idempotency_keys (name, webhook) VALUES (?, ?) ON CONFLICT DO NOTHING"
}

statement! { Sqlite;
    struct InsertWebhook<'a> {
        sequence: i64 as BigInt,
        id: &'a [u8] as Binary,
        source: &'a str as Text,
        idempotency_key: &'a str as Text,
        event_type: &'a str as Text,
        payload: &'a str as Text,
        payload_digest: &'a [u8] as Binary,
        traceparent: &'a str as Text,
        accepted_at: i64 as BigInt,
    }
    returns ();
    "INSERT INTO webhooks (sequence, id, source, idempotency_key, event_type, payload, payload_digest, traceparent, accepted_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Sqlite;
    struct InsertJob {
        webhook: i64 as BigInt,
        max_attempts: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
    }
    returns ();
    "INSERT INTO jobs (webhook, status, attempts, attempts_before, max_attempts, available_at, updated_at, revision, lease_token)
     VALUES (?, 0, 0, 0, ?, ?, ?, 0, 0)"
}

statement! { Sqlite;
    struct SelectByKeyWithDigest<'a> {
        name: &'a [u8] as Binary,
    }
    returns (StatusRowTypes, Binary);
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at,
            j.status, j.attempts, j.updated_at, j.revision, w.payload_digest
     FROM idempotency_keys k
     JOIN webhooks w ON w.sequence = k.webhook
     JOIN jobs j ON j.webhook = k.webhook
     WHERE k.name = ?"
}
