//! The list of sources, and the view of each.

use jiff::SignedDuration;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;

use super::{Browser, act, refused, row, words};
use crate::api::access::{EVERY_ROLE, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Sqlite, eventually};

const SOURCES: &str = r#"
    public_url = "https://hooks.example.com"

    [sources.shop]
    preset = "shopify"
    secrets = ["s3cret-of-the-shop"]
    rate_limit = "1000/m"
    sensitive = true

    [sources.crm]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["s3cret-of-the-crm"]
    key = { header = "X-Id" }
    unverified = "reject"
    answer = { accepted = 200, body = "<ok>" }
    deadline = "3s"
"#;

/// Sends a request to the source `crm`.
async fn send(rest: &Rest, token: &str, key: Option<&str>) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/crm/webhooks");
    let request = request.header(CONTENT_TYPE, "text/<b>bold").header("x-token", token);
    let request = key.into_iter().fold(request, |request, key| request.header("x-id", key));
    Answer::of(request.body(r#"{"total":1}"#)).await
}

#[tokio::test]
async fn a_refused_request_is_shown_with_its_cause_and_what_to_do() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    let text = words(&browser.get("/sources/crm").await.text);
    assert!(text.contains("No request of this source was refused"), "{text}");
    assert_eq!(send(&hookbox.rest, "another", Some("evt-001")).await.status, 401);
    assert_eq!(send(&hookbox.rest, "another", Some("evt-002")).await.status, 401);
    assert_eq!(send(&hookbox.rest, "s3cret-of-the-crm", None).await.status, 400);
    assert_eq!(send(&hookbox.rest, "s3cret-of-the-crm", Some("evt-003")).await.status, 200);

    let page = browser.get("/sources/crm").await;
    let text = words(&page.text);
    for expected in [
        "MALFORMED_WEBHOOK 1 now 2026-03-01 12:00:00 UTC The webhooks of the request cannot be read.",
        "credentials_wrong 2 now 2026-03-01 12:00:00 UTC The token or password is not one of the secrets of the source",
        "Each of the last 3",
        "127.0.0.1 POST, text/<b>bold, 11 bytes",
        "Not verified",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!page.text.contains("<b>") && !page.text.contains("s3cret"), "{}", page.text);
    let list = browser.get("/sources").await;
    let crm = row(&list, "/sources/crm");
    for (column, number) in
        [("Verified", 1), ("Not verified", 2), ("Malformed", 1), ("Unauthorized", 0), ("Handshakes", 0)]
    {
        assert!(crm.contains(&format!("data-label=\"{column}\">{number}</td>")), "{column}: {crm}");
    }
    assert!(row(&list, "/sources/shop").contains("not yet"), "{}", list.text);
}

#[tokio::test]
async fn requests_without_a_token_are_counted_at_sources_that_verify_nothing() {
    let open = "[sources.open]\nverify = \"none\"\nkey = \"body\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, &[SOURCES, open, &token("anna", EVERY_ROLE)].concat());
    let request = hookbox.rest.request(Method::POST, "/v1/sources/open/webhooks").body("{}");
    Answer::of(request).await.problem(401, "UNAUTHENTICATED");
    let browser = Browser::logged_in(&hookbox, "anna").await;
    let text = words(&browser.get("/sources/open").await.text);
    assert!(text.contains("Unauthorized 1 no token that may submit"), "{text}");
    let text = words(&browser.get("/sources/crm").await.text);
    assert!(!text.contains("Unauthorized"), "{text}");
    let list = browser.get("/sources").await;
    let open = row(&list, "/sources/open");
    assert!(open.contains("data-label=\"Unauthorized\">1</td>"), "{open}");
}

#[tokio::test]
async fn nothing_counts_as_verified_at_a_source_that_verifies_nothing() {
    let open = "[sources.open]\nverify = \"none\"\nkey = \"body\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, &[SOURCES, open].concat());
    let request = hookbox.rest.request(Method::POST, "/v1/sources/open/webhooks").body("{}");
    let answer = Answer::of(request).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    let list = Browser::of(&hookbox).get("/sources").await;
    let open = row(&list, "/sources/open");
    assert!(
        open.contains("data-label=\"Accepted\">1 <span class=\"small muted\">accepted</span></td>"),
        "{open}"
    );
    assert!(
        !open.contains("data-label=\"Verified\"") && open.contains("data-label=\"Not verified\">–</td>"),
        "{open}"
    );
}

#[tokio::test]
async fn a_source_says_where_its_sender_sends_and_what_it_is_answered() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    let crm = words(&browser.get("/sources/crm").await.text);
    for expected in [
        "https://hooks.example.com/v1/sources/crm/webhooks",
        "Accepted 200, with the body <ok> (text/plain; charset=utf-8)",
        "503 if it is not stored within 3.0 s",
        "422 if the body is another one than that of the first webhook",
        "Refused with 401",
    ] {
        assert!(crm.contains(expected), "{expected}: {crm}");
    }
    let shop = words(&browser.get("/sources/shop").await.text);
    for expected in [
        "shopify",
        "1000/m",
        "counts as a duplicate, also with another body",
        "with the JSON of hookbox",
        "Sensitive Yes: this page hides its payloads",
    ] {
        assert!(shop.contains(expected), "{expected}: {shop}");
    }
    let list = browser.get("/sources").await;
    assert!(row(&list, "/sources/shop").contains(">sensitive<"), "{}", list.text);
    assert!(!crm.contains("Sensitive") && !row(&list, "/sources/crm").contains("sensitive"), "{}", list.text);
}

