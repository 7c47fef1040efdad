//! Messages of the proto, made of the domain's types and the other way round.

use jiff::Timestamp;
use prost_types::value::Kind;

use super::proto;
use crate::domain::attempt::{AttemptRecord, Outcome};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::job::Status;
use crate::domain::payload::Payload;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source, WebhookDetail, WebhookStatus};
use crate::service::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, Stats};
use crate::store::{Accepted, ListQuery, Page};

/// Whole numbers up to here are exact in a double, and are written without a fraction.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

pub(super) fn new_webhook(
    request: proto::SubmitWebhookRequest,
    max_body_bytes: usize,
    traceparent: Traceparent,
) -> Result<NewWebhook> {
    use proto::submit_webhook_request::Content;
    let json = match request.content {
        Some(Content::PayloadJson(json)) => json,
        Some(Content::Payload(value)) => json_of(value)?.to_string(),
        None => return Err(Error::invalid("payload", "is missing; give `payload` or `payload_json`")),
    };
    if json.len() > max_body_bytes {
        return Err(Error::new(
            Reason::BodyTooLarge,
            format!("the payload has more than {max_body_bytes} bytes; send a smaller one"),
        ));
    }
    Ok(NewWebhook {
        source: Source::default(),
        idempotency_key: IdempotencyKey::new(request.idempotency_key)?,
        event_type: EventType::new(request.event_type)?,
        payload: Payload::new(json)?,
        traceparent,
    })
}

pub(super) fn list_query(request: proto::ListWebhooksRequest) -> Result<ListQuery> {
    let limit = match request.page_size as usize {
        0 => DEFAULT_PAGE_SIZE,
        size if size <= MAX_PAGE_SIZE => size,
        _ => {
            return Err(Error::invalid(
                "page_size",
                format_args!("must be a number from 1 to {MAX_PAGE_SIZE}"),
            ));
        }
    };
    let status = proto::Status::try_from(request.status)
        .map_err(|_| Error::invalid("status", "is none of the known statuses"))?;
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(ListQuery {
        status: status_from(status),
        source: given(request.source).map(Source::new).transpose()?,
        event_type: given(request.event_type).map(EventType::new).transpose()?,
        accepted_after: time_from("accepted_after", request.accepted_after)?,
        accepted_before: time_from("accepted_before", request.accepted_before)?,
        before: given(request.page_token).map(|token| token.parse()).transpose()?,
        limit,
    })
}

pub(super) fn accepted(accepted: Accepted) -> proto::SubmitWebhookResponse {
    let webhook = accepted.webhook;
    proto::SubmitWebhookResponse {
        id: webhook.id.to_string(),
        source: webhook.source.to_string(),
        idempotency_key: webhook.idempotency_key.to_string(),
        event_type: webhook.event_type.to_string(),
        status: status(webhook.status).into(),
        duplicate: accepted.duplicate,
        accepted_at: Some(time(webhook.accepted_at)),
    }
}

pub(super) fn webhook_status(webhook: WebhookStatus) -> proto::WebhookStatus {
    proto::WebhookStatus {
        id: webhook.id.to_string(),
        source: webhook.source.to_string(),
        idempotency_key: webhook.idempotency_key.to_string(),
        event_type: webhook.event_type.to_string(),
        status: status(webhook.status).into(),
        attempt_count: webhook.attempt_count,
        accepted_at: Some(time(webhook.accepted_at)),
        updated_at: Some(time(webhook.updated_at)),
    }
}

pub(super) fn webhook(detail: WebhookDetail) -> proto::Webhook {
    let trace_id = detail.traceparent.trace_id().to_owned();
    let names = webhook_status(detail.status);
    proto::Webhook {
        id: names.id,
        source: names.source,
        idempotency_key: names.idempotency_key,
        event_type: names.event_type,
        status: names.status,
        attempt_count: names.attempt_count,
        accepted_at: names.accepted_at,
        updated_at: names.updated_at,
        payload_json: detail.payload,
        result_json: detail.result,
        max_attempts: detail.max_attempts,
        available_at: Some(time(detail.available_at)),
        completed_at: detail.completed_at.map(time),
        trace_id,
        attempts: detail.attempts.into_iter().map(attempt).collect(),
    }
}

pub(super) fn page(page: Page) -> proto::ListWebhooksResponse {
    proto::ListWebhooksResponse {
        next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
        webhooks: page.webhooks.into_iter().map(webhook_status).collect(),
    }
}

pub(super) fn stats(stats: Stats) -> proto::GetStatsResponse {
    let of = |status| stats.counts.of(status);
    proto::GetStatsResponse {
        counts: Some(proto::StatusCounts {
            pending: of(Status::Pending),
            processing: of(Status::Processing),
            retrying: of(Status::Retrying),
            completed: of(Status::Completed),
            dead_lettered: of(Status::DeadLettered),
            cancelled: of(Status::Cancelled),
        }),
        oldest_due_seconds: stats.oldest_due_seconds,
        workers: Some(proto::WorkerCounts { total: stats.workers.total, busy: stats.workers.busy }),
        rates: Some(proto::Rates {
            accepted_per_second: stats.accepted_per_second,
            completed_per_second: stats.completed_per_second,
        }),
    }
}

fn attempt(attempt: AttemptRecord) -> proto::Attempt {
    proto::Attempt {
        number: attempt.number,
        outcome: match attempt.outcome {
            Outcome::Completed => proto::Outcome::Completed,
            Outcome::Failed => proto::Outcome::Failed,
            Outcome::Interrupted => proto::Outcome::Interrupted,
        }
        .into(),
        started_at: Some(time(attempt.started_at)),
        finished_at: Some(time(attempt.finished_at)),
        error: attempt.error,
        worker: attempt.worker,
    }
}

fn status(status: Status) -> proto::Status {
    match status {
        Status::Pending => proto::Status::Pending,
        Status::Processing => proto::Status::Processing,
        Status::Retrying => proto::Status::Retrying,
        Status::Completed => proto::Status::Completed,
        Status::DeadLettered => proto::Status::DeadLettered,
        Status::Cancelled => proto::Status::Cancelled,
    }
}

fn status_from(word: proto::Status) -> Option<Status> {
    Status::ALL.into_iter().find(|candidate| status(*candidate) == word)
}

fn time(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

fn time_from(field: &'static str, time: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>> {
    time.map(|time| {
        Timestamp::new(time.seconds, time.nanos).map_err(|_| Error::invalid(field, "is out of range"))
    })
    .transpose()
}

/// The JSON of a `google.protobuf.Value`. prost bounds how deep it nests.
fn json_of(value: prost_types::Value) -> Result<serde_json::Value> {
    use serde_json::Value;
    Ok(match value.kind {
        None => return Err(Error::invalid("payload", "has a value of no kind")),
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(number)) => json_number(number)?,
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_of).collect::<Result<_>>()?,
        Some(Kind::StructValue(members)) => members
            .fields
            .into_iter()
            .map(|(name, value)| Ok((name, json_of(value)?)))
            .collect::<Result<serde_json::Map<_, _>>>()?
            .into(),
    })
}

fn json_number(number: f64) -> Result<serde_json::Value> {
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number).map(Into::into).ok_or_else(|| {
        Error::invalid("payload", "has a number that JSON cannot write, infinite or not a number")
    })
}
