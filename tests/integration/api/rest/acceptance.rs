//! What is answered to a webhook, the first time and the next.

use crate::api::harness::client::{Answer, body};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use rstest::rstest;

/// The content no parser may touch: a number beyond 64 bits, a trailing zero, an order of
/// members, escapes, white space.
pub(crate) const EXACT: &str =
    r#"{ "z":12345678901234567890, "a" : 1.10,"e":1E+2,"u":"\u00e9\u0041é\/", "n":-0.0,"l":[ ] }"#;

#[rstest]
#[tokio::test]
async fn a_new_webhook_is_answered_202_with_its_location(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let answer = hookbox.rest.submit("evt-001", "order.created", r#"{"total": 12}"#).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/json");
    let id = answer.text_of("id");
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    assert_eq!(answer.header("location"), format!("/v1/webhooks/{id}"));
    assert_eq!(
        answer.json(),
        serde_json::json!({
            "id": id, "source": "default", "idempotency_key": "evt-001",
            "event_type": "order.created", "status": "pending", "duplicate": false,
            "accepted_at": "2026-03-01T12:00:00.000Z",
        })
    );
    assert_eq!(hookbox.rest.get(answer.header("location")).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn the_same_webhook_again_is_answered_200_and_gets_no_new_job(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let first = hookbox.rest.submit("evt-001", "order.created", r#"{"a": 1, "b": [true, null]}"#).await;
    let id = first.text_of("id");
    hookbox.wait_for(&id, "completed").await;

    let same = "{\n  \"b\" : [true,null],\t\"a\":1 }";
    let again = hookbox.rest.submit("evt-001", "order.created", same).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.header("location"), format!("/v1/webhooks/{id}"));
    let again = again.json();
    assert_eq!(again["id"], id.as_str());
    assert_eq!(again["status"], "completed");
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["accepted_at"], first.json()["accepted_at"]);

    // Whatever the duplicate might have queued would have run before this one.
    let other = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&other, "completed").await;
    let keys: Vec<_> = hookbox.handler.runs().into_iter().map(|run| run.key).collect();
    assert_eq!(keys, ["evt-001", "evt-002"]);
}

#[rstest]
#[tokio::test]
async fn a_webhook_sent_many_times_at_once_is_stored_once(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let racing = (0..20).map(|_| hookbox.rest.submit("evt-001", "order.created", r#"{"a":1}"#));
    let answers = futures::future::join_all(racing).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(202), count(200)), (1, 19));
    let id = answers[0].text_of("id");
    assert!(answers.iter().all(|answer| answer.text_of("id") == id));
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(hookbox.handler.runs().len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_key_used_for_another_webhook_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let first = hookbox.rest.submit("evt-001", "order.created", r#"{"a":1}"#).await;
    for (event_type, payload) in [
        ("order.created", r#"{"a":2}"#),
        ("order.created", r#"{"a":"1"}"#),
        ("order.created", "null"),
        ("order.paid", r#"{"a":1}"#),
    ] {
        let answer = hookbox.rest.submit("evt-001", event_type, payload).await;
        let problem = answer.problem(422, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(problem["webhook_id"], first.text_of("id"));
        assert!(problem["detail"].as_str().unwrap().contains(&first.text_of("id")), "{problem}");
    }
    let kept = hookbox.rest.get(first.header("location")).await;
    assert!(kept.text.contains(r#""payload":{"a":1}"#), "{}", kept.text);
    assert_eq!(kept.text_of("event_type"), "order.created");
}

#[rstest]
#[tokio::test]
async fn equal_numbers_are_the_same_payload_however_written(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    assert_eq!(hookbox.rest.submit("evt-001", "t", r#"[100, 1.5, "é"]"#).await.status, 202);
    assert_eq!(hookbox.rest.submit("evt-001", "t", r#"[1e2, 1.50, "\u00e9"]"#).await.status, 200);
    // Equal as doubles, but not as numbers.
    assert_eq!(hookbox.rest.submit("evt-002", "t", "9007199254740993").await.status, 202);
    let other = hookbox.rest.submit("evt-002", "t", "9007199254740992").await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
}

#[rstest]
#[tokio::test]
async fn a_payload_comes_out_byte_for_byte_everywhere(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.submit("evt-001", "order.created", EXACT).await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    let rest = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await;
    assert!(rest.text.contains(&format!(r#""payload":{EXACT}"#)), "{}", rest.text);
    let request = hookbox::internals::grpc::proto::GetWebhookRequest { id, ..Default::default() };
    let grpc = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    assert_eq!(grpc.payload_json.as_deref(), Some(EXACT));
    assert_eq!(hookbox.handler.runs()[0].payload, EXACT);
}

#[rstest]
#[tokio::test]
async fn every_kind_of_json_value_is_a_payload_even_null(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for (number, payload) in ["null", "true", "0", r#""text""#, "[]", "{}", "[[],{}]"].iter().enumerate() {
        let answer = hookbox.rest.submit(&format!("evt-{number}"), "t", payload).await;
        assert_eq!(answer.status, 202, "{payload}: {}", answer.text);
        let kept = hookbox.rest.get(answer.header("location")).await;
        assert!(kept.text.contains(&format!(r#""payload":{payload},"#)), "{}", kept.text);
    }
}

#[rstest]
#[tokio::test]
async fn a_webhook_carries_on_the_trace_of_its_sender(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let request = hookbox
        .rest
        .submission(body("evt-001", "t", "1"))
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let id = Answer::of(request).await.text_of("id");
    assert_eq!(hookbox.rest.webhook(&id).await["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}
