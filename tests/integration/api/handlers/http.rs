//! The handler `http`, as the server that it calls sees it.

mod alerts;
mod breaker;
mod faults;
mod http2;
mod kept;
mod names;
mod reused;
pub(crate) mod target;
mod tls;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::SignedDuration;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use self::target::{Does, OK, Target, route};
use crate::api::bodies::hookbox_with;
use crate::api::harness::client::{Answer, body};
use crate::api::harness::process::Place;
use crate::api::harness::{HOUR, Hookbox, Postgres, START, Sqlite, Store};
use crate::support::collector::{Collector, attributes_of, hex};
use crate::support::received::read;

/// A payload with what a program that reads and writes JSON would change.
const PAYLOAD: &str = "{\"b\" : 1.50,\n \"a\":\"é\\u00e9\"}";

/// A secret of Standard Webhooks.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// An answer with this status, and the headers after it.
fn answer(status: &str) -> Does {
    Does::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into())
}

/// The error of the last attempt.
fn error_of(webhook: &Value) -> &str {
    let attempts = webhook["attempts"].as_array().unwrap();
    attempts.last().and_then(|attempt| attempt["error"].as_str()).unwrap_or_else(|| panic!("{webhook}"))
}

/// The signature that a receiver computes with its own copy of the secret.
fn signature(id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[rstest]
#[tokio::test]
async fn the_exact_payload_arrives_with_headers_that_say_what_it_is(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let target = Target::start([OK]).await;
    let url = format!("http://me:pass%20word@{}/hooks?a=b", target.address());
    let more =
        format!("secrets = [\"{SECRET}\", \"an older secret\"]\nheaders = {{ \"X-Team\" = \"blue\" }}");
    let hookbox = Hookbox::with_routes(store, &route(&url, &more));
    let id = hookbox.rest.submit("evt-001", "order.créated", PAYLOAD).await.text_of("id");
    let webhook = hookbox.wait_for(&id, "completed").await;
    assert_eq!(webhook["result"]["status"], 200);

    let [request] = &target.received()[..] else { panic!("one request") };
    assert_eq!(request.line, "POST /hooks?a=b HTTP/1.1");
    assert_eq!(request.body, PAYLOAD.as_bytes());
    let timestamp = START.parse::<jiff::Timestamp>().unwrap().as_second().to_string();
    let delivery = format!("{id}_out");
    let trace_id = webhook["trace_id"].as_str().unwrap();
    for (name, value) in [
        ("host", target.address().to_string().as_str()),
        ("content-type", "application/json"),
        ("user-agent", concat!("hookbox/", env!("CARGO_PKG_VERSION"))),
        ("idempotency-key", &delivery),
        ("webhook-id", &delivery),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &signature(&delivery, &timestamp, PAYLOAD.as_bytes())),
        ("hookbox-webhook", &id),
        ("hookbox-source", "default"),
        ("hookbox-event-type", "order.créated"),
        ("hookbox-attempt", "1"),
        ("x-team", "blue"),
        ("authorization", &format!("Basic {}", STANDARD.encode("me:pass word"))),
    ] {
        assert_eq!(request.headers.get(name).map(String::as_str), Some(value), "{name} in {request:?}");
    }
    assert!(request.headers["traceparent"].starts_with(&format!("00-{trace_id}-")), "{request:?}");
    assert!(!request.headers.contains_key("accept-encoding"), "{request:?}");

    let routes = hookbox.rest.get("/v1/routes").await.json();
    let shown = json!({ "handler": routes["routes"][0]["handler"], "target": routes["routes"][0]["target"] });
    assert_eq!(shown, json!({ "handler": "http", "target": format!("http://{}/hooks", target.address()) }));
}

#[tokio::test]
async fn a_body_that_is_not_json_arrives_as_it_is_with_its_content_type() {
    for (bytes, content_type) in [
        (&b"a=1&b=%C5%BC"[..], "application/x-www-form-urlencoded; charset=utf-8"),
        (b"", "text/plain"),
        (b"<order/>", "Application/XML"),
        (b"\xff\xfe\0\r\n\x80", "image/png"),
    ] {
        let target = Target::start([OK]).await;
        let more = format!("secrets = [\"{SECRET}\"]\nheaders = {{ \"X-Team\" = \"blue\" }}");
        let (hookbox, id) = hookbox_with(bytes, content_type, &target.route(&more), "out").await;
        hookbox.wait_for(&id, "completed").await;
        let [request] = &target.received()[..] else { panic!("one request") };
        assert_eq!((&*request.body, request.header("content-type")), (bytes, content_type));
        let signed = signature(&format!("{id}_out"), &request.headers["webhook-timestamp"], bytes);
        assert_eq!(request.headers["webhook-signature"], signed);
        assert!(!request.headers.contains_key("x-shop"), "headers of the sender are not passed on");
    }
}

