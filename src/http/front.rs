//! `GET /`: names the program and its paths, for people who open the address in a browser.

use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::json;

/// The program, its version, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Front {
    /// The name of the program.
    #[schema(example = "hookbox")]
    name: &'static str,
    /// The version of the program.
    version: &'static str,
    /// The paths to begin with.
    links: Links,
}

/// Paths of this server.
#[derive(Debug, Serialize, ToSchema)]
struct Links {
    /// The documentation, as a page.
    #[schema(example = "/docs")]
    docs: &'static str,
    /// The OpenAPI document.
    #[schema(example = "/openapi.json")]
    openapi: &'static str,
    /// The webhooks; a webhook is submitted by POST to this path.
    #[schema(example = "/v1/webhooks")]
    webhooks: &'static str,
    /// Whether the process is alive.
    #[schema(example = "/healthz")]
    alive: &'static str,
    /// Whether requests can be served.
    #[schema(example = "/readyz")]
    ready: &'static str,
    /// The metrics.
    #[schema(example = "/metrics")]
    metrics: &'static str,
}

/// Names the program, its version, and the paths to begin with
#[utoipa::path(
    get, path = "/", tag = "monitoring", operation_id = "front",
    responses((status = 200, description = "The program and its paths", body = Front))
)]
pub(super) async fn front() -> Response {
    json(&Front {
        name: "hookbox",
        version: env!("CARGO_PKG_VERSION"),
        links: Links {
            docs: "/docs",
            openapi: "/openapi.json",
            webhooks: "/v1/webhooks",
            alive: "/healthz",
            ready: "/readyz",
            metrics: "/metrics",
        },
    })
}
