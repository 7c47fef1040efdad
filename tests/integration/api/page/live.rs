//! The stream that tells browsers of changes, and how they load their views again.

use jiff::SignedDuration;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};

use super::{Browser, form_token};
use crate::api::access::{EVERY_ROLE, rest, secret, token};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Sqlite, eventually};

const CHANGE: &str = "event: change\ndata: 1\n\n";

async fn stream(browser: &Browser) -> Response {
    browser.request(Method::GET, "/live").send().await.unwrap()
}

/// The next part of a stream, while time passes; none once the stream has ended.
async fn next(hookbox: &Hookbox, mut stream: Response) -> (Response, Option<String>) {
    let reading = tokio::spawn(async move {
        let part = stream.chunk().await.unwrap();
        (stream, part.map(|part| String::from_utf8_lossy(&part).into_owned()))
    });
    let look = || {
        let is_there = reading.is_finished();
        async move { is_there.then_some(()) }
    };
    hookbox.as_time_passes("the stream to go on", look).await;
    reading.await.unwrap()
}

#[tokio::test]
async fn a_browser_is_told_that_something_has_changed_and_nothing_else() {
    let hookbox = Hookbox::start(Sqlite);
    let stream = stream(&Browser::of(&hookbox)).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (stream, first) = next(&hookbox, stream).await;
    hookbox.rest.accept("evt-001").await;
    let (_, second) = next(&hookbox, stream).await;
    for part in [first, second] {
        // Several events may arrive at once.
        let part = part.expect("an event");
        assert!(part.starts_with(CHANGE) && part.replace(CHANGE, "").is_empty(), "{part:?}");
    }
}

