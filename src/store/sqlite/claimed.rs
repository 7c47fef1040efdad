//! Reads the webhooks of leased jobs on a reading connection, so that the writer can continue.

use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};
use jiff::Timestamp;

use super::claim::{BareJob, Claimed};
use super::rows;
use super::schema::webhooks;
use crate::domain::attempt::Lease;
use crate::domain::job::{JobId, Status};
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::store::ClaimedJob;
use crate::store::changes::Change;

/// The result of reading the webhooks of leased jobs.
#[derive(Default)]
pub(super) struct ReadJobs {
    /// The jobs whose webhook was read.
    pub(super) jobs: Vec<ClaimedJob>,
    /// The status changes of these jobs, to be announced.
    pub(super) changes: Vec<Change>,
    /// The jobs whose webhook could not be read.
    pub(super) unread: Vec<BareJob>,
    /// The jobs whose payloads are too many bytes for one claim.
    pub(super) left: Vec<BareJob>,
}

/// The columns of a webhook that a handler needs.
#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks, check_for_backend(Sqlite))]
struct WebhookOfJob {
    id: Vec<u8>,
    source: String,
    idempotency_key: String,
    event_type: String,
    content_type: String,
    payload: Option<Vec<u8>>,
    traceparent: String,
}

/// Reads the webhooks of leased jobs, those that are due longest first, as long as their payloads have at most
/// `max_bytes`, and at least one. Returns an error only if no webhook could be read.
pub(super) fn read_webhooks(
    connection: &mut SqliteConnection,
    claimed: Claimed,
    max_bytes: usize,
) -> QueryResult<ReadJobs> {
    let (mut read, mut failure) = (ReadJobs::default(), None);
    let mut bytes = 0_usize;
    for leased in claimed.jobs {
        if bytes >= max_bytes && !read.jobs.is_empty() {
            read.left.push(leased);
            continue;
        }
        match read_webhook(connection, &leased, claimed.claimed_at) {
            Ok(job) => {
                bytes = bytes.saturating_add(job.payload.as_ref().map_or(0, Vec::len));
                if bytes > max_bytes && !read.jobs.is_empty() {
                    read.left.push(leased);
                    continue;
                }
                read.changes.push(Change {
                    job: job.lease.job,
                    route: leased.route,
                    status: Status::Processing,
                    attempt_count: leased.attempt,
                    updated_at: claimed.claimed_at,
                    revision: leased.revision.cast_unsigned(),
                    last_error: None,
                    next_attempt_at: None,
                });
                read.jobs.push(job);
            }
            Err(error) => {
                read.unread.push(leased);
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if read.jobs.is_empty() => Err(error),
        _ => Ok(read),
    }
}

fn read_webhook(
    connection: &mut SqliteConnection,
    leased: &BareJob,
    claimed_at: Timestamp,
) -> QueryResult<ClaimedJob> {
    let webhook =
        webhooks::table.find(leased.webhook).select(WebhookOfJob::as_select()).get_result(connection)?;
    let job = JobId { webhook: rows::id(&webhook.id)?, queue: leased.queue };
    Ok(ClaimedJob {
        lease: Lease { job, token: leased.lease_token.cast_unsigned() },
        route: leased.route.clone(),
        order: leased.order.clone(),
        source: Source::new(webhook.source).map_err(rows::unreadable)?,
        idempotency_key: IdempotencyKey::new(webhook.idempotency_key).map_err(rows::unreadable)?,
        event_type: EventType::new(webhook.event_type).map_err(rows::unreadable)?,
        payload: webhook.payload,
        content_type: rows::content_type(&webhook.content_type),
        traceparent: rows::traceparent(&webhook.traceparent)?,
        attempt: leased.attempt,
        attempt_of_run: leased.attempt_of_run,
        run: leased.run,
        available_at: leased.available_at,
        claimed_at,
    })
}
