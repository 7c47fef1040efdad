//! Handshakes: what a sender asks to check the URL is answered, and nothing is stored.

use reqwest::{Method, RequestBuilder};
use rstest::rstest;

use super::{metric, post, request, requests, sign, stored};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store};

const SOURCES: &str = r#"
[sources.chat]
verify = { hmac = "sha256", header = "X-Signature" }
secrets = ["s3cret"]
key = { json = "/id" }
handshakes = [
    { when = [{ json = "/type", equals = "url_verification" }], value = { json = "/challenge" } },
    { when = [{ json = "/event", present = false }, { json = "/type", equals = "ping" }], answer = { status = 204 } },
]
[sources.whatsapp]
preset = "whatsapp"
secrets = ["s3cret"]
verify_token = "t0ken"
[sources.cloudevents]
preset = "cloudevents"
[sources.grid]
preset = "azure-event-grid-cloudevents"
secrets = ["s3cret"]
[sources.zoom]
preset = "zoom"
secrets = ["s3cret"]
[sources.plain]
verify = "none"
key = "body"
"#;

async fn get(rest: &Rest, source: &str, query: &str) -> Answer {
    rest.get(&format!("/v1/sources/{source}/webhooks{query}")).await
}

#[rstest]
#[tokio::test]
async fn a_handshake_by_post_is_answered_only_if_it_is_signed(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    let rest = &hookbox.rest;
    let body = r#"{"type":"url_verification","challenge":"3eZbrw1aBm"}"#;
    let signed = post(rest, "chat", body).header("X-Signature", sign("s3cret", body.as_bytes()));
    let answer = Answer::of(signed).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "3eZbrw1aBm"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let unsigned = Answer::of(post(rest, "chat", body)).await;
    unsigned.problem(401, "NOT_VERIFIED");
    assert!(!unsigned.text.contains("3eZbrw1aBm"), "it is no oracle: {}", unsigned.text);

    let ping = r#"{"type":"ping"}"#;
    let signed = post(rest, "chat", ping).header("X-Signature", sign("s3cret", ping.as_bytes()));
    let answer = Answer::of(signed).await;
    assert_eq!((answer.status, answer.text.as_str(), answer.header("content-type")), (204, "", ""));
    // What is an object is present, too.
    let event = r#"{"id":1,"type":"ping","event":{"a":1}}"#;
    let signed = post(rest, "chat", event).header("X-Signature", sign("s3cret", event.as_bytes()));
    assert_eq!(Answer::of(signed).await.status, 202);

    assert_eq!(stored(rest, "chat").await.len(), 1);
    assert_eq!(metric(rest, &requests("chat", "handshake", "")).await, Some(2.0));
    assert_eq!(metric(rest, &requests("chat", "verified", "")).await, Some(1.0));
}

#[rstest]
#[tokio::test]
async fn a_handshake_by_get_is_answered_only_with_the_right_token(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    let rest = &hookbox.rest;
    let query = "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=t0ken";
    let answer = get(rest, "whatsapp", query).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "1158201444"));
    let head = Answer::of(rest.request(Method::HEAD, &format!("/v1/sources/whatsapp/webhooks{query}"))).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    for query in [query.replace("t0ken", "other"), format!("{query}&hub.verify_token=t0ken"), String::new()] {
        let problem = get(rest, "whatsapp", &query).await.problem(403, "NOT_VERIFIED");
        assert_eq!(problem["cause"], "credentials_wrong", "{query}");
    }
    for (query, told) in [
        (query.replace("subscribe", "other"), "it does not meet the conditions in `handshakes`"),
        (
            query.replace("1158201444", "<script>"),
            "the query parameter `hub.challenge` does not have the shape `token`",
        ),
        (
            format!("{query}&hub.challenge=1"),
            "the query parameter `hub.challenge` is missing, empty, or there",
        ),
    ] {
        let problem = get(rest, "whatsapp", &query).await.problem(403, "MALFORMED_WEBHOOK");
        let detail = problem["detail"].as_str().unwrap();
        let begins = format!("the request is not a handshake of the source `whatsapp`: {told}");
        assert!(detail.starts_with(&begins), "{detail}");
    }
    assert_eq!(metric(rest, &requests("whatsapp", "malformed", "")).await, Some(3.0));
    assert_eq!(metric(rest, &requests("whatsapp", "unverified", "credentials_wrong")).await, Some(3.0));
    assert!(stored(rest, "whatsapp").await.is_empty());
}

