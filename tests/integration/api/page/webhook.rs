//! One webhook: what is shown of it.

mod acts;
mod difference;
mod duplicates;
mod edit;
mod quarantine;
mod sensitive;

use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use hookbox::internals::domain::delivery::{Answer as Answered, Delivery};
use jiff::SignedDuration;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Browser, form_token, refused};
use crate::api::bodies::hookbox_with;
use crate::api::harness::client::Answer;
use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};
use crate::api::work::call;

/// A route of which nothing runs by itself.
const PULLED: &str = "[[routes]]\nname = \"pulled\"\nhandler = \"pull\"\n";

/// A page that a browser gets without waiting has at most so many bytes, whatever came.
const MOST_BYTES: usize = 150_000;

/// Sends a form of a view, and gets the view that it leads to.
async fn act(browser: &Browser, from: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let token = form_token(&browser.get(from).await);
    let fields = [&[("form_token", token.as_str())], fields].concat();
    let answer = browser.post(path, &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    browser.get(answer.header("location")).await
}

/// Checks that a page has all of these texts.
#[track_caller]
fn has(page: &Answer, texts: &[&str]) {
    assert_eq!(page.status, 200, "{}", page.text);
    for text in texts {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
}

#[rstest]
#[tokio::test]
async fn a_webhook_is_shown_with_all_that_is_known_of_it(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Fail("the disk is full"), Step::Complete(serde_json::json!({ "ok": 7 }))]);
    let submission = hookbox.rest.submission(crate::api::harness::client::body(
        "evt-001",
        "order.created",
        r#"{"total": 12345678901234567890.10, "items": [{"sku": "A<1>"}], "note": null}"#,
    ));
    let id = Answer::of(submission.header("X-Shop", "7")).await.text_of("id");
    hookbox.wait_for(&id, "retrying").await;
    let path = format!("/webhooks/{id}");
    let browser = Browser::of(&hookbox);
    let retrying = browser.get(&path).await;
    has(
        &retrying,
        &[
            "The next attempt of",
            "1 attempt of at most 3",
            "id=\"state\" data-live",
            "id=\"webhook\" data-live",
        ],
    );
    hookbox.advance(HOUR);
    let trace_id = hookbox.wait_for(&id, "completed").await["trace_id"].as_str().unwrap().to_owned();
    let page = browser.get(&path).await;
    has(
        &page,
        &[
            "<h1>order.created <span class=\"badge good\">completed</span></h1>",
            &format!("data-copy=\"{id}\""),
            "evt-001",
            "2026-03-01 12:00:00.000 UTC",
            "the source does not verify its requests",
            &trace_id,
            &format!("href=\"/webhooks?trace_id={trace_id}\""),
            "<span class=\"num-lit\">12345678901234567890.10</span>",
            "<span class=\"str\">&quot;A&lt;1&gt;&quot;</span>",
            "<th class=\"mono\" scope=\"row\">x-shop</th><td class=\"mono\">7</td>",
            "Accepted from default",
            "Attempt 1 of <a href=\"/routes/default\">default</a> <b>failed</b>",
            "the disk is full",
            "<b>completed</b>",
            "{&quot;ok&quot;:7}",
            &format!("curl -sS -X POST 'http://{}/v1/webhooks'", hookbox.rest.address()),
            // It can be replayed from elsewhere.
            "id=\"state\" data-live",
            "id=\"webhook\" data-live",
        ],
    );
    let order = ["Accepted from", "Attempt 1 of", "Attempt 2 of", "is completed"];
    let places = order.map(|text| page.text.find(text).unwrap_or_else(|| panic!("{text}: {}", page.text)));
    assert!(places.is_sorted(), "{places:?}");
}

#[tokio::test]
async fn the_traces_of_a_webhook_and_of_a_refused_one_link_to_the_tool_of_the_setting() {
    let trace_url = "https://jaeger.example/trace/{trace_id}";
    let hookbox = Hookbox::with(Sqlite, &[("trace_url", trace_url)]);
    let send = async |trace_id: &str, payload: &str| {
        let body = crate::api::harness::client::body("evt-001", "order.created", payload);
        let traceparent = format!("00-{trace_id}-00f067aa0ba902b7-01");
        Answer::of(hookbox.rest.submission(body).header("traceparent", traceparent)).await
    };
    let (stored, refused) = ("4bf92f3577b34da6a3ce929d0e0e4736", "5bf92f3577b34da6a3ce929d0e0e4736");
    let id = send(stored, "{}").await.text_of("id");
    send(refused, "[]").await.problem(422, "IDEMPOTENCY_KEY_REUSED");
    let page = Browser::of(&hookbox).get(&format!("/webhooks/{id}")).await;
    let link = |trace_id: &str| {
        let url = trace_url.replace("{trace_id}", trace_id);
        format!("<a href=\"{url}\" rel=\"noreferrer noopener\">{trace_id}</a>")
    };
    let list = format!("<a href=\"/webhooks?trace_id={stored}\">Webhooks of it</a>");
    has(&page, &[&link(stored), &list, &link(refused)]);
}

