//! Searches: lists by what was found out about webhooks, and by what is in their bodies, over both APIs.

use hookbox::internals::grpc::proto;
use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;

use crate::api::harness::client::{Answer, body};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    unverified = "quarantine"
"#;

/// The ids of all webhooks that a query finds over REST, newest first.
async fn found(hookbox: &Hookbox, query: &str) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = hookbox.rest.get(&format!("/v1/webhooks?{query}&page_token={token}")).await.json();
        let webhooks = page["webhooks"].as_array().unwrap();
        ids.extend(webhooks.iter().map(|webhook| webhook["id"].as_str().unwrap().to_owned()));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        assert_eq!(token.is_empty(), page["searched_to"].is_null(), "{page}");
        if token.is_empty() {
            return ids;
        }
    }
}

/// The ids of the webhooks on the first page over gRPC.
async fn found_by(hookbox: &Hookbox, request: proto::ListWebhooksRequest) -> Vec<String> {
    let page = hookbox.grpc().list_webhooks(request).await.unwrap().into_inner();
    page.webhooks.into_iter().map(|webhook| webhook.id).collect()
}

/// Sends a webhook to the source `shop`.
async fn send(hookbox: &Hookbox, token: &str, key: &str) {
    let request = hookbox.rest.request(Method::POST, "/v1/sources/shop/webhooks");
    let request = request.header("x-token", token).header("x-id", key);
    let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body("id=A-7&total=1.0");
    let answer = Answer::of(request).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
}

#[rstest]
#[tokio::test]
async fn bodies_errors_keys_and_traces_are_searched(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::FailForGood("no stock of 'A-1' & \"B\"")]);
    let payload = r#"{"order":{"id":"A-1","lines":[{"sku":"x","n":1.0}]}}"#;
    let dead = hookbox.rest.submit("dead", "order.created", payload).await.text_of("id");
    hookbox.wait_for(&dead, "dead_lettered").await;
    hookbox.advance(SignedDuration::from_secs(1));
    let traced = hookbox.rest.submission(body("traced", "order.created", r#"{"order":{"id":1}}"#));
    let traced = traced.header("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-01"));
    let traced = Answer::of(traced).await.text_of("id");
    hookbox.wait_for(&traced, "completed").await;

    for (query, expected) in [
        ("idempotency_key=dead", vec![&dead]),
        ("idempotency_key=DEAD", vec![]),
        ("trace_id=4BF92F3577B34DA6A3CE929D0E0E4736", vec![&traced]),
        ("error_contains=no+stock", vec![&dead]),
        ("error_contains=%27A-1%27+%26+%22B%22&status=dead_lettered&route=default", vec![&dead]),
        ("error_contains=no+stock&status=completed", vec![]),
        ("body_pointer=/order/id&body_equals=A-1", vec![&dead]),
        ("body_pointer=/order/id&body_equals=%22A-1%22", vec![&dead]),
        ("body_pointer=/order/id&body_equals=1", vec![&traced]),
        ("body_pointer=/order/id&body_equals=1.0", vec![&traced]),
        ("body_pointer=/order/id&body_equals=%221%22", vec![]),
        ("body_pointer=/order/lines/0&body_equals=%7B%22n%22:1,%22sku%22:%22x%22%7D", vec![&dead]),
        ("body_equals=%7B%22order%22:%7B%22id%22:1%7D%7D", vec![&traced]),
        ("body_contains=%22sku%22:%22x%22", vec![&dead]),
        ("body_contains=order", vec![&traced, &dead]),
        ("body_contains=order&page_size=1", vec![&traced, &dead]),
        (
            "body_contains=order&body_pointer=/order/id&body_equals=A-1&verdict=none&source=default",
            vec![&dead],
        ),
        ("verdict=unverified", vec![]),
        ("body_contains=&body_equals=&body_pointer=&verdict=&cause=&idempotency_key=", vec![&traced, &dead]),
    ] {
        assert_eq!(found(&hookbox, query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let none = proto::ListWebhooksRequest::default;
    for (request, expected) in [
        (proto::ListWebhooksRequest { idempotency_key: "dead".into(), ..none() }, vec![&dead]),
        (proto::ListWebhooksRequest { trace_id: TRACE_ID.into(), ..none() }, vec![&traced]),
        (proto::ListWebhooksRequest { error_contains: "no stock".into(), ..none() }, vec![&dead]),
        (
            proto::ListWebhooksRequest {
                body_pointer: "/order/id".into(),
                body_equals: "1".into(),
                ..none()
            },
            vec![&traced],
        ),
        (proto::ListWebhooksRequest { body_contains: "sku".into(), ..none() }, vec![&dead]),
        (proto::ListWebhooksRequest { verdict: proto::Verdict::Verified.into(), ..none() }, vec![]),
    ] {
        assert_eq!(
            found_by(&hookbox, request.clone()).await.iter().collect::<Vec<_>>(),
            expected,
            "{request:?}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn verdicts_and_forms_are_searched(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let none = hookbox.rest.accept("evt-001").await;
    hookbox.advance(SignedDuration::from_secs(1));
    send(&hookbox, "the-token-of-the-shop", "evt-001").await;
    let verified = hookbox.rest.get("/v1/status?idempotency_key=evt-001&source=shop").await.text_of("id");
    hookbox.advance(SignedDuration::from_secs(1));
    send(&hookbox, "another-token", "evt-001").await;
    let unverified = found(&hookbox, "status=quarantined").await.remove(0);

    let all = [&unverified, &verified, &none];
    for (query, expected) in [
        ("verdict=none", &all[2..]),
        ("verdict=verified", &all[1..2]),
        ("verdict=unverified", &all[..1]),
        ("cause=credentials_wrong", &all[..1]),
        ("verdict=unverified&cause=credentials_wrong", &all[..1]),
        ("cause=signature_missing", &[]),
        ("idempotency_key=evt-001", &all[..]),
        ("idempotency_key=evt-001&source=shop", &all[..2]),
        ("idempotency_key=evt-001&source=shop&status=quarantined", &all[..1]),
        ("body_pointer=/id&body_equals=A-7", &all[..2]),
        ("body_pointer=/total&body_equals=1.0&verdict=verified", &all[1..2]),
        ("body_pointer=/total&body_equals=1", &[]),
    ] {
        assert_eq!(found(&hookbox, query).await.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let request = proto::ListWebhooksRequest {
        cause: proto::Cause::CredentialsWrong.into(),
        verdict: proto::Verdict::Unverified.into(),
        ..Default::default()
    };
    assert_eq!(found_by(&hookbox, request).await, [unverified]);
}