#[rstest]
#[tokio::test]
async fn a_handshake_whose_value_is_wrong_is_told_and_never_stored(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    let rest = &hookbox.rest;
    let refused = async |source: &str, request: RequestBuilder, told: &str| {
        let problem = Answer::of(request).await.problem(400, "MALFORMED_WEBHOOK");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(told), "{detail}");
        assert!(stored(rest, source).await.is_empty(), "{source}");
    };
    for (challenge, told) in [
        (
            r#","challenge":"a<b""#,
            "the JSON value `/challenge` does not have the shape `token`, which is 1 to 1024",
        ),
        ("", "the JSON value `/challenge` is missing"),
    ] {
        let body = format!(r#"{{"id":"1","type":"url_verification"{challenge}}}"#);
        let signed = post(rest, "chat", &body).header("X-Signature", sign("s3cret", body.as_bytes()));
        refused("chat", signed, told).await;
    }
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"v0:1"}}"#;
    let time = START.parse::<jiff::Timestamp>().unwrap().as_second();
    let signature = format!("v0={}", sign("s3cret", format!("v0:{time}:{body}").as_bytes()));
    let told = "the JSON value `/payload/plainToken` does not have the shape `token`";
    let signed = post(rest, "zoom", body).header("x-zm-signature", signature);
    refused("zoom", signed.header("x-zm-request-timestamp", time), told).await;
    refused("zoom", post(rest, "zoom", body), told).await;
}

#[tokio::test]
async fn a_handshake_by_options_is_answered_with_its_headers() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let options = request(&hookbox.rest, Method::OPTIONS, "cloudevents");
    let answer = Answer::of(options.header("WebHook-Request-Origin", "eventemitter.example.com")).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("webhook-allowed-origin"), "eventemitter.example.com");
    let without = Answer::of(request(&hookbox.rest, Method::OPTIONS, "cloudevents")).await;
    without.problem(400, "MALFORMED_WEBHOOK");
}

#[tokio::test]
async fn a_handshake_by_options_that_is_not_verified_is_told_why() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let rest = &hookbox.rest;
    let ask = async |query: &str, header: &str| {
        let path = format!("/v1/sources/grid/webhooks{query}");
        Answer::of(rest.request(Method::OPTIONS, &path).header(header, "eventgrid.azure.net")).await
    };
    let origin = "WebHook-Request-Origin";
    assert_eq!(ask("?token=s3cret", origin).await.header("webhook-allowed-origin"), "eventgrid.azure.net");
    for (query, cause) in [("?token=other", "credentials_wrong"), ("", "signature_missing")] {
        let answer = ask(query, origin).await;
        assert_eq!(answer.problem(403, "NOT_VERIFIED")["cause"], cause, "{query}");
        assert_eq!(answer.header("webhook-allowed-origin"), "", "{query}");
        assert_eq!(metric(rest, &requests("grid", "unverified", cause)).await, Some(1.0));
    }
    // Without the header it is no handshake, whoever sends it.
    ask("?token=other", "x-other").await.problem(400, "MALFORMED_WEBHOOK");
    assert_eq!(metric(rest, &requests("grid", "malformed", "")).await, Some(1.0));
}

#[tokio::test]
async fn a_method_by_which_the_source_takes_nothing_is_answered_405() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    for (source, method, allowed) in [
        ("plain", Method::GET, "POST"),
        ("plain", Method::OPTIONS, "POST"),
        ("plain", Method::PUT, "POST"),
        ("plain", Method::DELETE, "POST"),
        ("whatsapp", Method::PATCH, "POST, GET, HEAD"),
        ("whatsapp", Method::OPTIONS, "POST, GET, HEAD"),
        ("cloudevents", Method::GET, "POST, OPTIONS"),
    ] {
        let answer = Answer::of(request(&hookbox.rest, method.clone(), source)).await;
        answer.problem(405, "METHOD_NOT_ALLOWED");
        assert_eq!(answer.header("allow"), allowed, "{method} {source}");
    }
    let head = Answer::of(request(&hookbox.rest, Method::HEAD, "plain")).await;
    assert_eq!((head.status, head.header("allow")), (405, "POST"));
    Answer::of(request(&hookbox.rest, Method::PUT, "absent")).await.problem(404, "SOURCE_NOT_FOUND");
}

#[tokio::test]
async fn a_handshake_by_browser_is_answered_but_no_webhook_of_a_page_is_taken() {
    let hookbox = Hookbox::with_routes(Sqlite, SOURCES);
    let get = request(&hookbox.rest, Method::GET, "plain").header("origin", "http://evil.example");
    Answer::of(get).await.problem(405, "METHOD_NOT_ALLOWED");
    let webhook = post(&hookbox.rest, "plain", "{}").header("origin", "http://evil.example");
    Answer::of(webhook).await.problem(403, "ORIGIN_NOT_ALLOWED");
    assert!(stored(&hookbox.rest, "plain").await.is_empty());
}
