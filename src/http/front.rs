//! `GET /`: names the program and its paths. Browsers get the overview of the page in its place.

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use serde::Serialize;
use tower::ServiceExt as _;
use utoipa::ToSchema;

use super::{Api, json};

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
///
/// A client that prefers HTML, as browsers do, gets the page.
#[utoipa::path(
    get, path = "/", tag = "monitoring", operation_id = "front",
    responses((status = 200, description = "The program and its paths", body = Front))
)]
pub(super) async fn front(State(api): State<Api>, mut request: Request) -> Response {
    let mut response = if prefers_html(request.headers()) {
        *request.uri_mut() = with_query(api.overview, request.uri());
        request.extensions_mut().remove::<MatchedPath>();
        let Ok(response) = api.pages.oneshot(request).await;
        response
    } else {
        paths()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn paths() -> Response {
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

/// This path, with the parameters of a request.
fn with_query(path: &'static str, uri: &Uri) -> Uri {
    let asked = uri.query().map(|query| format!("{path}?{query}"));
    let asked = asked.and_then(|asked| PathAndQuery::try_from(asked).ok());
    Uri::from(asked.unwrap_or_else(|| PathAndQuery::from_static(path)))
}

/// Whether a client names HTML, and JSON not before it. Programs name neither, or JSON alone.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let weight_of = |media_type: &str| {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let weights = values.flat_map(|value| value.split(',')).filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(media_type));
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            is_named.then(|| weight.unwrap_or(1.0))
        });
        weights.fold(0.0, f32::max)
    };
    let html = weight_of("text/html");
    html > 0.0 && html >= weight_of("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_prefer_html_and_programs_do_not() {
        let prefers = |accept: &'static str| {
            prefers_html(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
            "application/json;q=0.5, Text/HTML ;q=0.9",
            "text/html, application/json",
        ] {
            assert!(prefers(accept), "{accept}");
        }
        for accept in [
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
            "text/html;q=0",
            "text/html;q=0.5, application/json",
        ] {
            assert!(!prefers(accept), "{accept}");
        }
        assert!(!prefers_html(&HeaderMap::new()));
    }

    #[test]
    fn the_overview_keeps_the_parameters() {
        for (from, to) in [("/?a=b%20c", "/overview?a=b%20c"), ("/", "/overview")] {
            assert_eq!(with_query("/overview", &Uri::from_static(from)).to_string(), to);
        }
    }
}
