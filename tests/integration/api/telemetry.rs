//! One trace from the sender to the outcome, as a collector receives it.
//!
//! What subscribes to spans is one for a whole process, so these tests run the program itself.

use hookbox::internals::grpc::proto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rstest::rstest;
use serde_json::json;
use tonic::Request;
use tonic_types::StatusExt as _;

use crate::api::harness::client::{Answer, body};
use crate::api::harness::process::Place;
use crate::api::harness::{Postgres, Sqlite, Store, eventually};
use crate::support::collector::{Collector, attributes_of, hex};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDER_SPAN: &str = "00f067aa0ba902b7";

const ADMIN: &str = "correct-horse-battery-staple";

#[rstest]
#[tokio::test]
async fn the_request_and_the_attempt_belong_to_the_trace_of_the_sender(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let collector = Collector::start().await;
    let place = Place::on(store, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let process = place.serve().await;
    let request = process
        .rest
        .submission(body("evt-001", "order.created", "{}"))
        .header("traceparent", format!("00-{TRACE_ID}-{SENDER_SPAN}-01"));
    let id = Answer::of(request).await.text_of("id");
    let webhook = process.wait_for(&id, "completed").await;
    assert_eq!(webhook["trace_id"], TRACE_ID);
    assert_eq!(process.terminate().await, Some(0), "traces are flushed at the end");

    let spans = collector.spans_of(TRACE_ID);
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let server = one(&spans, SpanKind::Server);
    assert_eq!(server.name, "POST /v1/webhooks");
    assert_eq!(hex(&server.parent_span_id), SENDER_SPAN);
    let attributes = attributes_of(&server.attributes);
    assert_eq!(attributes["http.request.method"], "POST");
    assert_eq!(attributes["http.route"], "/v1/webhooks");
    assert_eq!(attributes["url.scheme"], "http");
    assert_eq!(attributes["http.response.status_code"], "202");
    assert_eq!(attributes["hookbox.webhook.id"], id);
    let others = ["code.", "thread.", "target", "busy_ns", "idle_ns"];
    let is_other = |name: &String| others.iter().any(|other| name.starts_with(other));
    assert!(!attributes.keys().any(is_other), "nothing about the inside of hookbox in {attributes:#?}");

    let attempt = one(&spans, SpanKind::Consumer);
    assert_eq!(attempt.name, "process default");
    assert_eq!(attempt.parent_span_id, server.span_id);
    let attributes = attributes_of(&attempt.attributes);
    for (name, value) in [
        ("messaging.system", "hookbox"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "default"),
        ("messaging.message.id", &id),
        ("hookbox.webhook.id", &id),
        ("hookbox.event_type", "order.created"),
        ("hookbox.attempt.number", "1"),
        ("hookbox.handler", "simulate"),
        ("hookbox.status", "completed"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name} in {attributes:#?}");
    }
    assert!(attributes["hookbox.queue_wait_seconds"].parse::<f64>().unwrap() >= 0.0);
    assert_eq!(collector.service_names(), ["hookbox"]);
}

#[tokio::test]
async fn spans_of_requests_have_names_of_hookbox_the_id_of_their_webhook_and_types_of_errors() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let place = Place::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("HOOKBOX_MAX_BACKLOG", "1")]);
    std::fs::write(place.path("hookbox.toml"), "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n")
        .unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    for (method, path, trace_id) in [
        ("FROB", "/v1/webhooks", "00000000000000000000000000000001"),
        ("POST", "/nothing", "00000000000000000000000000000002"),
        ("GET", &format!("/v1/webhooks/{id}"), "00000000000000000000000000000003"),
    ] {
        let request = process.rest.request(method.parse().unwrap(), path);
        Answer::of(request.header("traceparent", format!("00-{trace_id}-{SENDER_SPAN}-01"))).await;
    }
    let full = process.rest.submission(body("evt-002", "order.created", "{}"));
    let full = Answer::of(full.header("traceparent", format!("00-{TRACE_ID}-{SENDER_SPAN}-01"))).await;
    assert_eq!(full.status, 503);
    assert_eq!(process.terminate().await, Some(0));

    let span_of = |trace_id: &str| {
        let spans = collector.spans_of(trace_id);
        let span = one(&spans, SpanKind::Server);
        (span.name.clone(), attributes_of(&span.attributes))
    };
    let (name, attributes) = span_of("00000000000000000000000000000001");
    let methods = ["http.request.method", "http.request.method_original"].map(|name| &*attributes[name]);
    assert_eq!((name.as_str(), methods), ("HTTP /v1/webhooks", ["_OTHER", "FROB"]));
    let (name, attributes) = span_of("00000000000000000000000000000002");
    assert_eq!((name.as_str(), attributes.get("http.route")), ("POST", None));
    let (name, attributes) = span_of("00000000000000000000000000000003");
    assert_eq!((name.as_str(), &attributes["hookbox.webhook.id"]), ("GET /v1/webhooks/{id}", &id));
    assert_eq!(span_of(TRACE_ID).1["error.type"], "503");
}

