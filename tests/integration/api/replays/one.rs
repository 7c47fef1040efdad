//! One webhook that is replayed, over both APIs.

use hookbox::internals::grpc::proto;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::accept;
use crate::api::harness::client::Answer;
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const TWO: &str = r#"
    [[routes]]
    name = "orders"
    handler = "simulate"

    [[routes]]
    name = "audit"
    handler = "simulate"
"#;

/// Replays a webhook; `query` is the part of the path after it.
async fn replay(hookbox: &Hookbox, id: &str, query: &str) -> Answer {
    hookbox.rest.post(&format!("/v1/webhooks/{id}/replay{query}")).await
}

/// The runs of the jobs of a webhook, once they are completed.
async fn runs(hookbox: &Hookbox, id: &str) -> Vec<Value> {
    let webhook = hookbox.wait_for(id, "completed").await;
    webhook["jobs"].as_array().unwrap().iter().map(|job| job["run"].clone()).collect()
}

#[rstest]
#[tokio::test]
async fn the_finished_jobs_of_a_webhook_run_again(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, TWO);
    let id = accept(&hookbox, &["evt-001"]).await.remove(0);
    let answer = replay(&hookbox, &id, "").await;
    assert_eq!((answer.status, answer.text_of("status")), (200, "pending".to_owned()));
    assert_eq!(runs(&hookbox, &id).await, [2, 2]);
    let answer = replay(&hookbox, &id, "?route=audit&reason=the%20audit%20was%20lost").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(runs(&hookbox, &id).await, [2, 3]);
    let webhook = hookbox.rest.webhook(&id).await;
    assert_eq!(webhook["jobs"][1]["attempts"].as_array().map(Vec::len), Some(3), "all attempts are kept");
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_replayed_by_its_key(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, TWO);
    let id = accept(&hookbox, &["evt-001"]).await.remove(0);
    for (query, expected) in [("&source=default", [2, 2]), ("&route=audit", [2, 3])] {
        let answer = hookbox.rest.post(&format!("/v1/replay?idempotency_key=evt-001{query}")).await;
        assert_eq!((answer.status, answer.text_of("id")), (200, id.clone()), "{}", answer.text);
        assert_eq!(runs(&hookbox, &id).await, expected);
    }
    let other = hookbox.rest.post("/v1/replay?idempotency_key=evt-001&route=other").await;
    other.problem(404, "ROUTE_NOT_FOUND");
}

#[rstest]
#[tokio::test]
async fn a_replayed_job_has_a_result_once_it_is_completed_again(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Complete(json!("first"))]);
    let id = accept(&hookbox, &["evt-001"]).await.remove(0);
    assert_eq!(hookbox.rest.webhook(&id).await["result"], "first");
    let gate = hookbox.handler.will_hold();
    assert_eq!(replay(&hookbox, &id, "").await.status, 200);
    hookbox.wait_for_runs(2).await;
    let running = hookbox.rest.webhook(&id).await;
    assert_eq!((&running["status"], &running["completed_at"]), (&json!("processing"), &Value::Null));
    assert!(running.get("result").is_none(), "{running}");
    drop(gate);
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!(done["result"], json!({ "handled": "order.created" }));
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_replayed_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let done = accept(&hookbox, &["evt-001"]).await.remove(0);
    replay(&hookbox, &done, "?route=other").await.problem(404, "ROUTE_NOT_FOUND");
    for (query, field) in [("?route=No%20Route", "route"), ("?reason=a%0Ab", "reason"), ("?jobs=all", "jobs")]
    {
        replay(&hookbox, &done, query).await.refused_field(field);
    }
    let gate = hookbox.handler.will_hold();
    let busy = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for_runs(2).await;
    let problem = replay(&hookbox, &busy, "").await.problem(409, "WRONG_STATUS");
    assert!(problem["detail"].as_str().unwrap().contains("processing"), "{problem}");
    drop(gate);
    hookbox.wait_for(&busy, "completed").await;
    assert_eq!(runs(&hookbox, &done).await, [1], "nothing changed");
}

#[rstest]
#[tokio::test]
async fn grpc_replays_a_webhook_too(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, TWO);
    let mut client = hookbox.grpc();
    let id = accept(&hookbox, &["evt-001"]).await.remove(0);
    let request = |id: &str, route: Option<&str>| proto::ReplayWebhookRequest {
        id: id.to_owned(),
        route: route.map(ToOwned::to_owned),
        ..proto::ReplayWebhookRequest::default()
    };
    let status = client.replay_webhook(request(&id, Some("orders"))).await.unwrap().into_inner();
    assert_eq!((status.id.as_str(), status.status()), (id.as_str(), proto::Status::Pending));
    assert_eq!(runs(&hookbox, &id).await, [2, 1]);
    client.replay_webhook(request(&id, None)).await.unwrap();
    assert_eq!(runs(&hookbox, &id).await, [3, 2]);
    let by_key = |key: &str, source: &str| proto::ReplayWebhookRequest {
        idempotency_key: key.to_owned(),
        source: source.to_owned(),
        ..request("", Some("orders"))
    };
    let status = client.replay_webhook(by_key("evt-001", "")).await.unwrap().into_inner();
    assert_eq!(status.id, id);
    assert_eq!(runs(&hookbox, &id).await, [4, 2]);
    for (request, code) in [
        (by_key("evt-001", "other"), Code::NotFound),
        (proto::ReplayWebhookRequest { id: id.clone(), ..by_key("evt-001", "") }, Code::InvalidArgument),
        (request("", None), Code::InvalidArgument),
    ] {
        assert_eq!(client.replay_webhook(request).await.unwrap_err().code(), code);
    }
    let missing = "01934c3e-7b00-7000-8000-000000000000";
    for (id, route, code, reason) in [
        ("7", None, Code::InvalidArgument, "INVALID_FIELD"),
        (id.as_str(), Some("No Route"), Code::InvalidArgument, "INVALID_FIELD"),
        (id.as_str(), Some("other"), Code::NotFound, "ROUTE_NOT_FOUND"),
        (missing, None, Code::NotFound, "WEBHOOK_NOT_FOUND"),
    ] {
        let refused = client.replay_webhook(request(id, route)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, reason);
    }
}