#[tokio::test]
async fn a_body_is_shown_as_what_it_is() {
    for (bytes, content_type, expected) in [
        (
            &b"{\"a\":[1.50,true]}"[..],
            "application/json",
            &["<span class=\"num-lit\">1.50</span>", "2 items"][..],
        ),
        (b" [\"sent as a text\"]", "text/plain", &["<span class=\"str\">&quot;sent as a text&quot;</span>"]),
        (b"a <i>text</i>\nof two lines", "text/plain", &["a &lt;i&gt;text&lt;/i&gt;\nof two lines</code>"]),
        (
            b"{\"a\":\n1",
            "application/json",
            &["This is not valid JSON", "line 2", "{&quot;a&quot;:\n1</code>"],
        ),
        (b"[not json]", "text/plain", &["[not json]</code>"]),
        (b"{\"t\":\"cut \\ud83d\"}", "application/json", &["<div class=\"tree\""]),
        (
            b"a=1&b=%3Cb%3E&b=%00",
            "application/x-www-form-urlencoded",
            &[
                "scope=\"row\">b</th><td class=\"mono\">&lt;b&gt;</td>",
                "<span class=\"hidden-char\">\\u{0}</span>",
            ],
        ),
        (b"\xff\0<b>", "image/png", &["00000000  ff 00 3c 62 3e", "..&lt;b&gt;"]),
        (b"", "text/plain", &["The body is empty."]),
    ] {
        let (hookbox, id) = hookbox_with(bytes, content_type, PULLED, "pulled").await;
        let page = Browser::of(&hookbox).get(&format!("/webhooks/{id}")).await;
        has(&page, expected);
        has(&page, &[content_type]);
        assert_eq!(page.text.matches("<script").count(), 1, "{}", page.text);
    }
}

#[tokio::test]
async fn the_ways_to_show_a_body_are_links() {
    let (hookbox, id) = hookbox_with(b"{\"a\" : 1.0}", "application/json", PULLED, "pulled").await;
    let browser = Browser::of(&hookbox);
    let path = format!("/webhooks/{id}");
    has(&browser.get(&path).await, &[&format!("href=\"{path}?body=text#body\""), "<div class=\"tree\""]);
    has(&browser.get(&format!("{path}?body=text")).await, &["<code>{&quot;a&quot; : 1.0}</code>"]);
    has(&browser.get(&format!("{path}?body=bytes")).await, &["7b 22 61 22 20 3a 20 31  2e 30 7d"]);
    has(&browser.get(&format!("{path}?body=nonsense")).await, &["<div class=\"tree\""]);
    refused(&browser.get(&format!("{path}?body=text&body=tree")).await, 400, "INVALID_FIELD");
}

#[tokio::test]
async fn of_a_huge_body_the_beginning_is_shown_and_what_is_shown_of_all_of_it_is_limited() {
    let line = vec![b'x'; 1_000_000];
    let numbers = format!("[{}0]", "12345,".repeat(99_999)).into_bytes();
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat().into_bytes();
    let strings = format!("[{}0]", "\"<<<<<<<<\",".repeat(90_000)).into_bytes();
    let marks = "\u{202e}".repeat(300_000).into_bytes();
    let fields = "a=1&".repeat(250_000).into_bytes();
    for (name, bytes, content_type, expected) in [
        ("line", &line, "text/plain", "976.6 KiB"),
        ("numbers", &numbers, "application/json", "100,000 items"),
        ("deep", &deep, "application/json", "This is not valid JSON"),
        ("strings", &strings, "application/json", "90,001 items"),
        ("marks", &marks, "text/plain", "878.9 KiB"),
        ("fields", &fields, "application/x-www-form-urlencoded", "Only the beginning is shown."),
        ("bytes", &vec![0xff; 1_000_000], "application/octet-stream", "Only the beginning is shown."),
    ] {
        let (hookbox, id) = hookbox_with(bytes, content_type, PULLED, "pulled").await;
        let browser = Browser::of(&hookbox);
        let page = browser.get(&format!("/webhooks/{id}")).await;
        has(&page, &[expected]);
        assert!(page.text.len() < MOST_BYTES, "{name}: {} bytes", page.text.len());
        let all = browser.get(&format!("/webhooks/{id}?all_body=1")).await;
        has(&all, &["Download"]);
        assert!(all.text.len() < 16_000_000, "{name}: {} bytes", all.text.len());
        let downloaded = browser.get(&format!("/webhooks/{id}/body")).await;
        assert_eq!(downloaded.text.len(), String::from_utf8_lossy(bytes).len(), "{name}");
    }
}

