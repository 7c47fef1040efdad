//! Paths that show webhooks, and retry, replay or cancel their jobs. `by_key` has the twins that name a webhook by its
//! key.

use std::collections::BTreeSet;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{
    CauseWord, GetStatsResponse, ListWebhooksResponse, StatusBody, StatusWord, VerdictWord, WebhookBody,
};
use super::problem::{Problem, Refused};
use super::query::{Id, Pairs, given, page_size, parameters, parameters_with_list, time};
use super::{Api, json};
use crate::domain::body_filter::BodyFilter;
use crate::domain::error::Result;
use crate::domain::filter::{FilterText, TraceId};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::verdict::{Cause, VerdictFilter};
use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookName};
use crate::service::view::WebhookView;
use crate::service::{Service, apart};
use crate::store::ListQuery;

type Answer = std::result::Result<Response, Refused>;

/// Which webhooks to list. A webhook has to match every filter that is given; an empty one counts as absent.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Only webhooks with a job in one of these statuses: given several times, or separated by commas. For
    /// `filtered` and `quarantined`: webhooks with that status.
    #[param(value_type = Option<Vec<StatusWord>>)]
    #[serde(default)]
    status: String,
    /// Only webhooks with a job of this route. Together with `status`: only webhooks whose job of this route
    /// is in one of these statuses.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    route: String,
    /// Only webhooks from this source.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    source: String,
    /// Only webhooks of exactly this event type.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    event_type: String,
    /// Only webhooks with this verdict.
    #[param(value_type = Option<VerdictWord>)]
    #[serde(default)]
    verdict: String,
    /// Only webhooks that are unverified for this cause. Not together with another verdict than `unverified`.
    #[param(value_type = Option<CauseWord>)]
    #[serde(default)]
    cause: String,
    /// Only webhooks with exactly this key, of any source unless `source` is given. Also those in quarantine, which
    /// GetStatus does not find by their key.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    idempotency_key: String,
    /// Only webhooks that were accepted in this trace: 32 hexadecimal digits.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    trace_id: String,
    /// Only webhooks with a job that is `retrying` or `dead_lettered` and whose last error contains this text; upper
    /// and lower case differ. At most 4,096 bytes. Together with `status` and `route`: one job has to match all of
    /// them.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    error_contains: String,
    /// Where `body_equals` is in the body: a JSON pointer (RFC 6901) such as `/data/0/id`, of at most 32 members. If
    /// absent: the whole body. It leads into bodies of JSON, and into forms, which are objects of their fields.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    body_pointer: String,
    /// Only webhooks whose body has this value at `body_pointer`: the same JSON value, however it is written, or a
    /// string with exactly this text. So `1.0` finds `1` and `"1.0"`, and `A-1` finds `"A-1"`. At most 4,096 bytes.
    /// Webhooks whose payload is past its retention do not match.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    body_equals: String,
    /// Only webhooks whose body, as the sender sent it, contains these bytes: upper and lower case differ, and escapes
    /// in JSON are not resolved. At most 4,096 bytes. Webhooks whose payload is past its retention do not match.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    body_contains: String,
    /// Only webhooks accepted at or after this time, as RFC 3339 writes it.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default)]
    accepted_after: String,
    /// Only webhooks accepted before this time, as RFC 3339 writes it.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default)]
    accepted_before: String,
    /// The largest number of webhooks on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default)]
    page_size: String,
    /// The `next_page_token` of the previous page, to get the page after it with the same filters.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    page_token: String,
}

/// Names a job of a webhook.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfRoute {
    /// Acts only on the job of this route. If absent: on every job whose status allows it.
    route: Option<String>,
    /// Why, in your own words, for the list of actions: at most 500 characters without control characters.
    reason: Option<String>,
}

