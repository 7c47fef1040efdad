//! Retrying and cancelling by hand.

use rstest::rstest;
use serde_json::json;

use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store, eventually};

#[rstest]
#[tokio::test]
async fn a_dead_letter_that_is_retried_runs_again_with_a_fresh_budget_of_attempts(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with(store, &[("max_attempts", "2")]);
    hookbox.handler.will([Step::FailForGood("no"), Step::Fail("not yet"), Step::Complete(json!("done"))]);
    let id = hookbox.rest.accept("evt-001").await;
    let dead = hookbox.wait_for(&id, "dead_lettered").await;
    hookbox.advance(HOUR);
    let retried = hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await;
    assert_eq!(retried.status, 200, "{}", retried.text);
    assert_eq!(retried.text_of("status"), "pending");
    assert_ne!(retried.json()["updated_at"], dead["updated_at"]);
    hookbox.wait_for(&id, "retrying").await;
    hookbox.advance(HOUR);
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!((&done["attempt_count"], &done["result"]), (&json!(3), &json!("done")));
    let numbers: Vec<_> = done["attempts"].as_array().unwrap().iter().map(|a| a["number"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[rstest]
#[tokio::test]
async fn a_retried_dead_letter_that_fails_again_is_a_dead_letter_again(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with(store, &[("max_attempts", "1")]);
    hookbox.handler.will([Step::Fail("one"), Step::Fail("two"), Step::Fail("three")]);
    let id = hookbox.rest.accept("evt-001").await;
    for attempts in 1..=3 {
        let dead = eventually("a dead letter", || async {
            let webhook = hookbox.rest.webhook(&id).await;
            let failed = webhook["attempts"].as_array().map(Vec::len) == Some(attempts);
            (failed && webhook["status"] == "dead_lettered").then_some(webhook)
        })
        .await;
        assert_eq!(dead["attempt_count"], attempts);
        if attempts < 3 {
            assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await.status, 200);
        }
    }
}

#[rstest]
#[tokio::test]
async fn only_a_webhook_that_is_dead_lettered_or_cancelled_can_be_retried(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    let completed = hookbox.rest.accept("completed").await;
    hookbox.wait_for(&completed, "completed").await;
    hookbox.handler.will([Step::Fail("later")]);
    let retrying = hookbox.rest.accept("retrying").await;
    hookbox.wait_for(&retrying, "retrying").await;
    let gate = hookbox.handler.will_hold();
    let processing = hookbox.rest.accept("processing").await;
    hookbox.wait_for(&processing, "processing").await;
    let pending = hookbox.rest.accept("pending").await;
    for (id, status) in
        [(completed, "completed"), (retrying, "retrying"), (processing, "processing"), (pending, "pending")]
    {
        let answer = hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await;
        let problem = answer.problem(409, "WRONG_STATUS");
        assert!(problem["detail"].as_str().unwrap().contains(status), "{problem}");
        assert_eq!(hookbox.rest.webhook(&id).await["status"], status, "nothing changed");
    }
    drop(gate);
}

#[rstest]
#[tokio::test]
async fn a_cancelled_webhook_never_starts_until_it_is_retried(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    let gate = hookbox.handler.will_hold();
    let running = hookbox.rest.accept("running").await;
    hookbox.wait_for(&running, "processing").await;
    let id = hookbox.rest.accept("cancelled").await;
    let path = format!("/v1/webhooks/{id}/cancel");
    let cancelled = hookbox.rest.post(&path).await;
    assert_eq!((cancelled.status, cancelled.text_of("status")), (200, "cancelled".to_owned()));
    hookbox.advance(HOUR);
    let again = hookbox.rest.post(&path).await;
    assert_eq!((again.status, again.text), (200, cancelled.text), "cancelling it again changes nothing");
    let duplicate = hookbox.rest.submit("cancelled", "order.created", "{}").await;
    assert_eq!((duplicate.status, duplicate.text_of("status")), (200, "cancelled".to_owned()));

    drop(gate);
    let after = hookbox.rest.accept("after").await;
    hookbox.wait_for(&after, "completed").await;
    assert!(hookbox.handler.runs().iter().all(|run| run.key != "cancelled"));
    let kept = hookbox.rest.webhook(&id).await;
    assert_eq!((&kept["attempt_count"], &kept["completed_at"]), (&json!(0), &kept["updated_at"]));

    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await.status, 200);
    hookbox.wait_for(&id, "completed").await;
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_waits_for_another_attempt_can_be_cancelled(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("later")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/cancel")).await.status, 200);
    hookbox.advance(HOUR);
    let other = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&other, "completed").await;
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "cancelled");
    assert_eq!(hookbox.handler.runs().len(), 2);
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_runs_or_is_done_cannot_be_cancelled(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let completed = hookbox.rest.accept("completed").await;
    hookbox.wait_for(&completed, "completed").await;
    let gate = hookbox.handler.will_hold();
    let processing = hookbox.rest.accept("processing").await;
    hookbox.wait_for(&processing, "processing").await;
    for id in [&completed, &processing] {
        let answer = hookbox.rest.post(&format!("/v1/webhooks/{id}/cancel")).await;
        answer.problem(409, "WRONG_STATUS");
    }
    drop(gate);
    hookbox.wait_for(&processing, "completed").await;
}

#[rstest]
#[tokio::test]
async fn cancelling_a_dead_letter_gives_it_up(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no")]);
    let dead = hookbox.rest.accept("dead").await;
    hookbox.wait_for(&dead, "dead_lettered").await;
    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{dead}/cancel")).await.status, 200);
    assert_eq!(hookbox.rest.webhook(&dead).await["status"], "cancelled");
}

#[rstest]
#[tokio::test]
async fn jobs_are_retried_and_cancelled_by_key(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no"), Step::Fail("later")]);
    let id = hookbox.rest.accept("evt 001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    let retried = hookbox.rest.post("/v1/retry?idempotency_key=evt+001&source=default").await;
    assert_eq!((retried.status, retried.text_of("id")), (200, id.clone()), "{}", retried.text);
    assert_eq!(retried.text_of("status"), "pending");
    hookbox.wait_for(&id, "retrying").await;

    let by_key = "idempotency_key=evt+001&route=default";
    hookbox.rest.post(&format!("/v1/retry?{by_key}")).await.problem(409, "WRONG_STATUS");
    let cancelled = hookbox.rest.post(&format!("/v1/cancel?{by_key}")).await;
    assert_eq!((cancelled.status, cancelled.text_of("status")), (200, "cancelled".to_owned()));
    assert_eq!(cancelled.text_of("id"), id);
    for call in ["retry", "cancel"] {
        let other = hookbox.rest.post(&format!("/v1/{call}?idempotency_key=evt+001&route=other")).await;
        other.problem(404, "ROUTE_NOT_FOUND");
    }
}
