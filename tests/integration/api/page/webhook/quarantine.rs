//! A webhook in quarantine.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::Value;

use super::{act, has};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::api::page::{Browser, form_token, refused};

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    unverified = "quarantine"
"#;

/// Sends a webhook that is not verified; answers its id.
async fn quarantine(rest: &Rest, token: &str, key: &str, body: &str) -> String {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", token);
    let request = request.header("x-id", key).header(CONTENT_TYPE, "application/json").body(body.to_owned());
    let answer = Answer::of(request).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    let newest: Value = rest.get("/v1/webhooks?page_size=1").await.json();
    newest["webhooks"][0]["id"].as_str().unwrap().to_owned()
}

#[rstest]
#[tokio::test]
async fn a_webhook_in_quarantine_is_explained_and_released(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SHOP);
    let browser = Browser::of(&hookbox);
    let id = quarantine(&hookbox.rest, "another-token", "evt-001", r#"{"total":1}"#).await;
    let path = format!("/webhooks/{id}");
    let page = browser.get(&path).await;
    has(
        &page,
        &[
            "This webhook is in quarantine: it is not proved that it comes from its sender.",
            "The token or password is not one of the secrets of the source",
            "<code>credentials_wrong</code>",
            "Stored in quarantine from shop",
            "<th class=\"mono\" scope=\"row\">x-token</th><td class=\"mono\">***</td>",
        ],
    );
    assert!(!page.text.contains("Edit and send") && !page.text.contains("/retry\""), "{}", page.text);
    refused(&browser.get(&format!("{path}/edit")).await, 409, "WRONG_STATUS");

    let page = act(&browser, &path, &format!("{path}/release"), &[("reason", "it is ours")]).await;
    has(&page, &["The webhook is released, and its jobs are due.", "Released from quarantine", "it is ours"]);
    assert!(!page.text.contains("This webhook is in quarantine"), "{}", page.text);
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(hookbox.handler.runs().len(), 1);
}

#[tokio::test]
async fn a_webhook_in_quarantine_is_discarded_and_the_list_says_so() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let browser = Browser::of(&hookbox);
    let id = quarantine(&hookbox.rest, "another-token", "evt-001", "{}").await;
    let path = format!("/webhooks/{id}");
    let page = act(&browser, &path, &format!("{path}/discard"), &[]).await;
    has(&page, &[&format!("Webhook {id} is removed from quarantine."), "No webhook matches."]);
    refused(&browser.get(&path).await, 404, "WEBHOOK_NOT_FOUND");
}

#[tokio::test]
async fn a_release_leads_to_the_same_webhook_that_was_accepted_meanwhile_and_finds_that_a_key_is_taken() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let browser = Browser::of(&hookbox);
    let quarantined = quarantine(&hookbox.rest, "another-token", "evt-001", "{}").await;
    let forged = quarantine(&hookbox.rest, "another-token", "evt-001", "[]").await;
    let genuine = quarantine(&hookbox.rest, "the-token-of-the-shop", "evt-001", "{}").await;
    let path = format!("/webhooks/{quarantined}");
    let page = act(&browser, &path, &format!("{path}/release"), &[]).await;
    has(
        &page,
        &[
            "Another webhook with this key was accepted meanwhile, and the released one counts as its duplicate.",
            &genuine,
        ],
    );

    let path = format!("/webhooks/{forged}");
    let token = form_token(&browser.get(&path).await);
    let answer = browser.post(&format!("{path}/release"), &[("form_token", &token)]).await;
    refused(&answer, 422, "IDEMPOTENCY_KEY_REUSED");
    has(&browser.get(&path).await, &["This webhook is in quarantine"]);
}

#[rstest]
#[tokio::test]
async fn a_release_gives_way_to_another_body_if_the_source_keeps_the_first(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, "on_conflict = \"keep_first\"\n"].concat());
    let browser = Browser::of(&hookbox);
    let other = quarantine(&hookbox.rest, "another-token", "evt-001", r#"{"n":2}"#).await;
    let first = quarantine(&hookbox.rest, "the-token-of-the-shop", "evt-001", r#"{"n":1}"#).await;
    let path = format!("/webhooks/{other}");
    let page = act(&browser, &path, &format!("{path}/release"), &[]).await;
    let expected = [
        "Another webhook with this key was accepted meanwhile",
        "Another body counted as a duplicate",
        "a release from quarantine",
        &first,
    ];
    has(&page, &expected);
    refused(&browser.get(&path).await, 404, "WEBHOOK_NOT_FOUND");
    let actions = hookbox.rest.get("/v1/actions").await.json();
    let detail =
        format!("a duplicate of the webhook {first}, which has another body or event type, so it is removed");
    assert_eq!(actions["actions"][0]["detail"], detail);
}