#[rstest]
#[tokio::test]
async fn a_call_belongs_to_the_trace_of_its_caller_too(#[values(Sqlite, Postgres)] store: Store) {
    let collector = Collector::start().await;
    let place = Place::on(store, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let process = place.serve().await;
    let mut request = Request::new(proto::SubmitWebhookRequest {
        idempotency_key: "evt-001".into(),
        event_type: "order.created".into(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson("{}".into())),
    });
    let traceparent = format!("00-{TRACE_ID}-{SENDER_SPAN}-01");
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    let id = place.grpc().await.submit_webhook(request).await.unwrap().into_inner().id;
    process.wait_for(&id, "completed").await;
    assert_eq!(process.terminate().await, Some(0));

    let spans = collector.spans_of(TRACE_ID);
    let server = one(&spans, SpanKind::Server);
    assert_eq!(server.name, "hookbox.v1.WebhookService/SubmitWebhook");
    assert_eq!(hex(&server.parent_span_id), SENDER_SPAN);
    let attributes = attributes_of(&server.attributes);
    assert_eq!(attributes["rpc.system.name"], "grpc");
    assert_eq!(attributes["rpc.method"], "hookbox.v1.WebhookService/SubmitWebhook");
    assert_eq!(attributes["rpc.response.status_code"], "OK");
    assert_eq!(attributes["hookbox.webhook.id"], id);
    assert_eq!(one(&spans, SpanKind::Consumer).parent_span_id, server.span_id);
}

#[tokio::test]
async fn a_call_that_is_refused_at_once_has_a_span_in_the_trace_that_its_error_names() {
    let collector = Collector::start().await;
    let endpoint = collector.endpoint();
    let place = Place::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("HOOKBOX_ADMIN_TOKEN", ADMIN)]);
    let process = place.serve().await;
    let channel = place.channel().await;
    let refused_at = async |path: &str| {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<proto::GetReplayRequest, proto::GetStatsResponse>::default();
        // The methods of webhooks have a text where this message has a number.
        let mut request = Request::new(proto::GetReplayRequest { number: 1 });
        if path.ends_with("GetStatus") {
            let token = format!("Bearer {ADMIN}").parse().unwrap();
            request.metadata_mut().insert("authorization", token);
        }
        let status = client.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        status.get_details_error_info().expect("an ErrorInfo").metadata["trace_id"].clone()
    };
    let no_token = refused_at("/hookbox.v1.WebhookService/GetStats").await;
    let undecodable = refused_at("/hookbox.v1.WebhookService/GetStatus").await;
    let unknown = refused_at("/other.Service/Do").await;
    assert_eq!(process.terminate().await, Some(0));

    let (stats, status) = ("hookbox.v1.WebhookService/GetStats", "hookbox.v1.WebhookService/GetStatus");
    for (trace_id, name, method, code) in [
        (no_token, stats, stats, "UNAUTHENTICATED"),
        (undecodable, status, status, "INVALID_ARGUMENT"),
        (unknown, "grpc", "_OTHER", "UNIMPLEMENTED"),
    ] {
        let spans = collector.spans_of(&trace_id);
        let span = one(&spans, SpanKind::Server);
        let attributes = attributes_of(&span.attributes);
        let recorded = (attributes["rpc.method"].as_str(), attributes["rpc.response.status_code"].as_str());
        assert_eq!((span.name.as_str(), recorded), (name, (method, code)));
        let error = attributes.get("error.type").map(String::as_str);
        assert_eq!(error, (code == "UNIMPLEMENTED").then_some(code), "{attributes:#?}");
    }
}

