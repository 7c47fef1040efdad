//! REST: serves the service with axum. Knows neither gRPC nor the inside of a store.

mod access;
mod alerts;
mod arrivals;
mod body;
mod browsers;
mod by_key;
mod dto;
mod exact_body;
mod examples;
mod front;
mod health;
mod lingering;
mod members;
mod operations;
mod problem;
mod quarantine;
mod queries;
mod query;
mod reason;
mod replays;
mod responses;
mod room;
pub mod server;
mod source_lists;
mod sources;
mod submit;
mod watch;
mod webhooks;
mod without_body;
mod work;

use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, middleware};
use bytes::Bytes;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::Span;
use tracing::field::Empty;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

pub use self::browsers::Allowed;
use self::front::prefers_html;
use self::problem::{MAX_TEXT_BYTES, Refused};
use self::queries::Queries;
pub use self::reason::{RestReason, status_of};
pub use self::submit::submitted;
use self::without_body::{Calls, WithoutBody};
use crate::connections::Bodies;
use crate::domain::action::ActionReason;
use crate::domain::error::{Error, Result, cut};
use crate::domain::host::Scheme;
use crate::domain::trace::Traceparent;
use crate::service::Service;
use crate::telemetry::trace;

/// What the HTTP handlers share.
#[derive(Clone, Debug)]
pub struct Api {
    /// The use cases.
    pub service: Service,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The memory for request bodies.
    pub bodies: Bodies,
    /// The hosts and pages whose requests are answered.
    pub allowed: Arc<Allowed>,
    /// The paths of the page.
    pub pages: Router,
    /// The path at which the page has its overview.
    pub overview: &'static str,
    /// Cancelled when the process is about to stop: it is no longer ready, but still serves.
    pub leaving: Arc<CancellationToken>,
    /// Cancelled when the process begins to stop.
    pub stopping: Arc<CancellationToken>,
}

impl Api {
    /// The use cases for the `reason` of a request.
    fn because(&self, reason: Option<String>) -> Result<Service> {
        Ok(self.service.because(ActionReason::of_field(reason)?))
    }
}

/// Where the OpenAPI document is.
const DOCUMENT_PATH: &str = "/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "hookbox",
        description = "A durable inbox for webhooks. hookbox stores each webhook before it answers, runs the handler of every matching route, and reports the results. Each run of a job has one recorded outcome; effects outside of hookbox are at least once. A POST for which no request body is documented takes its parameters in the query alone: it answers 400 to a body that is neither empty nor `{}`, and does nothing. Calls below `/v1/` answer 400 to parameters that they do not take, but for the URLs of sources. Errors are problem documents (RFC 9457), except the 503 of `/readyz`. If tokens are configured, a call needs one with the role that its description names, and else answers 401 with `UNAUTHENTICATED`, 403 with `FORBIDDEN`, or 429 with `TOO_MANY_FAILED_TOKENS`; what a token is not limited to is left out, or answered 404. Any call can also answer 500 with the reason `INTERNAL`; if no tokens are configured, any but `/healthz` and `/readyz` 403 with `HOST_NOT_ALLOWED` or 400 with `INVALID_HOST`; and any POST 403 with `ORIGIN_NOT_ALLOWED`.",
        license(name = "MIT OR Apache-2.0"),
    ),
    components(schemas(
        alerts::DeadLetteredAlert,
        alerts::BreakerOpenedAlert,
        alerts::BacklogHighAlert,
        alerts::SourceSilentAlert,
        alerts::VerificationFailingAlert,
    )),
    tags(
        (name = "sources", description = "The URLs for the senders of the sources, in the form of each sender"),
        (name = "webhooks", description = "Submitting webhooks, following their status, retrying, replaying and cancelling their jobs, releasing and discarding those in quarantine"),
        (name = "work", description = "Leasing jobs of routes with the handler `pull`, and reporting their outcomes"),
        (name = "operations", description = "Routes, sources, pauses, replays, what operators did, and the reload of settings"),
        (name = "monitoring", description = "The paths to begin with, whether the process is alive and ready, and its metrics"),
    ),
)]
struct Document;

fn documented_routes() -> OpenApiRouter<Api> {
    let mut routes = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(front::front))
        .routes(routes!(submit::submit_webhook, webhooks::list_webhooks))
        .routes(routes!(
            sources::receive_webhooks,
            sources::answer_handshake,
            sources::answer_handshake_by_options
        ))
        .routes(routes!(by_key::get_status))
        .routes(routes!(by_key::get_webhook))
        .routes(routes!(by_key::retry_webhook))
        .routes(routes!(by_key::replay_webhook))
        .routes(routes!(by_key::cancel_webhook))
        .routes(routes!(webhooks::get_webhook))
        .routes(routes!(exact_body::get_webhook_body))
        .routes(routes!(webhooks::get_status))
        .routes(routes!(watch::watch_status))
        .routes(routes!(watch::watch_status_by_key))
        .routes(routes!(arrivals::watch_webhooks))
        .routes(routes!(webhooks::retry_webhook))
        .routes(routes!(webhooks::cancel_webhook))
        .routes(routes!(webhooks::replay_webhook))
        .routes(routes!(quarantine::release_webhook))
        .routes(routes!(quarantine::discard_webhook))
        .routes(routes!(webhooks::get_stats))
        .routes(routes!(work::lease_jobs))
        .routes(routes!(work::extend_leases))
        .routes(routes!(work::finish_jobs))
        .routes(routes!(operations::list_routes))
        .routes(routes!(source_lists::list_sources))
        .routes(routes!(source_lists::get_source))
        .routes(routes!(source_lists::list_rejections))
        .routes(routes!(operations::move_jobs))
        .routes(routes!(operations::cancel_jobs))
        .routes(routes!(operations::pause))
        .routes(routes!(operations::resume))
        .routes(routes!(operations::list_pauses))
        .routes(routes!(replays::start_replay, replays::list_replays))
        .routes(routes!(replays::get_replay))
        .routes(routes!(replays::cancel_replay))
        .routes(routes!(replays::list_actions))
        .routes(routes!(operations::reload_settings))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics));
    responses::add_responses(routes.get_openapi_mut());
    examples::add_examples(routes.get_openapi_mut());
    alerts::add_webhooks(routes.get_openapi_mut());
    access::add_tokens(routes.get_openapi_mut());
    routes
}

