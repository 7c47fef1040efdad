//! The stream that tells browsers of changes.

use reqwest::{Method, Response};

use super::Browser;
use crate::api::access::{EVERY_ROLE, secret, token};
use crate::api::harness::{Hookbox, Sqlite};

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
