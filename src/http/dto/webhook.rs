//! Webhooks, their jobs and attempts.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{OutcomeWord, StatusWord, Time, word};
use crate::domain::attempt::AttemptRecord;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::webhook::WebhookStatus;
use crate::service::view::{JobView, WebhookView};
use crate::store::{Accepted, Page};

/// The answer to a submitted webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SubmitWebhookResponse {
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
    /// When it was accepted for the first time.
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
            status: webhook.status(),
            duplicate: accepted.duplicate,
            accepted_at: Time(webhook.accepted_at),
        }
    }
}

/// The status of a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookStatus)]
pub(in crate::http) struct StatusBody {
    /// The webhook's id, a UUIDv7.
    #[schema(format = Uuid)]
    id: String,
    /// The source it came from.
    source: String,
    /// The sender's key.
    idempotency_key: String,
    /// The event type.
    event_type: String,
    /// Where its processing stands, derived from its jobs.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// How many attempts of its first job have started: the job of the first route in the settings.
    attempt_count: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Time,
    /// When the status of any of its jobs last changed.
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
            status: webhook.status(),
            attempt_count: webhook.attempt_count(),
            accepted_at: Time(webhook.accepted_at),
            updated_at: Time(webhook.updated_at()),
        }
    }
}

/// All that is known of a webhook. The members from `attempt_count` to `attempts` that belong to a job
/// are those of the first job: the one of the first route in the settings. A filtered webhook has no
/// job: it was due, and final, when it was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(in crate::http) struct WebhookBody {
    #[serde(flatten)]
    #[schema(inline)]
    status: StatusBody,
    /// The payload exactly as received. Absent after its retention ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// What the handler of its first job returned; absent until that job is completed, and once the
    /// retention is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// How many attempts of its first job may start before it is dead-lettered, by the policy in force.
    max_attempts: u32,
    /// When its first job is, or last was, due.
    #[schema(value_type = String, format = DateTime)]
    available_at: Time,
    /// When its first job reached a final status; null until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Time>,
    /// The trace it belongs to: 32 hex digits.
    trace_id: String,
    /// The attempts of its first job that have ended, oldest first.
    attempts: Vec<AttemptBody>,
    /// Its jobs, one for each route that matched, in the order of the settings.
    jobs: Vec<JobBody>,
}

impl TryFrom<WebhookView> for WebhookBody {
    type Error = Error;

    fn try_from(webhook: WebhookView) -> Result<Self> {
        let first = webhook.first_job();
        Ok(Self {
            status: webhook.status.into(),
            payload: raw(webhook.payload)?,
            result: raw(first.result)?,
            max_attempts: first.max_attempts,
            available_at: Time(first.available_at),
            completed_at: first.completed_at.map(Time),
            trace_id: webhook.traceparent.trace_id().to_owned(),
            attempts: first.attempts.into_iter().map(Into::into).collect(),
            jobs: webhook.jobs.into_iter().map(TryInto::try_into).collect::<Result<_>>()?,
        })
    }
}

/// The processing of a webhook by one route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
struct JobBody {
    /// The route.
    route: String,
    /// The handler of the route; null if the settings have no such route: the job is then held.
    handler: Option<String>,
    /// Where it stands.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// How many attempts have started, over all runs.
    attempt_count: u32,
    /// How many attempts may start before it is dead-lettered, over all runs, by the policy in force.
    max_attempts: u32,
    /// When it is, or last was, due.
    #[schema(value_type = String, format = DateTime)]
    available_at: Time,
    /// When it reached a final status; null until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Time>,
    /// What the handler returned; absent until completed, and once the retention is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// 1, and one more with every retry by hand.
    run: u32,
    /// The attempts that have ended, oldest first.
    attempts: Vec<AttemptBody>,
}

impl TryFrom<JobView> for JobBody {
    type Error = Error;

    fn try_from(job: JobView) -> Result<Self> {
        Ok(Self {
            route: job.route.to_string(),
            handler: job.handler,
            status: job.status,
            attempt_count: job.attempt_count,
            max_attempts: job.max_attempts,
            available_at: Time(job.available_at),
            completed_at: job.completed_at.map(Time),
            result: raw(job.result)?,
            run: job.run,
            attempts: job.attempts.into_iter().map(Into::into).collect(),
        })
    }
}

/// One run of the handler.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptBody {
    /// 1 for the first attempt of the job.
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
pub(in crate::http) struct ListWebhooksResponse {
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

/// JSON text as it is.
fn raw(json: Option<String>) -> Result<Option<Box<RawValue>>> {
    json.map(RawValue::from_string).transpose().map_err(Error::internal)
}