#[tokio::test]
async fn the_exact_body_is_a_file_that_a_browser_does_not_open() {
    let bytes = b"<script>alert(1)</script>\r\n\xff\0";
    let (hookbox, id) = hookbox_with(bytes, "text/html", PULLED, "pulled").await;
    let request = Browser::of(&hookbox).request(Method::GET, &format!("/webhooks/{id}/body"));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-disposition", &format!("attachment; filename=\"webhook-{id}.bin\"")),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(response.headers()[name], value, "{name}");
    }
    assert_eq!(response.headers().get_all("x-content-type-options").iter().count(), 1);
    assert_eq!(response.bytes().await.unwrap(), &bytes[..]);
}

#[tokio::test]
async fn a_verdict_is_shown_with_its_cause_in_words() {
    let (hookbox, id) = hookbox_with(b"{}", "application/json", PULLED, "pulled").await;
    let page = Browser::of(&hookbox).get(&format!("/webhooks/{id}")).await;
    has(
        &page,
        &[
            "<code>timestamp_too_old</code>",
            "The signature is right, but the timestamp is too old.",
            "<th class=\"mono\" scope=\"row\">authorization</th><td class=\"mono\">***</td>",
            "/v1/sources/shop/webhooks",
            "-H 'x-shop: 7'",
        ],
    );
}

#[rstest]
#[tokio::test]
async fn what_was_sent_and_answered_is_shown_with_its_attempt(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.handler.will([Step::Deliver(Box::new(Delivery {
        method: "POST".to_owned(),
        url: "http://orders.internal/<hooks>".to_owned(),
        request_headers: vec![("x-team".to_owned(), "***".to_owned())],
        answer: Some(Answered {
            status: 503,
            headers: vec![("server".to_owned(), "<script>\u{202e}".to_owned())],
            body: b"<script>alert(1)</script>\xe2".to_vec(),
            is_cut: true,
        }),
        connect_time: Some(Duration::from_millis(3)),
        first_byte_time: Some(Duration::from_millis(11)),
        total_time: Duration::from_millis(12),
    }))]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    let page = Browser::of(&hookbox).get(&format!("/webhooks/{id}")).await;
    has(
        &page,
        &[
            "POST http://orders.internal/&lt;hooks&gt;",
            "answered <b>503</b> Service Unavailable",
            "12 ms in all; connected after 3.0 ms; the answer began after 11 ms",
            "x-team",
            "&lt;script&gt;<span class=\"hidden-char\">\\u{202e}</span>",
            "&lt;script&gt;alert(1)&lt;/script&gt;</code>",
            "Only the beginning is shown.",
            "not delivered",
        ],
    );
    assert_eq!(page.text.matches("<script").count(), 1, "{}", page.text);
}

/// Leases the job of the route `pulled`, and returns the lease.
async fn lease(hookbox: &Hookbox) -> Value {
    let leased = call(&hookbox.rest, "lease", &json!({ "routes": ["pulled"], "worker": "host-1" })).await;
    leased.json()["jobs"][0]["lease"].clone()
}

#[rstest]
#[tokio::test]
async fn a_running_attempt_is_shown_with_its_worker_and_its_lease_and_runs_are_told_apart(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, PULLED);
    let browser = Browser::of(&hookbox);
    let path = format!("/webhooks/{}", hookbox.rest.accept("evt-001").await);
    let leased = lease(&hookbox).await;
    let page = browser.get(&path).await;
    let until = "leased until <span class=\"nowrap\">2026-03-01 12:01:00.000 UTC</span>";
    has(
        &page,
        &[&format!("Attempt 1 of <a href=\"/routes/pulled\">pulled</a> is running on host-1, {until}")],
    );

    let failed = json!({ "lease": leased, "failed": { "error": "no", "permanent": true } });
    let finished = call(&hookbox.rest, "finish", &json!({ "worker": "host-1", "outcomes": [failed] })).await;
    assert_eq!(finished.status, 200, "{}", finished.text);
    assert!(!browser.get(&path).await.text.contains(", run "), "there was only one");
    assert_eq!(hookbox.rest.post(&format!("/v1{path}/retry")).await.status, 200);
    lease(&hookbox).await;
    let page = browser.get(&path).await;
    has(&page, &["pulled</a>, run 1, <b>failed</b>", "pulled</a>, run 2, is running on host-1"]);
}

