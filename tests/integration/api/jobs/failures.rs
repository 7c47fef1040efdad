//! Attempts that fail, and what follows.

use rstest::rstest;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn a_failed_attempt_is_followed_by_another_and_both_are_told(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("the bank is closed"), Step::Complete(json!({ "paid": true }))]);
    let id = hookbox.rest.accept("evt-001").await;
    let waiting = hookbox.wait_for(&id, "retrying").await;
    assert_eq!((&waiting["attempt_count"], &waiting["completed_at"]), (&json!(1), &Value::Null));
    assert_eq!(waiting["attempts"].as_array().unwrap().len(), 1);
    hookbox.advance(HOUR);
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!(done["result"], json!({ "paid": true }));
    assert_eq!(done["completed_at"], "2026-03-01T13:00:00.000Z");
    let told: Vec<_> = done["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["number"].as_u64(), attempt["outcome"].as_str(), attempt["error"].as_str()))
        .collect();
    assert_eq!(
        told,
        [(Some(1), Some("failed"), Some("the bank is closed")), (Some(2), Some("completed"), None)]
    );
}

#[rstest]
#[tokio::test]
async fn another_attempt_never_starts_before_it_is_due(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailFor("later", Duration::from_secs(90))]);
    let id = hookbox.rest.accept("evt-001").await;
    let waiting = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(waiting["available_at"], "2026-03-01T12:01:30.000Z", "as the handler asked");

    hookbox.advance(SignedDuration::from_millis(89_999));
    // Its completion shows that the pool has looked for work since.
    let other = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&other, "completed").await;
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "retrying");
    hookbox.advance(SignedDuration::from_millis(1));
    hookbox.wait_for(&id, "completed").await;
    let order: Vec<_> = hookbox.handler.runs().into_iter().map(|run| (run.key, run.number)).collect();
    assert_eq!(order, [("evt-001".to_owned(), 1), ("evt-002".to_owned(), 1), ("evt-001".to_owned(), 2)]);
}

#[rstest]
#[tokio::test]
async fn delays_grow_from_the_base_to_the_cap(#[values(Sqlite, Postgres)] store: Store) {
    let settings = [("max_attempts", "8"), ("retry_base", "2s"), ("retry_cap", "20s")];
    let hookbox = Hookbox::with(store, &settings);
    hookbox.handler.will((0..7).map(|_| Step::Fail("no")));
    let id = hookbox.rest.accept("evt-001").await;
    for longest in [2, 4, 8, 16, 20, 20, 20] {
        let waiting = hookbox.wait_for(&id, "retrying").await;
        let delay = delay_of(&waiting);
        assert!(delay <= SignedDuration::from_secs(longest), "{delay:?} is at most {longest} s");
        // To the very millisecond it is due; the next failure is waited for by its number.
        let failures = waiting["attempts"].as_array().unwrap().len();
        hookbox.advance(delay);
        crate::api::harness::eventually("the next attempt", || async {
            let attempts = hookbox.rest.webhook(&id).await["attempts"].as_array().unwrap().len();
            (attempts > failures).then_some(())
        })
        .await;
    }
    assert_eq!(hookbox.wait_for(&id, "completed").await["attempt_count"], 8);
}

#[rstest]
#[tokio::test]
async fn a_webhook_whose_attempts_are_used_up_is_a_dead_letter(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("one"), Step::Fail("two"), Step::Fail("three")]);
    let id = hookbox.rest.accept("evt-001").await;
    for failures in 1..3 {
        crate::api::harness::eventually("a failure", || async {
            let attempts = hookbox.rest.webhook(&id).await["attempts"].as_array().unwrap().len();
            (attempts == failures).then_some(())
        })
        .await;
        hookbox.advance(HOUR);
    }
    let dead = hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!((&dead["attempt_count"], &dead["max_attempts"]), (&json!(3), &json!(3)));
    assert_eq!(dead["completed_at"], "2026-03-01T14:00:00.000Z");
    assert!(dead.get("result").is_none());
    let errors: Vec<_> = dead["attempts"].as_array().unwrap().iter().map(|a| a["error"].clone()).collect();
    assert_eq!(errors, ["one", "two", "three"]);

    hookbox.advance(HOUR);
    let again = hookbox.rest.submit("evt-001", "order.created", "{}").await;
    assert_eq!((again.status, again.text_of("status")), (200, "dead_lettered".to_owned()));
    assert_eq!(hookbox.handler.runs().len(), 3);
}

