//! Paths for monitoring: liveness, readiness and metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Refused;
use super::{Api, json};

/// Whether requests can be served.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// True if every check is `ok`. Pauses do not count: a paused process still accepts webhooks.
    ready: bool,
    /// The result of each check, and the pauses in force.
    checks: Checks,
}

#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    /// Whether the store can be written: `ok`, or the error. The result is up to 1 second old.
    store: String,
    /// Whether the tables are those of this version: `ok`, what is wrong, or `unknown` if the store cannot
    /// be read.
    migrations: String,
    /// Whether the worker threads run: `ok`, or what is wrong.
    workers: String,
    /// `ok`, or `shutting down`.
    lifecycle: String,
    /// Each pause in force: its target and when it began. Up to 1 second old; empty if the store cannot be read.
    #[schema(example = json!(["the route orders since 2026-03-01T12:00:00Z"]))]
    pauses: Vec<String>,
}

/// Whether the process is alive
///
/// Does not look at the store.
#[utoipa::path(
    get, path = "/healthz", tag = "monitoring", operation_id = "healthz",
    responses((status = 200, description = "The process is alive; the body is `ok`", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests can be served: the store can be written, its tables are current, and workers run
///
/// To check the store, a row is written and synced, and the pauses are read. A success is reused for 1 second.
#[utoipa::path(
    get, path = "/readyz", tag = "monitoring", operation_id = "readyz",
    responses(
        (status = 200, description = "Requests can be served", body = Readiness),
        (status = 503, description = "Requests cannot be served; `checks` says why", body = Readiness),
    )
)]
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    let readiness = readiness(&api).await;
    let mut response = json(&readiness);
    if !readiness.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Makes all checks.
async fn readiness(api: &Api) -> Readiness {
    let check = |good: bool, wrong: &str| if good { "ok".to_owned() } else { wrong.to_owned() };
    let found = api.service.check_store().await;
    let pauses = found.as_ref().map_or(&[][..], |found| found.pauses.as_slice());
    let checks = Checks {
        migrations: match &found {
            Ok(found) => check(found.probe.migrations_current, "the tables are not those of this version"),
            Err(_) => "unknown".to_owned(),
        },
        store: found.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned()),
        workers: check(api.service.metrics().workers().total > 0, "the worker threads do not run"),
        lifecycle: check(!api.leaving.is_cancelled(), "shutting down"),
        pauses: pauses.iter().map(|pause| format!("{} since {}", pause.target, pause.since)).collect(),
    };
    let ready = [&checks.store, &checks.migrations, &checks.workers, &checks.lifecycle]
        .into_iter()
        .all(|check| check == "ok");
    Readiness { ready, checks }
}

/// Metrics in the OpenMetrics text format, as Prometheus reads it
///
/// If the store does not answer within 2 seconds, the gauges of the store keep their last values.
#[utoipa::path(
    get, path = "/metrics", tag = "monitoring", operation_id = "metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Refused> {
    let text = api.service.openmetrics(async { readiness(&api).await.ready }).await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response())
}