#[tokio::test]
async fn a_browser_is_told_of_a_replay_also_if_its_token_is_limited() {
    let limited = token("reader", "roles = [\"read\"]\nroutes = [\"default\"]");
    let hookbox = Hookbox::with_routes(Sqlite, &[token("operator", EVERY_ROLE), limited].concat());
    let (stream, _) = next(&hookbox, stream(&Browser::logged_in(&hookbox, "reader").await).await).await;
    let operator = rest(&hookbox, "operator");
    let request = operator.request(Method::POST, "/v1/replays").header(CONTENT_TYPE, "application/json");
    let started = Answer::of(request.body(r#"{"filter":{"route":"default"},"dry_run":true}"#)).await;
    assert_eq!(started.status, 202, "{}", started.text);
    let (_, told) = next(&hookbox, stream).await;
    assert!(told.as_deref().is_some_and(|told| told.starts_with(CHANGE)), "{told:?}");
}

#[tokio::test]
async fn a_browser_is_told_of_the_quarantine_of_the_sources_that_its_token_sees() {
    let source = |name: &str| {
        format!(
            r#"
            [sources.{name}]
            verify = {{ token = "plain", header = "X-Token" }}
            secrets = ["the-token-of-the-sender"]
            key = {{ header = "X-Id" }}
            unverified = "quarantine"
            "#
        )
    };
    let limited = token("reader", "roles = [\"read\"]\nsources = [\"shop\"]");
    let settings = [source("shop"), source("erp"), token("operator", EVERY_ROLE), limited].concat();
    let hookbox = Hookbox::with_routes(Sqlite, &settings);
    let send = async |source: &str| {
        let request = hookbox.rest.request(Method::POST, &format!("/v1/sources/{source}/webhooks"));
        let request = request.header("X-Token", "another").header("X-Id", "evt-001");
        let answer = Answer::of(request.body("{}")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    };
    let reader = Browser::logged_in(&hookbox, "reader").await;
    send("erp").await;
    let page = reader.get("/").await.text;
    assert!(page.contains("Nothing is wrong.") && !page.contains("Quarantine"), "{page}");

    let (stream, _) = next(&hookbox, stream(&reader).await).await;
    send("shop").await;
    let (_, told) = next(&hookbox, stream).await;
    assert!(told.as_deref().is_some_and(|told| told.starts_with(CHANGE)), "{told:?}");
    let page = reader.get("/").await.text;
    assert!(page.contains("Webhooks are in quarantine, because they were not verified."), "{page}");
    assert!(!page.contains("Nothing is wrong."), "{page}");
}

#[tokio::test]
async fn a_browser_is_told_of_a_run_that_began_and_ended_between_two_looks() {
    let limited = token("reader", "roles = [\"read\"]\nsources = [\"default\"]");
    let hookbox = Hookbox::with_routes(Sqlite, &[token("operator", EVERY_ROLE), limited].concat());
    let operator = rest(&hookbox, "operator");
    let id = operator.accept("evt-001").await;
    let completed = async |attempts: usize| {
        eventually("the webhook is completed", || async {
            let webhook = operator.webhook(&id).await;
            let has_ended = webhook["status"] == "completed";
            (has_ended && webhook["attempts"].as_array().unwrap().len() == attempts).then_some(())
        })
        .await;
    };
    completed(1).await;
    let (stream, _) = next(&hookbox, stream(&Browser::logged_in(&hookbox, "reader").await).await).await;
    assert_eq!(operator.post(&format!("/v1/webhooks/{id}/replay")).await.status, 200);
    completed(2).await;
    let (_, told) = next(&hookbox, stream).await;
    assert!(told.as_deref().is_some_and(|told| told.starts_with(CHANGE)), "{told:?}");
}

#[tokio::test]
async fn the_stream_needs_a_token_and_ends_when_it_is_taken_away() {
    let tokens = [token("operator", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let refused = stream(&Browser::of(&hookbox)).await;
    let location = refused.headers()["location"].to_str().unwrap();
    assert_eq!((refused.status().as_u16(), location), (303, "/login?next=%2Flive"));

    let mut stream = stream(&Browser::logged_in(&hookbox, "reader").await).await;
    hookbox.set_routes(&token("operator", EVERY_ROLE));
    assert_eq!(hookbox.rest.with_token(&secret("operator")).post("/v1/settings/reload").await.status, 200);
    loop {
        let (rest, part) = next(&hookbox, stream).await;
        stream = rest;
        if part.is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn the_stream_ends_when_the_process_stops() {
    let mut hookbox = Hookbox::start(Sqlite);
    let mut stream = stream(&Browser::of(&hookbox)).await;
    hookbox.begin_to_stop();
    loop {
        let (rest, part) = next(&hookbox, stream).await;
        stream = rest;
        if part.is_none() {
            break;
        }
    }
}

#[tokio::test]
async fn one_caller_cannot_keep_others_from_live_pages() {
    let tokens = [token("operator", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let reader = Browser::logged_in(&hookbox, "reader").await;
    let mut open = Vec::new();
    let refused = loop {
        let stream = stream(&reader).await;
        if stream.status() != 200 {
            break stream;
        }
        open.push(stream);
        assert!(open.len() < 200, "these are all that there may be");
    };
    assert_eq!(refused.status(), 503);
    assert!(refused.text().await.unwrap().contains("too many pages are live"));
    assert!(open.len() >= 20, "so many tabs are live at once: {}", open.len());
    let operator = Browser::logged_in(&hookbox, "operator").await;
    assert_eq!(stream(&operator).await.status(), 200);
    drop(open);
    eventually("a stream of the reader ends", || async {
        (stream(&reader).await.status() == 200).then_some(())
    })
    .await;
}

/// Loads a view again, as the script does.
async fn again(browser: &Browser, path: &str) -> Answer {
    Answer::of(browser.request(Method::GET, path).header("hookbox-refresh", "1")).await
}

#[tokio::test]
async fn browsers_that_load_the_same_view_again_share_an_answer_for_a_second() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    hookbox.rest.accept("evt-001").await;
    let first = again(&browser, "/webhooks").await;
    assert!(first.text.contains("evt-001"), "{}", first.text);
    hookbox.rest.accept("evt-002").await;
    for _ in 0..3 {
        let same = again(&browser, "/webhooks").await;
        assert_eq!((same.status, &same.text), (200, &first.text));
        assert_eq!(same.header("content-type"), first.header("content-type"));
        assert_eq!(same.header("content-security-policy"), first.header("content-security-policy"));
    }
    for other in [browser.get("/webhooks").await, again(&browser, "/webhooks?source=default").await] {
        assert!(other.text.contains("evt-002"), "{}", other.text);
    }
    hookbox.advance(SignedDuration::from_secs(1));
    let later = again(&browser, "/webhooks").await;
    assert!(later.text.contains("evt-002"), "{}", later.text);
}

#[tokio::test]
async fn a_shared_answer_is_that_of_one_token_and_of_what_it_may_see() {
    let tokens = [token("operator", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let (operator, reader) =
        (Browser::logged_in(&hookbox, "operator").await, Browser::logged_in(&hookbox, "reader").await);
    let (one, other) = (again(&operator, "/webhooks").await, again(&reader, "/webhooks").await);
    assert_ne!(form_token(&one), form_token(&other));
    assert_eq!(again(&reader, "/webhooks").await.text, other.text);
    hookbox.set_routes(&token("operator", EVERY_ROLE));
    assert_eq!(hookbox.rest.with_token(&secret("operator")).post("/v1/settings/reload").await.status, 200);
    let refused = again(&reader, "/webhooks").await;
    assert_eq!((refused.status, refused.header("location")), (303, "/login?next=%2Fwebhooks"));
    assert_eq!(again(&operator, "/webhooks").await.text, one.text);
}

#[tokio::test]
async fn a_refused_token_counts_once_when_a_view_is_loaded_again() {
    let hookbox = Hookbox::with_routes(Sqlite, &token("operator", EVERY_ROLE));
    let wrong = Browser::of(&hookbox).with_cookie("hookbox=aGJ4X3dyb25n");
    for _ in 0..10 {
        assert_eq!(again(&wrong, "/webhooks").await.status, 303);
    }
    assert_eq!(again(&wrong, "/webhooks").await.status, 429);
}