#[rstest]
#[tokio::test]
async fn a_failure_for_good_is_a_dead_letter_at_once(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no such customer")]);
    let id = hookbox.rest.accept("evt-001").await;
    let dead = hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!(dead["attempt_count"], 1);
    assert_eq!(dead["attempts"][0]["outcome"], "failed");
    assert_eq!(dead["attempts"][0]["error"], "no such customer");
}

#[rstest]
#[tokio::test]
async fn a_handler_that_panics_fails_its_attempt_and_its_thread_works_on(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    hookbox.handler.will([Step::Panic("index out of bounds")]);
    let id = hookbox.rest.accept("evt-001").await;
    let waiting = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(waiting["attempts"][0]["error"], "the handler panicked: index out of bounds");
    let other = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&other, "completed").await;
    hookbox.advance(HOUR);
    hookbox.wait_for(&id, "completed").await;
}

#[rstest]
#[tokio::test]
async fn a_result_that_is_too_large_to_keep_is_a_failure_for_good(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Complete(json!("x".repeat(65_536)))]);
    let id = hookbox.rest.accept("evt-001").await;
    let dead = hookbox.wait_for(&id, "dead_lettered").await;
    assert!(dead["attempts"][0]["error"].as_str().unwrap().contains("65538 bytes"), "{dead}");
}

#[rstest]
#[tokio::test]
async fn a_result_that_nests_too_deep_for_clients_is_a_failure_for_good(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    hookbox.handler.will([Step::Complete(nested(129)), Step::Complete(nested(100))]);
    let id = hookbox.rest.accept("evt-001").await;
    let dead = hookbox.wait_for(&id, "dead_lettered").await;
    let error = dead["attempts"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("the handler's result nests more than 128 levels deep"), "{error}");
    let id = hookbox.rest.accept("evt-002").await;
    assert_eq!(hookbox.wait_for(&id, "completed").await["result"], nested(100));
}

#[rstest]
#[tokio::test]
async fn a_status_shows_the_last_error_and_when_the_next_attempt_is_due(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([
        Step::FailFor("the bank is closed", Duration::from_secs(90)),
        Step::FailForGood("no such account"),
    ]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    // The members in the status, in a list, and in the answer to a duplicate.
    let shown = async || {
        let status = hookbox.rest.get("/v1/status?idempotency_key=evt-001").await.json();
        let list = hookbox.rest.get("/v1/webhooks?status=retrying,dead_lettered").await.json();
        assert_eq!(list["webhooks"][0], status);
        let again = hookbox.rest.submit("evt-001", "order.created", "{}").await.json();
        let of = |body: &Value| (body["last_error"].clone(), body["next_attempt_at"].clone());
        assert_eq!(of(&again), of(&status));
        of(&status)
    };
    assert_eq!(shown().await, (json!("the bank is closed"), json!("2026-03-01T12:01:30.000Z")));
    hookbox.advance(SignedDuration::from_secs(90));
    hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!(shown().await, (json!("no such account"), Value::Null));
}

/// From the end of the last attempt until the next one is due.
fn delay_of(webhook: &Value) -> SignedDuration {
    let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let last = webhook["attempts"].as_array().unwrap().last().unwrap();
    time(&webhook["available_at"]).duration_since(time(&last["finished_at"]))
}
