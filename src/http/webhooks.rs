//! Paths that show webhooks, and retry or cancel their jobs.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{GetStatsResponse, ListWebhooksResponse, StatusBody, StatusWord, WebhookBody};
use super::problem::{Problem, Refused};
use super::query::{Id, given, parameters, time};
use super::{Api, json};
use crate::domain::error::{Error, Result};
use crate::domain::route::RouteName;
use crate::domain::webhook::{EventType, Source, WebhookName};
use crate::service::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE};
use crate::store::ListQuery;

type Answer = std::result::Result<Response, Refused>;

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

/// Which webhooks to list. A webhook has to match every filter that is given.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only webhooks with a job in this status. For `filtered` and `quarantined`: only webhooks with that
    /// status.
    #[param(value_type = Option<StatusWord>)]
    status: Option<String>,
    /// Only webhooks with a job of this route. Together with `status`: only webhooks whose job of this route
    /// is in this status.
    route: Option<String>,
    /// Only webhooks from this source.
    source: Option<String>,
    /// Only webhooks of exactly this event type.
    event_type: Option<String>,
    /// Only webhooks accepted at or after this time, as RFC 3339 writes it.
    #[param(format = DateTime)]
    accepted_after: Option<String>,
    /// Only webhooks accepted before this time, as RFC 3339 writes it.
    #[param(format = DateTime)]
    accepted_before: Option<String>,
    /// The largest number of webhooks on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    page_size: Option<String>,
    /// The `next_page_token` of the previous page, to get the page after it with the same filters.
    page_token: Option<String>,
}

/// Names a job of a webhook.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfRoute {
    /// Acts only on the job of this route. If absent: on every job whose status allows it.
    route: Option<String>,
}

/// Returns the status of a webhook, by the sender's key
#[utoipa::path(
    get, path = "/v1/status", tag = "webhooks", operation_id = "GetStatus", params(ByKey),
    responses(
        (status = 200, description = "The current status of the webhook", body = StatusBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, or its retention is over", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_status_by_key(
    State(api): State<Api>,
    query: std::result::Result<Query<ByKey>, QueryRejection>,
) -> Answer {
    let ByKey { idempotency_key, source } = parameters(query)?;
    let name = WebhookName::from_fields("", &idempotency_key, &source)?;
    Ok(json(&StatusBody::from(api.service.status(name).await?)))
}

/// Returns the status of a webhook, by its id
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/status", tag = "webhooks", operation_id = "GetStatusById",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "The current status of the webhook", body = StatusBody),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, or its retention is over", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_status(State(api): State<Api>, Id(id): Id) -> Answer {
    let status = api.service.status(WebhookName::Id(id)).await?;
    Ok(json(&StatusBody::from(status)))
}

/// Returns a webhook with its payload, jobs and attempts
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "webhooks", operation_id = "GetWebhook",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "The webhook", body = WebhookBody),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, or its retention is over", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_webhook(State(api): State<Api>, Id(id): Id) -> Answer {
    let webhook = api.service.webhook(id).await?;
    Ok(json(&WebhookBody::try_from(webhook)?))
}

/// Lists the webhooks that match every given filter, newest first
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "ListWebhooks", params(Filter),
    responses(
        (status = 200, description = "One page of webhooks", body = ListWebhooksResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_webhooks(
    State(api): State<Api>,
    query: std::result::Result<Query<Filter>, QueryRejection>,
) -> Answer {
    let page = api.service.list(list_query(parameters(query)?)?).await?;
    Ok(json(&ListWebhooksResponse::from(page)))
}

/// Starts a new run of dead-lettered or cancelled jobs, with a fresh budget of attempts
///
/// Without `route`, of every dead-lettered or cancelled job of the webhook.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/retry", tag = "webhooks", operation_id = "RetryWebhook",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid), OfRoute),
    responses(
        (status = 200, description = "The jobs are pending again", body = StatusBody),
        (status = 400, description = "The id or the route is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it has no job of this route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No job is dead-lettered or cancelled, or the payload is past its retention", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry_webhook(
    State(api): State<Api>,
    Id(id): Id,
    query: std::result::Result<Query<OfRoute>, QueryRejection>,
) -> Answer {
    let route = parameters(query)?.route.map(RouteName::new).transpose()?;
    Ok(json(&StatusBody::from(api.service.retry(id, route).await?)))
}

/// Cancels waiting jobs, so that they do not start, and gives up dead letters
///
/// Without `route`, every job of the webhook that is pending, retrying or dead-lettered. Jobs that wait
/// behind a dead letter that is given up can start. Cancelling a cancelled job again changes nothing.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/cancel", tag = "webhooks", operation_id = "CancelWebhook",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid), OfRoute),
    responses(
        (status = 200, description = "The jobs are cancelled", body = StatusBody),
        (status = 400, description = "The id or the route is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it has no job of this route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Every job is processing or completed, or the webhook has no jobs", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_webhook(
    State(api): State<Api>,
    Id(id): Id,
    query: std::result::Result<Query<OfRoute>, QueryRejection>,
) -> Answer {
    let route = parameters(query)?.route.map(RouteName::new).transpose()?;
    Ok(json(&StatusBody::from(api.service.cancel(id, route).await?)))
}

/// Returns the numbers of jobs by status and by route, the age of the oldest due job, workers, rates and
/// pauses
///
/// The cost does not grow with the number of webhooks.
#[utoipa::path(
    get, path = "/v1/stats", tag = "webhooks", operation_id = "GetStats",
    responses(
        (status = 200, description = "The statistics", body = GetStatsResponse),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_stats(State(api): State<Api>) -> Answer {
    Ok(json(&GetStatsResponse::from(api.service.stats().await?)))
}

fn list_query(filter: Filter) -> Result<ListQuery> {
    let limit = match filter.page_size {
        None => DEFAULT_PAGE_SIZE,
        Some(text) => {
            text.parse().ok().filter(|size| (1..=MAX_PAGE_SIZE).contains(size)).ok_or_else(|| {
                Error::invalid("page_size", format_args!("must be a number from 1 to {MAX_PAGE_SIZE}"))
            })?
        }
    };
    Ok(ListQuery {
        status: given(filter.status).map(|word| word.parse()).transpose()?,
        route: given(filter.route).map(RouteName::new).transpose()?,
        source: given(filter.source).map(Source::new).transpose()?,
        event_type: given(filter.event_type).map(EventType::new).transpose()?,
        accepted_after: time("accepted_after", filter.accepted_after)?,
        accepted_before: time("accepted_before", filter.accepted_before)?,
        before: given(filter.page_token).map(|token| token.parse()).transpose()?,
        limit,
    })
}
