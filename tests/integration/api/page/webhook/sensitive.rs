//! A webhook of a source that is marked `sensitive`: its payload is hidden until it is asked for.

use hookbox::internals::domain::delivery::{Answer as Answered, Delivery};
use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::{Value, json};

use super::has;
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::handler::Step;
use crate::api::harness::process::Place;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store, eventually};
use crate::api::page::{Browser, form_token, refused};

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    unverified = "quarantine"
    sensitive = true
"#;

/// Is in the payload, in the result of the handler, and in what its target answers.
const SECRET: &str = "4111-1111";

/// The beginning of the secret as the view of the bytes has it.
const SECRET_BYTES: &str = "34 31 31 31 2d";

const BODY: &str = r#"{"card":"4111-1111"}"#;

/// Sends a webhook of the source `shop`.
async fn send(rest: &Rest, token: &str, key: &str) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", token);
    let request = request.header("x-id", key).header(CONTENT_TYPE, "application/json").body(BODY);
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer
}

/// Sends a webhook that is verified; answers its id.
async fn accept(rest: &Rest, key: &str) -> String {
    send(rest, "the-token-of-the-shop", key).await.text_of("id")
}

async fn wait_for(rest: &Rest, id: &str, status: &str) {
    eventually(status, || async { (rest.webhook(id).await["status"] == status).then_some(()) }).await;
}

/// What of the actions on a webhook is of interest here, newest first.
async fn actions(rest: &Rest, id: &str) -> Value {
    let answer = rest.get(&format!("/v1/actions?webhook_id={id}")).await.json();
    let actions = answer["actions"].as_array().unwrap().iter().map(|action| {
        json!([action["actor"], action["action"], action["source"], action["reason"], action["detail"]])
    });
    actions.collect()
}

/// Checks that a page has nothing of the payload.
#[track_caller]
fn hides(page: &Answer) {
    for secret in [SECRET, SECRET_BYTES] {
        assert!(!page.text.contains(secret), "{}", page.text);
    }
}

