//! What is verified is stored with its verdict, and without what proves its sender.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rstest::rstest;
use serde_json::{Value, json};

use super::{SHOP, header, post, send, sign, stored};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store};

/// Signs with Ed25519.
fn key_pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The time of the tests, in seconds since 1970.
fn now() -> i64 {
    START.parse::<jiff::Timestamp>().unwrap().as_second()
}

/// One source for each way of proving who sends.
fn sources() -> String {
    format!(
        r#"
        [sources.github]
        preset = "github"
        secrets = ["s3cret"]
        [sources.payments]
        preset = "stripe"
        secrets = ["old", "s3cret"]
        [sources.discord]
        preset = "discord"
        public_keys = ["{}"]
        [sources.gitlab]
        preset = "gitlab"
        secrets = ["s3cret"]
        [sources.adyen]
        verify = {{ token = "basic" }}
        secrets = ["me:s3cret"]
        key = {{ json = "/id" }}
        [sources.shopify]
        preset = "shopify"
        secrets = ["s3cret"]
        "#,
        hex(key_pair().public_key().as_ref())
    )
}

/// A webhook of each source: the request, the header that proves the sender, the key and the event type.
fn webhooks(rest: &Rest) -> Vec<(&'static str, RequestBuilder, &'static str, &'static str, &'static str)> {
    let body = r#"{"id":"evt_1","type":"invoice.paid","action":"opened","event":{"type":"QUEST"}}"#;
    let now = now();
    let stripe = sign("s3cret", format!("{now}.{body}").as_bytes());
    let ed25519 = hex(key_pair().sign(format!("{now}{body}").as_bytes()).as_ref());
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"s3cret"), body.as_bytes());
    let post = |source| post(rest, source, body);
    vec![
        (
            "github",
            post("github")
                .header("X-GitHub-Delivery", "d-1")
                .header("X-GitHub-Event", "pull_request")
                .header("X-Hub-Signature-256", format!("sha256={}", sign("s3cret", body.as_bytes()))),
            "x-hub-signature-256",
            "d-1",
            "pull_request.opened",
        ),
        (
            "payments",
            post("payments").header("Stripe-Signature", format!("t={now},v1={},v1={stripe}", "0".repeat(64))),
            "stripe-signature",
            "evt_1",
            "invoice.paid",
        ),
        (
            "discord",
            post("discord")
                .header("X-Signature-Ed25519", ed25519)
                .header("X-Signature-Timestamp", now.to_string()),
            "x-signature-ed25519",
            // The SHA-256 of the body.
            "",
            "QUEST",
        ),
        (
            "gitlab",
            post("gitlab")
                .header("X-Gitlab-Token", "s3cret")
                .header("webhook-id", "w-1")
                .header("X-Gitlab-Event", "Push Hook"),
            "x-gitlab-token",
            "w-1",
            "Push Hook",
        ),
        ("adyen", post("adyen").basic_auth("me", Some("s3cret")), "authorization", "evt_1", "adyen"),
        (
            "shopify",
            post("shopify")
                .header("X-Shopify-Hmac-Sha256", STANDARD.encode(tag))
                .header("X-Shopify-Event-Id", "e:1")
                .header("X-Shopify-Topic", "orders/paid")
                .header("X-Shopify-Shop-Domain", "a.example"),
            "x-shopify-hmac-sha256",
            r"e\:1:orders/paid:a.example",
            "orders/paid",
        ),
    ]
}

#[rstest]
#[tokio::test]
async fn a_verified_webhook_is_stored_with_its_verdict_and_without_its_proof(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &sources());
    for (source, request, proof, key, event_type) in webhooks(&hookbox.rest) {
        let answer = Answer::of(request.header("X-Shop", "7").header("Cookie", "a=s3cret")).await;
        assert!([200, 202, 204].contains(&answer.status), "{source}: {}", answer.text);
        let all = stored(&hookbox.rest, source).await;
        let [only] = &all[..] else { panic!("one webhook of {source}: {all:?}") };
        let webhook = hookbox.rest.webhook(only["id"].as_str().unwrap()).await;
        assert_eq!((&webhook["verdict"], &webhook["cause"]), (&json!("verified"), &Value::Null), "{source}");
        assert_eq!(webhook["event_type"], event_type, "{source}");
        assert!(key.is_empty() || webhook["idempotency_key"] == key, "{source}: {webhook}");
        assert_eq!((header(&webhook, proof), header(&webhook, "cookie")), (vec!["***"], vec!["***"]));
        assert_eq!(header(&webhook, "x-shop"), ["7"]);
        assert!(!webhook.to_string().contains("s3cret"), "{webhook}");
        hookbox.wait_for(only["id"].as_str().unwrap(), "completed").await;
    }
    assert_eq!(hookbox.handler.runs().len(), 6);
}