#[rstest]
#[tokio::test]
async fn every_attempt_is_a_span_of_the_trace_and_a_failed_one_says_why(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let collector = Collector::start().await;
    let place = Place::on(
        store,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("OTEL_SERVICE_NAME", "my-inbox"),
            ("HOOKBOX_SIMULATE_FAILURE_RATE", "1"),
            ("HOOKBOX_MAX_ATTEMPTS", "2"),
            ("HOOKBOX_RETRY_BASE", "1ms"),
        ],
    );
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    let dead = process.wait_for(&id, "dead_lettered").await;
    let trace_id = dead["trace_id"].as_str().unwrap().to_owned();
    assert_eq!(process.terminate().await, Some(0));

    let spans = collector.spans_of(&trace_id);
    let server = one(&spans, SpanKind::Server);
    assert!(server.parent_span_id.is_empty(), "the trace begins here");
    let mut attempts: Vec<_> =
        spans.iter().filter(|span| span.kind == SpanKind::Consumer as i32).cloned().collect();
    attempts.sort_by_key(|span| span.start_time_unix_nano);
    let numbers: Vec<_> = attempts
        .iter()
        .map(|span| attributes_of(&span.attributes)["hookbox.attempt.number"].clone())
        .collect();
    assert_eq!(numbers, ["1", "2"]);
    for attempt in &attempts {
        assert_eq!(attempt.parent_span_id, server.span_id);
        assert_eq!(attempt.status.clone().unwrap_or_default().code(), StatusCode::Error);
        let attributes = attributes_of(&attempt.attributes);
        assert_eq!(attributes["error.type"], "failed");
        let error = &attributes["error.message"];
        assert!(error.contains("this failure was simulated"), "{error:?}");
    }
    assert_eq!(collector.service_names(), ["my-inbox"]);
}

#[tokio::test]
async fn traces_are_exported_over_http_too() {
    let collector = Collector::start_http().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ];
    let place = Place::on(Sqlite, &variables);
    let process = place.serve().await;
    let request = process
        .rest
        .submission(body("evt-001", "order.created", "{}"))
        .header("traceparent", format!("00-{TRACE_ID}-{SENDER_SPAN}-01"));
    let id = Answer::of(request).await.text_of("id");
    process.wait_for(&id, "completed").await;
    assert!(process.log().contains("\"message\":\"traces are exported\",\"endpoint\":\"http://127.0.0.1:"));
    assert_eq!(process.terminate().await, Some(0));
    assert_eq!(collector.spans_of(TRACE_ID).len(), 2);
}

#[rstest]
#[case::by_grpc(Sqlite, "grpc")]
#[case::by_http(Sqlite, "http/protobuf")]
#[case::on_postgres(Postgres, "grpc")]
#[tokio::test]
async fn a_collector_that_is_not_there_delays_nothing_and_is_logged(
    #[case] store: Store,
    #[case] protocol: &str,
) {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let place = Place::on(store, &variables);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "completed").await;
    process.wait_for_log("traces could not be exported").await;
    assert_eq!(process.terminate().await, Some(0));
}

#[rstest]
#[case::by_grpc("grpc")]
#[case::by_http("http/protobuf")]
#[tokio::test]
async fn spans_that_a_collector_refuses_from_a_batch_are_logged(#[case] protocol: &str) {
    let refusal = ExportTracePartialSuccess { rejected_spans: 2, error_message: "too old".to_owned() };
    let answer = ExportTraceServiceResponse { partial_success: Some(refusal) };
    let collector = if protocol == "grpc" { Collector::start().await } else { Collector::start_http().await };
    collector.set_answer(answer);
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let place = Place::on(Sqlite, &variables);
    let process = place.serve().await;
    process.rest.accept("evt-001").await;
    process.wait_for_log("the collector refused spans").await;
    let log = process.log();
    let line = log.lines().find(|line| line.contains("the collector refused spans")).unwrap();
    let line = serde_json::from_str::<serde_json::Value>(line).unwrap();
    assert_eq!((&line["times"], &line["spans"], &line["error"]), (&json!(1), &json!(2), &json!("too old")));
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn spans_that_a_slow_collector_leaves_no_room_for_are_logged() {
    // Takes connections, but never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
    ];
    let place = Place::on(Sqlite, &variables);
    let process = &place.serve().await;
    let mut number = 0;
    eventually("lost spans", || {
        number += 1;
        let key = format!("evt-{number}");
        async move {
            process.rest.accept(&key).await;
            process.log().contains("spans are lost, because the queue was full").then_some(())
        }
    })
    .await;
    let log = process.log();
    let failed = log.lines().find(|line| line.contains("traces could not be exported")).unwrap();
    assert!(failed.contains("operation timed out"), "{failed}");
}

#[test]
fn a_protocol_that_is_not_supported_is_a_mistake() {
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
    let ended = Place::new(&variables).run(&["serve"]);
    assert_eq!(ended.status.code(), Some(64));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(told.contains("\"http/json\" is not supported: it must be grpc or http/protobuf"), "{told}");
}

fn one(spans: &[Span], kind: SpanKind) -> &Span {
    let mut found = spans.iter().filter(|span| span.kind == kind as i32);
    let one = found.next().unwrap_or_else(|| panic!("a span of kind {kind:?} in {spans:#?}"));
    assert!(found.next().is_none(), "only one span of kind {kind:?} in {spans:#?}");
    one
}
