//! Accepts webhooks. The primary key of `idempotency_keys` ensures one webhook per source and key.

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::keys::key_name;
use super::lanes::{self, Lane};
use super::queries::{self, NO_ROUTE_QUEUE};
use super::transaction::{Refusal, Transaction};
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{JobStatus, Status};
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{backlog_full, duplicate};
use crate::store::statement::statement;

/// A webhook to store, and the channel for its result.
pub(super) struct Accept {
    webhook: NewWebhook,
    jobs: Vec<NewJob>,
    key_name: Vec<u8>,
    reply: oneshot::Sender<Result<Accepted>>,
    outcome: Option<Result<Accepted>>,
}

impl Accept {
    pub(super) fn new(
        webhook: NewWebhook,
        jobs: Vec<NewJob>,
        reply: oneshot::Sender<Result<Accepted>>,
    ) -> Self {
        let key_name = key_name(&webhook.source, &webhook.idempotency_key);
        Self { webhook, jobs, key_name, reply, outcome: None }
    }

    /// The length of the payload and of the kept headers, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.webhook.bytes()
    }

    /// Sends the result of [`accept_all`] to the caller. The writer calls this after the commit.
    pub(super) fn committed(self) {
        let outcome = self.outcome.unwrap_or_else(|| Err(Error::shutting_down()));
        // Sending fails if the caller is gone. The webhook is stored all the same.
        let _ = self.reply.send(outcome);
    }

    pub(super) fn failed(self, error: Error) {
        let _ = self.reply.send(Err(error));
    }
}

/// Stores webhooks, and keeps the result of each for after the commit.
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
    let Transaction { connection, context, .. } = transaction;
    let new = &accept.webhook;

    // With a full backlog, new webhooks are refused, but duplicates still get their status.
    if context.memory.counts.unfinished() >= context.max_backlog {
        return match queries::status_by_key(connection, &accept.key_name)? {
            Some(first) => Ok(duplicate(new, first.status, &first.payload_digest)?),
            None => Err(backlog_full(context.max_backlog).into()),
        };
    }

    let id = context.ids.next(now);
    let sequence = id.sequence().as_i64();
    let stored = InsertKey { name: &accept.key_name, webhook: sequence }.execute(*connection)?;
    if stored == 0 {
        let first = queries::status_by_key(connection, &accept.key_name)?.ok_or(QueryError::NotFound)?;
        return Ok(duplicate(new, first.status, &first.payload_digest)?);
    }
    InsertWebhook {
        sequence,
        id: id.as_bytes(),
        source: new.source.as_str(),
        idempotency_key: new.idempotency_key.as_str(),
        event_type: new.event_type.as_str(),
        content_type: new.payload.content_type().as_str(),
        verdict: new.verdict.number().into(),
        headers: new.headers.as_text(),
        payload: new.payload.as_bytes(),
        payload_digest: new.payload.digest().as_bytes().as_slice(),
        traceparent: new.traceparent.as_str(),
        // The time in the id, so that the orders by id and by time agree even if the clock goes back.
        accepted_at: id.time().as_millisecond(),
    }
    .execute(*connection)?;
    Ok(Accepted {
        webhook: WebhookStatus {
            id,
            source: new.source.clone(),
            idempotency_key: new.idempotency_key.clone(),
            event_type: new.event_type.clone(),
            accepted_at: id.time(),
            jobs: store_jobs(transaction, accept, id, now)?,
        },
        duplicate: false,
    })
}

/// Stores the jobs of a webhook. For a webhook without jobs, stores the row that marks it as filtered.
fn store_jobs(
    transaction: &mut Transaction<'_>,
    accept: &Accept,
    id: WebhookId,
    now: Timestamp,
) -> QueryResult<Vec<JobStatus>> {
    let (webhook, now_ms) = (id.sequence().as_i64(), now.as_millisecond());
    if accept.jobs.is_empty() {
        InsertFiltered { webhook, available_at: now_ms, updated_at: now_ms, completed_at: now_ms }
            .execute(transaction.connection)?;
        transaction.context.memory.counts.add(NO_ROUTE_QUEUE, Status::Filtered);
        return Ok(Vec::new());
    }
    let mut jobs = Vec::with_capacity(accept.jobs.len());
    for NewJob { route, order } in &accept.jobs {
        let queue = transaction.queue(route, &accept.webhook.source)?;
        let lane = order.as_ref().map(|order| order.as_str());
        InsertJob { webhook, queue: queue.0.into(), available_at: now_ms, updated_at: now_ms, lane }
            .execute(transaction.connection)?;
        transaction.context.memory.counts.add(queue, Status::Pending);
        match lane {
            None => transaction.note_due(queue, now),
            Some(value) => lanes::append(transaction, Lane { queue, value }, now_ms)?,
        }
        jobs.push(JobStatus {
            queue,
            route: route.clone(),
            status: Status::Pending,
            attempt_count: 0,
            updated_at: now,
            revision: 0,
            last_error: None,
            next_attempt_at: Some(now),
        });
    }
    jobs.sort_by_key(|job| job.queue);
    Ok(jobs)
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
        content_type: &'a str as Text,
        verdict: i64 as BigInt,
        headers: Option<&'a str> as Nullable<Text>,
        payload: &'a [u8] as Binary,
        payload_digest: &'a [u8] as Binary,
        traceparent: &'a str as Text,
        accepted_at: i64 as BigInt,
    }
    returns ();
    "INSERT INTO webhooks (sequence, id, source, idempotency_key, event_type, content_type, verdict, headers, payload,
                           payload_digest, traceparent, accepted_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Sqlite;
    struct InsertJob<'a> {
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        lane: Option<&'a str> as Nullable<Text>,
    }
    returns ();
    "INSERT INTO jobs (webhook, queue, status, attempts, uncounted_attempts, run, available_at, updated_at, revision, lease_token, lane)
     VALUES (?, ?, 0, 0, 0, 1, ?, ?, 0, 0, ?)"
}

statement! { Sqlite;
    struct InsertFiltered {
        webhook: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        completed_at: i64 as BigInt,
    }
    returns ();
    "INSERT INTO jobs (webhook, queue, status, attempts, uncounted_attempts, run, available_at, updated_at, completed_at, revision, lease_token)
     VALUES (?, 0, 6, 0, 0, 1, ?, ?, ?, 0, 0)"
}