#[rstest]
#[tokio::test]
async fn what_a_sender_sends_again_is_a_duplicate(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let first = send(&hookbox.rest, "evt-001", r#"{"total": 12}"#).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let id = first.text_of("id");
    assert_eq!(first.header("location"), format!("/v1/webhooks/{id}"));
    let expected = [
        ("source", json!("shop")),
        ("idempotency_key", json!("evt-001")),
        ("event_type", json!("shop")),
        ("status", json!("pending")),
        ("duplicate", json!(false)),
    ];
    for (member, value) in expected {
        assert_eq!(first.json()[member], value, "{member}");
    }
    hookbox.wait_for(&id, "completed").await;
    let again = send(&hookbox.rest, "evt-001", r#"{"total": 12}"#).await;
    assert_eq!((again.status, again.text_of("id"), &again.json()["duplicate"]), (200, id, &json!(true)));
    assert_eq!(hookbox.handler.runs().len(), 1);
    // Another source has keys of its own.
    assert_eq!(hookbox.rest.submit("evt-001", "t", "1").await.status, 202);
}

#[rstest]
#[tokio::test]
async fn routes_see_the_headers_without_those_that_prove_the_sender(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let routes = r#"
        [[routes]]
        name = "seen"
        match = { source = "shop", event_type = "shop" }
        where = '"x-id" in headers && body.total > 10 && key == "evt-001"'
        [[routes]]
        name = "hidden"
        where = '"x-signature" in headers || "authorization" in headers'
    "#;
    let hookbox = Hookbox::with_routes(store, &format!("{routes}{SHOP}"));
    let id = send(&hookbox.rest, "evt-001", r#"{"total": 12}"#).await.text_of("id");
    let webhook = hookbox.rest.webhook(&id).await;
    let jobs = webhook["jobs"].as_array().unwrap().iter().map(|job| job["route"].as_str().unwrap());
    assert_eq!(jobs.collect::<Vec<_>>(), ["seen"]);
}

#[rstest]
#[tokio::test]
async fn the_url_that_a_sender_signs_is_public_url_with_the_path_and_the_query(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let settings = r#"
        public_url = "https://hooks.example.com/in/"
        [sources.square]
        verify = { hmac = "sha256", header = "X-Signature", signed = "{url}{body}" }
        secrets = ["s3cret"]
        key = { json = "/id" }
    "#;
    let hookbox = Hookbox::with_routes(store, settings);
    let path = "/v1/sources/square/webhooks?a=%20b&c";
    let send = async |signed: &str| {
        let request = hookbox.rest.request(reqwest::Method::POST, path).body("{\"id\":1}");
        Answer::of(request.header("X-Signature", sign("s3cret", signed.as_bytes()))).await
    };
    let good = send(&format!("https://hooks.example.com/in{path}{{\"id\":1}}")).await;
    assert_eq!(good.status, 202, "{}", good.text);
    let address = hookbox.rest.address();
    for url in [format!("http://{address}{path}"), format!("https://hooks.example.com{path}")] {
        let refused = send(&format!("{url}{{\"id\":1}}")).await;
        assert_eq!(refused.problem(401, "NOT_VERIFIED")["cause"], "signature_mismatch", "{url}");
    }
}

#[tokio::test]
async fn a_webhook_carries_on_the_trace_of_its_sender() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let request = super::signed_with(&hookbox.rest, "s3cret", "evt-001", "{}")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let id = Answer::of(request).await.text_of("id");
    assert_eq!(hookbox.rest.webhook(&id).await["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn there_is_no_url_for_a_source_that_the_settings_do_not_have() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    for source in ["other", "default", "hookbox", "Shop", "%FF", "a%20b"] {
        for method in ["POST", "GET", "OPTIONS"] {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let answer = Answer::of(super::request(&hookbox.rest, method, source)).await;
            answer.problem(404, "SOURCE_NOT_FOUND");
        }
    }
}
