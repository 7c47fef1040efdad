//! Webhooks in quarantine: what is shown of them, and what operators do with them, over both APIs.

mod callers;
mod watched;

use hookbox::internals::grpc::proto::{self, Status};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    unverified = "quarantine"
"#;

const ROUTES: &str = r#"
    [[routes]]
    name = "large"
    match = { source = "shop" }
    where = 'body.total > 100 && headers["x-region"] == "eu"'
    handler = "simulate"

    [[routes]]
    name = "audit"
    match = { source = "shop" }
    handler = "simulate"
"#;

const OTHERS: &str = r#"
    [[routes]]
    name = "others"
    match = { source = "default" }
    handler = "simulate"
"#;

/// Sends a webhook to the source `shop`.
async fn send(rest: &Rest, token: &str, key: &str, body: &str) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", token);
    let request = request.header("x-id", key).header("x-region", "eu");
    Answer::of(request.header(CONTENT_TYPE, "application/json").body(body.to_owned())).await
}

/// Sends a webhook that is verified; answers its id.
async fn accept(rest: &Rest, key: &str, body: &str) -> String {
    let answer = send(rest, "the-token-of-the-shop", key, body).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    rest.get(&by_key(key)).await.text_of("id")
}

/// Sends a webhook that is not verified; answers its id.
async fn quarantine(rest: &Rest, key: &str, body: &str) -> String {
    let before = quarantined(rest).await;
    let answer = send(rest, "another-token", key, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let after = quarantined(rest).await;
    after.into_iter().find(|id| !before.contains(id)).expect("it is in the list")
}

/// The ids of the webhooks that are in quarantine.
async fn quarantined(rest: &Rest) -> Vec<String> {
    let page = rest.get("/v1/webhooks?status=quarantined").await.json();
    let ids = page["webhooks"].as_array().unwrap().iter().map(|webhook| webhook["id"].as_str().unwrap());
    ids.map(ToOwned::to_owned).collect()
}

fn by_key(key: &str) -> String {
    format!("/v1/status?idempotency_key={key}&source=shop")
}

async fn release(rest: &Rest, id: &str) -> Answer {
    rest.post(&format!("/v1/webhooks/{id}/release")).await
}

async fn discard(rest: &Rest, id: &str) -> Answer {
    rest.post(&format!("/v1/webhooks/{id}/discard")).await
}

/// The routes of the jobs of a webhook.
fn routes(webhook: &Value) -> Vec<&str> {
    let jobs = webhook["jobs"].as_array().unwrap().iter();
    jobs.map(|job| job["route"].as_str().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_is_not_verified_is_shown_in_quarantine(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let id = quarantine(&hookbox.rest, "evt-001", r#"{"total":1}"#).await;
    let shown = hookbox.rest.webhook(&id).await;
    assert_eq!((&shown["status"], &shown["jobs"]), (&json!("quarantined"), &json!([])));
    assert_eq!((&shown["verdict"], &shown["cause"]), (&json!("unverified"), &json!("credentials_wrong")));
    assert_eq!((&shown["payload"], &shown["idempotency_key"]), (&json!({ "total": 1 }), &json!("evt-001")));
    let status = hookbox.rest.get(&format!("/v1/webhooks/{id}/status")).await;
    assert_eq!(status.text_of("status"), "quarantined");
    assert_eq!(hookbox.rest.get("/v1/stats").await.json()["counts"]["quarantined"], 1);

    let request = proto::GetWebhookRequest { id: id.clone(), ..Default::default() };
    let webhook = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    assert_eq!((webhook.status(), webhook.verdict()), (Status::Quarantined, proto::Verdict::Unverified));
    assert_eq!(webhook.cause(), proto::Cause::CredentialsWrong);

    let problem = hookbox.rest.get(&by_key("evt-001")).await.problem(404, "WEBHOOK_NOT_FOUND");
    assert!(problem["detail"].as_str().unwrap().contains("in quarantine is found by its id"), "{problem}");
    for call in ["retry", "cancel"] {
        hookbox.rest.post(&format!("/v1/webhooks/{id}/{call}")).await.problem(409, "WRONG_STATUS");
    }
    assert!(hookbox.handler.runs().is_empty(), "nothing was run");
}

#[rstest]
#[tokio::test]
async fn a_released_webhook_gets_a_job_of_each_route_that_matches_it(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, ROUTES, OTHERS].concat());
    let (large, small) = (r#"{ "total": 101 }"#, r#"{"total":1}"#);
    let id = quarantine(&hookbox.rest, "evt-001", large).await;
    let released = release(&hookbox.rest, &id).await;
    let expected = json!({
        "id": id, "source": "shop", "idempotency_key": "evt-001", "event_type": "order.paid",
        "status": "pending", "duplicate": false, "accepted_at": "2026-03-01T12:00:00.000Z",
    });
    assert_eq!((released.status, released.json()), (200, expected));
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!(routes(&done), ["large", "audit"]);
    assert_eq!((&done["verdict"], &done["cause"]), (&json!("unverified"), &json!("credentials_wrong")));
    let runs = hookbox.handler.runs();
    assert!(runs.len() == 2 && runs.iter().all(|run| run.payload == large && run.key == "evt-001"));

    assert_eq!(hookbox.rest.get(&by_key("evt-001")).await.text_of("id"), id, "it has its key");
    assert_eq!(accept(&hookbox.rest, "evt-001", large).await, id, "what is sent again is a duplicate");
    assert_eq!(hookbox.handler.runs().len(), 2);
    release(&hookbox.rest, &id).await.problem(409, "WRONG_STATUS");

    let id = quarantine(&hookbox.rest, "evt-002", small).await;
    assert_eq!(release(&hookbox.rest, &id).await.status, 200);
    assert_eq!(routes(&hookbox.wait_for(&id, "completed").await), ["audit"]);
}

#[rstest]
#[tokio::test]
async fn the_routes_at_the_release_count(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, OTHERS].concat());
    let unmatched = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let matched = quarantine(&hookbox.rest, "evt-002", "{}").await;
    assert_eq!(release(&hookbox.rest, &unmatched).await.text_of("status"), "filtered");
    let counts = hookbox.rest.get("/v1/stats").await.json()["counts"].clone();
    assert_eq!((&counts["filtered"], &counts["quarantined"]), (&json!(1), &json!(1)));
    hookbox.set_routes(&[SHOP, ROUTES].concat());
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    assert_eq!(release(&hookbox.rest, &matched).await.text_of("status"), "pending");
    assert_eq!(routes(&hookbox.wait_for(&matched, "completed").await), ["audit"]);
}

#[rstest]
#[tokio::test]
async fn a_release_finds_that_the_same_webhook_was_accepted_meanwhile(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let quarantined = quarantine(&hookbox.rest, "evt-001", r#"{"total":1}"#).await;
    let genuine = accept(&hookbox.rest, "evt-001", r#"{"total":1}"#).await;
    assert_ne!(genuine, quarantined);
    let released = release(&hookbox.rest, &quarantined).await;
    let answer = released.json();
    assert_eq!((released.status, &answer["id"]), (200, &json!(genuine)), "{answer}");
    assert_eq!(answer["duplicate"], true);
    hookbox.rest.get(&format!("/v1/webhooks/{quarantined}")).await.problem(404, "WEBHOOK_NOT_FOUND");
    hookbox.wait_for(&genuine, "completed").await;
    assert_eq!(hookbox.handler.runs().len(), 1);
    assert_eq!(hookbox.rest.get("/v1/stats").await.json()["counts"]["quarantined"], 0);
}

#[rstest]
#[tokio::test]
async fn a_webhook_whose_key_was_taken_by_another_stays_in_quarantine(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let forged = quarantine(&hookbox.rest, "evt-001", r#"{"total":9}"#).await;
    let genuine = accept(&hookbox.rest, "evt-001", r#"{"total":1}"#).await;
    let problem = release(&hookbox.rest, &forged).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(problem["webhook_id"], genuine.as_str());
    assert_eq!(quarantined(&hookbox.rest).await, [forged.as_str()]);
    assert_eq!(hookbox.rest.get(&by_key("evt-001")).await.text_of("id"), genuine);
    assert_eq!(discard(&hookbox.rest, &forged).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_discarded_webhook_is_gone(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let id = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let discarded = discard(&hookbox.rest, &id).await;
    let expected =
        json!({ "id": id, "source": "shop", "idempotency_key": "evt-001", "event_type": "order.paid" });
    assert_eq!((discarded.status, discarded.json()), (200, expected));
    let problem = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.problem(404, "WEBHOOK_NOT_FOUND");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("or was removed") && detail.contains("from quarantine"), "{detail}");
    let request = proto::GetWebhookRequest { id: id.clone(), ..Default::default() };
    assert_eq!(hookbox.grpc().get_webhook(request).await.unwrap_err().message(), detail);
    for again in [release(&hookbox.rest, &id).await, discard(&hookbox.rest, &id).await] {
        again.problem(404, "WEBHOOK_NOT_FOUND");
    }
    assert_eq!(hookbox.rest.get("/v1/stats").await.json()["counts"]["quarantined"], 0);
}

#[rstest]
#[tokio::test]
async fn only_what_is_in_quarantine_is_released_or_discarded(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let id = hookbox.rest.accept("evt-001").await;
    let done = hookbox.wait_for(&id, "completed").await;
    for refused in [release(&hookbox.rest, &id).await, discard(&hookbox.rest, &id).await] {
        refused.problem(409, "WRONG_STATUS");
    }
    assert_eq!(hookbox.rest.webhook(&id).await, done);
}

#[rstest]
#[tokio::test]
async fn metrics_count_what_becomes_of_the_quarantine(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let counted = async |expected: [u64; 4]| {
        let metrics = hookbox.rest.get("/metrics").await.text;
        for (action, count) in ["stored", "released", "discarded", "refused_full"].into_iter().zip(expected) {
            let line = format!("hookbox_quarantine_total{{source=\"shop\",action=\"{action}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line} in {metrics}");
        }
    };
    counted([0; 4]).await;
    let first = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let second = quarantine(&hookbox.rest, "evt-002", "{}").await;
    assert_eq!(release(&hookbox.rest, &first).await.status, 200);
    assert_eq!(discard(&hookbox.rest, &second).await.status, 200);
    discard(&hookbox.rest, &second).await.problem(404, "WEBHOOK_NOT_FOUND");
    counted([2, 1, 1, 0]).await;
}

#[rstest]
#[tokio::test]
async fn both_apis_release_and_discard(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let mut client = hookbox.grpc();
    let release = |id: &str| proto::ReleaseWebhookRequest { id: id.to_owned(), reason: None };
    let discard = |id: &str| proto::DiscardWebhookRequest { id: id.to_owned(), reason: None };
    let id = quarantine(&hookbox.rest, "evt-001", "{}").await;
    let released = client.release_webhook(release(&id)).await.unwrap().into_inner();
    let expected = proto::SubmitWebhookResponse {
        id: id.clone(),
        source: "shop".into(),
        idempotency_key: "evt-001".into(),
        event_type: "order.paid".into(),
        status: Status::Pending.into(),
        duplicate: false,
        accepted_at: Some(prost_types::Timestamp { seconds: 1_772_366_400, nanos: 0 }),
        last_error: None,
        next_attempt_at: None,
    };
    assert_eq!(released, expected);
    let again = client.release_webhook(release(&id)).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again}");

    let forged = quarantine(&hookbox.rest, "evt-001", "[]").await;
    let taken = client.release_webhook(release(&forged)).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists, "{taken}");
    assert_eq!(taken.get_details_error_info().unwrap().metadata["webhook_id"], id);
    let discarded = client.discard_webhook(discard(&forged)).await.unwrap().into_inner();
    let expected = proto::DiscardWebhookResponse {
        id: forged.clone(),
        source: "shop".into(),
        idempotency_key: "evt-001".into(),
        event_type: "order.paid".into(),
    };
    assert_eq!(discarded, expected);
    for (id, code) in [(forged.as_str(), Code::NotFound), ("7", Code::InvalidArgument)] {
        let refused = client.release_webhook(release(id)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        let refused = client.discard_webhook(discard(id)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
}
