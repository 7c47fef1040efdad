//! What monitoring asks: whether the process is alive and ready, and its metrics.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Refused;
use super::{Api, json};
use crate::domain::error::Result;
use crate::service::Service;
use crate::store::Probe;

/// Whether requests can be served.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// True if every check is `ok`. What is paused does not matter: webhooks are still accepted.
    ready: bool,
    /// Each check: `ok`, or what is wrong; and what is paused.
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
    /// What is paused, and since when.
    #[schema(example = json!(["the route orders since 2026-03-01T12:00:00Z"]))]
    pauses: Vec<String>,
}

/// Whether the process is alive
#[utoipa::path(
    get, path = "/healthz", tag = "monitoring", operation_id = "healthz",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain"))
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests can be served: the store can be written, its tables are current, workers run
#[utoipa::path(
    get, path = "/readyz", tag = "monitoring", operation_id = "readyz",
    responses(
        (status = 200, description = "They can", body = Readiness),
        (status = 503, description = "They cannot; the checks say why", body = Readiness),
    )
)]
pub(super) async fn readyz(State(api): State<Api>) -> Response {
    let check = |good: bool, wrong: &str| if good { "ok".to_owned() } else { wrong.to_owned() };
    let probe = look_at_store(&api.service).await;
    let checks = Checks {
        migrations: match &probe {
            Ok((probe, _)) => check(probe.migrations_current, "the tables are not those this version knows"),
            Err(_) => "unknown".to_owned(),
        },
        store: probe.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned()),
        workers: check(api.service.counters().workers().total > 0, "the worker threads do not run"),
        lifecycle: check(!api.stopping.is_cancelled(), "shutting down"),
        pauses: probe.map(|(_, pauses)| pauses).unwrap_or_default(),
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
    get, path = "/metrics", tag = "monitoring", operation_id = "metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(api): State<Api>) -> std::result::Result<Response, Refused> {
    let text = api.service.metrics().await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response())
}

/// Whether the store can be written, and what is paused.
async fn look_at_store(service: &Service) -> Result<(Probe, Vec<String>)> {
    let probe = service.check_store().await?;
    let pauses = service.pauses().await?;
    Ok((probe, pauses.iter().map(|pause| format!("{} since {}", pause.target, pause.since)).collect()))
}
