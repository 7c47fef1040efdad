//! What hours and weeks do to webhooks.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::Value;

use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store, eventually};

const DAY: SignedDuration = SignedDuration::from_hours(24);

#[rstest]
#[tokio::test]
async fn an_attempt_that_outlasts_its_lease_keeps_it_and_starts_once(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with(store, &[("lease", "30s")]);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;
    hookbox.advance(HOUR);
    // The other thread runs this one, and would run the first one had it been taken over.
    let other = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&other, "completed").await;
    drop(gate);
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!(done["attempt_count"], 1);
    assert_eq!(hookbox.handler.runs().len(), 2);
}

#[rstest]
#[tokio::test]
async fn time_that_passes_while_leases_are_renewed_takes_no_running_job_over(
    #[values(Sqlite, Postgres)] store: Store,
) {
    // As when the disk stalls, or the machine is suspended, in the middle of it.
    let hookbox = Hookbox::with(store, &[("lease", "30s")]);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;
    for _ in 0..20 {
        hookbox.advance(HOUR);
        hookbox.rest.get("/v1/stats").await;
    }
    drop(gate);
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!(done["attempt_count"], 1);
    assert_eq!(hookbox.handler.runs().len(), 1);
}

#[rstest]
#[tokio::test]
async fn webhooks_are_started_in_the_order_they_were_accepted(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "1")]);
    let gate = hookbox.handler.will_hold();
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(hookbox.rest.accept(&format!("evt-{number}")).await);
    }
    drop(gate);
    hookbox.wait_for(&ids[19], "completed").await;
    let order: Vec<_> = hookbox.handler.runs().into_iter().map(|run| run.webhook).collect();
    assert_eq!(order, ids);
}

#[rstest]
#[tokio::test]
async fn as_many_webhooks_run_at_once_as_there_are_workers(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("workers", "3")]);
    let gates: Vec<_> = (0..5).map(|_| hookbox.handler.will_hold()).collect();
    for number in 0..5 {
        hookbox.rest.accept(&format!("evt-{number}")).await;
    }
    let counts = async || hookbox.rest.get("/v1/stats").await.json()["counts"].clone();
    eventually("three that run", || async {
        let counts = counts().await;
        (counts["processing"] == 3 && counts["pending"] == 2).then_some(())
    })
    .await;
    // The status changes before the claim is answered.
    eventually("three workers that are busy", || async {
        let stats = hookbox.rest.get("/v1/stats").await.json();
        (stats["workers"]["busy"] == 3).then_some(())
    })
    .await;
    drop(gates);
    eventually("five that are done", || async { (counts().await["completed"] == 5).then_some(()) }).await;
}

#[rstest]
#[tokio::test]
async fn after_its_retention_a_payload_is_gone_but_its_key_is_still_known(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let settings = [("retention_completed", "7d"), ("retention_keys", "30d")];
    let hookbox = Hookbox::with(store, &settings);
    let id = hookbox.rest.submit("evt-001", "order.created", r#"{"secret":1}"#).await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    hookbox.advance(DAY * 6);
    assert_eq!(hookbox.rest.webhook(&id).await["payload"]["secret"], 1);

    hookbox.advance(DAY * 2);
    let bare = hookbox
        .as_time_passes("the payload being gone", || async {
            let webhook = hookbox.rest.webhook(&id).await;
            webhook.get("payload").is_none().then_some(webhook)
        })
        .await;
    assert_eq!(bare.get("result"), None);
    assert_eq!(bare["status"], "completed");
    let same = hookbox.rest.submit("evt-001", "order.created", r#"{ "secret" : 1 }"#).await;
    assert_eq!((same.status, same.text_of("id")), (200, id.clone()));
    let other = hookbox.rest.submit("evt-001", "order.created", "2").await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");

    hookbox.advance(DAY * 30);
    hookbox
        .as_time_passes("the key being gone", || async {
            let answer = hookbox.rest.get("/v1/status?idempotency_key=evt-001").await;
            (answer.status == 404).then_some(())
        })
        .await;
    hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.problem(404, "WEBHOOK_NOT_FOUND");
    let anew = hookbox.rest.submit("evt-001", "order.created", "2").await;
    assert_eq!((anew.status, anew.json()["duplicate"] == Value::Bool(false)), (202, true));
}

#[rstest]
#[tokio::test]
async fn what_is_not_done_is_never_purged(#[values(Sqlite, Postgres)] store: Store) {
    let settings = [
        ("retention_completed", "0s"),
        ("retention_dead_lettered", "0s"),
        ("retention_keys", "0s"),
        ("workers", "1"),
    ];
    let hookbox = Hookbox::with(store, &settings);
    let long = std::time::Duration::from_secs(30 * 24 * 60 * 60);
    hookbox.handler.will([Step::FailFor("next month", long)]);
    let retrying = hookbox.rest.accept("retrying").await;
    hookbox.wait_for(&retrying, "retrying").await;
    let gate = hookbox.handler.will_hold();
    let processing = hookbox.rest.accept("processing").await;
    hookbox.wait_for(&processing, "processing").await;
    let pending = hookbox.rest.accept("pending").await;
    let cancelled = hookbox.rest.accept("cancelled").await;
    hookbox.rest.post(&format!("/v1/webhooks/{cancelled}/cancel")).await;

    hookbox.advance(DAY);
    hookbox
        .as_time_passes("the purge of what is done", || async {
            let answer = hookbox.rest.get(&format!("/v1/webhooks/{cancelled}")).await;
            (answer.status == 404).then_some(())
        })
        .await;
    for id in [&retrying, &processing, &pending] {
        assert_eq!(hookbox.rest.webhook(id).await["payload"], serde_json::json!({}));
    }
    drop(gate);
}
