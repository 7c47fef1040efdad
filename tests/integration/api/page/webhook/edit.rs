//! Editing a webhook, and sending it as a new one.

use rstest::rstest;
use serde_json::json;

use super::{PULLED, act, has};
use crate::api::bodies::hookbox_with;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::api::page::{Browser, form_token, refused};

/// The value of a field of a form.
fn value_of<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).expect(name);
    rest.split('"').next().unwrap()
}

#[tokio::test]
async fn an_edited_webhook_is_sent_as_a_new_one_of_the_same_source() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let id = hookbox.rest.submit("evt-001", "order.created", "{\"a\" : 1.0}").await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    let edit = format!("/webhooks/{id}/edit");
    has(&browser.get(&format!("/webhooks/{id}")).await, &[&format!("href=\"{edit}\"")]);
    let form = browser.get(&edit).await;
    has(&form, &[">\n{&quot;a&quot; : 1.0}</textarea>", "value=\"order.created\""]);
    let key = value_of(&form.text, "key").to_owned();
    assert!(key.starts_with("evt-001-edited-"), "{key}");

    let fields = [("key", key.as_str()), ("event_type", "order.paid"), ("body", "{\"a\" : 2.0}")];
    let page = act(&browser, &edit, &format!("/webhooks/{id}/send"), &fields).await;
    has(
        &page,
        &["The webhook is sent. This is the new one.", "order.paid", "<span class=\"num-lit\">2.0</span>"],
    );
    let listed = hookbox.rest.get("/v1/webhooks?page_size=1").await.json()["webhooks"][0].clone();
    let new = hookbox.wait_for(listed["id"].as_str().unwrap(), "completed").await;
    assert_ne!(new["id"], id.as_str());
    let names = json!([new["source"], new["idempotency_key"], new["event_type"], new["verdict"]]);
    assert_eq!(names, json!(["default", key, "order.paid", "none"]));
    assert_eq!(new["headers"][0], json!({ "name": "hookbox-edited-from", "value": id }));
    assert_eq!(
        hookbox.rest.webhook(&id).await["payload"],
        json!({ "a": 1.0 }),
        "the first one stays as it is"
    );

    let page = act(&browser, &edit, &format!("/webhooks/{id}/send"), &fields).await;
    has(&page, &["hookbox had this webhook already. Nothing was stored."]);
    assert_eq!(hookbox.handler.runs().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_and_what_was_written_is_kept() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let id = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    let send = format!("/webhooks/{id}/send");
    let token = form_token(&browser.get(&format!("/webhooks/{id}/edit")).await);
    for (key, event_type, body, status, problem) in [
        ("evt-002", "order.paid", "{\"<b>\":}", 400, "`payload` is not valid JSON"),
        ("evt-002", "", "{\"<b>\":1}", 400, "`event_type` is empty"),
        (
            "evt-001",
            "order.created",
            "{\"<b>\":1}",
            422,
            "already has this idempotency key with a different payload",
        ),
    ] {
        let named = [("form_token", token.as_str()), ("key", key), ("event_type", event_type)];
        let fields = [&named[..], &[("body", body), ("reason", "it was wrong")]].concat();
        let page = browser.post(&send, &fields).await;
        assert_eq!(page.status, status, "{}", page.text);
        let kept = ["{&quot;&lt;b&gt;&quot;:", &format!("value=\"{key}\""), "value=\"it was wrong\""];
        for text in ["Nothing was sent: ", problem].into_iter().chain(kept) {
            assert!(page.text.contains(text), "{text}: {}", page.text);
        }
    }
    assert_eq!(hookbox.rest.get("/v1/webhooks").await.json()["webhooks"].as_array().unwrap().len(), 1);
    assert_eq!(hookbox.rest.get("/v1/actions").await.json()["actions"], json!([]));
    has(&browser.get(&format!("/webhooks/{id}")).await, &["the page, as an edited webhook"]);
}