/// The OpenAPI document of all paths.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented_routes().into_openapi()
}

/// The documented paths, the calls among them that take no body, and what they take in the query. Made once in a process,
/// because the document takes some milliseconds to make. It is not kept.
static ROUTES: LazyLock<(Router<Api>, Calls, Queries)> = LazyLock::new(|| {
    let (routes, document) = documented_routes().split_for_parts();
    (routes, Calls::of(&document), Queries::of(&document))
});

/// Serves all paths, and answers a problem document for any other path or method; for another path, a page to browsers.
/// The page lets requests in by itself: it sends browsers without a token to its login.
pub fn router(api: Api) -> Router {
    let (routes, without_body, queries) = &*ROUTES;
    let without_body = WithoutBody::new(without_body, api.bodies.clone());
    let pages: Router<Api> = api.pages.clone().with_state(());
    routes
        .clone()
        .merge(SwaggerUi::new("/docs").config(Config::new([DOCUMENT_PATH])))
        .route(DOCUMENT_PATH, get(openapi_document))
        .layer(middleware::from_fn_with_state((api.clone(), queries, without_body), access::guard))
        .merge(pages)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(path_not_found)
        .layer(middleware::from_fn_with_state(api.clone(), browsers::guard))
        .layer(middleware::from_fn_with_state(api.clone(), observe))
        .with_state(api)
}

/// The OpenAPI document. It is written once, because it is large and needs no token.
async fn openapi_document() -> Response {
    // It is always JSON.
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&openapi()).unwrap_or_default().into());
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], Bytes::clone(&DOCUMENT)).into_response()
}

/// Browsers that follow a link, or a mistyped address, get the page that the views answer to paths that they do not have.
async fn path_not_found(State(api): State<Api>, request: Request) -> Response {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if is_read && prefers_html(request.headers()) {
        let Ok(response) = api.pages.oneshot(request).await;
        response
    } else {
        let detail = format!("nothing is served at {:?}; GET /docs lists the paths", request.uri().path());
        Refused::Request(RestReason::PathNotFound, detail).into_response()
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

async fn method_not_allowed(State(api): State<Api>, name: sources::Named, request: Request) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    if path.is_some_and(|path| path.as_str() == sources::PATH) {
        return sources::refuse_method(&api, name, request.method());
    }
    let detail = format!(
        "{} is not allowed at {:?}; the header Allow lists the methods",
        request.method(),
        request.uri().path()
    );
    Refused::Request(RestReason::MethodNotAllowed, detail).into_response()
}

/// Puts every request into a trace, reserves the memory of its answer, writes the problem document of an error, and
/// counts what the client gets.
async fn observe(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route_name = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = span_of(&request, route.as_ref().map(MatchedPath::as_str));
    let incoming =
        request.headers().get("traceparent").and_then(|value| Traceparent::parse(value.to_str().ok()?));
    let traceparent = trace::join(&span, incoming.as_ref());
    request.extensions_mut().insert(traceparent.clone());
    let uri = request.uri().clone();

    let complete = |response: Response| problem::complete(response, uri.path(), traceparent.trace_id());
    let answered = room::answer(request, route_name, next, &span, &complete).await;
    let response = answered.unwrap_or_else(|error| complete(Refused::from(error).into_response()));

    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
    api.service.metrics().answered("rest", route_name, status.as_str());
    response
}

/// The span of a request, with the names and attributes of the OpenTelemetry conventions for servers of HTTP
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span>). `route` is none if there is no such
/// path.
fn span_of(request: &Request, route: Option<&str>) -> Span {
    let method = request.method();
    // Nothing of this is computed while spans are not exported. Method and path can be as long as a head.
    tracing::info_span!(
        "request",
        otel.name = span_name(known(method), route),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = known(method).unwrap_or("_OTHER"),
        http.request.method_original =
            known(method).is_none().then(|| cut(method.as_str(), MAX_TEXT_BYTES)).as_deref(),
        http.route = route,
        url.scheme = request.extensions().get().copied().unwrap_or(Scheme::Http).as_str(),
        url.path = &*cut(request.uri().path(), MAX_TEXT_BYTES),
        http.response.status_code = Empty,
        error.r#type = Empty,
        hookbox.source = Empty,
        hookbox.webhook.id = Empty,
    )
}

/// The name of a span. Clients must not choose it.
fn span_name(method: Option<&str>, route: Option<&str>) -> String {
    let method = method.unwrap_or("HTTP");
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}

/// The name of a method of HTTP (RFC 9110 and RFC 5789); none of any other.
fn known(method: &Method) -> Option<&str> {
    let is_known = matches!(
        *method,
        Method::CONNECT
            | Method::DELETE
            | Method::GET
            | Method::HEAD
            | Method::OPTIONS
            | Method::PATCH
            | Method::POST
            | Method::PUT
            | Method::TRACE
    );
    is_known.then_some(method.as_str())
}

/// A response with a JSON body; 500 if the body cannot be serialized.
fn json(body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
        }
        Err(error) => Refused::from(Error::internal(error)).into_response(),
    }
}