#[rstest]
#[tokio::test]
async fn a_payload_is_hidden_until_it_is_asked_for_and_that_is_recorded(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let tokens = [token("anna", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(store, &format!("{SHOP}{}", tokens.concat()));
    let anna = rest(&hookbox, "anna");
    let answered = Answered { status: 503, body: format!("no card {SECRET}").into(), ..Answered::default() };
    let delivery = Delivery { method: "POST".to_owned(), answer: Some(answered), ..Delivery::default() };
    hookbox.handler.will([Step::Deliver(Box::new(delivery)), Step::Complete(json!({ "paid_by": SECRET }))]);
    let id = accept(&hookbox.rest, "evt-001").await;
    wait_for(&anna, &id, "retrying").await;
    let (path, reader) = (format!("/webhooks/{id}"), Browser::logged_in(&hookbox, "reader").await);
    let retrying = reader.get(&path).await;
    has(&retrying, &["id=\"state\" data-live"]);
    hides(&retrying);
    hookbox.advance(HOUR);
    wait_for(&anna, &id, "completed").await;

    for query in ["", "?body=text", "?body=bytes", "?all_body=1&all_attempts=1"] {
        let hidden = reader.get(&format!("{path}{query}")).await;
        has(
            &hidden,
            &[
                "The source <b>shop</b> is sensitive.",
                &format!("action=\"{path}{}\"", query.replace('&', "&amp;")),
                "Show the payload",
                "application/json, 20 bytes",
                "The result is hidden with the payload.",
                "answered <b>503</b>",
                "The body is hidden with the payload.",
                "not delivered",
            ],
        );
        hides(&hidden);
        assert!(!hidden.text.contains("curl -sS") && !hidden.text.contains("Copy body"), "{}", hidden.text);
    }
    let found = reader.get("/webhooks?body_contains=card").await;
    has(&found, &["evt-001"]);
    hides(&found);

    let token = form_token(&reader.get(&path).await);
    let fields = [("form_token", token.as_str()), ("reason", "the customer asks")];
    for (query, expected) in [
        ("", "<span class=\"str\">&quot;4111-1111&quot;</span>"),
        ("?body=text", "<code>{&quot;card&quot;:&quot;4111-1111&quot;}</code>"),
        ("?body=bytes", SECRET_BYTES),
    ] {
        let shown = reader.post(&format!("{path}{query}"), &fields).await;
        has(
            &shown,
            &[
                expected,
                "{&quot;paid_by&quot;:&quot;4111-1111&quot;}",
                "no card 4111-1111",
                "curl -sS -X POST",
                "<b>Payload shown</b> by reader",
                "the customer asks",
            ],
        );
        assert_eq!(shown.header("cache-control"), "no-store");
        hides(&reader.get(&path).await);
    }
    let asked = json!(["reader", "show_payload", "shop", "the customer asks", null]);
    assert_eq!(actions(&anna, &id).await, json!([asked]), "within a minute, the same is recorded once");
    hookbox.advance(SignedDuration::from_mins(1));
    has(&reader.post(&path, &fields).await, &[SECRET]);
    assert_eq!(actions(&anna, &id).await, json!([asked, asked]));
    let of_anna = Browser::logged_in(&hookbox, "anna").await;
    let token_of_anna = form_token(&of_anna.get(&path).await);
    has(&of_anna.post(&path, &[("form_token", &token_of_anna)]).await, &[SECRET]);
    let asked_by_anna = json!(["anna", "show_payload", "shop", null, null]);
    assert_eq!(actions(&anna, &id).await, json!([asked_by_anna, asked, asked]));
    assert_eq!(anna.webhook(&id).await["payload"]["card"], SECRET, "the APIs answer it as before");
}

#[tokio::test]
async fn a_view_that_shows_a_payload_is_not_loaded_again_by_itself() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let browser = Browser::of(&hookbox);
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    let path = format!("/webhooks/{}", accept(&hookbox.rest, "evt-001").await);
    let hidden = browser.get(&path).await;
    has(&hidden, &["id=\"webhook\" data-live", "id=\"state\" data-live"]);
    let shown = browser.post(&path, &[("form_token", &form_token(&hidden))]).await;
    has(&shown, &["4111-1111", "id=\"state\""]);
    assert!(!shown.text.contains("data-live"), "{}", shown.text);
}

#[tokio::test]
async fn a_hidden_payload_is_downloaded_and_edited_only_if_it_is_asked_for() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let browser = Browser::of(&hookbox);
    let id = accept(&hookbox.rest, "evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let path = format!("/webhooks/{id}");
    let (download, edit) = (format!("{path}/body"), format!("{path}/edit"));

    has(&browser.get(&path).await, &[&format!("formaction=\"{download}\"")]);
    let away = browser.get(&download).await;
    assert_eq!((away.status, away.header("location")), (303, format!("{path}#body").as_str()));
    hides(&away);
    let hidden = browser.get(&edit).await;
    has(&hidden, &[&format!("action=\"{edit}\""), "Show and edit the payload"]);
    hides(&hidden);
    assert_eq!(actions(&hookbox.rest, &id).await, json!([]));

    let token = form_token(&hidden);
    let file = browser.post(&download, &[("form_token", &token), ("reason", "for the bank")]).await;
    assert_eq!((file.status, file.text.as_str()), (200, BODY));
    let disposition = format!("attachment; filename=\"webhook-{id}.bin\"");
    assert_eq!(file.header("content-disposition"), disposition);
    assert_eq!(file.header("cache-control"), "no-store");
    let form = browser.post(&edit, &[("form_token", &token)]).await;
    has(&form, &[">\n{&quot;card&quot;:&quot;4111-1111&quot;}</textarea>"]);
    let expected = json!([
        ["anonymous", "show_payload", "shop", null, "to edit it"],
        ["anonymous", "show_payload", "shop", "for the bank", "as a file"],
    ]);
    assert_eq!(actions(&hookbox.rest, &id).await, expected);

    let fields = [("key", "evt-002"), ("event_type", "order.paid"), ("body", BODY)];
    let fields = [&[("form_token", token.as_str())], &fields[..]].concat();
    let sent = browser.post(&format!("{path}/send"), &fields).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let new = browser.get(sent.header("location")).await;
    has(&new, &["The webhook is sent. This is the new one.", "Show the payload"]);
    hides(&new);
}

#[tokio::test]
async fn a_payload_in_quarantine_is_hidden_too() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let browser = Browser::of(&hookbox);
    send(&hookbox.rest, "another-token", "evt-001").await;
    let listed = hookbox.rest.get("/v1/webhooks?status=quarantined").await.json();
    let path = format!("/webhooks/{}", listed["webhooks"][0]["id"].as_str().unwrap());
    let hidden = browser.get(&path).await;
    has(&hidden, &["This webhook is in quarantine", "Show the payload"]);
    hides(&hidden);
    let shown = browser.post(&path, &[("form_token", &form_token(&hidden))]).await;
    has(&shown, &["This webhook is in quarantine", "4111-1111", "Payload shown"]);
}

