//! Rows of query results, and their conversion into domain types.

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::schema::webhooks;
use crate::domain::attempt::{AttemptRecord, HeldLease};
use crate::domain::id::WebhookId;
use crate::domain::job::{JobStatus, QueueId};
use crate::domain::route::RouteName;
use crate::domain::webhook::{EventType, IdempotencyKey, JobDetail, Source, WebhookDetail, WebhookStatus};
pub(super) use crate::store::columns::{
    content_type, count, job_status, kept_headers, outcome, traceparent, unreadable, verdict,
};
use crate::store::delivery;

/// A webhook joined with one of its jobs, or without a job.
#[derive(Queryable)]
pub(super) struct StatusRow {
    pub(super) webhook: WebhookRow,
    job: Option<JobRow>,
    route: Option<String>,
    /// The error of the job's last attempt; `None` unless the job is retrying or dead-lettered.
    last_error: Option<String>,
}

/// The names of a webhook, and the digest of its payload.
#[derive(Queryable)]
pub(super) struct WebhookRow {
    id: Vec<u8>,
    source: String,
    idempotency_key: String,
    event_type: String,
    pub(super) payload_digest: Vec<u8>,
    accepted_at: i64,
    is_quarantined: bool,
}

/// The other columns of a webhook.
#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks, check_for_backend(Sqlite))]
pub(super) struct ContentRow {
    content_type: String,
    verdict: i64,
    headers: Option<String>,
    payload: Option<Vec<u8>>,
    traceparent: String,
}

/// The status of a job.
#[derive(Queryable)]
pub(super) struct JobRow {
    queue: i64,
    status: i64,
    attempts: i64,
    available_at: i64,
    updated_at: i64,
    revision: i64,
}

/// The other columns of a job, and its result.
#[derive(Queryable)]
pub(super) struct DetailRow {
    pub(super) queue: i64,
    run: i64,
    replay: Option<i64>,
    uncounted_attempts: i64,
    available_at: i64,
    completed_at: Option<i64>,
    lease_until: Option<i64>,
    worker: Option<String>,
    /// The result of a completed job is that of its last attempt. Other jobs have none, even if an earlier run had one.
    result: Option<String>,
}

/// An ended attempt.
#[derive(Queryable)]
pub(super) struct AttemptRow {
    pub(super) queue: i64,
    number: i64,
    run: i64,
    outcome: i64,
    started_at: i64,
    finished_at: i64,
    error: Option<String>,
    worker: String,
    /// The delivery as it is stored.
    delivery: Option<String>,
}

/// Groups rows into webhooks. The rows of one webhook must be adjacent.
pub(super) fn statuses(rows: Vec<StatusRow>) -> QueryResult<Vec<WebhookStatus>> {
    let mut webhooks: Vec<WebhookStatus> = Vec::new();
    for StatusRow { webhook, job, route, last_error } in rows {
        let id = id(&webhook.id)?;
        let job = job.zip(route).map(|(job, route)| job.into_status(route, last_error)).transpose()?;
        match webhooks.last_mut().filter(|last| last.id == id) {
            Some(last) => last.jobs.extend(job),
            None => webhooks.push(webhook.into_status(id, job)?),
        }
    }
    Ok(webhooks)
}

impl WebhookRow {
    fn into_status(self, id: WebhookId, job: Option<JobStatus>) -> QueryResult<WebhookStatus> {
        Ok(WebhookStatus {
            id,
            source: Source::new(self.source).map_err(unreadable)?,
            idempotency_key: IdempotencyKey::new(self.idempotency_key).map_err(unreadable)?,
            event_type: EventType::new(self.event_type).map_err(unreadable)?,
            accepted_at: time(self.accepted_at)?,
            is_quarantined: self.is_quarantined,
            jobs: job.into_iter().collect(),
        })
    }
}

impl JobRow {
    fn into_status(self, route: String, last_error: Option<String>) -> QueryResult<JobStatus> {
        let status = job_status(self.status)?;
        let due = time(self.available_at)?;
        Ok(JobStatus {
            queue: queue(self.queue)?,
            route: RouteName::new(route).map_err(unreadable)?,
            status,
            attempt_count: count(self.attempts)?,
            updated_at: time(self.updated_at)?,
            revision: self.revision.cast_unsigned(),
            last_error,
            next_attempt_at: status.is_waiting().then_some(due),
        })
    }
}

impl ContentRow {
    /// The webhook with its status and its jobs, which are in the same order in both.
    pub(super) fn into_detail(
        self,
        status: WebhookStatus,
        jobs: Vec<JobDetail>,
    ) -> QueryResult<WebhookDetail> {
        Ok(WebhookDetail {
            status,
            payload: self.payload,
            content_type: content_type(&self.content_type),
            headers: kept_headers(self.headers.as_deref())?,
            verdict: verdict(self.verdict)?,
            traceparent: traceparent(&self.traceparent)?,
            jobs,
        })
    }
}

impl DetailRow {
    /// The job with attempts of it, oldest first.
    pub(super) fn into_detail(self, attempts: Vec<AttemptRow>) -> QueryResult<JobDetail> {
        let records = attempts.into_iter().map(|attempt| {
            Ok(AttemptRecord {
                number: count(attempt.number)?,
                run: count(attempt.run)?,
                outcome: outcome(attempt.outcome)?,
                started_at: time(attempt.started_at)?,
                finished_at: time(attempt.finished_at)?,
                error: attempt.error,
                worker: attempt.worker,
                delivery: attempt.delivery.as_deref().map(delivery::from_text).transpose()?,
            })
        });
        let until = self.lease_until.map(time).transpose()?;
        Ok(JobDetail {
            run: count(self.run)?,
            replay: self.replay.map(i64::cast_unsigned),
            uncounted_attempts: count(self.uncounted_attempts)?,
            available_at: time(self.available_at)?,
            completed_at: self.completed_at.map(time).transpose()?,
            lease: self.worker.zip(until).map(|(worker, until)| HeldLease { worker, until }),
            result: self.result,
            attempts: records.collect::<QueryResult<_>>()?,
        })
    }
}

pub(super) fn id(bytes: &[u8]) -> Result<WebhookId, QueryError> {
    bytes.try_into().map(WebhookId::from_bytes).map_err(unreadable)
}

pub(super) fn queue(number: i64) -> Result<QueueId, QueryError> {
    number.try_into().map(QueueId).map_err(unreadable)
}

/// The time of a column, which is in milliseconds since the epoch.
pub(super) fn time(milliseconds: i64) -> Result<Timestamp, QueryError> {
    Timestamp::from_millisecond(milliseconds).map_err(unreadable)
}