#[rstest]
#[tokio::test]
async fn an_edited_webhook_is_an_action_on_the_one_it_was_made_of(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let browser = Browser::of(&hookbox);
    let id = hookbox.rest.accept("evt-001").await;
    let (edit, send) = (format!("/webhooks/{id}/edit"), format!("/webhooks/{id}/send"));
    let fields = [("key", "evt-002"), ("event_type", "order.paid"), ("body", "{}")];
    let reason = ("reason", "the total was wrong");
    act(&browser, &edit, &send, &[&fields[..], &[reason]].concat()).await;
    act(&browser, &edit, &send, &fields).await;
    let new = hookbox.rest.get("/v1/status?idempotency_key=evt-002").await.text_of("id");
    let recorded = hookbox.rest.get(&format!("/v1/actions?webhook_id={id}")).await.json();
    let recorded = recorded["actions"].as_array().unwrap().iter().map(|action| {
        let what = ["actor", "action", "source", "reason", "detail"].map(|member| action[member].clone());
        json!(what)
    });
    let expected = [
        json!(["anonymous", "send_edited", "default", null, format!("a duplicate of the webhook {new}")]),
        json!(["anonymous", "send_edited", "default", reason.1, format!("stored as the webhook {new}")]),
    ];
    assert_eq!(recorded.collect::<Vec<_>>(), expected);
    let page = browser.get(&format!("/webhooks/{id}")).await;
    has(&page, &["<b>Edited and sent as a new webhook</b> by anonymous", reason.1, &new]);
}

#[tokio::test]
async fn a_text_keeps_its_line_breaks_and_its_type() {
    for (original, sent, stored) in
        [("\na\nb", "\r\na\r\nc\r\n", "\na\nc\n"), ("a\r\nb", "a\r\nc\r\n", "a\r\nc\r\n")]
    {
        let (hookbox, id) = hookbox_with(original.as_bytes(), "text/plain; x=1", PULLED, "pulled").await;
        let browser = Browser::of(&hookbox);
        let edit = format!("/webhooks/{id}/edit");
        has(&browser.get(&edit).await, &[&format!(">\n{original}</textarea>")]);
        let fields = [("key", "k"), ("event_type", "t"), ("body", sent)];
        act(&browser, &edit, &format!("/webhooks/{id}/send"), &fields).await;
        let new = hookbox.rest.get("/v1/webhook?idempotency_key=k&source=shop").await.json();
        assert_eq!((&new["payload_text"], &new["content_type"]), (&json!(stored), &json!("text/plain; x=1")));
    }
}

#[tokio::test]
async fn a_body_that_a_form_cannot_hold_is_not_edited() {
    for bytes in [b"\xff".to_vec(), b"a\0b".to_vec(), b"a\rb".to_vec(), vec![b'x'; 256 * 1024 + 1]] {
        let (hookbox, id) = hookbox_with(&bytes, "text/plain", PULLED, "pulled").await;
        let browser = Browser::of(&hookbox);
        let page = browser.get(&format!("/webhooks/{id}")).await;
        assert!(!page.text.contains("Edit and send"), "{}", page.text);
        refused(&browser.get(&format!("/webhooks/{id}/edit")).await, 409, "WRONG_STATUS");
    }
}

#[tokio::test]
async fn a_body_that_was_json_stays_json() {
    let (hookbox, id) = hookbox_with(b"{}", "application/json", PULLED, "pulled").await;
    let browser = Browser::of(&hookbox);
    let token = form_token(&browser.get(&format!("/webhooks/{id}/edit")).await);
    let fields = [("form_token", token.as_str()), ("key", "k"), ("event_type", "t"), ("body", "{")];
    let page = browser.post(&format!("/webhooks/{id}/send"), &fields).await;
    assert_eq!(page.status, 400, "{}", page.text);
    assert!(page.text.contains("is not valid JSON any more"), "{}", page.text);
}
