//! What the log tells of a webhook at the level `debug`.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::process::{Place, Process};
use crate::api::harness::{Postgres, Sqlite, Store};

/// Is part of a payload, so it must not be logged.
const SECRET: &str = "4111-1111";

const ACCEPTED: &str = "a submission is accepted";
const REFUSED: &str = "a submission is refused";

/// The debug events of hookbox itself with this message, in their order.
fn events(process: &Process, message: &str) -> Vec<Value> {
    let log = process.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_ours = |line: &Value| line["target"].as_str().is_some_and(|target| target.starts_with("hookbox"));
    lines.filter(|line| line["level"] == "DEBUG" && line["message"] == message && is_ours(line)).collect()
}

/// Checks the fields of an event.
#[track_caller]
fn has(event: &Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(event[name], *value, "{name} of {event}");
    }
    assert_eq!(event["trace_id"].as_str().map(str::len), Some(32), "{event}");
}

#[rstest]
#[tokio::test]
async fn debug_events_follow_a_webhook_from_its_submission_to_its_outcome(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let place = Place::on(store, &[("HOOKBOX_LOG", "debug")]);
    let process = place.serve().await;
    let submit = async |key: &str, number: u32| {
        let payload = json!({ "card": SECRET, "number": number }).to_string();
        process.rest.submit(key, "order.created", &payload).await
    };
    let id = submit("evt-001", 1).await.text_of("id");
    assert_eq!(submit("evt-001", 1).await.status, 200);
    submit("evt-001", 2).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    submit("", 1).await.problem(400, "INVALID_FIELD");
    let invalid = hookbox::grpc::proto::SubmitWebhookRequest::default();
    place.grpc().await.submit_webhook(invalid).await.unwrap_err();
    process.wait_for(&id, "completed").await;

    let accepted = events(&process, ACCEPTED);
    let names = json!({ "source": "default", "idempotency_key": "evt-001" });
    assert_eq!(accepted.len(), 2, "{accepted:#?}");
    for (event, outcome) in accepted.iter().zip(["accepted", "duplicate"]) {
        has(event, &names);
        has(event, &json!({ "webhook_id": id, "outcome": outcome, "matched": "default" }));
    }
    let refused = events(&process, REFUSED);
    assert_eq!(refused.len(), 3, "{refused:#?}");
    has(&refused[0], &names);
    has(&refused[0], &json!({ "outcome": "IDEMPOTENCY_KEY_REUSED" }));
    for event in &refused[1..] {
        has(event, &json!({ "outcome": "INVALID_FIELD", "field": "idempotency_key" }));
    }

    let attempt = json!({ "webhook_id": id, "route": "default", "attempt": 1 });
    let (started, ended) = (events(&process, "an attempt starts"), events(&process, "an attempt ended"));
    assert_eq!((started.len(), ended.len()), (1, 1), "{started:#?} {ended:#?}");
    for event in started.iter().chain(&ended) {
        has(event, &names);
        has(event, &attempt);
        assert_eq!(event["trace_id"], accepted[0]["trace_id"]);
    }
    has(&started[0], &json!({ "handler": "simulate" }));
    has(&ended[0], &json!({ "outcome": "completed", "status": "completed" }));
    assert!(!process.log().contains(SECRET), "{}", process.log());
}

#[tokio::test]
async fn a_failed_attempt_is_logged_with_the_next_status_and_its_time() {
    let place = Place::new(&[("HOOKBOX_LOG", "hookbox=debug"), ("HOOKBOX_SIMULATE_FAILURE_RATE", "1")]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "retrying").await;
    let ended = events(&process, "an attempt ended").remove(0);
    has(&ended, &json!({ "webhook_id": id, "outcome": "failed", "status": "retrying" }));
    assert!(ended["due_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{ended}");
}

#[tokio::test]
async fn at_the_default_level_a_webhook_that_completes_is_not_logged() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "completed").await;
    assert!(!process.log().contains(&id), "{}", process.log());
}
