//! Paths that release or discard webhooks in quarantine.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;

use super::dto::{DiscardWebhookResponse, SubmitWebhookResponse};
use super::problem::{Problem, Refused};
use super::query::{Id, Why, parameters};
use super::{Api, json};

type Answer = std::result::Result<Response, Refused>;

/// Accepts a quarantined webhook under its id, with a job for each route that matches it now
///
/// From then on it has its key. If the key was taken meanwhile by the same webhook (source, key, event type and
/// payload), or by any if the source has `on_conflict = "keep_first"`, the quarantined one is removed, and the answer is
/// that of the other one, with `duplicate` set. If the key was taken by another webhook, or the backlog is full, it
/// stays quarantined.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/release", tag = "webhooks", operation_id = "ReleaseWebhook",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid), Why),
    responses(
        (status = 200, description = "The webhook is accepted, or was accepted before", body = SubmitWebhookResponse),
        (status = 400, description = "The id or a parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The webhook is not quarantined", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key was taken by another webhook, and the source does not keep the first", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The backlog is full, or the store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn release_webhook(
    api: Api,
    Id(id): Id,
    query: std::result::Result<Query<Why>, QueryRejection>,
) -> Answer {
    let service = api.because(parameters(query)?.reason)?;
    Ok(json(&SubmitWebhookResponse::from(service.release(id).await?)))
}

/// Removes a quarantined webhook for good
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/discard", tag = "webhooks", operation_id = "DiscardWebhook",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid), Why),
    responses(
        (status = 200, description = "The webhook is removed", body = DiscardWebhookResponse),
        (status = 400, description = "The id or a parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The webhook is not quarantined", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn discard_webhook(
    api: Api,
    Id(id): Id,
    query: std::result::Result<Query<Why>, QueryRejection>,
) -> Answer {
    let service = api.because(parameters(query)?.reason)?;
    Ok(json(&DiscardWebhookResponse::from(service.discard(id).await?)))
}
