//! Rows of query results, and their conversion into domain types.

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::result::Error as QueryError;
use jiff::Timestamp;
use uuid::Uuid;

use super::schedule::Schedule;
use super::schema::{job_statuses, webhooks};
use crate::domain::id::WebhookId;
use crate::domain::job::{JobId, JobStatus, QueueId, Status};
use crate::domain::route::RouteName;
use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookStatus};
use crate::store::changes::Change;
pub(super) use crate::store::columns::{
    content_type, count, job_status, kept_headers, outcome, traceparent, unreadable, verdict,
};

/// The start of PostgreSQL's time, 2000-01-01, in microseconds since the Unix epoch.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// The queue of the rows that stand for webhooks without jobs.
pub(super) const NO_ROUTE_QUEUE: QueueId = QueueId(0);

/// The names of a webhook.
#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks)]
pub(super) struct NamesRow {
    pub(super) id: Uuid,
    pub(super) source: String,
    pub(super) idempotency_key: String,
    pub(super) event_type: String,
    pub(super) accepted_at: PgTimestamp,
}

/// The status of a job.
#[derive(Queryable, Selectable)]
#[diesel(table_name = job_statuses)]
pub(super) struct JobStatusRow {
    pub(super) webhook: Uuid,
    pub(super) queue: i32,
    pub(super) status: i16,
    pub(super) attempts: i32,
    pub(super) available_at: PgTimestamp,
    pub(super) updated_at: PgTimestamp,
    pub(super) revision: i64,
    pub(super) last_error: Option<String>,
}

impl JobStatusRow {
    /// Whether the row stands for a webhook without jobs.
    pub(super) fn is_no_job(&self) -> bool {
        self.queue == queue_number(NO_ROUTE_QUEUE)
    }

    /// Whether the row stands for a quarantined webhook.
    pub(super) fn is_quarantined(&self) -> bool {
        self.is_no_job() && self.status == Status::Quarantined as i16
    }

    pub(super) fn into_change(self, schedule: &Schedule) -> QueryResult<Change> {
        let webhook = id(self.webhook);
        let job = self.into_status(schedule)?;
        Ok(Change {
            job: JobId { webhook, queue: job.queue },
            route: job.route,
            status: job.status,
            attempt_count: job.attempt_count,
            updated_at: job.updated_at,
            revision: job.revision,
            last_error: job.last_error,
            next_attempt_at: job.next_attempt_at,
        })
    }

    pub(super) fn into_status(self, schedule: &Schedule) -> QueryResult<JobStatus> {
        let queue = queue(self.queue)?;
        let status = job_status(self.status)?;
        let due = time(self.available_at)?;
        Ok(JobStatus {
            queue,
            route: route(schedule, queue)?,
            status,
            attempt_count: count(self.attempts)?,
            updated_at: time(self.updated_at)?,
            revision: self.revision.cast_unsigned(),
            last_error: self.last_error,
            next_attempt_at: status.is_waiting().then_some(due),
        })
    }
}

impl NamesRow {
    /// The status of a webhook with these jobs, or with the row that stands for them. The rows also say whether it is
    /// quarantined: the webhook may have been released since its own row was read.
    pub(super) fn into_status(
        self,
        jobs: Vec<JobStatusRow>,
        schedule: &Schedule,
    ) -> QueryResult<WebhookStatus> {
        let is_quarantined = jobs.iter().any(JobStatusRow::is_quarantined);
        let jobs = jobs.into_iter().filter(|job| !job.is_no_job()).map(|job| job.into_status(schedule));
        let mut jobs = jobs.collect::<QueryResult<Vec<_>>>()?;
        jobs.sort_by_key(|job| job.queue);
        Ok(WebhookStatus {
            id: id(self.id),
            source: Source::new(self.source).map_err(unreadable)?,
            idempotency_key: IdempotencyKey::new(self.idempotency_key).map_err(unreadable)?,
            event_type: EventType::new(self.event_type).map_err(unreadable)?,
            accepted_at: time(self.accepted_at)?,
            is_quarantined,
            jobs,
        })
    }
}

/// The route of a queue, after the caller has made the queue known to the schedule. A queue that is still not known is
/// missing in the database; its jobs are shown with a route that no settings have, and do not run.
pub(super) fn route(schedule: &Schedule, queue: QueueId) -> QueryResult<RouteName> {
    let missing = || RouteName::new(unknown_route(queue)).map_err(unreadable);
    schedule.route(queue).map_or_else(missing, Ok)
}

/// The name of the route of a queue that is missing in the database.
pub(super) fn unknown_route(queue: QueueId) -> String {
    format!("unknown-{}", queue.0)
}

pub(super) fn id(uuid: Uuid) -> WebhookId {
    WebhookId::from_bytes(uuid.into_bytes())
}

pub(super) fn uuid(id: WebhookId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

pub(super) fn queue(number: i32) -> QueryResult<QueueId> {
    u32::try_from(number).map(QueueId).map_err(unreadable)
}

/// The number of a queue, as stored in the database.
pub(super) fn queue_number(queue: QueueId) -> i32 {
    queue.0.cast_signed()
}

pub(super) fn job_id(webhook: Uuid, number: i32) -> QueryResult<JobId> {
    Ok(JobId { webhook: id(webhook), queue: queue(number)? })
}

pub(super) fn time(time: PgTimestamp) -> Result<Timestamp, QueryError> {
    Timestamp::from_microsecond(time.0.saturating_add(EPOCH_MICROSECONDS)).map_err(unreadable)
}

pub(super) fn pg_time(time: Timestamp) -> PgTimestamp {
    PgTimestamp(time.as_microsecond().saturating_sub(EPOCH_MICROSECONDS))
}

/// A text that PostgreSQL can store. It cannot store U+0000, which becomes U+FFFD.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