#[tokio::test]
async fn of_many_attempts_the_latest_are_shown_and_the_others_on_further_pages() {
    let hookbox = Hookbox::with(Sqlite, &[("max_attempts", "40")]);
    hookbox.handler.will((0..40).map(|_| Step::Fail("again")));
    let id = hookbox.rest.accept("evt-001").await;
    for runs in 1..=40 {
        hookbox.wait_for_runs(runs).await;
        hookbox.wait_for(&id, if runs < 40 { "retrying" } else { "dead_lettered" }).await;
        hookbox.advance(SignedDuration::from_hours(1));
    }
    let browser = Browser::of(&hookbox);
    let path = format!("/webhooks/{id}");
    let page = browser.get(&path).await;
    has(&page, &["10 earlier attempts are left out.", "Attempt 11 of", "Attempt 40 of", "is a dead letter"]);
    assert!(!page.text.contains("Attempt 10 of"), "{}", page.text);
    let earlier = format!("{path}?skip_attempts=30");
    has(&page, &[&format!("href=\"{earlier}#state\">Earlier attempts</a>")]);
    let page = browser.get(&earlier).await;
    has(&page, &["Accepted from", "Attempt 1 of", "Attempt 10 of", &format!("href=\"{path}#state\">Latest")]);
    for text in ["Attempt 11 of", "is a dead letter", "Earlier attempts", "data-live"] {
        assert!(!page.text.contains(text), "{text}: {}", page.text);
    }
    refused(&browser.get(&format!("{path}?skip_attempts=-1")).await, 400, "INVALID_FIELD");
}

#[tokio::test]
async fn the_page_of_a_webhook_with_a_hundred_thousand_attempts_is_small() {
    let hookbox = Hookbox::with(Sqlite, &[("max_attempts", "1")]);
    hookbox.handler.will([Step::Fail("again")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    // As if it had been retried by hand again and again.
    let retried = "WITH RECURSIVE numbers (number) AS (
                       VALUES (2) UNION ALL SELECT number + 1 FROM numbers WHERE number < 100000
                   )
                   INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, error, worker)
                   SELECT a.webhook, a.queue, n.number, n.number, a.outcome, a.started_at, a.finished_at, a.error, a.worker
                   FROM attempts a, numbers n WHERE a.number = 1;
                   UPDATE jobs SET attempts = 100000, run = 100000; COMMIT";
    hookbox.lock_store().batch_execute(retried).unwrap();

    let browser = Browser::of(&hookbox);
    let page = browser.get(&format!("/webhooks/{id}")).await;
    has(&page, &["99,970 earlier attempts are left out.", "Attempt 100000 of", "Attempt 99971 of"]);
    assert!(page.text.len() < MOST_BYTES, "{} bytes", page.text.len());
    let middle = browser.get(&format!("/webhooks/{id}?skip_attempts=50000")).await;
    has(&middle, &["49,970 earlier attempts are left out.", "Attempt 50000 of", "Attempt 49971 of"]);
    let attempts = hookbox.rest.webhook(&id).await["attempts"].as_array().unwrap().clone();
    assert_eq!((attempts.len(), &attempts[0]["number"]), (1_000, &serde_json::json!(99_001)));
}

#[tokio::test]
async fn what_does_not_exist_is_told() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let missing = "01934c3e-7b00-7000-8000-000000000000";
    for path in ["", "/body", "/edit"] {
        refused(&browser.get(&format!("/webhooks/{missing}{path}")).await, 404, "WEBHOOK_NOT_FOUND");
        refused(&browser.get(&format!("/webhooks/7%ff{path}")).await, 400, "INVALID_FIELD");
    }
}
