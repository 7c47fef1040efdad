//! The spans of attempts that workers run.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rstest::rstest;
use serde_json::json;

use super::{finish, lease_one};
use crate::api::harness::process::Place;
use crate::api::harness::{Postgres, Sqlite, Store, eventually};
use crate::support::collector::{Collector, attributes_of};

/// Two routes take every webhook.
const ROUTES: &str = r#"
[[routes]]
name = "orders"
handler = "pull"

[[routes]]
name = "run"
handler = "simulate"
"#;

#[rstest]
#[tokio::test]
async fn an_attempt_of_a_worker_has_a_span_like_one_that_hookbox_runs(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let collector = Collector::start().await;
    let place = Place::on(store, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    std::fs::write(place.path("hookbox.toml"), ROUTES).unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    let job = lease_one(&process.rest, "host-1").await;
    finish(&process.rest, "host-1", &job["lease"], json!({ "failed": { "error": "no", "permanent": true } }))
        .await;
    let webhook = eventually("both attempts", || async {
        let webhook = process.rest.webhook(&id).await;
        let ended = webhook["jobs"].as_array().unwrap().iter();
        (ended.filter(|job| !job["completed_at"].is_null()).count() == 2).then_some(webhook)
    })
    .await;
    assert_eq!(process.terminate().await, Some(0));

    let spans = collector.spans_of(webhook["trace_id"].as_str().unwrap());
    let attempts = spans.into_iter().filter(|span| span.kind == SpanKind::Consumer as i32);
    let mut by_route: BTreeMap<String, _> = attempts
        .map(|span| {
            let mut attributes = attributes_of(&span.attributes);
            // The others are about the error.
            attributes.retain(|name, _| name.starts_with("messaging.") || name.starts_with("hookbox."));
            (attributes["hookbox.route"].clone(), (span, attributes))
        })
        .collect();
    let (pulled, mut of_pulled) = by_route.remove("orders").expect("the span of the worker");
    let (run, of_run) = by_route.remove("run").expect("the span of hookbox");
    assert_eq!((&pulled.name, &pulled.parent_span_id), (&run.name, &run.parent_span_id));
    assert!(pulled.start_time_unix_nano <= pulled.end_time_unix_nano);
    assert_eq!(pulled.status.unwrap_or_default().code(), StatusCode::Error);
    let attributes = attributes_of(&pulled.attributes);
    assert_eq!((attributes["error.type"].as_str(), attributes["error.message"].as_str()), ("failed", "no"));
    assert_eq!(of_pulled.remove("hookbox.worker").as_deref(), Some("host-1"));
    assert_eq!(of_pulled["hookbox.handler"], "pull");
    assert_eq!(of_pulled["hookbox.status"], "dead_lettered");
    assert_eq!(of_pulled.keys().collect::<Vec<_>>(), of_run.keys().collect::<Vec<_>>());
}
