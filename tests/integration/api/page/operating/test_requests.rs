//! Test requests to sources.

use rstest::rstest;
use serde_json::json;

use super::{Browser, act, refused, sent, words};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const SOURCES: &str = r#"
    [sources.shop]
    verify = { hmac = "sha256", header = "X-Signature", signed = "{timestamp}.{body}", timestamp = { header = "X-Time" } }
    secrets = ["s3cret", "older"]
    key = { header = "X-Id" }
    event_type = { json = "/type" }

    [sources.batch]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["s3cret"]
    key = { json = "/id" }
    split = "/items"

    [sources.chat]
    verify = { signature = "ed25519", header = "X-Signature" }
    public_keys = ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
    key = "body"

    [sources.form]
    verify = "none"
    key = "body"
"#;

const JSON: (&str, &str) = ("content_type", "application/json");

/// The path to which an answer leads, without its notice.
fn path(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("location").split(['?', '&']).next().unwrap()
}

#[tokio::test]
async fn a_test_is_signed_and_arrives_as_a_verified_webhook() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    let fields = [("event_type", "order.paid"), ("key", ""), JSON, ("body", "{\"total\":\r\n12.50}")];
    let answer = sent(&browser, "/sources/shop", "/sources/shop/test", &fields).await;
    let id = path(&answer).strip_prefix("/webhooks/").expect("a webhook").to_owned();
    assert!(answer.header("location").contains("notice=The+test+arrived"), "{}", answer.header("location"));
    let webhook = hookbox.wait_for(&id, "completed").await;
    for (member, value) in [("verdict", "verified"), ("source", "shop"), ("event_type", "order.paid")] {
        assert_eq!(webhook[member], value, "{webhook}");
    }
    assert!(webhook["idempotency_key"].as_str().unwrap().starts_with("test-"), "{webhook}");
    assert_eq!(webhook["payload"], json!({ "total": 12.5, "type": "order.paid" }));
    let headers = webhook["headers"].to_string();
    assert!(headers.contains(" test") && headers.contains("***") && !headers.contains("s3cret"), "{headers}");

    let text = words(&browser.get("/sources/shop").await.text);
    assert!(text.contains("Verified 1 requests since the start"), "{text}");
    assert!(text.contains("No request of this source was refused"), "{text}");
}

