//! Responses with webhooks, their jobs and attempts.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::delivery::{DeliveryBody, HeaderBody, headers};
use super::payload::Shown;
use super::{CauseWord, OutcomeWord, StatusWord, Time, VerdictWord, word};
use crate::domain::attempt::AttemptRecord;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::verdict::Cause;
use crate::domain::webhook::WebhookStatus;
use crate::service::view::{JobView, WebhookView};
use crate::store::{Accepted, Page};

/// The response to one accepted or released webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct SubmitWebhookResponse {
    /// The webhook's id, a UUIDv7.
    #[schema(format = Uuid)]
    id: String,
    /// The source of the webhook.
    source: String,
    /// The sender's key.
    idempotency_key: String,
    /// The event type.
    event_type: String,
    /// The current status of the webhook.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// True if the webhook had been accepted before. Of a release: another webhook with its key was accepted meanwhile,
    /// and the quarantined one is removed.
    duplicate: bool,
    /// When the webhook was first accepted.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Time,
    /// Why the last attempt failed or was interrupted, as in WebhookStatus; absent unless `duplicate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// When the next attempt is due, as in WebhookStatus; absent unless `duplicate`. The jobs of a new webhook
    /// are due at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Time>,
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
            last_error: webhook.last_error().map(str::to_owned),
            next_attempt_at: webhook.next_attempt_at().filter(|_| accepted.duplicate).map(Time),
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
    /// The source of the webhook.
    source: String,
    /// The sender's key.
    idempotency_key: String,
    /// The event type.
    event_type: String,
    /// The status of the webhook, derived from its jobs.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// How many attempts of its first job have started, over all runs; 0 if the webhook has no jobs. The
    /// first job is the one whose route comes first in the settings.
    attempt_count: u32,
    /// When the webhook was accepted.
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Time,
    /// When the status of any of its jobs last changed; the time of acceptance if the webhook has no jobs.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
    /// Why the last attempt of its retrying job failed or was interrupted, cut off after 2,000 characters; of
    /// its dead letter if no job is retrying. Of several such jobs, the one whose route comes first in the
    /// settings. Null if no job is retrying or dead-lettered.
    last_error: Option<String>,
    /// When the first of its waiting jobs (`pending` or `retrying`) is or was due; null if no job is waiting.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Time>,
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
            last_error: webhook.last_error().map(str::to_owned),
            next_attempt_at: webhook.next_attempt_at().map(Time),
        }
    }
}

/// A webhook with its payload, jobs and attempts. The members `attempt_count`, `result`, `max_attempts`,
/// `available_at`, `completed_at` and `attempts` describe the first job: the one whose route comes first in
/// the settings. If the webhook has no jobs, `available_at` and `completed_at` are the time of acceptance. Of `payload`,
/// `payload_text` and `payload_base64`, one is there until the retention of the payload is over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub(in crate::http) struct WebhookBody {
    #[serde(flatten)]
    #[schema(inline)]
    status: StatusBody,
    /// The payload as received, but without the white space around it, if `content_type` is a type of JSON and the payload
    /// is valid JSON, nests at most 128 levels deep, and has no half of a surrogate pair. `GET /v1/webhooks/{id}/body` has
    /// every byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Any other payload that is UTF-8, as a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    /// Any other payload, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// How many bytes the payload has, as received; absent once its retention is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_size: Option<u64>,
    /// The content type of the payload.
    content_type: String,
    /// The first headers of its request, at most 128 and 64 KiB. Values with credentials are `***`. Empty once the
    /// retention of the payload is over.
    headers: Vec<HeaderBody>,
    /// What verifying its request found.
    #[schema(value_type = VerdictWord)]
    verdict: &'static str,
    /// Why its request is not verified; null unless `verdict` is `unverified`.
    #[schema(value_type = Option<CauseWord>)]
    cause: Option<&'static str>,
    /// What the handler of its first job returned; absent until that job is completed, and once its
    /// retention is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// How many attempts of its first job may start over all runs, by the policy in force; 0 if the webhook
    /// has no jobs.
    max_attempts: u32,
    /// When its first job is due, or was last due.
    #[schema(value_type = String, format = DateTime)]
    available_at: Time,
    /// When its first job reached a final status; null until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Time>,
    /// The trace in which the webhook was accepted: 32 hex digits.
    trace_id: String,
    /// The last 1,000 attempts of its first job, so far as they have ended, oldest first.
    attempts: Vec<AttemptBody>,
    /// The jobs of the webhook, one for each route that matched, in the order of the settings. Jobs of
    /// routes that are gone from the settings come last.
    jobs: Vec<JobBody>,
}

impl TryFrom<WebhookView> for WebhookBody {
    type Error = Error;

