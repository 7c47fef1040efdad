//! Paths that name a webhook by the sender's key instead of its id. `watch` has one more.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{StatusBody, WebhookBody};
use super::problem::{Problem, Refused};
use super::query::parameters;
use super::webhooks::with_payload;
use super::{Api, json};
use crate::domain::error::{Error, Result};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookName;
use crate::service::Service;

type Answer = std::result::Result<Response, Refused>;

/// Where the calls are that name a webhook by its id.
const BY_ID: &str = "/v1/webhooks/{id}, or a path below it such as /v1/webhooks/{id}/status";

/// Names a webhook by the sender's key.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ByKey {
    /// The sender's key.
    #[param(value_type = String, required = true)]
    #[serde(default)]
    idempotency_key: String,
    /// The source of the key; empty means `default`.
    #[param(default = "default", value_type = Option<String>)]
    #[serde(default)]
    source: String,
}

/// Names a webhook by the sender's key, or one of its jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobByKey {
    /// The sender's key.
    #[param(value_type = String, required = true)]
    #[serde(default)]
    idempotency_key: String,
    /// The source of the key; empty means `default`.
    #[param(default = "default", value_type = Option<String>)]
    #[serde(default)]
    source: String,
    /// Acts only on the job of this route. If absent: on every job whose status allows it.
    route: Option<String>,
    /// Why, in your own words, for the list of actions: at most 500 characters without control characters.
    reason: Option<String>,
}

/// Returns the status of a webhook, by the sender's key
#[utoipa::path(
    get, path = "/v1/status", tag = "webhooks", operation_id = "GetStatus", params(ByKey),
    responses(
        (status = 200, description = "The current status of the webhook", body = StatusBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, was removed, or is in quarantine, where it has no key", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_status(api: Api, query: std::result::Result<Query<ByKey>, QueryRejection>) -> Answer {
    let status = api.service.status(name(query)?).await?;
    Ok(json(&StatusBody::from(status)))
}

/// Returns a webhook with its payload, jobs and attempts, by the sender's key
#[utoipa::path(
    get, path = "/v1/webhook", tag = "webhooks", operation_id = "GetWebhookByKey", params(ByKey),
    responses(
        (status = 200, description = "The webhook", body = WebhookBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, was removed, or is in quarantine, where it has no key", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_webhook(
    api: Api,
    query: std::result::Result<Query<ByKey>, QueryRejection>,
) -> Answer {
    let webhook = api.service.webhook(name(query)?).await?;
    with_payload(webhook).await
}

/// Starts a new run of dead-lettered or cancelled jobs, by the sender's key
///
/// Without `route`, of every dead-lettered or cancelled job of the webhook. Each run has a fresh budget of
/// attempts.
#[utoipa::path(
    post, path = "/v1/retry", tag = "webhooks", operation_id = "RetryWebhookByKey", params(JobByKey),
    responses(
        (status = 200, description = "The jobs are pending again", body = StatusBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it has no job of this route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No job is dead-lettered or cancelled, or the payload is past its retention", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry_webhook(
    api: Api,
    query: std::result::Result<Query<JobByKey>, QueryRejection>,
) -> Answer {
    let (service, name, route) = because(&api, query)?;
    Ok(json(&StatusBody::from(service.retry(name, route).await?)))
}

/// Starts a new run of finished jobs, also of completed ones, by the sender's key
///
/// Without `route`, of every job of the webhook that is completed, dead-lettered or cancelled. Each run has a fresh
/// budget of attempts. `POST /v1/replays` does so for many webhooks.
#[utoipa::path(
    post, path = "/v1/replay", tag = "webhooks", operation_id = "ReplayWebhookByKey", params(JobByKey),
    responses(
        (status = 200, description = "The jobs are pending again", body = StatusBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it has no job of this route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No job is finished, or the payload is past its retention", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn replay_webhook(
    api: Api,
    query: std::result::Result<Query<JobByKey>, QueryRejection>,
) -> Answer {
    let (service, name, route) = because(&api, query)?;
    Ok(json(&StatusBody::from(service.replay_webhook(name, route).await?)))
}

/// Cancels waiting jobs and gives up dead letters, by the sender's key
///
/// Without `route`, every job of the webhook that is pending, retrying or dead-lettered. Jobs that wait
/// behind a dead letter that is given up can start. Cancelling a cancelled job again changes nothing.
#[utoipa::path(
    post, path = "/v1/cancel", tag = "webhooks", operation_id = "CancelWebhookByKey", params(JobByKey),
    responses(
        (status = 200, description = "The jobs are cancelled", body = StatusBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it has no job of this route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Every job is processing or completed, or the webhook has no jobs", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_webhook(
    api: Api,
    query: std::result::Result<Query<JobByKey>, QueryRejection>,
) -> Answer {
    let (service, name, route) = because(&api, query)?;
    Ok(json(&StatusBody::from(service.cancel(name, route).await?)))
}

/// The webhook that a request names.
pub(super) fn name(query: std::result::Result<Query<ByKey>, QueryRejection>) -> Result<WebhookName> {
    let ByKey { idempotency_key, source } = with_key(query)?;
    of_key(&idempotency_key, &source)
}

/// The webhook with a key. Errors: `InvalidField`.
pub(super) fn of_key(idempotency_key: &str, source: &str) -> Result<WebhookName> {
    if idempotency_key.is_empty() {
        return Err(Error::invalid(
            "idempotency_key",
            format_args!("is missing; give it, or the id of the webhook in the path: {BY_ID}"),
        ));
    }
    WebhookName::from_key(idempotency_key, source)
}

/// The parameters of a query string with a key. The error for an `id` says where that belongs.
fn with_key<T>(query: std::result::Result<Query<T>, QueryRejection>) -> Result<T> {
    parameters(query).map_err(|error| match error.field() {
        Some("id") => Error::invalid("id", format_args!("belongs in the path: {BY_ID}")),
        _ => error,
    })
}

/// The use cases for the reason of a request, and the webhook and the route that it names.
fn because(
    api: &Api,
    query: std::result::Result<Query<JobByKey>, QueryRejection>,
) -> Result<(Service, WebhookName, Option<RouteName>)> {
    let JobByKey { idempotency_key, source, route, reason } = with_key(query)?;
    let name = of_key(&idempotency_key, &source)?;
    Ok((api.because(reason)?, name, route.map(RouteName::new).transpose()?))
}
