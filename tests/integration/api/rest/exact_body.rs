//! The body of a webhook alone, byte for byte.

use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;

use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = "body"
    event_type = { text = "order.paid" }
    unverified = "quarantine"
"#;

/// Sends a body to the source `shop`.
async fn send(rest: &Rest, token: &str, content_type: &str, body: &[u8]) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", token);
    let answer = Answer::of(request.header(CONTENT_TYPE, content_type).body(body.to_vec())).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer
}

#[rstest]
#[tokio::test]
async fn every_body_is_answered_as_it_came_with_its_content_type(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let all_bytes = (0..=255).collect::<Vec<u8>>();
    for (content_type, body) in [
        ("application/json", &b"\r\n { \"a\" : 1.10 }\t\n\n"[..]),
        ("application/vnd.shop+json; charset=utf-8", b" null"),
        ("application/json", b" {\"not\": json"),
        ("text/html", b"<script>alert(1)</script>\n"),
        ("image/png", &all_bytes),
        ("text/plain", b""),
    ] {
        let id = send(&hookbox.rest, "the-token-of-the-shop", content_type, body).await.text_of("id");
        let path = format!("/v1/webhooks/{id}/body");
        for (method, expected) in [(Method::GET, body), (Method::HEAD, b"")] {
            let answer = hookbox.rest.request(method, &path).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{content_type}");
            for (name, value) in [
                ("content-type", content_type),
                ("content-length", &body.len().to_string()),
                ("content-disposition", &format!("attachment; filename=\"webhook-{id}.bin\"")),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
                ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
            ] {
                assert_eq!(answer.headers()[name], value, "{name} of {content_type}");
            }
            assert_eq!(answer.bytes().await.unwrap(), expected, "{content_type}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_body_of_the_source_default_is_the_payload_of_its_envelope(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.submit("evt-001", "order.created", "{\"a\" :\n 1.10 }").await.text_of("id");
    let answer = hookbox.rest.get(&format!("/v1/webhooks/{id}/body")).await;
    assert_eq!(
        (answer.text.as_str(), answer.header("content-type")),
        ("{\"a\" :\n 1.10 }", "application/json")
    );
}

#[tokio::test]
async fn a_body_in_quarantine_is_answered_as_the_webhook_is() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    send(&hookbox.rest, "another-token", "application/json", b" {}\n").await;
    let listed = hookbox.rest.get("/v1/webhooks?status=quarantined").await.json();
    let id = listed["webhooks"][0]["id"].as_str().unwrap();
    let answer = hookbox.rest.get(&format!("/v1/webhooks/{id}/body")).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, " {}\n"));
}

#[rstest]
#[tokio::test]
async fn a_body_that_is_past_its_retention_is_not_found(#[values(Sqlite, Postgres)] store: Store) {
    let settings = [("retention_completed", "7d"), ("retention_keys", "30d")];
    let hookbox = Hookbox::with(store, &settings);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let path = format!("/v1/webhooks/{id}/body");
    assert_eq!(hookbox.rest.get(&path).await.text, "{}");
    hookbox.advance(SignedDuration::from_hours(8 * 24));
    let gone = hookbox
        .as_time_passes("the body being gone", || async {
            let answer = hookbox.rest.get(&path).await;
            (answer.status != 200).then_some(answer)
        })
        .await;
    let problem = gone.problem(404, "WEBHOOK_NOT_FOUND");
    assert!(problem["detail"].as_str().unwrap().contains("at the end of its retention"), "{problem}");
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "completed", "the webhook is still known");
}
