//! Paths for operators: routes, pauses, jobs of routes that are gone from the settings, and the reload.

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::dto::{
    CancelJobsResponse, ListPausesResponse, ListRoutesResponse, MoveJobsResponse, PauseBody,
    ReloadSettingsResponse, ResumeResponse,
};
use super::problem::{Problem, Refused};
use super::query::{Why, name_in_path, parameters};
use super::{Api, json};
use crate::domain::error::Result;
use crate::domain::route::RouteName;
use crate::service::{Service, pause_target};
use crate::store::PauseTarget;

type Answer = std::result::Result<Response, Refused>;

/// What to pause, or which pause to end.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Target {
    /// The jobs of this route: 1 to 63 of `a-z`, `0-9` and `-`. If `route` and `source` are both absent, the
    /// call acts on every job. At most one of them may be given. An empty name is refused.
    route: Option<String>,
    /// The jobs of webhooks from this source: 1 to 63 of `a-z`, `0-9`, `-` and `_`, beginning with a letter
    /// or a digit.
    source: Option<String>,
    /// Why, in your own words, for the list of actions: at most 500 characters without control characters.
    reason: Option<String>,
}

/// The route to which jobs are moved.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Destination {
    /// The route that gets the jobs; it must be in the settings.
    #[param(value_type = String, required = true)]
    #[serde(default)]
    to: String,
    /// Why, in your own words, for the list of actions: at most 500 characters without control characters.
    reason: Option<String>,
}

/// Lists the routes, each with what it matches, its policy in force and the numbers of its jobs
///
/// First the routes of the settings, in their order, then the routes that are gone from the settings and
/// still have jobs. The settings are those of the process that answers.
#[utoipa::path(
    get, path = "/v1/routes", tag = "operations", operation_id = "ListRoutes",
    responses(
        (status = 200, description = "The routes", body = ListRoutesResponse),
        (status = 400, description = "The query has a parameter, and this call takes none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_routes(api: Api) -> Answer {
    Ok(json(&ListRoutesResponse::from(api.service.routes().await?)))
}

/// Keeps jobs from starting until they are resumed: all jobs, the jobs of a route, or the jobs of a source
///
/// Holds for all replicas. Webhooks are still accepted, and running jobs finish. Pausing a paused target
/// again keeps the time since when it is paused; actor and reason are then those of the last call.
#[utoipa::path(
    post, path = "/v1/pause", tag = "operations", operation_id = "Pause", params(Target),
    responses(
        (status = 200, description = "The pause in force", body = PauseBody),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The route is not in the settings and never had a job, or the token does not see the route or the source", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(api: Api, query: std::result::Result<Query<Target>, QueryRejection>) -> Answer {
    let (service, target) = because(&api, query)?;
    let paused = service.pause(target).await?;
    Ok(json(&PauseBody::from(paused)))
}

/// Ends a pause
///
/// Other pauses stay in force: a route that was paused by its name stays paused when the pause of everything
/// ends. Resuming a route by its name also closes its breaker, whether or not the route was paused.
#[utoipa::path(
    post, path = "/v1/resume", tag = "operations", operation_id = "Resume", params(Target),
    responses(
        (status = 200, description = "The target is no longer paused", body = ResumeResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The route was not paused, is not in the settings and never had a job, or the token does not see the route or the source", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(api: Api, query: std::result::Result<Query<Target>, QueryRejection>) -> Answer {
    let (service, target) = because(&api, query)?;
    let was_paused = service.resume(target).await?;
    Ok(json(&ResumeResponse { was_paused }))
}

/// Lists the pauses in force
#[utoipa::path(
    get, path = "/v1/pauses", tag = "operations", operation_id = "ListPauses",
    responses(
        (status = 200, description = "The pauses in force", body = ListPausesResponse),
        (status = 400, description = "The query has a parameter, and this call takes none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_pauses(api: Api) -> Answer {
    Ok(json(&ListPausesResponse::from(api.service.pauses().await?)))
}

/// Moves all waiting jobs (pending or retrying) of a route that is gone from the settings to another route
///
/// Moved jobs keep their attempts, due time and order value. A job whose webhook already has a job of the
/// other route is cancelled instead. The jobs are moved in several transactions: if the call fails, some may
/// already be moved; call again to move the rest.
#[utoipa::path(
    post, path = "/v1/routes/{from}/move", tag = "operations", operation_id = "MoveJobs",
    params(("from" = String, Path, description = "The route that has the jobs; it must be gone from the settings"), Destination),
    responses(
        (status = 200, description = "How many jobs were moved", body = MoveJobsResponse),
        (status = 400, description = "The name of a route is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`from` never had a job, or `to` is not in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`from` is in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn move_jobs(
    api: Api,
    path: std::result::Result<Path<String>, PathRejection>,
    query: std::result::Result<Query<Destination>, QueryRejection>,
) -> Answer {
    let from = RouteName::from_field("from", name_in_path(path))?;
    let Destination { to, reason } = parameters(query)?;
    let to = RouteName::required("to", to)?;
    Ok(json(&MoveJobsResponse::from(api.because(reason)?.move_jobs(from, to).await?)))
}

/// Cancels all waiting jobs (pending or retrying) of a route that is gone from the settings
///
/// The jobs are cancelled in several transactions: if the call fails, some may already be cancelled; call
/// again to cancel the rest.
#[utoipa::path(
    post, path = "/v1/routes/{route}/cancel", tag = "operations", operation_id = "CancelJobs",
    params(("route" = String, Path, description = "The route that has the jobs; it must be gone from the settings"), Why),
    responses(
        (status = 200, description = "How many jobs were cancelled", body = CancelJobsResponse),
        (status = 400, description = "The name of the route is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The route never had a job", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The route is in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel_jobs(
    api: Api,
    path: std::result::Result<Path<String>, PathRejection>,
    query: std::result::Result<Query<Why>, QueryRejection>,
) -> Answer {
    let service = api.because(parameters(query)?.reason)?;
    let cancelled = service.cancel_jobs(RouteName::new(name_in_path(path))?).await?;
    Ok(json(&CancelJobsResponse { cancelled: cancelled as u64 }))
}

/// Reads the settings again and puts routes, sources, tokens and certificates in force: all, or none after a mistake
///
/// Acts only on the process that answers; call it on every replica.
#[utoipa::path(
    post, path = "/v1/settings/reload", tag = "operations", operation_id = "ReloadSettings", params(Why),
    responses(
        (status = 200, description = "The settings are in force", body = ReloadSettingsResponse),
        (status = 400, description = "A parameter is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The settings have mistakes; `detail` lists all of them, as far as 3,000 bytes allow, and the settings in force stay", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reload_settings(
    api: Api,
    query: std::result::Result<Query<Why>, QueryRejection>,
) -> Answer {
    let service = api.because(parameters(query)?.reason)?;
    Ok(json(&ReloadSettingsResponse::from(service.reload().await?)))
}

/// The use cases for the reason of a request, and what to pause or resume.
fn because(
    api: &Api,
    query: std::result::Result<Query<Target>, QueryRejection>,
) -> Result<(Service, PauseTarget)> {
    let Target { route, source, reason } = parameters(query)?;
    Ok((api.because(reason)?, pause_target(route, source)?))
}