#[tokio::test]
async fn presets_whose_secret_is_in_the_payload_hide_it() {
    let sources = r#"
        [sources.figma]
        preset = "figma"
        secrets = ["the-passcode"]
        [sources.microsoft-graph]
        preset = "microsoft-graph"
        secrets = ["the-client-state"]
    "#;
    let hookbox = Hookbox::with_routes(Sqlite, sources);
    let browser = Browser::of(&hookbox);
    for (source, body, secret) in [
        ("figma", r#"{"event_type":"PING","passcode":"the-passcode","webhook_id":"22"}"#, "the-passcode"),
        (
            "microsoft-graph",
            r#"{"value":[{"id":"1","changeType":"created","clientState":"the-client-state"}]}"#,
            "the-client-state",
        ),
    ] {
        let request = hookbox.rest.request(Method::POST, &format!("/v1/sources/{source}/webhooks"));
        let answer = Answer::of(request.header(CONTENT_TYPE, "application/json").body(body)).await;
        assert!((200..300).contains(&answer.status), "{source}: {}", answer.text);
        let listed = hookbox.rest.get(&format!("/v1/webhooks?source={source}")).await.json();
        let path = format!("/webhooks/{}", listed["webhooks"][0]["id"].as_str().unwrap());
        for view in [path.as_str(), &format!("{path}?body=text"), "/webhooks", &format!("/sources/{source}")]
        {
            let page = browser.get(view).await;
            assert_eq!(page.status, 200, "{view}: {}", page.text);
            assert!(!page.text.contains(secret), "{view}: {}", page.text);
        }
        let token = form_token(&browser.get(&path).await);
        has(&browser.post(&path, &[("form_token", &token)]).await, &[secret]);
    }
}

#[tokio::test]
async fn only_callers_that_see_a_webhook_can_ask_for_its_payload() {
    let tokens = [
        token("anna", EVERY_ROLE),
        token("reader", "roles = [\"read\"]"),
        token("mail", "roles = [\"read\"]\nsources = [\"mail\"]"),
    ];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{SHOP}{}", tokens.concat()));
    let anna = rest(&hookbox, "anna");
    let id = accept(&hookbox.rest, "evt-001").await;
    wait_for(&anna, &id, "completed").await;
    let (path, edit) = (format!("/webhooks/{id}"), format!("/webhooks/{id}/edit"));
    let mail = Browser::logged_in(&hookbox, "mail").await;
    let of_mail = form_token(&mail.get("/").await);
    for path in [&path, &format!("{path}/body")] {
        refused(&mail.get(path).await, 404, "WEBHOOK_NOT_FOUND");
        refused(&mail.post(path, &[("form_token", &of_mail)]).await, 404, "WEBHOOK_NOT_FOUND");
    }
    let reader = Browser::logged_in(&hookbox, "reader").await;
    let of_reader = form_token(&reader.get("/").await);
    refused(&reader.get(&edit).await, 403, "FORBIDDEN");
    refused(&reader.post(&edit, &[("form_token", &of_reader)]).await, 403, "FORBIDDEN");
    refused(&reader.post(&path, &[("form_token", &of_mail)]).await, 403, "FORM_TOKEN");
    let long = "x".repeat(501);
    let with_reason = [("form_token", of_reader.as_str()), ("reason", long.as_str())];
    refused(&reader.post(&path, &with_reason).await, 400, "INVALID_FIELD");
    let wrong_view = format!("{path}?body=text&body=tree");
    refused(&reader.post(&wrong_view, &[("form_token", &of_reader)]).await, 400, "INVALID_FIELD");
    assert_eq!(actions(&anna, &id).await, json!([]), "nothing was shown");
}

#[tokio::test]
async fn the_settings_in_force_decide_for_webhooks_that_are_there_already() {
    let hookbox = Hookbox::with_routes(Sqlite, &SHOP.replace("sensitive = true", ""));
    let browser = Browser::of(&hookbox);
    let id = accept(&hookbox.rest, "evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let path = format!("/webhooks/{id}");
    let page = browser.get(&path).await;
    has(&page, &["4111-1111"]);
    let token = form_token(&page);
    has(&browser.post(&path, &[("form_token", &token)]).await, &["4111-1111"]);

    hookbox.set_routes(SHOP);
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    hides(&browser.get(&path).await);
    hookbox.set_routes("");
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    has(&browser.get(&path).await, &["4111-1111"]);
    assert_eq!(actions(&hookbox.rest, &id).await, json!([]), "nothing was hidden that was asked for");
}

#[rstest]
#[tokio::test]
async fn a_payload_is_not_shown_if_that_cannot_be_recorded(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on_new(store, &[]);
    std::fs::write(place.path("hookbox.toml"), SHOP).unwrap();
    let process = place.serve().await;
    let browser = Browser { rest: process.rest.clone(), cookie: None };
    let path = format!("/webhooks/{}", accept(&process.rest, "evt-001").await);
    let token = form_token(&browser.get(&path).await);
    place.execute("DROP TABLE actions");
    for (path, status) in [(&path, 200), (&format!("{path}/body"), 303), (&format!("{path}/edit"), 200)] {
        assert_eq!(browser.get(path).await.status, status, "{path}");
        let failed = browser.post(path, &[("form_token", &token)]).await;
        assert!(failed.status >= 500, "{path}: {}", failed.text);
        hides(&failed);
    }
}