    fn try_from(webhook: WebhookView) -> Result<Self> {
        let first = webhook.first_job();
        let payload_size = webhook.payload_size();
        let shown = Shown::new(webhook.payload, &webhook.content_type);
        Ok(Self {
            status: webhook.status.into(),
            payload: shown.json,
            payload_text: shown.text,
            payload_base64: shown.base64,
            payload_size,
            content_type: webhook.content_type.as_str().to_owned(),
            headers: headers(webhook.headers),
            verdict: webhook.verdict.as_str(),
            cause: webhook.verdict.cause().map(Cause::as_str),
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
    /// The name of the route.
    route: String,
    /// The name of the route's handler; null if the route is gone from the settings. An unfinished job is
    /// then held: it does not start.
    handler: Option<String>,
    /// The status of the job.
    #[serde(serialize_with = "word")]
    #[schema(value_type = StatusWord)]
    status: Status,
    /// How many attempts have started, over all runs.
    attempt_count: u32,
    /// How many attempts may start over all runs, by the policy in force; the same as `attempt_count` if
    /// the route is gone from the settings.
    max_attempts: u32,
    /// When the job is due, or was last due.
    #[schema(value_type = String, format = DateTime)]
    available_at: Time,
    /// When the job reached a final status (`completed`, `dead_lettered` or `cancelled`); null until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    completed_at: Option<Time>,
    /// What the handler returned, at most 64 KiB; absent until the job is completed, and once its retention
    /// is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
    /// The number of the current run: 1 at first, and one more with every retry by hand and every replay.
    run: u32,
    /// The number of the replay that began the current run; null for the first run, and for one that was begun by a retry
    /// or a replay of this webhook alone.
    replay: Option<u64>,
    /// The last 1,000 attempts of all runs, so far as they have ended, oldest first.
    attempts: Vec<AttemptBody>,
    /// Why its last attempt failed or was interrupted, cut off after 2,000 characters; null unless the job is
    /// `retrying` or `dead_lettered`.
    last_error: Option<String>,
    /// When its next attempt is or was due; null unless the job is waiting (`pending` or `retrying`).
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Time>,
    /// Who holds the lease of the running attempt, named as in the attempts; null unless the job is `processing`.
    worker: Option<String>,
    /// When the lease of the running attempt ends unless it is extended; null unless the job is `processing`.
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_until: Option<Time>,
}

impl TryFrom<JobView> for JobBody {
    type Error = Error;

    fn try_from(job: JobView) -> Result<Self> {
        let (worker, lease_until) = job.lease.map(|lease| (lease.worker, Time(lease.until))).unzip();
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
            replay: job.replay,
            attempts: job.attempts.into_iter().map(Into::into).collect(),
            last_error: job.last_error,
            next_attempt_at: job.next_attempt_at.map(Time),
            worker,
            lease_until,
        })
    }
}

/// One run of the handler for a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
struct AttemptBody {
    /// The number of the attempt, over all runs of the job; 1 for the first.
    number: u32,
    /// The number of the run that it belongs to; 1 for the first run of the job.
    run: u32,
    /// How the attempt ended.
    #[schema(value_type = OutcomeWord)]
    outcome: &'static str,
    /// When the attempt started.
    #[schema(value_type = String, format = DateTime)]
    started_at: Time,
    /// When the attempt ended.
    #[schema(value_type = String, format = DateTime)]
    finished_at: Time,
    /// Why the attempt failed or was interrupted, cut off after 2,000 characters; null if it completed.
    error: Option<String>,
    /// The process that ran the attempt: its host name, a space and its process id, on PostgreSQL with a random suffix.
    /// Of a route with the handler `pull`, the name of the worker.
    worker: String,
    /// What the handler sent, and what was answered; absent if the handler sent nothing, and once the retention of
    /// the payload is over. Shown of the last 20 attempts of a job; absent from earlier ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryBody>,
}

impl From<AttemptRecord> for AttemptBody {
    fn from(attempt: AttemptRecord) -> Self {
        Self {
            number: attempt.number,
            run: attempt.run,
            outcome: attempt.outcome.as_str(),
            started_at: Time(attempt.started_at),
            finished_at: Time(attempt.finished_at),
            error: attempt.error,
            worker: attempt.worker,
            delivery: attempt.delivery.map(Into::into),
        }
    }
}

/// One page of webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListWebhooksResponse {
    /// The webhooks, newest first. One call searches a bounded number of webhooks, so a page can have fewer
    /// than `page_size` webhooks, or none, although more pages follow.
    webhooks: Vec<StatusBody>,
    /// The token of the next page; empty if this is the last page.
    next_page_token: String,
    /// How far back the list has come with this page: it has looked at all webhooks that were accepted after this time.
    /// Null if this is the last page.
    #[schema(value_type = Option<String>, format = DateTime)]
    searched_to: Option<Time>,
}

impl From<Page> for ListWebhooksResponse {
    fn from(page: Page) -> Self {
        Self {
            searched_to: page.searched_to().map(Time),
            next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
            webhooks: page.webhooks.into_iter().map(Into::into).collect(),
        }
    }
}

/// Puts JSON text into a response byte for byte.
fn raw(json: Option<String>) -> Result<Option<Box<RawValue>>> {
    json.map(RawValue::from_string).transpose().map_err(Error::internal)
}