/// Returns the status of a webhook, by its id
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/status", tag = "webhooks", operation_id = "GetStatusById",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid)),
    responses(
        (status = 200, description = "The current status of the webhook", body = StatusBody),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The webhook was never accepted, or was removed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_status(api: Api, Id(id): Id) -> Answer {
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
        (status = 404, description = "The webhook was never accepted, or was removed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_webhook(api: Api, Id(id): Id) -> Answer {
    let webhook = api.service.webhook(WebhookName::Id(id)).await?;
    with_payload(webhook).await
}

/// Lists the webhooks that match every given filter, newest first
///
/// One call looks at a limited number of webhooks, for a limited time. `searched_to` says how far it came, and
/// `next_page_token` goes on from there. Few calls at a time may look into bodies; others are refused after a moment.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks", operation_id = "ListWebhooks", params(Filter),
    responses(
        (status = 200, description = "One page of webhooks", body = ListWebhooksResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_webhooks(
    api: Api,
    query: std::result::Result<Query<Pairs>, QueryRejection>,
) -> Answer {
    let filter = parameters_with_list(query, "status")?;
    let page = api.service.list(list_query(filter)?).await?;
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
    api: Api,
    Id(id): Id,
    query: std::result::Result<Query<OfRoute>, QueryRejection>,
) -> Answer {
    let (service, route) = because(&api, query)?;
    Ok(json(&StatusBody::from(service.retry(WebhookName::Id(id), route).await?)))
}

/// Starts a new run of finished jobs, also of completed ones, with a fresh budget of attempts
///
/// Without `route`, of every job of the webhook that is completed, dead-lettered or cancelled. `POST /v1/replays` does
/// so for many webhooks.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", operation_id = "ReplayWebhook",
    params(("id" = String, Path, description = "The webhook's id", format = Uuid), OfRoute),
    responses(
        (status = 200, description = "The jobs are pending again", body = StatusBody),
        (status = 400, description = "The id or the route is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it has no job of this route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No job is finished, or the payload is past its retention", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn replay_webhook(
    api: Api,
    Id(id): Id,
    query: std::result::Result<Query<OfRoute>, QueryRejection>,
) -> Answer {
    let (service, route) = because(&api, query)?;
    Ok(json(&StatusBody::from(service.replay_webhook(WebhookName::Id(id), route).await?)))
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
    api: Api,
    Id(id): Id,
    query: std::result::Result<Query<OfRoute>, QueryRejection>,
) -> Answer {
    let (service, route) = because(&api, query)?;
    Ok(json(&StatusBody::from(service.cancel(WebhookName::Id(id), route).await?)))
}

/// Returns the numbers of jobs by status and by route, the age of the oldest due job, workers, rates and
/// pauses
///
/// The cost does not grow with the number of webhooks.
#[utoipa::path(
    get, path = "/v1/stats", tag = "webhooks", operation_id = "GetStats",
    responses(
        (status = 200, description = "The statistics", body = GetStatsResponse),
        (status = 400, description = "The query has a parameter, and this call takes none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_stats(api: Api) -> Answer {
    Ok(json(&GetStatsResponse::from(api.service.stats().await?)))
}

/// A webhook with its payload, which may be large.
pub(super) async fn with_payload(webhook: WebhookView) -> Answer {
    let bytes = webhook.payload.as_ref().map_or(0, Vec::len);
    let response = apart(bytes, || WebhookBody::try_from(webhook).map(|body| json(&body))).await?;
    Ok(response)
}

/// The use cases for the reason of a request, and the route that it names.
fn because(
    api: &Api,
    query: std::result::Result<Query<OfRoute>, QueryRejection>,
) -> Result<(Service, Option<RouteName>)> {
    let OfRoute { route, reason } = parameters(query)?;
    Ok((api.because(reason)?, route.map(RouteName::new).transpose()?))
}

fn list_query(filter: Filter) -> Result<ListQuery> {
    let limit = page_size(filter.page_size)?;
    Ok(ListQuery {
        statuses: statuses(&filter.status)?,
        route: given(filter.route).map(RouteName::new).transpose()?,
        source: given(filter.source).map(Source::new).transpose()?,
        event_type: given(filter.event_type).map(EventType::new).transpose()?,
        verdict: VerdictFilter::new(
            given(filter.verdict).map(|word| word.parse::<VerdictFilter>()).transpose()?,
            given(filter.cause).map(|word| word.parse::<Cause>()).transpose()?,
        )?,
        idempotency_key: given(filter.idempotency_key).map(IdempotencyKey::new).transpose()?,
        trace_id: given(filter.trace_id).map(|id| TraceId::new(&id)).transpose()?,
        error_contains: given(filter.error_contains)
            .map(|text| FilterText::new("error_contains", text))
            .transpose()?,
        body: BodyFilter::from_fields(&filter.body_pointer, &filter.body_equals, &filter.body_contains)?,
        accepted_after: time("accepted_after", filter.accepted_after)?,
        accepted_before: time("accepted_before", filter.accepted_before)?,
        before: given(filter.page_token).map(|token| token.parse()).transpose()?,
        limit,
        ..ListQuery::default()
    })
}

/// The statuses of a filter, separated by commas.
fn statuses(words: &str) -> Result<BTreeSet<Status>> {
    words.split(',').filter(|word| !word.is_empty()).map(str::parse::<Status>).collect()
}
