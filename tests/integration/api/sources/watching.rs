//! What the operator sees of requests: metrics, and lines of the log. Never a secret.

use hookbox::internals::sources::MAX_BATCH_ITEMS;
use hookbox::internals::store::MAX_QUARANTINED;
use rstest::rstest;
use serde_json::{Value, json};

use super::{SHOP, metric, post, requests, send, signed_with};
use crate::api::access::{EVERY_ROLE, token};
use crate::api::harness::client::Answer;
use crate::api::harness::process::{Place, Process};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::support::collector::{Collector, attributes_of};

const PLAIN: &str = "[sources.plain]\nverify = \"none\"\nkey = \"body\"\n";

#[rstest]
#[tokio::test]
async fn the_series_of_a_source_begin_at_0(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, PLAIN].concat());
    for sample in [
        requests("shop", "verified", ""),
        requests("shop", "unverified", "signature_mismatch"),
        requests("shop", "unverified", "timestamp_too_old"),
        requests("shop", "malformed", ""),
        requests("shop", "handshake", ""),
        requests("plain", "none", ""),
        requests("plain", "unauthorized", ""),
        r#"hookbox_source_last_seen{source="shop"}"#.to_owned(),
        r#"hookbox_submissions_total{source="shop",outcome="accepted"}"#.to_owned(),
        r#"hookbox_submissions_total{source="shop",outcome="RATE_LIMITED"}"#.to_owned(),
    ] {
        assert_eq!(metric(&hookbox.rest, &sample).await, Some(0.0), "{sample}");
    }
    assert_eq!(metric(&hookbox.rest, &requests("plain", "verified", "")).await, None);
    assert_eq!(metric(&hookbox.rest, &requests("shop", "unauthorized", "")).await, None);
    Answer::of(post(&hookbox.rest, "plain", "{}")).await;
    assert_eq!(metric(&hookbox.rest, &requests("plain", "none", "")).await, Some(1.0));
    let last_seen = metric(&hookbox.rest, r#"hookbox_source_last_seen{source="plain"}"#).await;
    assert_eq!(last_seen, Some(1_772_366_400.0));
    // Whatever strangers ask for makes no series.
    hookbox.rest.post("/v1/sources/stranger/webhooks").await.problem(404, "SOURCE_NOT_FOUND");
    let metrics = hookbox.rest.get("/metrics").await.text;
    assert!(!metrics.contains("stranger"), "{metrics}");
}

/// The lines of the log with this message, or that begin with it.
fn lines(process: &Process, begin: &str) -> Vec<Value> {
    let log = process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with(begin))).collect()
}

#[rstest]
#[tokio::test]
async fn a_refused_request_is_logged_with_its_cause_and_what_to_do_once_a_minute(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let place = Place::on(store, &[]);
    let settings = [SHOP, PLAIN, &token("all", EVERY_ROLE)].concat();
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
    let process = place.serve().await;
    for _ in 0..3 {
        let forged = signed_with(&process.rest, "f0rged", "evt-001", "{}").header("X-Header", "h3ader");
        Answer::of(forged).await.problem(401, "NOT_VERIFIED");
    }
    Answer::of(post(&process.rest, "shop", "{}")).await.problem(401, "NOT_VERIFIED");
    for _ in 0..2 {
        Answer::of(post(&process.rest, "plain", "{}")).await.problem(401, "UNAUTHENTICATED");
    }
    let logged = lines(&process, "requests of a source are refused");
    let names = logged.iter().map(|line| ["source", "reason", "cause"].map(|name| line[name].as_str()));
    let expected = [
        ["shop", "NOT_VERIFIED", "signature_mismatch"].map(Some),
        ["shop", "NOT_VERIFIED", "signature_missing"].map(Some),
        [Some("plain"), Some("UNAUTHENTICATED"), None],
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected, "{logged:#?}");
    for line in &logged {
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!(line["trace_id"].as_str().map(str::len), Some(32), "{line}");
    }
    let told = logged[0]["message"].as_str().unwrap();
    assert!(told.contains("check the secret on both sides"), "{told}");
    assert!(!process.log().contains("h3ader"), "{}", process.log());
}

