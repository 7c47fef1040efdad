//! Another body under the key of a webhook, of a source that keeps the first: a duplicate, and compared with the one that is
//! stored.

use rstest::rstest;

use super::difference::{BODIES, SHOP, TITLE, TOKEN, added, has_not, hashes, removed, send_json};
use super::has;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::api::page::{Browser, form_token};

const KEEP_FIRST: &str = "on_conflict = \"keep_first\"\n";

/// The title of what is shown.
const DUPLICATE: &str = "Another body counted as a duplicate";

#[rstest]
#[tokio::test]
async fn another_body_that_counts_as_a_duplicate_is_compared_and_explained(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, KEEP_FIRST].concat());
    let browser = Browser::of(&hookbox);
    let [first, second, third] = BODIES.map(|(body, _)| body);
    let id = send_json(&hookbox.rest, TOKEN, first).await.text_of("id");
    let path = format!("/webhooks/{id}");
    assert_eq!(send_json(&hookbox.rest, TOKEN, first).await.status, 200);
    has_not(&browser.get(&path).await, DUPLICATE);

    assert_eq!(send_json(&hookbox.rest, TOKEN, second).await.status, 200);
    let page = browser.get(&path).await;
    let expected = [
        DUPLICATE,
        "neither stored nor processed",
        "<code>on_conflict = &quot;keep_first&quot;</code>",
        "correct <code>key</code> of the source",
        "<dd>1 time</dd>",
        "<dd>the URL of the source</dd>",
        &hashes(1, 0),
        &removed("  &quot;n&quot;: 1"),
        &added("  &quot;n&quot;: 2"),
    ];
    has(&page, &expected);
    has_not(&page, TITLE);

    assert_eq!(send_json(&hookbox.rest, TOKEN, third).await.status, 200);
    has(&browser.get(&path).await, &[DUPLICATE, "<dd>2 times</dd>", &hashes(2, 0)]);
}

#[rstest]
#[tokio::test]
async fn of_a_batch_each_other_body_is_compared_with_the_stored_one(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let source = SHOP.replace("key = { header = \"X-Id\" }", "key = { json = \"/id\" }\nsplit = \"/items\"");
    let hookbox = Hookbox::with_routes(store, &[&source, KEEP_FIRST].concat());
    let browser = Browser::of(&hookbox);
    let stored = send_json(&hookbox.rest, TOKEN, r#"{"items":[{"id":"a","n":1}]}"#).await.text_of("id");
    let items = r#"{"items":[{"id":"b","n":4},{"id":"a","n":2},{"id":"b","n":5},{"id":"b","n":4}]}"#;
    let batch = send_json(&hookbox.rest, TOKEN, items).await;
    assert_eq!(batch.status, 202, "{}", batch.text);
    let ids = batch.json()["ids"].as_array().unwrap().clone();
    assert_eq!((ids.len(), &ids[1]), (4, &stored.into()));
    for (id, first, other) in [(&ids[1], 1, 2), (&ids[0], 4, 5)] {
        let page = browser.get(&format!("/webhooks/{}", id.as_str().unwrap())).await;
        let [first, other] = [first, other].map(|number| format!("  &quot;n&quot;: {number}"));
        has(&page, &[DUPLICATE, "<dd>1 time</dd>", &removed(&first), &added(&other)]);
    }
}

#[tokio::test]
async fn other_event_types_are_duplicates_too_until_a_reload_refuses_them() {
    let hookbox = Hookbox::with_routes(Sqlite, &[SHOP, KEEP_FIRST].concat());
    let browser = Browser::of(&hookbox);
    let reload = async |settings: &str| {
        hookbox.set_routes(settings);
        let reloaded = hookbox.rest.post("/v1/settings/reload").await;
        assert_eq!(reloaded.status, 200, "{}", reloaded.text);
    };
    let body = BODIES[0].0;
    let path = format!("/webhooks/{}", send_json(&hookbox.rest, TOKEN, body).await.text_of("id"));

    let refunded = SHOP.replace("order.paid", "order.refunded");
    reload(&[&refunded, KEEP_FIRST].concat()).await;
    for _ in 0..2 {
        assert_eq!(send_json(&hookbox.rest, TOKEN, body).await.status, 200);
    }
    let page = browser.get(&path).await;
    let expected =
        [DUPLICATE, "<dd>2 times</dd>", "<dd>order.refunded</dd>", &hashes(0, 0), "The bodies are the same."];
    has(&page, &expected);

    reload(&refunded).await;
    send_json(&hookbox.rest, TOKEN, body).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let page = browser.get(&path).await;
    has(&page, &[TITLE, "<dd>1 time</dd>"]);
    has_not(&page, DUPLICATE);
}

#[tokio::test]
async fn another_body_of_a_sensitive_source_is_hidden_until_the_payload_is_asked_for() {
    let hookbox = Hookbox::with_routes(Sqlite, &[SHOP, KEEP_FIRST, "sensitive = true\n"].concat());
    let browser = Browser::of(&hookbox);
    let [first, second, _] = BODIES.map(|(body, _)| body);
    let path = format!("/webhooks/{}", send_json(&hookbox.rest, TOKEN, first).await.text_of("id"));
    assert_eq!(send_json(&hookbox.rest, TOKEN, second).await.status, 200);
    let hidden = browser.get(&path).await;
    has(&hidden, &["The source <b>shop</b> is sensitive."]);
    for text in [DUPLICATE, BODIES[0].1, BODIES[1].1, "&quot;n&quot;"] {
        has_not(&hidden, text);
    }

    let token = form_token(&hidden);
    let shown = browser.post(&path, &[("form_token", &token)]).await;
    has(&shown, &[DUPLICATE, &hashes(1, 0), &removed("  &quot;n&quot;: 1"), &added("  &quot;n&quot;: 2")]);
}
