//! The JSON that goes out. Its members are those of the messages in the proto; a test compares.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::attempt::AttemptRecord;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::webhook::{WebhookDetail, WebhookStatus};
use crate::service::Stats;
use crate::store::{Accepted, Page};

/// RFC 3339, UTC, milliseconds.
#[derive(Debug)]
pub(super) struct Time(Timestamp);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&PRINTER.timestamp_to_string(&self.0))
    }
}

fn word<S: Serializer>(status: &Status, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

/// Where the processing of a webhook stands.
#[derive(ToSchema)]
#[schema(as = Status, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum StatusWord {
    Pending,
    Processing,
    Retrying,
    Completed,
    DeadLettered,
    Cancelled,
}

/// How one attempt ended.
#[derive(ToSchema)]
#[schema(as = Outcome, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum OutcomeWord {
    Completed,
    Failed,
    Interrupted,
}

/// The answer to a submitted webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SubmitWebhookResponse {
    /// The webhook's id, a UUIDv7.
    #[schema(format = Uuid)]
    id: String,
    /// The source it came from.
    source: String,
    /// The sender's key.
    idempotency_key: String,
    /// The event type.
    event_type: String,
    /// The status as it is now.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// True if the webhook had been accepted before.
    duplicate: bool,
    /// When it was accepted, first of all.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Time,
}

impl From<Accepted> for SubmitWebhookResponse {
    fn from(accepted: Accepted) -> Self {
        let webhook = accepted.webhook;
        Self {
            id: webhook.id.to_string(),
            source: webhook.source.to_string(),
            idempotency_key: webhook.idempotency_key.to_string(),
            event_type: webhook.event_type.to_string(),
            status: webhook.status,
            duplicate: accepted.duplicate,
            accepted_at: Time(webhook.accepted_at),
        }
    }
}

/// The status of a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookStatus)]
pub(super) struct StatusBody {
    /// The webhook's id, a UUIDv7.
    #[schema(format = Uuid)]
    id: String,
    /// The source it came from.
    source: String,
    /// The sender's key.
    idempotency_key: String,
    /// The event type.
    event_type: String,
    /// Where its processing stands.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// How many attempts have started.
    attempt_count: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Time,
    /// When its status last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
}

impl From<WebhookStatus> for StatusBody {
    fn from(webhook: WebhookStatus) -> Self {
        Self {
            id: webhook.id.to_string(),
            source: webhook.source.to_string(),
            idempotency_key: webhook.idempotency_key.to_string(),
            event_type: webhook.event_type.to_string(),
            status: webhook.status,
            attempt_count: webhook.attempt_count,
            accepted_at: Time(webhook.accepted_at),
            updated_at: Time(webhook.updated_at),
        }
    }
}

/// All that is known of a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(super) struct WebhookBody {
    #[serde(flatten)]
    #[schema(inline)]
    status: StatusBody,
    /// The payload, byte for byte as it came; absent once its retention is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// What the handler returned; absent until completed, and once the retention is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// How many attempts may start before the webhook is dead-lettered.
    max_attempts: u32,
    /// When it is, or last was, due.
    #[schema(value_type = String, format = DateTime)]
    available_at: Time,
    /// When it reached a final status; null until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Time>,
    /// The trace it belongs to: 32 hex digits.
    trace_id: String,
    /// The attempts that have ended, oldest first.
    attempts: Vec<AttemptBody>,
}

impl TryFrom<WebhookDetail> for WebhookBody {
    type Error = Error;

    fn try_from(webhook: WebhookDetail) -> Result<Self> {
        let raw = |json: Option<String>| json.map(RawValue::from_string).transpose().map_err(Error::internal);
        Ok(Self {
            status: webhook.status.into(),
            payload: raw(webhook.payload)?,
            result: raw(webhook.result)?,
            max_attempts: webhook.max_attempts,
            available_at: Time(webhook.available_at),
            completed_at: webhook.completed_at.map(Time),
            trace_id: webhook.traceparent.trace_id().to_owned(),
            attempts: webhook.attempts.into_iter().map(Into::into).collect(),
        })
    }
}

/// One run of the handler.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(super) struct AttemptBody {
    /// 1 for the first.
    number: u32,
    /// How it ended.
    #[schema(value_type = OutcomeWord)]
    outcome: &'static str,
    /// When the handler was started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Time,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    finished_at: Time,
    /// Why it failed; null if it did not.
    error: Option<String>,
    /// The process that ran it.
    worker: String,
}

impl From<AttemptRecord> for AttemptBody {
    fn from(attempt: AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            outcome: attempt.outcome.as_str(),
            started_at: Time(attempt.started_at),
            finished_at: Time(attempt.finished_at),
            error: attempt.error,
            worker: attempt.worker,
        }
    }
}

/// One page of webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListWebhooksResponse {
    /// Newest first. A page can hold fewer than `page_size`, even none, and still not be the last:
    /// one call looks at a bounded number of webhooks.
    webhooks: Vec<StatusBody>,
    /// Where to go on; empty if this is the last page.
    next_page_token: String,
}

impl From<Page> for ListWebhooksResponse {
    fn from(page: Page) -> Self {
        Self {
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
            webhooks: page.webhooks.into_iter().map(Into::into).collect(),
        }
    }
}

/// What the inbox holds, and how fast it moves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GetStatsResponse {
    /// How many webhooks are in each status.
    counts: StatusCounts,
    /// For how many seconds the oldest job has been due without being started; 0 if none is.
    oldest_due_seconds: f64,
    /// The worker threads.
    workers: WorkerCounts,
    /// How fast webhooks come in and go out.
    rates: Rates,
}

/// How many webhooks are in each status.
#[derive(Debug, Serialize, ToSchema)]
struct StatusCounts {
    pending: u64,
    processing: u64,
    retrying: u64,
    completed: u64,
    dead_lettered: u64,
    cancelled: u64,
}

/// The worker threads of the process that answers.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerCounts {
    /// How many there are.
    total: u32,
    /// How many hold a job.
    busy: u32,
}

/// Means over the last 60 full seconds of the process that answers.
#[derive(Debug, Serialize, ToSchema)]
struct Rates {
    /// New webhooks accepted a second.
    accepted_per_second: f64,
    /// Webhooks completed a second.
    completed_per_second: f64,
}

impl From<Stats> for GetStatsResponse {
    fn from(stats: Stats) -> Self {
        let of = |status| stats.counts.of(status);
        Self {
            counts: StatusCounts {
                pending: of(Status::Pending),
                processing: of(Status::Processing),
                retrying: of(Status::Retrying),
                completed: of(Status::Completed),
                dead_lettered: of(Status::DeadLettered),
                cancelled: of(Status::Cancelled),
            },
            oldest_due_seconds: stats.oldest_due_seconds,
            workers: WorkerCounts { total: stats.workers.total, busy: stats.workers.busy },
            rates: Rates {
                accepted_per_second: stats.accepted_per_second,
                completed_per_second: stats.completed_per_second,
            },
        }
    }
}
