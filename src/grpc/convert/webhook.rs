//! Converts webhooks, their jobs and attempts to messages.

use super::delivery::{delivery, headers};
use super::payload::{cause, payload, verdict};
use super::{status, time};
use crate::domain::attempt::{AttemptRecord, Outcome};
use crate::domain::webhook::WebhookStatus;
use crate::grpc::proto;
use crate::service::arrivals::Arrival;
use crate::service::view::{JobView, WebhookView};
use crate::store::{Accepted, Page};

pub(in crate::grpc) fn accepted(accepted: Accepted) -> proto::SubmitWebhookResponse {
    let webhook = accepted.webhook;
    proto::SubmitWebhookResponse {
        id: webhook.id.to_string(),
        source: webhook.source.to_string(),
        idempotency_key: webhook.idempotency_key.to_string(),
        event_type: webhook.event_type.to_string(),
        status: status(webhook.status()).into(),
        duplicate: accepted.duplicate,
        accepted_at: Some(time(webhook.accepted_at)),
        last_error: webhook.last_error().map(str::to_owned),
        next_attempt_at: webhook.next_attempt_at().filter(|_| accepted.duplicate).map(time),
    }
}

pub(in crate::grpc) fn discarded(webhook: WebhookStatus) -> proto::DiscardWebhookResponse {
    proto::DiscardWebhookResponse {
        id: webhook.id.to_string(),
        source: webhook.source.to_string(),
        idempotency_key: webhook.idempotency_key.to_string(),
        event_type: webhook.event_type.to_string(),
    }
}

pub(in crate::grpc) fn webhook_status(webhook: WebhookStatus) -> proto::WebhookStatus {
    proto::WebhookStatus {
        id: webhook.id.to_string(),
        source: webhook.source.to_string(),
        idempotency_key: webhook.idempotency_key.to_string(),
        event_type: webhook.event_type.to_string(),
        status: status(webhook.status()).into(),
        attempt_count: webhook.attempt_count(),
        accepted_at: Some(time(webhook.accepted_at)),
        updated_at: Some(time(webhook.updated_at())),
        last_error: webhook.last_error().map(str::to_owned),
        next_attempt_at: webhook.next_attempt_at().map(time),
    }
}

pub(in crate::grpc) fn webhook(webhook: WebhookView) -> proto::Webhook {
    let first = webhook.first_job();
    let payload_size = webhook.payload_size();
    let (payload_json, payload_bytes) = payload(webhook.payload, &webhook.content_type);
    let names = webhook_status(webhook.status);
    proto::Webhook {
        id: names.id,
        source: names.source,
        idempotency_key: names.idempotency_key,
        event_type: names.event_type,
        status: names.status,
        attempt_count: names.attempt_count,
        accepted_at: names.accepted_at,
        updated_at: names.updated_at,
        payload_json,
        result_json: first.result,
        max_attempts: first.max_attempts,
        available_at: Some(time(first.available_at)),
        completed_at: first.completed_at.map(time),
        trace_id: webhook.traceparent.trace_id().to_owned(),
        attempts: first.attempts.into_iter().map(attempt).collect(),
        jobs: webhook.jobs.into_iter().map(job).collect(),
        last_error: names.last_error,
        next_attempt_at: names.next_attempt_at,
        payload_bytes,
        content_type: webhook.content_type.as_str().to_owned(),
        headers: headers(webhook.headers),
        verdict: verdict(webhook.verdict).into(),
        cause: webhook.verdict.cause().map(|of| cause(of).into()),
        payload_size,
    }
}

pub(in crate::grpc) fn page(page: Page) -> proto::ListWebhooksResponse {
    proto::ListWebhooksResponse {
        searched_to: page.searched_to().map(time),
        next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
        webhooks: page.webhooks.into_iter().map(webhook_status).collect(),
    }
}

pub(in crate::grpc) fn arrival(arrival: Arrival) -> proto::WatchWebhooksResponse {
    proto::WatchWebhooksResponse {
        webhook: arrival.webhook.map(webhook_status),
        resume_after: arrival.resume_after.to_string(),
    }
}

fn job(job: JobView) -> proto::Job {
    let (worker, lease_until) = job.lease.map(|lease| (lease.worker, time(lease.until))).unzip();
    proto::Job {
        route: job.route.to_string(),
        handler: job.handler,
        status: status(job.status).into(),
        attempt_count: job.attempt_count,
        max_attempts: job.max_attempts,
        available_at: Some(time(job.available_at)),
        completed_at: job.completed_at.map(time),
        result_json: job.result,
        run: job.run,
        replay: job.replay,
        attempts: job.attempts.into_iter().map(attempt).collect(),
        last_error: job.last_error,
        next_attempt_at: job.next_attempt_at.map(time),
        worker,
        lease_until,
    }
}

fn attempt(attempt: AttemptRecord) -> proto::Attempt {
    proto::Attempt {
        number: attempt.number,
        run: attempt.run,
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
        delivery: attempt.delivery.map(delivery),
    }
}
