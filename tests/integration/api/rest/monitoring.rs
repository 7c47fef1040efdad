//! What monitoring asks, and how the API describes itself.

use rstest::rstest;
use std::collections::BTreeMap;

use serde_json::json;

use crate::api::harness::handler::Step;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store, eventually};

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

#[rstest]
#[tokio::test]
async fn it_is_ready_while_it_is_paused_and_shows_the_pauses(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for target in ["", "?route=default", "?source=shop"] {
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
async fn metrics_move_with_what_happens(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("max_attempts", "2"), ("rate_limit", "2/m")]);
    hookbox.handler.will([Step::Fail("once")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    hookbox.advance(HOUR);
    hookbox.wait_for(&id, "completed").await;
    hookbox.rest.submit("evt-001", "order.created", "{}").await;
    hookbox.rest.submit("evt-001", "order.created", "1").await;
    hookbox.rest.submit("evt-002", "t", "1").await.problem(429, "RATE_LIMITED");
    hookbox.rest.submit("", "t", "1").await;

    // A worker counts as free a moment after its outcome can be seen.
    let metrics = eventually("an idle pool", || async {
        let metrics = metrics(&hookbox).await;
        (metrics["hookbox_workers_busy"] == 0.0).then_some(metrics)
    })
    .await;
    for (name, value) in [
        (r#"hookbox_submissions_total{source="default",outcome="accepted"}"#, 1.0),
        (r#"hookbox_submissions_total{source="default",outcome="duplicate"}"#, 1.0),
        (r#"hookbox_submissions_total{source="default",outcome="IDEMPOTENCY_KEY_REUSED"}"#, 1.0),
        (r#"hookbox_submissions_total{source="default",outcome="RATE_LIMITED"}"#, 1.0),
        (r#"hookbox_requests_total{api="rest",endpoint="/v1/webhooks",code="202"}"#, 1.0),
        (r#"hookbox_requests_total{api="rest",endpoint="/v1/webhooks",code="400"}"#, 1.0),
        (r#"hookbox_attempts_total{route="default",handler="simulate",outcome="completed"}"#, 1.0),
        (r#"hookbox_attempts_total{route="default",handler="simulate",outcome="failed"}"#, 1.0),
        (r#"hookbox_jobs{route="default",status="completed"}"#, 1.0),
        (r#"hookbox_jobs{route="default",status="pending"}"#, 0.0),
        (r#"hookbox_unrouted{what="filtered"}"#, 0.0),
        (r#"hookbox_route_paused{route="default"}"#, 0.0),
        ("hookbox_pauses", 0.0),
        ("hookbox_submit_duration_seconds_count", 4.0),
        ("hookbox_attempt_duration_seconds_count", 2.0),
        ("hookbox_queue_wait_seconds_count", 2.0),
        ("hookbox_oldest_due_seconds", 0.0),
        ("hookbox_workers", 2.0),
        ("hookbox_leases_lost_total", 0.0),
        ("hookbox_commit_failures_total", 0.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
    assert!(metrics["hookbox_commit_duration_seconds_count"] >= 4.0);
}

#[rstest]
#[tokio::test]
async fn metrics_name_each_pause_while_it_is_in_force(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let targets = [
        ("", r#"hookbox_paused{scope="everything",name=""}"#),
        ("?route=default", r#"hookbox_paused{scope="route",name="default"}"#),
        ("?source=default", r#"hookbox_paused{scope="source",name="default"}"#),
    ];
    for (target, _) in targets {
        assert_eq!(hookbox.rest.post(&format!("/v1/pause{target}")).await.status, 200);
    }
    let paused = metrics(&hookbox).await;
    assert_eq!(paused["hookbox_pauses"].to_string(), "3");
    for (target, gauge) in targets {
        assert_eq!(paused.get(gauge), Some(&1.0), "{gauge}");
        assert_eq!(hookbox.rest.post(&format!("/v1/resume{target}")).await.status, 200);
        assert_eq!(metrics(&hookbox).await.get(gauge), None, "{gauge} is over");
    }
}

#[rstest]
#[tokio::test]
async fn a_condition_that_fails_is_counted_and_explained(#[values(Sqlite, Postgres)] store: Store) {
    let routes = "[[routes]]\nname = \"large\"\nwhere = 'body.total > 100'\nhandler = \"simulate\"\n";
    let hookbox = Hookbox::with_routes(store, routes);
    for (key, payload) in [("evt-001", r#"{"total":101}"#), ("evt-002", r#"{"sum":1}"#), ("evt-003", "{}")] {
        assert_eq!(hookbox.rest.submit(key, "order.created", payload).await.status, 202);
    }
    let route = hookbox.rest.get("/v1/routes").await.json()["routes"][0].clone();
    assert_eq!(route["match_failures"], 2, "{route}");
    assert!(route["last_match_failure"].as_str().unwrap().contains("total"), "{route}");
    let gauge = r#"hookbox_route_match_failures{route="large"}"#;
    assert_eq!(metrics(&hookbox).await.get(gauge), Some(&2.0));
}

#[rstest]
#[tokio::test]
async fn no_metric_has_a_label_that_a_sender_chooses(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.rest.submit("chosen-key", "chosen-type", r#""chosen-payload""#).await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    hookbox.rest.get("/chosen-path").await;
    hookbox.rest.get("/v1/webhooks?chosen-parameter=1").await;
    let text = hookbox.rest.get("/metrics").await.text;
    assert!(!text.contains("chosen") && !text.contains(&id), "{text}");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let hookbox = Hookbox::start(Sqlite);
    let answer = hookbox.rest.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert_eq!(document, serde_json::to_value(hookbox::http::openapi()).unwrap());
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

/// Every sample, by its name and labels.
async fn metrics(hookbox: &Hookbox) -> BTreeMap<String, f64> {
    let answer = hookbox.rest.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.text.ends_with("# EOF\n"));
    answer
        .text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}