#[tokio::test]
async fn the_processing_of_a_source_is_paused_and_resumed() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    let page =
        act(&browser, "/sources/crm", "/sources/crm/pause", &[("reason", "<b>moves</b>\u{202e}")]).await;
    let text = words(&page.text);
    assert!(
        text.contains("The processing of this source has been paused since 2026-03-01 12:00:00.000 UTC"),
        "{text}"
    );
    assert!(text.contains("Paused by anonymous: <b>moves</b>\\u{202e}"), "{text}");
    let list = browser.get("/sources").await;
    let shown = "by anonymous: &lt;b&gt;moves&lt;/b&gt;<span class=\"hidden-char\">\\u{202e}</span>";
    assert!(row(&list, "/sources/crm").contains(shown), "{}", list.text);
    assert_eq!(send(&hookbox.rest, "s3cret-of-the-crm", Some("evt-001")).await.status, 200);
    let other = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&other, "completed").await;
    let pending = hookbox.rest.get("/v1/webhooks?source=crm&status=pending").await.json();
    let id = pending["webhooks"][0]["id"].as_str().expect("it waits").to_owned();
    let list = act(&browser, "/sources", "/sources/crm/resume", &[("back", "list")]).await;
    assert!(
        list.text.contains("<h1>Sources</h1>") && list.text.contains("Resumed the source crm."),
        "{}",
        list.text
    );
    hookbox.wait_for(&id, "completed").await;
}

#[tokio::test]
async fn sources_without_a_section_are_listed_if_they_are_known() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let browser = Browser::of(&hookbox);
    assert_eq!(hookbox.rest.post("/v1/pause?source=hookbox&reason=too%20loud").await.status, 200);
    let list = browser.get("/sources").await;
    let paused = "since 2026-03-01 12:00:00 UTC, by anonymous: too loud";
    assert!(row(&list, "/sources/hookbox").contains(paused), "{}", list.text);
    assert!(row(&list, "/sources/default").contains("running"), "{}", list.text);
    let default = words(&browser.get("/sources/default").await.text);
    assert!(default.contains("The settings have no section for this source."), "{default}");
    let own = words(&browser.get("/sources/hookbox").await.text);
    assert!(own.contains("hookbox makes the webhooks of this source itself"), "{own}");
    assert!(own.contains("Paused by anonymous: too loud"), "{own}");
    refused(&browser.get("/sources/other").await, 404, "SOURCE_NOT_FOUND");
    refused(&browser.get("/sources/No%20Source").await, 400, "INVALID_FIELD");
}

#[tokio::test]
async fn what_came_from_sources_without_a_section_is_shown() {
    let route = "[[routes]]\nname = \"alerts\"\nmatch = { source = [\"default\", \"hookbox\"] }\n";
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{SOURCES}{route}"));
    let browser = Browser::of(&hookbox);
    let list = browser.get("/sources").await;
    for path in ["/sources/default", "/sources/hookbox"] {
        assert!(row(&list, path).contains("not yet"), "{}", list.text);
    }
    hookbox.handler.will([Step::FailForGood("no such order")]);
    hookbox.rest.accept("evt-001").await;
    hookbox.rest.submit_body("{").await.problem(400, "MALFORMED_JSON");
    hookbox.rest.post("/v1/webhooks?a=b").await.refused_field("a");
    let numbers = |accepted: u64, refused: u64| {
        format!(
            "<td class=\"num\" data-label=\"Accepted\">{accepted}</td><td class=\"num\" data-label=\"Refused\">{refused}</td>"
        )
    };
    // In short steps, so that the numbers of the last 60 minutes still have what was accepted first.
    let list = eventually("the numbers of both sources", || {
        hookbox.advance(SignedDuration::from_secs(1));
        async {
            let list = browser.get("/sources").await;
            let (default, own) = (row(&list, "/sources/default"), row(&list, "/sources/hookbox"));
            (default.contains(&numbers(1, 2)) && own.contains(&numbers(1, 0))).then_some(list)
        }
    })
    .await;
    assert!(!row(&list, "/sources/default").contains("not yet"), "{}", list.text);
    assert!(!row(&list, "/sources/hookbox").contains("not yet"), "{}", list.text);
    let default = words(&browser.get("/sources/default").await.text);
    for tile in
        ["Accepted 1 new webhooks in the last 60 minutes", "Refused 2 webhooks in the last 60 minutes"]
    {
        assert!(default.contains(tile), "{tile}: {default}");
    }
    assert!(default.contains("UTC the last webhook, since the start"), "{default}");
}

#[tokio::test]
async fn the_trace_ids_of_refused_requests_link_to_the_tool_of_the_setting() {
    for (setting, is_link) in [("", false), ("https://jaeger.example/trace/{trace_id}", true)] {
        let settings = format!("trace_url = \"{setting}\"\n{SOURCES}");
        let hookbox = Hookbox::with_routes(Sqlite, &settings);
        assert_eq!(send(&hookbox.rest, "another", Some("evt-001")).await.status, 401);
        let rejections = hookbox.rest.get("/v1/sources/crm/rejections").await.json();
        let trace_id = rejections["rejections"][0]["trace_id"].as_str().unwrap().to_owned();
        let page = Browser::of(&hookbox).get("/sources/crm").await;
        let link = format!(
            "<a href=\"https://jaeger.example/trace/{trace_id}\" rel=\"noreferrer noopener\">{trace_id}</a>"
        );
        assert!(page.text.contains(&trace_id), "{}", page.text);
        assert_eq!(page.text.contains(&link), is_link, "{link}: {}", page.text);
    }
}
