//! Paths for replays, and for the actions of operators.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{check_media_type, read_body};
use super::dto::{ListActionsResponse, ListReplaysResponse, ReplayBody, StartReplayBody};
use super::members::members;
use super::problem::{Problem, Refused};
use super::query::{PageOf, Why, given, name_in_path, page_size, parameters, whole_number};
use super::{Api, json};
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::service::number_of_token;
use crate::store::ActionQuery;

type Answer = std::result::Result<Response, Refused>;

/// The most bytes of a body that starts a replay.
const MAX_REPLAY_BYTES: usize = 16 * 1024;

/// Which actions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Actions {
    /// The largest number of actions on the page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 500, default = 50)]
    #[serde(default)]
    page_size: String,
    /// The `next_page_token` of the previous page, to get the page after it.
    #[param(value_type = Option<String>)]
    #[serde(default)]
    page_token: String,
    /// Only actions on this webhook.
    #[param(value_type = Option<String>, format = Uuid)]
    #[serde(default)]
    webhook_id: String,
}

/// Starts a replay: finished jobs of the webhooks that match a filter run again, oldest webhook first
///
/// Jobs that are completed, dead-lettered or cancelled, and match `status`, `route` and `error_contains` of the filter,
/// are pending again in a new run, with a fresh budget of attempts. Jobs that are not finished are left, as are jobs
/// whose webhook has lost its payload, or whose route is gone from the settings. A webhook gets no job of a route that
/// it had no job of.
///
/// The replay goes on after the answer, also after a restart and in other replicas. It restarts no jobs of a route while
/// due jobs of that route wait to start, and none while half of `max_backlog` jobs are unfinished. One replay runs at a
/// time. A dry run only counts; if there is not too much to look at, its answer is that of its end.
#[utoipa::path(
    post, path = "/v1/replays", tag = "operations", operation_id = "StartReplay",
    request_body(content = StartReplayBody, content_type = "application/json"),
    responses(
        (status = 202, description = "The replay is started", body = ReplayBody),
        (status = 400, description = "The body is not valid JSON, or a member is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The route of the filter is not in the settings and never had a job, or the token does not see the route or the source", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body arrived too slowly, or did not arrive within 30 seconds", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another replay is running", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 16 KiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The Content-Type is not application/json, or the body is compressed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn start_replay(api: Api, headers: HeaderMap, body: Body) -> Answer {
    check_media_type(&headers)?;
    let (body, _arrival) = read_body(body, MAX_REPLAY_BYTES, &api.bodies).await?;
    let mut asked = members::<StartReplayBody>(&body, "GET /docs lists the members")?;
    let service = api.because(asked.reason.take())?;
    let (filter, rate, dry_run) = asked.read()?;
    let replay = service.start_replay(filter, rate, dry_run).await?;
    Ok((StatusCode::ACCEPTED, json(&ReplayBody::from(replay))).into_response())
}

/// Lists the replays, newest first
#[utoipa::path(
    get, path = "/v1/replays", tag = "operations", operation_id = "ListReplays", params(PageOf),
    responses(
        (status = 200, description = "One page of replays", body = ListReplaysResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_replays(
    api: Api,
    query: std::result::Result<Query<PageOf>, QueryRejection>,
) -> Answer {
    let page = parameters(query)?;
    let (before, limit) = (number_of_token(&page.page_token)?, page_size(page.page_size)?);
    Ok(json(&ListReplaysResponse::from(api.service.replays(before, limit).await?)))
}

/// Returns a replay, with what it has done so far
#[utoipa::path(
    get, path = "/v1/replays/{number}", tag = "operations", operation_id = "GetReplay",
    params(("number" = u64, Path, description = "The number of the replay")),
    responses(
        (status = 200, description = "The replay", body = ReplayBody),
        (status = 400, description = "The number is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such replay", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_replay(api: Api, path: std::result::Result<Path<String>, PathRejection>) -> Answer {
    Ok(json(&ReplayBody::from(api.service.replay(number(path)?).await?)))
}

/// Ends a running replay
///
/// Jobs that it has restarted still run. Cancelling a cancelled replay again changes nothing.
#[utoipa::path(
    post, path = "/v1/replays/{number}/cancel", tag = "operations", operation_id = "CancelReplay",
    params(("number" = u64, Path, description = "The number of the replay"), Why),
    responses(
        (status = 200, description = "The replay is cancelled", body = ReplayBody),
        (status = 400, description = "The number or a parameter is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such replay", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The replay is completed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_replay(
    api: Api,
    path: std::result::Result<Path<String>, PathRejection>,
    query: std::result::Result<Query<Why>, QueryRejection>,
) -> Answer {
    let service = api.because(parameters(query)?.reason)?;
    Ok(json(&ReplayBody::from(service.cancel_replay(number(path)?).await?)))
}

/// Lists what operators did, newest first: who, what, on what, why and when
#[utoipa::path(
    get, path = "/v1/actions", tag = "operations", operation_id = "ListActions", params(Actions),
    responses(
        (status = 200, description = "One page of actions", body = ListActionsResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_actions(
    api: Api,
    query: std::result::Result<Query<Actions>, QueryRejection>,
) -> Answer {
    let Actions { page_size: size, page_token, webhook_id } = parameters(query)?;
    let webhook = given(webhook_id).map(|id| id.parse::<WebhookId>()).transpose();
    let query = ActionQuery {
        webhook: webhook.map_err(|_| Error::invalid("webhook_id", "must be the UUID of a webhook"))?,
        before: number_of_token(&page_token)?,
        limit: page_size(size)?,
    };
    Ok(json(&ListActionsResponse::from(api.service.actions(query).await?)))
}

/// The number of a replay in a path.
fn number(path: std::result::Result<Path<String>, PathRejection>) -> Result<u64> {
    number_of(&name_in_path(path))
}

/// The number of a replay. Errors: `InvalidField`.
pub(super) fn number_of(text: &str) -> Result<u64> {
    whole_number(text).ok_or_else(|| Error::invalid("number", "must be the number of a replay, such as 1"))
}
