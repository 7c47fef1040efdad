//! For operators: routes, pauses, jobs of routes that are gone, and the settings.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{
    CancelJobsResponse, ListPausesResponse, ListRoutesResponse, MoveJobsResponse, PauseBody,
    ReloadSettingsResponse, ResumeResponse,
};
use super::problem::{Problem, Refused};
use super::query::{name_in_path, parameters};
use super::{Api, json};
use crate::domain::error::Result;
use crate::domain::route::RouteName;
use crate::service::pause_target;
use crate::store::PauseTarget;

type Answer = std::result::Result<Response, Refused>;

/// What to pause or resume.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Target {
    /// The jobs of this route. Without `route` and `source`, every job; only one of them may be given.
    route: Option<String>,
    /// The jobs of webhooks from this source.
    source: Option<String>,
}

/// Where to move jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Destination {
    /// The route that gets them; it must be in the settings.
    #[param(value_type = String, required = true)]
    #[serde(default)]
    to: String,
}

/// Each route, with the policy in force and what it holds
///
/// In the order of the settings; then those that are gone from the settings and have jobs.
#[utoipa::path(
    get, path = "/v1/routes", tag = "operations", operation_id = "ListRoutes",
    responses((status = 200, description = "The routes", body = ListRoutesResponse))
)]
pub(super) async fn list_routes(State(api): State<Api>) -> Answer {
    Ok(json(&ListRoutesResponse::from(api.service.routes().await?)))
}

/// Keeps jobs from starting until they are resumed
///
/// Holds for all replicas. Webhooks are still accepted, and running jobs finish. Pausing again changes
/// nothing.
#[utoipa::path(
    post, path = "/v1/pause", tag = "operations", operation_id = "Pause", params(Target),
    responses(
        (status = 200, description = "The pause in force", body = PauseBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such route", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot write; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(
    State(api): State<Api>,
    query: std::result::Result<Query<Target>, QueryRejection>,
) -> Answer {
    let paused = api.service.pause(target(query)?).await?;
    Ok(json(&PauseBody::from(paused)))
}

/// Ends a pause
///
/// Other pauses stay: a route that is paused stays paused when everything is resumed.
#[utoipa::path(
    post, path = "/v1/resume", tag = "operations", operation_id = "Resume", params(Target),
    responses(
        (status = 200, description = "The target is not paused any more", body = ResumeResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot write; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(api): State<Api>,
    query: std::result::Result<Query<Target>, QueryRejection>,
) -> Answer {
    let was_paused = api.service.resume(target(query)?).await?;
    Ok(json(&ResumeResponse { was_paused }))
}

/// Everything that is paused
#[utoipa::path(
    get, path = "/v1/pauses", tag = "operations", operation_id = "ListPauses",
    responses((status = 200, description = "The pauses in force", body = ListPausesResponse))
)]
pub(super) async fn list_pauses(State(api): State<Api>) -> Answer {
    Ok(json(&ListPausesResponse::from(api.service.pauses().await?)))
}

/// Moves all waiting jobs of a route that is gone from the settings to another route
///
/// A job whose webhook already has a job of the other route is cancelled instead.
#[utoipa::path(
    post, path = "/v1/routes/{from}/move", tag = "operations", operation_id = "MoveJobs",
    params(("from" = String, Path, description = "The route that has the jobs; it must be gone from the settings"), Destination),
    responses(
        (status = 200, description = "How many jobs were moved", body = MoveJobsResponse),
        (status = 400, description = "A route is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The route is in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot write; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn move_jobs(
    State(api): State<Api>,
    path: std::result::Result<Path<String>, PathRejection>,
    query: std::result::Result<Query<Destination>, QueryRejection>,
) -> Answer {
    let from = RouteName::from_field("from", name_in_path(path))?;
    let to = RouteName::from_field("to", parameters(query)?.to)?;
    Ok(json(&MoveJobsResponse::from(api.service.move_jobs(from, to).await?)))
}

/// Cancels all waiting jobs of a route that is gone from the settings
#[utoipa::path(
    post, path = "/v1/routes/{route}/cancel", tag = "operations", operation_id = "CancelJobs",
    params(("route" = String, Path, description = "The route that has the jobs; it must be gone from the settings")),
    responses(
        (status = 200, description = "How many jobs were cancelled", body = CancelJobsResponse),
        (status = 400, description = "The route is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such route", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The route is in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot write; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_jobs(
    State(api): State<Api>,
    path: std::result::Result<Path<String>, PathRejection>,
) -> Answer {
    let cancelled = api.service.cancel_jobs(RouteName::new(name_in_path(path))?).await?;
    Ok(json(&CancelJobsResponse { cancelled: cancelled as u64 }))
}

/// Reads the settings again and takes their routes in: all of them, or none if anything is wrong
///
/// Acts on the process that answers; ask every replica.
#[utoipa::path(
    post, path = "/v1/settings/reload", tag = "operations", operation_id = "ReloadSettings",
    responses(
        (status = 200, description = "The routes are in force", body = ReloadSettingsResponse),
        (status = 422, description = "The settings have mistakes, and the detail has them all; the settings in force stay", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot write; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reload_settings(State(api): State<Api>) -> Answer {
    Ok(json(&ReloadSettingsResponse::from(api.service.reload().await?)))
}

fn target(query: std::result::Result<Query<Target>, QueryRejection>) -> Result<PauseTarget> {
    let Target { route, source } = parameters(query)?;
    pause_target(route, source)
}
