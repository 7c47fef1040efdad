//! Another body under the key of a webhook: refused, and compared with the one that is stored.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::submit_webhook_request::Content;
use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use tonic::Code;

use super::{MOST_BYTES, has};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store};
use crate::api::page::{Browser, refused};

/// The source `shop`. More of its members can follow.
pub(super) const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
"#;

pub(super) const TOKEN: &str = "the-token-of-the-shop";

/// The title of what is shown.
pub(super) const TITLE: &str = "Another body was refused";

/// Bodies, and the SHA-256 of each as `sha256sum` prints it.
pub(super) const BODIES: [(&str, &str); 3] = [
    (r#"{"n":1}"#, "2bfd14f43d17fc7cea24e0917a8879b4b2f880b8baeec1b9d90fbaad655e71bd"),
    (r#"{"n":2}"#, "363379742f80b51bdb9206579af7754911543079b9399cb3fc315fb199f476e8"),
    (r#"{"n":3}"#, "215ddd5567ca2590efd4ea109b4e56cbe591e2676fbf54a9262692c539166da6"),
];

/// What is shown of the SHA-256 of two of [`BODIES`]: of the one that is not stored, and of the one that is.
pub(super) fn hashes(other: usize, stored: usize) -> String {
    let [other, stored] = [other, stored].map(|at| BODIES[at].1);
    format!("<span class=\"id\">{other}</span>; that of this webhook has <span class=\"id\">{stored}</span>")
}

/// Sends a webhook to the source `shop`.
async fn send(
    rest: &Rest,
    token: &str,
    key: &str,
    content_type: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", token);
    let request = request.header("x-id", key).header(CONTENT_TYPE, content_type);
    Answer::of(request.body(body)).await
}

/// Sends a webhook with a body of JSON and the key `evt-001` to the source `shop`.
pub(super) async fn send_json(rest: &Rest, token: &str, body: &str) -> Answer {
    send(rest, token, "evt-001", "application/json", body.to_owned()).await
}

#[track_caller]
pub(super) fn has_not(page: &Answer, text: &str) {
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(!page.text.contains(text), "{text}: {}", page.text);
}

pub(super) fn removed(line: &str) -> String {
    format!("<del><span class=\"mark\">- </span>{line}</del>")
}

pub(super) fn added(line: &str) -> String {
    format!("<ins><span class=\"mark\">+ </span>{line}</ins>")
}

#[rstest]
#[tokio::test]
async fn the_body_that_was_refused_last_is_compared_line_by_line(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let browser = Browser::of(&hookbox);
    let stored = r#"{"total": 12345678901234567890.10, "note": "<a>", "items": []}"#;
    let id = hookbox.rest.submit("evt-001", "order.created", stored).await.text_of("id");
    let path = format!("/webhooks/{id}");
    assert_eq!(hookbox.rest.submit("evt-001", "order.created", stored).await.status, 200);
    has_not(&browser.get(&path).await, TITLE);

    let other = r#"{"total":12345678901234567890.11,"note":"<a>","items":[]}"#;
    hookbox.rest.submit("evt-001", "order.created", other).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let page = browser.get(&path).await;
    let expected = [
        TITLE,
        "POST /v1/webhooks, with the token anonymous",
        "<dt>Came</dt>",
        "<dd>1 time</dd>",
        &removed("  &quot;total&quot;: 12345678901234567890.10"),
        &added("  &quot;total&quot;: 12345678901234567890.11"),
        "<span class=\"same\">    &quot;note&quot;: &quot;&lt;a&gt;&quot;</span>",
        "<span class=\"same\">    &quot;items&quot;: []</span>",
    ];
    has(&page, &expected);

    let request = proto::SubmitWebhookRequest {
        idempotency_key: "evt-001".into(),
        event_type: "order.paid".into(),
        content: Some(Content::PayloadJson("[7]".into())),
    };
    assert_eq!(hookbox.grpc().submit_webhook(request).await.unwrap_err().code(), Code::AlreadyExists);
    let page = browser.get(&path).await;
    let expected = [
        "gRPC, with the token anonymous",
        "<dt>Last came</dt>",
        "<dd>2 times</dd>",
        "<dd>order.paid</dd>",
        &added("  7"),
    ];
    has(&page, &expected);
    has_not(&page, "12345678901234567890.11");
}

#[rstest]
#[tokio::test]
async fn of_a_source_only_what_is_verified_and_refused_is_compared(
    #[values(Sqlite, Postgres)] store: Store,
    #[values("", "unverified = \"quarantine\"\n")] unverified: &str,
) {
    let hookbox = Hookbox::with_routes(store, &[SHOP, unverified].concat());
    let browser = Browser::of(&hookbox);
    let id = send_json(&hookbox.rest, TOKEN, "{\"n\":1}").await.text_of("id");
    let path = format!("/webhooks/{id}");
    let forged = send_json(&hookbox.rest, "another-token", "{\"n\":2}").await;
    assert_eq!(forged.status, if unverified.is_empty() { 401 } else { 202 }, "{}", forged.text);
    has_not(&browser.get(&path).await, TITLE);
    let other = send_json(&hookbox.rest, TOKEN, "{\"n\":3}").await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let page = browser.get(&path).await;
    has(&page, &[TITLE, "<dd>the URL of the source</dd>", &hashes(2, 0), &added("  &quot;n&quot;: 3")]);
    has_not(&page, "&quot;n&quot;: 2");
}

#[rstest]
#[tokio::test]
async fn of_a_batch_the_item_that_was_refused_is_compared(#[values(Sqlite, Postgres)] store: Store) {
    let source = SHOP.replace("key = { header = \"X-Id\" }", "key = { json = \"/id\" }\nsplit = \"/items\"");
    let hookbox = Hookbox::with_routes(store, &source);
    let first = send_json(&hookbox.rest, TOKEN, r#"{"items":[{"id":"a","n":1}]}"#).await;
    let other = send_json(&hookbox.rest, TOKEN, r#"{"items":[{"id":"b","n":2},{"id":"a","n":3}]}"#).await;
    other.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let page = Browser::of(&hookbox).get(&format!("/webhooks/{}", first.text_of("id"))).await;
    has(&page, &[&removed("  &quot;n&quot;: 1"), &added("  &quot;n&quot;: 3")]);
}

#[tokio::test]
async fn bodies_are_compared_as_what_they_are() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let browser = Browser::of(&hookbox);
    for (content_type, stored, other, expected) in [
        (
            "text/plain",
            &b"one\n<i>two</i>"[..],
            &b"one\n<b>two</b>\r"[..],
            [
                removed("&lt;i&gt;two&lt;/i&gt;"),
                added("&lt;b&gt;two&lt;/b&gt;<span class=\"hidden-char\">\\r</span>"),
            ],
        ),
        (
            "application/json",
            b"{\"a\":1}",
            b"{ \"a\":1}",
            ["only their notation differs:".to_owned(), added("{ &quot;a&quot;:1}")],
        ),
        ("application/json", b"{\"a\":", b"{\"a\"", [removed("{&quot;a&quot;:"), added("{&quot;a&quot;")]),
        (
            "image/png",
            b"\xff\0a",
            b"\xff\0b",
            ["The first 2 bytes are the same.", "00000000  ff 00 62"].map(str::to_owned),
        ),
    ] {
        let key = format!("evt-{content_type}-{}", stored.len());
        let id = send(&hookbox.rest, TOKEN, &key, content_type, stored.to_vec()).await.text_of("id");
        let refused = send(&hookbox.rest, TOKEN, &key, content_type, other.to_vec()).await;
        refused.problem(422, "IDEMPOTENCY_KEY_REUSED");
        let page = browser.get(&format!("/webhooks/{id}")).await;
        has(&page, &expected.each_ref().map(String::as_str));
        assert_eq!(page.text.matches("<script").count(), 1, "{}", page.text);
    }
}

#[tokio::test]
async fn of_large_bodies_the_beginnings_are_compared() {
    let hookbox = Hookbox::with_routes(Sqlite, SHOP);
    let numbers = |last: &str| {
        let items = (0..100_000).map(|number| number.to_string()).collect::<Vec<_>>();
        format!("[{},{last}]", items.join(","))
    };
    let id = send_json(&hookbox.rest, TOKEN, &numbers("1")).await.text_of("id");
    let browser = Browser::of(&hookbox);
    for (other, expected) in [
        (numbers("2"), "The compared parts of the bodies are the same.".to_owned()),
        (numbers("2").replace(",7,", ",\"seven\","), added("  &quot;seven&quot;")),
        (format!("[{}0]", "true,".repeat(150_000)), "more changed lines are not shown.".to_owned()),
        ("<".repeat(900_000), TITLE.to_owned()),
    ] {
        send_json(&hookbox.rest, TOKEN, &other).await.problem(422, "IDEMPOTENCY_KEY_REUSED");
        let page = browser.get(&format!("/webhooks/{id}")).await;
        has(&page, &[&expected, "Only the first 64.0 KiB of each body are compared."]);
        assert!(page.text.len() < MOST_BYTES, "{} bytes", page.text.len());
    }
}

#[tokio::test]
async fn once_the_body_is_gone_nothing_is_compared() {
    let settings = [("retention_completed", "7d"), ("retention_keys", "30d")];
    let hookbox = Hookbox::with(Sqlite, &settings);
    let browser = Browser::of(&hookbox);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let path = format!("/webhooks/{id}");
    hookbox.rest.submit("evt-001", "order.created", "7").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    has(&browser.get(&path).await, &[TITLE, &added("7")]);
    hookbox.advance(SignedDuration::from_hours(8 * 24));
    let page = hookbox
        .as_time_passes("the body being gone", || async {
            let page = browser.get(&path).await;
            page.text.contains("The body was removed at the end of its retention.").then_some(page)
        })
        .await;
    has_not(&page, TITLE);
}

#[tokio::test]
async fn a_restart_forgets_what_was_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.rest.submit("evt-001", "order.created", "7").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let path = format!("/webhooks/{id}");
    has(&Browser::of(&hookbox).get(&path).await, &[TITLE]);
    let hookbox = Hookbox::at(hookbox.stop(), START, &[]);
    has_not(&Browser::of(&hookbox).get(&path).await, TITLE);
}

#[tokio::test]
async fn a_caller_sees_what_was_refused_only_with_the_webhook() {
    let limited = |name: &str| token(name, &format!("roles = [\"read\"]\nsources = [\"{name}\"]"));
    let tokens = [token("all", EVERY_ROLE), limited("default"), limited("other")].concat();
    let hookbox = Hookbox::with_routes(Sqlite, &tokens);
    let all = rest(&hookbox, "all");
    let path = format!("/webhooks/{}", all.accept("evt-001").await);
    all.submit("evt-001", "order.created", "7").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let seeing = Browser::logged_in(&hookbox, "default").await;
    has(&seeing.get(&path).await, &[TITLE, "POST /v1/webhooks, with the token all"]);
    refused(&Browser::logged_in(&hookbox, "other").await.get(&path).await, 404, "WEBHOOK_NOT_FOUND");
}
