//! What monitoring asks, and how the API describes itself.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn it_says_that_it_is_alive_and_ready(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let alive = hookbox.rest.get("/healthz").await;
    assert_eq!((alive.status, alive.text.as_str()), (200, "ok\n"));
    let ready = hookbox.rest.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let checks =
        json!({ "store": "ok", "migrations": "ok", "workers": "ok", "lifecycle": "ok", "pauses": [] });
    assert_eq!(ready.json(), json!({ "ready": true, "checks": checks }));
}

/// Takes 3.5 s: for as long does a caller wait for the check.
#[tokio::test]
async fn it_is_not_ready_before_probes_give_up_if_the_store_does_not_answer() {
    let hookbox = Hookbox::start(Sqlite);
    // Once it answers, it has started: the start writes, too.
    assert_eq!(hookbox.rest.get("/healthz").await.status, 200);
    // Longer than a probe waits; the store waits 5 s for a lock, and has another error.
    let locked = hookbox.lock_store();
    let ready = hookbox.rest.get("/readyz").await;
    drop(locked);
    let checks = json!({
        "store": "the store did not answer in time; try again",
        "migrations": "unknown",
        "workers": "ok",
        "lifecycle": "ok",
        "pauses": [],
    });
    assert_eq!((ready.status, ready.json()), (503, json!({ "ready": false, "checks": checks })));
}

#[rstest]
#[tokio::test]
async fn it_is_ready_while_it_is_paused_and_shows_the_pauses(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for target in ["?reason=secret", "?route=default&reason=secret", "?source=shop"] {
        assert_eq!(hookbox.rest.post(&format!("/v1/pause{target}")).await.status, 200);
    }
    let answer = hookbox.rest.get("/readyz").await;
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &json!(true)));
    let mut pauses: Vec<_> =
        answer.json()["checks"]["pauses"].as_array().unwrap().iter().map(ToString::to_string).collect();
    pauses.sort();
    let since = "since 2026-03-01T12:00:00Z";
    let expected = ["everything", "the route default", "the source shop"];
    assert_eq!(pauses, expected.map(|target| format!("\"{target} {since}\"")));
}

#[rstest]
#[tokio::test]
async fn readiness_reads_the_pauses_once_a_second(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let pauses = async || hookbox.rest.get("/readyz").await.json()["checks"]["pauses"].clone();
    assert_eq!(pauses().await, json!([]));
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    assert_eq!(pauses().await, json!([]), "any client can ask, and all of them share a read");
    hookbox.advance(SignedDuration::from_secs(1));
    assert_eq!(pauses().await, json!(["everything since 2026-03-01T12:00:00Z"]));
}

#[tokio::test]
async fn the_api_describes_itself() {
    let hookbox = Hookbox::start(Sqlite);
    let answer = hookbox.rest.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert_eq!(document, serde_json::to_value(hookbox::internals::http::openapi()).unwrap());
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{method} {path} has a summary");
        }
    }
}

#[tokio::test]
async fn the_documentation_page_loads_nothing_from_elsewhere() {
    let hookbox = Hookbox::start(Sqlite);
    let moved = hookbox.rest.get("/docs").await;
    let path = if moved.status == 200 { "/docs" } else { moved.header("location") };
    let page = hookbox.rest.get(path).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
    let assets: Vec<_> = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|attribute| page.text.split(attribute).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(assets.iter().any(|asset| asset.ends_with(".js")), "{assets:?}");
    for asset in assets {
        assert!(!asset.contains("//"), "{asset} is not served from here");
        let answer = hookbox.rest.get(&format!("/docs/{}", asset.trim_start_matches("./"))).await;
        assert_eq!(answer.status, 200, "{asset}");
        assert!(!answer.text.is_empty(), "{asset}");
    }
    let start = hookbox.rest.get("/docs/swagger-initializer.js").await;
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    assert!(!start.text.contains("petstore"), "{}", start.text);
}
