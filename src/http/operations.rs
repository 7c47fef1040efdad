//! What operators and their tools ask: alive, ready, metrics.

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
    /// True if every check is `ok`.
    ready: bool,
    /// Each check: `ok`, or what is wrong.
    checks: Checks,
}

#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    /// The store can be written.
    store: String,
    /// The tables are those this version knows.
    migrations: String,
    /// The worker threads run.
    workers: String,
    /// The process is not about to stop.
    lifecycle: String,
}

/// Whether the process is alive
#[utoipa::path(
    get, path = "/healthz", tag = "operations", operation_id = "healthz",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests can be served: the store can be written, its tables are current, workers run
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses(
        (status = 200, description = "They can", body = Readiness),
        (status = 503, description = "They cannot; the checks say why", body = Readiness),
    )
)]
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    let check = |good: bool, wrong: &str| if good { "ok".to_owned() } else { wrong.to_owned() };
    let probe = api.service.check_store().await;
    let checks = Checks {
        migrations: match &probe {
            Ok(probe) => check(probe.migrations_current, "the tables are not those this version knows"),
            Err(_) => "unknown".to_owned(),
        },
        store: probe.map_or_else(|error| error.to_string(), |_| "ok".to_owned()),
        workers: check(api.service.counters().workers().total > 0, "the worker threads do not run"),
        lifecycle: check(!api.stopping.is_cancelled(), "shutting down"),
    };
    let ready = [&checks.store, &checks.migrations, &checks.workers, &checks.lifecycle]
        .into_iter()
        .all(|check| check == "ok");
    let mut response = json(&Readiness { ready, checks });
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Metrics in the OpenMetrics text format, as Prometheus reads it
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(api): State<Api>) -> Result<Response, Refused> {
    let text = api.service.metrics().await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response())
}
