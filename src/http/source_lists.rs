//! Paths for operators that show the sources, and the requests of a source that were refused.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;

use super::dto::{GetSourceResponse, ListRejectionsResponse, ListSourcesResponse};
use super::problem::{Problem, Refused};
use super::query::name_in_path;
use super::{Api, json};
use crate::domain::webhook::Source;

type Answer = std::result::Result<Response, Refused>;

/// Lists the sources of the settings, by name, each with what came in from it
///
/// The numbers are those of the process that answers, since its start. Each replica has its own. The source `default`,
/// whose webhooks come by `POST /v1/webhooks`, is not one of the list.
#[utoipa::path(
    get, path = "/v1/sources", tag = "operations", operation_id = "ListSources",
    responses(
        (status = 200, description = "The sources", body = ListSourcesResponse),
        (status = 400, description = "The query has a parameter, and this call takes none", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_sources(api: Api) -> Answer {
    Ok(json(&ListSourcesResponse::from(api.service.source_list().await?)))
}

/// Shows a source of the settings, with what came in from it and the tokens to enter at its sender
///
/// The process that answers has the tokens, and keeps them in memory until it stops. Ask every replica.
#[utoipa::path(
    get, path = "/v1/sources/{source}", tag = "operations", operation_id = "GetSource",
    params(("source" = String, Path, description = "The name of the source")),
    responses(
        (status = 200, description = "The source", body = GetSourceResponse),
        (status = 400, description = "The name of the source is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The source is not in the settings", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is not available; see `Retry-After`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_source(api: Api, path: std::result::Result<Path<String>, PathRejection>) -> Answer {
    let source = Source::new(name_in_path(path))?;
    Ok(json(&GetSourceResponse::from(api.service.source_detail(&source).await?)))
}

/// Lists the last 100 requests to a source that were refused, newest first, without their bodies
///
/// The process that answers has refused them, and keeps them in memory until it stops. Ask every replica.
/// What a retry can cure, such as `RATE_LIMITED`, is not among them.
#[utoipa::path(
    get, path = "/v1/sources/{source}/rejections", tag = "operations", operation_id = "ListRejections",
    params(("source" = String, Path, description = "The name of the source")),
    responses(
        (status = 200, description = "The requests that were refused", body = ListRejectionsResponse),
        (status = 400, description = "The name of the source is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The source is not in the settings", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_rejections(
    api: Api,
    path: std::result::Result<Path<String>, PathRejection>,
) -> Answer {
    let source = Source::new(name_in_path(path))?;
    Ok(json(&ListRejectionsResponse::from(api.service.rejections(&source)?)))
}