#[tokio::test]
async fn the_log_calls_a_full_quarantine_full_and_only_stored_requests_quarantined() {
    const BATCHES: usize = MAX_QUARANTINED / MAX_BATCH_ITEMS;
    let place = Place::new(&[]);
    let batches = SHOP.replace("header = \"X-Id\"", "json = \"\"");
    let settings = format!("{batches}split = \"\"\nunverified = \"quarantine\"\n");
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
    let process = place.serve().await;
    let batch = format!("[{}]", vec!["1"; MAX_BATCH_ITEMS].join(","));
    for _ in 0..BATCHES {
        let stored = Answer::of(post(&process.rest, "shop", &batch)).await;
        assert_eq!(stored.status, 202, "{}", stored.text);
    }
    for _ in 0..2 {
        let refused = Answer::of(post(&process.rest, "shop", &batch)).await.problem(401, "NOT_VERIFIED");
        assert_eq!(refused["cause"], "signature_missing");
        assert!(refused["detail"].as_str().unwrap().contains("release or discard"), "{refused}");
    }

    let quarantined = lines(&process, "requests of a source are quarantined");
    let refused = lines(&process, "requests of a source are refused");
    let [quarantined, refused] = [quarantined, refused].map(|mut logged| {
        assert_eq!(logged.len(), 1, "{logged:#?}");
        logged.remove(0)
    });
    for line in [&quarantined, &refused] {
        assert_eq!((&line["times"], &line["cause"]), (&json!(1), &json!("signature_missing")), "{line}");
    }
    let full = "the quarantine of its source is full: release or discard what is in it";
    assert!(refused["message"].as_str().unwrap().contains(full), "{refused}");
    let page = process.rest.get("/sources/shop").await.text;
    assert!(page.contains(full), "{page}");
    for (action, count) in [("stored", BATCHES * MAX_BATCH_ITEMS), ("refused_full", 2 * MAX_BATCH_ITEMS)] {
        let sample = format!(r#"hookbox_quarantine_total{{source="shop",action="{action}"}}"#);
        assert_eq!(metric(&process.rest, &sample).await, Some(count as f64), "{sample}");
    }
}

#[rstest]
#[tokio::test]
async fn no_secret_is_shown_anywhere(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on(store, &[("HOOKBOX_LOG", "debug"), ("SHOP_SECRET", "s3cret")]);
    let settings = format!(
        "{}handshakes = [{{ method = \"GET\", when = [{{ query = \"token\", token = true }}] }}]\n\
         verify_token = \"t0ken\"\n",
        SHOP.replace("[\"s3cret\"]", "[\"env:SHOP_SECRET\", \"0ther\"]")
    );
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
    let process = place.serve().await;
    let rest = &process.rest;
    let accepted = send(rest, "evt-001", r#"{"a":"b0dy"}"#).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let signature = super::sign("s3cret", br#"{"a":"b0dy"}"#);
    let forged = Answer::of(signed_with(rest, "x", "evt-002", "{}")).await;
    let without_key = post(rest, "shop", "{}").header("X-Signature", super::sign("s3cret", b"{}"));
    let malformed = Answer::of(without_key).await;
    malformed.problem(400, "MALFORMED_WEBHOOK");
    let handshake = rest.get("/v1/sources/shop/webhooks?token=other").await;
    let reloaded = rest.post("/v1/settings/reload").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text);
    let webhook = rest.get(&format!("/v1/webhooks/{}", accepted.text_of("id"))).await;
    let metrics = rest.get("/metrics").await;
    let config = String::from_utf8(place.run(&["config"]).stdout).unwrap();
    let answers = [accepted, forged, malformed, handshake, webhook, metrics].map(|answer| answer.text);
    for shown in answers.into_iter().chain([config, process.log()]) {
        for secret in ["s3cret", "0ther", "t0ken", &signature] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    assert!(!process.log().contains("b0dy"), "the body is not logged");
}

#[tokio::test]
async fn the_span_of_a_request_names_its_source() {
    let collector = Collector::start().await;
    let place = Place::new(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    std::fs::write(place.path("hookbox.toml"), SHOP).unwrap();
    let process = place.serve().await;
    let request = signed_with(&process.rest, "s3cret", "evt-001", "{}")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let id = Answer::of(request).await.text_of("id");
    process.wait_for(&id, "completed").await;
    assert_eq!(process.terminate().await, Some(0), "traces are flushed at the end");
    let spans = collector.spans_of("4bf92f3577b34da6a3ce929d0e0e4736");
    let request = spans.iter().find(|span| span.name == "POST /v1/sources/{source}/webhooks").unwrap();
    let attributes = attributes_of(&request.attributes);
    assert_eq!((attributes["hookbox.source"].as_str(), &attributes["hookbox.webhook.id"]), ("shop", &id));
}