#[tokio::test]
async fn each_test_is_a_new_webhook_unless_it_has_a_key() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    let send = async |key: &str| {
        let fields = [("key", key), JSON, ("body", r#"{"type":"order.paid"}"#)];
        sent(&browser, "/sources/shop", "/sources/shop/test", &fields).await
    };
    let answers = [send("").await, send("").await, send("evt-001").await, send("evt-001").await];
    let paths = answers.each_ref().map(path);
    assert!(paths[0] != paths[1] && paths[1] != paths[2], "{paths:?}");
    assert_eq!(paths[2], paths[3]);
    assert!(answers[3].header("location").contains("duplicate"), "{}", answers[3].header("location"));
}

#[tokio::test]
async fn a_test_with_several_webhooks_or_none_leads_to_them() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    let fields = [JSON, ("body", r#"{"items":[{"id":"1"},{"id":"2"}]}"#)];
    let answer = sent(&browser, "/sources/batch", "/sources/batch/test", &fields).await;
    assert!(
        answer.header("location").starts_with("/webhooks?source=batch&"),
        "{}",
        answer.header("location")
    );
    let listed = hookbox.rest.get("/v1/webhooks?source=batch").await.json();
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 2);
    let page =
        act(&browser, "/sources/batch", "/sources/batch/test", &[JSON, ("body", r#"{"items":[]}"#)]).await;
    assert!(page.text.contains("has no webhooks in it. Nothing is stored."), "{}", page.text);
}

#[rstest]
#[tokio::test]
async fn a_test_is_an_action_on_its_source(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[SOURCES, &token("anna", EVERY_ROLE)].concat());
    let browser = Browser::logged_in(&hookbox, "anna").await;
    let send = async |source: &str, fields: &[(&str, &str)]| {
        sent(&browser, &format!("/sources/{source}"), &format!("/sources/{source}/test"), fields).await
    };
    let fields = [("key", "evt-001"), JSON, ("body", "{}")];
    let answer = send("shop", &[&fields[..], &[("reason", "the secret is new")]].concat()).await;
    let id = path(&answer).strip_prefix("/webhooks/").expect("a webhook").to_owned();
    send("shop", &fields).await;
    refused(&send("shop", &[("content_type", "text/html"), ("body", "{}")]).await, 400, "INVALID_FIELD");
    refused(&send("shop", &[("key", "evt-001"), JSON, ("body", "[]")]).await, 422, "IDEMPOTENCY_KEY_REUSED");
    send("batch", &[JSON, ("body", r#"{"items":[{"id":"1"},{"id":"1"}]}"#)]).await;

    let recorded = rest(&hookbox, "anna").get("/v1/actions").await.json();
    let recorded = recorded["actions"].as_array().unwrap().iter().map(|action| {
        let what = ["actor", "action", "source", "webhook_id", "reason", "detail"];
        json!(what.map(|member| action[member].clone()))
    });
    let batch = "webhooks: 2; duplicates among them: 1";
    let duplicate = format!("a duplicate of the webhook {id}");
    let stored = format!("stored as the webhook {id}");
    let expected = [
        json!(["anna", "send_test", "batch", null, null, batch]),
        json!(["anna", "send_test", "shop", null, null, duplicate]),
        json!(["anna", "send_test", "shop", null, "the secret is new", stored]),
    ];
    assert_eq!(recorded.collect::<Vec<_>>(), expected);
    let text = words(&browser.get("/actions").await.text);
    let line = format!("anna send test {stored} source shop the secret is new");
    assert!(text.contains(&line), "{text}");
    let link = format!("stored as the webhook <a class=\"id\" href=\"/webhooks/{id}\">{id}</a>");
    let list = browser.get("/actions").await;
    assert!(list.text.contains(&link), "{link}: {}", list.text);
    let page = browser.get(&format!("/webhooks/{id}")).await;
    assert!(page.text.contains("a test of the source, with the token anna"), "{}", page.text);
}

#[tokio::test]
async fn what_cannot_be_sent_as_the_sender_sends_it_is_refused_with_the_reason() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    for (source, fields, why) in [
        ("chat", vec![JSON, ("body", "{}")], "private key"),
        ("shop", vec![JSON, ("event_type", "order.paid"), ("body", "[1]")], "JSON object"),
        ("shop", vec![("content_type", "text/html"), ("body", "{}")], "content_type"),
        ("shop", vec![JSON, ("key", "a\u{7}b"), ("body", "{}")], "control character"),
    ] {
        let (view, action) = (format!("/sources/{source}"), format!("/sources/{source}/test"));
        let answer = sent(&browser, &view, &action, &fields).await;
        refused(&answer, 400, "INVALID_FIELD");
        assert!(words(&answer.text).contains(why), "{why}: {}", answer.text);
        // Nothing has to be written again.
        let body = fields.iter().find(|(name, _)| *name == "body").unwrap().1;
        let kept = format!("spellcheck=\"false\">\n{body}</textarea>");
        assert!(answer.text.contains(&kept) && answer.text.contains("Nothing was sent: "), "{}", answer.text);
    }
    let large = format!("\"{}\"", "x".repeat(256 * 1024));
    let answer = sent(&browser, "/sources/shop", "/sources/shop/test", &[JSON, ("body", &large)]).await;
    refused(&answer, 413, "BODY_TOO_LARGE");
    assert_eq!(hookbox.rest.get("/v1/webhooks").await.json()["webhooks"], json!([]));
}

#[tokio::test]
async fn a_test_needs_the_role_to_submit_besides() {
    let tokens = [token("all", EVERY_ROLE), token("operator", "roles = [\"operate\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &[SOURCES, tokens.concat().as_str()].concat());
    let all = Browser::logged_in(&hookbox, "all").await;
    let answer = sent(&all, "/sources/form", "/sources/form/test", &[JSON, ("body", "{}")]).await;
    let id = path(&answer).strip_prefix("/webhooks/").expect("a webhook").to_owned();
    assert_eq!(rest(&hookbox, "all").webhook(&id).await["verdict"], "none");

    let operator = Browser::logged_in(&hookbox, "operator").await;
    let page = operator.get("/sources/form").await;
    assert!(!page.text.contains("/sources/form/test"), "{}", page.text);
    let token = super::form_token(&page);
    let fields = [("form_token", token.as_str()), JSON, ("body", "{}")];
    refused(&operator.post("/sources/form/test", &fields).await, 403, "FORBIDDEN");
}
