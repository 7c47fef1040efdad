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
use crate::domain::conflict::OnConflict;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{JobStatus, Status};
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, Source, WebhookStatus};
use crate::store::acceptance::{backlog_full, duplicate_or_conflict};
use crate::store::statement::statement;
use crate::store::{Accepted, Submission};

/// A webhook to store, and the channel for its result.
pub(super) struct Accept {
    submission: Submission,
    on_conflict: OnConflict,
    key_name: Vec<u8>,
    reply: oneshot::Sender<Result<Accepted>>,
    outcome: Option<Result<Accepted>>,
}

impl Accept {
    pub(super) fn new(
        submission: Submission,
        on_conflict: OnConflict,
        reply: oneshot::Sender<Result<Accepted>>,
    ) -> Self {
        let key_name = key_name(&submission.webhook.source, &submission.webhook.idempotency_key);
        Self { submission, on_conflict, key_name, reply, outcome: None }
    }

    /// The length of the payload and of the kept headers, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.submission.webhook.bytes()
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
    let Accept { submission, on_conflict, key_name, .. } = accept;
    let connection = &mut *transaction.connection;
    let context = &transaction.context;

    // With a full backlog, new webhooks are refused, but duplicates still get their status.
    let first = if context.memory.counts.unfinished() >= context.max_backlog {
        queries::status_by_key(connection, key_name)?.ok_or_else(|| backlog_full(context.max_backlog))?
    } else {
        if let Some(webhook) = insert(transaction, submission, key_name, now)? {
            return Ok(Accepted::new(webhook));
        }
        queries::status_by_key(transaction.connection, key_name)?.ok_or(QueryError::NotFound)?
    };
    Ok(duplicate_or_conflict(&submission.webhook, first.status, &first.payload_digest, *on_conflict)?)
}

/// Stores a webhook with its jobs. Returns `None`, and stores nothing, if its key is taken.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    Submission { webhook: new, jobs }: &Submission,
    key_name: &[u8],
    now: Timestamp,
) -> QueryResult<Option<WebhookStatus>> {
    let id = transaction.context.ids.next(now);
    if !insert_key(transaction.connection, key_name, id)? {
        return Ok(None);
    }
    insert_webhook(transaction.connection, new, id)?;
    let jobs = insert_jobs(transaction, jobs, &new.source, Place::Last, id, now)?;
    Ok(Some(new.stored(id, jobs)))
}

/// Has a webhook take its key. Returns false if the key is taken.
pub(super) fn insert_key(
    connection: &mut SqliteConnection,
    name: &[u8],
    webhook: WebhookId,
) -> QueryResult<bool> {
    let inserted = InsertKey { name, webhook: webhook.sequence().as_i64() }.execute(connection)?;
    Ok(inserted == 1)
}

/// Stores the row of a webhook.
pub(super) fn insert_webhook(
    connection: &mut SqliteConnection,
    new: &NewWebhook,
    id: WebhookId,
) -> QueryResult<()> {
    InsertWebhook {
        sequence: id.sequence().as_i64(),
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
    .execute(connection)
    .map(|_| ())
}

/// Where the ordered jobs of a webhook stand in their lanes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// Behind all other jobs: the webhook is new.
    Last,
    /// Before the jobs of webhooks that were accepted later.
    ByAcceptance,
}

/// Stores the jobs of a webhook from this source. For a webhook without jobs, stores the row that marks it as filtered.
pub(super) fn insert_jobs(
    transaction: &mut Transaction<'_>,
    new: &[NewJob],
    source: &Source,
    place: Place,
    id: WebhookId,
    now: Timestamp,
) -> QueryResult<Vec<JobStatus>> {
    transaction.arrived();
    if new.is_empty() {
        insert_unrouted(transaction, id, Status::Filtered, now)?;
        return Ok(Vec::new());
    }
    let (webhook, now_ms) = (id.sequence().as_i64(), now.as_millisecond());
    let mut jobs = Vec::with_capacity(new.len());
    for NewJob { route, order } in new {
        let queue = transaction.queue(route, source)?;
        let lane = order.as_ref().map(|order| order.as_str());
        InsertJob { webhook, queue: queue.0.into(), available_at: now_ms, updated_at: now_ms, lane }
            .execute(transaction.connection)?;
        transaction.context.memory.counts.add(queue, Status::Pending);
        match (lane, place) {
            (None, _) => transaction.note_due(queue, now),
            (Some(value), Place::Last) => lanes::append(transaction, Lane { queue, value }, now_ms)?,
            (Some(value), Place::ByAcceptance) => {
                lanes::changed(transaction, Lane { queue, value }, webhook, now_ms)?;
            }
        }
        jobs.push(JobStatus::new(queue, route.clone(), now));
    }
    jobs.sort_by_key(|job| job.queue);
    Ok(jobs)
}

/// Stores the row that stands for a webhook without jobs, which is filtered or quarantined.
pub(super) fn insert_unrouted(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    status: Status,
    now: Timestamp,
) -> QueryResult<()> {
    let (webhook, now) = (id.sequence().as_i64(), now.as_millisecond());
    InsertUnrouted { webhook, status: status as i64, available_at: now, updated_at: now, completed_at: now }
        .execute(transaction.connection)?;
    transaction.context.memory.counts.add(NO_ROUTE_QUEUE, status);
    Ok(())
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
    struct InsertUnrouted {
        webhook: i64 as BigInt,
        status: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        completed_at: i64 as BigInt,
    }
    returns ();
    "INSERT INTO jobs (webhook, queue, status, attempts, uncounted_attempts, run, available_at, updated_at, completed_at, revision, lease_token)
     VALUES (?, 0, ?, 0, 0, 1, ?, ?, ?, 0, 0)"
}