#[tokio::test]
async fn a_delivery_keeps_its_id_over_attempts_and_each_run_is_another_delivery() {
    let target = Target::start([answer("503 Service Unavailable"), answer("410 Gone"), OK]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(error_of(&webhook), "the target answered 503 Service Unavailable");
    hookbox.advance(HOUR);
    let webhook = hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!(error_of(&webhook), "the target answered 410 Gone");
    hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await;
    hookbox.wait_for(&id, "completed").await;
    let names = |name: &str| {
        target.received().iter().map(|request| request.headers[name].clone()).collect::<Vec<_>>()
    };
    let (first, second) = (format!("{id}_out"), format!("{id}_out_2"));
    assert_eq!(names("webhook-id"), [first.clone(), first, second]);
    assert_eq!(names("hookbox-attempt"), ["1", "2", "3"]);
    assert_eq!(target.connections(), 1, "the connection is used again");
}

#[rstest]
#[case::seconds_up_to_the_cap_of_retries("120", "", 60)]
#[case::seconds("120", "retry_after_cap = \"5m\"", 120)]
#[case::a_date("Sun, 01 Mar 2026 12:03:00 GMT", "retry_after_cap = \"5m\"", 180)]
#[case::a_late_date("Mon, 02 Mar 2026 12:03:00 GMT", "retry_after_cap = \"5m\"", 300)]
#[tokio::test]
async fn a_target_that_names_the_time_of_the_next_attempt_is_obeyed(
    #[case] retry_after: &str,
    #[case] more: &str,
    #[case] seconds: i64,
) {
    let target = Target::start([answer(&format!("429 x\r\nretry-after: {retry_after}"))]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(more));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    let due = START.parse::<jiff::Timestamp>().unwrap() + SignedDuration::from_secs(seconds);
    assert_eq!(webhook["next_attempt_at"], format!("{due:.3}"));
}

#[rstest]
#[case::not_found("404 Not Found", "dead_lettered")]
#[case::conflict("409 Conflict", "retrying")]
#[case::internal("500 Internal Server Error", "retrying")]
#[case::not_modified("304 Not Modified", "retrying")]
#[tokio::test]
async fn a_status_is_final_or_tried_again(#[case] answered: &str, #[case] status: &str) {
    let target = Target::start([answer(answered)]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, status).await;
    assert_eq!(webhook["attempt_count"], 1);
    assert!(error_of(&webhook).starts_with(&format!("the target answered {answered}")), "{webhook}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let other = Target::start([OK]).await;
    let target = Target::start([answer(&format!("302 x\r\nlocation: http://{}/", other.address()))]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    let expected = format!("the target answered 302 Found, a redirect to http://{}/", other.address());
    assert!(error_of(&webhook).starts_with(&expected), "{webhook}");
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_reload_changes_where_webhooks_are_sent() {
    let (one, two) = (Target::start([OK]).await, Target::start([OK]).await);
    let hookbox = Hookbox::with_routes(Sqlite, &one.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    hookbox.set_routes(&two.route("headers = { X-Team = \"red\" }"));
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    let id = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&id, "completed").await;
    assert_eq!((one.received().len(), two.received().len()), (1, 1));
    assert_eq!(two.received()[0].headers["x-team"], "red");
}

#[tokio::test]
async fn a_request_is_a_span_of_the_trace_and_the_target_continues_it() {
    let target = Target::start([answer("410 Gone")]).await;
    let collector = Collector::start().await;
    let place = Place::on(Sqlite, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let url = format!("http://me:s3cret@{}/hooks?token=s3cret", target.address());
    std::fs::write(place.path("hookbox.toml"), route(&url, "")).unwrap();
    let process = place.serve().await;
    let request = process
        .rest
        .submission(body("evt-001", "order.created", "{}"))
        .header("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-01"));
    let id = Answer::of(request).await.text_of("id");
    process.wait_for(&id, "dead_lettered").await;
    assert_eq!(process.terminate().await, Some(0));

    let spans = collector.spans_of(TRACE_ID);
    let of_kind = |kind: SpanKind| spans.iter().find(|span| span.kind == kind as i32).unwrap();
    let (attempt, span) = (of_kind(SpanKind::Consumer), of_kind(SpanKind::Client));
    assert_eq!((span.name.as_str(), &span.parent_span_id), ("POST", &attempt.span_id));
    let attributes = attributes_of(&span.attributes);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("url.full", format!("http://{}/hooks", target.address()).as_str()),
        ("server.address", "127.0.0.1"),
        ("server.port", &target.address().port().to_string()),
        ("http.response.status_code", "410"),
        ("network.protocol.version", "1.1"),
        ("error.type", "410"),
        ("error.message", "the target answered 410 Gone"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name} in {attributes:#?}");
    }
    let sent = &target.received()[0].headers["traceparent"];
    assert_eq!(*sent, format!("00-{TRACE_ID}-{}-01", hex(&span.span_id)));
    assert!(!format!("{spans:?}{}", process_log(&place)).contains("s3cret"));
}

#[tokio::test]
async fn the_span_of_a_request_lasts_until_its_end() {
    const HELD: Duration = Duration::from_millis(100);
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks", target.local_addr().unwrap());
    let collector = Collector::start().await;
    let place = Place::on(Sqlite, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    std::fs::write(place.path("hookbox.toml"), route(&url, "retry = { attempts = 1 }")).unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    let (mut stream, _) = target.accept().await.unwrap();
    read(&mut stream).await.unwrap();
    tokio::time::sleep(HELD).await;
    drop(stream);
    let webhook = process.wait_for(&id, "dead_lettered").await;
    assert_eq!(process.terminate().await, Some(0));

    let spans = collector.spans_of(webhook["trace_id"].as_str().unwrap());
    let span = spans.iter().find(|span| span.kind == SpanKind::Client as i32).unwrap();
    let lasted = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
    assert!(lasted >= HELD, "{lasted:?}");
}

/// What the processes of a place have logged.
fn process_log(place: &Place) -> String {
    let files = std::fs::read_dir(place.path(".")).unwrap().map(|file| file.unwrap().path());
    let logs =
        files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-")));
    logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}
