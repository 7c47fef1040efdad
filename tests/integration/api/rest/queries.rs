//! Queries that a call does not take.

use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use crate::api::harness::client::{Answer, body};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// A route whose jobs workers lease.
const ORDERS: &str = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";

/// The paths that take any query.
const ANY_QUERY: [&str; 5] = ["/", "/healthz", "/readyz", "/metrics", "/v1/sources/{source}/webhooks"];

#[tokio::test]
async fn an_unknown_parameter_is_refused_at_every_call() {
    let hookbox = Hookbox::start(Sqlite);
    let document = hookbox.rest.get("/openapi.json").await.json();
    let mut calls = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if ANY_QUERY.contains(&path.as_str()) {
            continue;
        }
        let filled_in = path.replace("{id}", "01934c3e-7b00-7000-8000-000000000000").replace("{number}", "1");
        let filled_in =
            filled_in.replace("{route}", "none").replace("{from}", "none").replace("{source}", "none");
        for method in [Method::GET, Method::POST] {
            if item[method.as_str().to_lowercase()].is_object() {
                let request = hookbox.rest.request(method, &format!("{filled_in}?why%20not=1&reason=a"));
                Answer::of(request).await.refused_field("why not");
                calls += 1;
            }
        }
    }
    assert!(calls > 35, "{calls}");
}

#[tokio::test]
async fn a_parameter_of_a_call_that_takes_none_is_refused_with_where_it_belongs() {
    let hookbox = Hookbox::start(Sqlite);
    let refused = hookbox.rest.get("/v1/stats?route=fast").await.refused_field("route");
    assert_eq!(refused["detail"], "`route` is not known; this call takes no parameters");
    let refused = hookbox.rest.post("/v1/replays?&dry_run=true").await.refused_field("dry_run");
    let said = "`dry_run` is not known in the query; this call takes only the members of its body";
    assert_eq!(refused["detail"], said);
    let head = hookbox.rest.request(Method::HEAD, "/v1/stats?route=fast");
    assert_eq!(Answer::of(head).await.status, 400);
    for path in ["/v1/stats?", "/v1/stats?&", "/", "/?a=b", "/healthz?a=b", "/readyz?a=b", "/metrics?a=b"] {
        assert_eq!(hookbox.rest.get(path).await.status, 200, "{path}");
    }
}

#[rstest]
#[tokio::test]
async fn a_call_with_a_refused_query_does_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let post = async |path: &str, body: String| {
        let request = hookbox.rest.request(Method::POST, path).header("content-type", "application/json");
        Answer::of(request.body(body)).await
    };
    post("/v1/webhooks?a=b", body("evt-001", "t", "1")).await.refused_field("a");
    hookbox.rest.get("/v1/status?idempotency_key=evt-001").await.problem(404, "WEBHOOK_NOT_FOUND");
    let id = hookbox.rest.accept("evt-002").await;
    let lease = json!({ "routes": ["orders"], "worker": "host-1" }).to_string();
    post("/v1/work/lease?max_jobs=1", lease).await.refused_field("max_jobs");
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "pending");
    let replay = json!({ "filter": { "route": "orders" } }).to_string();
    post("/v1/replays?dry_run=true&reason=q", replay).await.refused_field("dry_run");
    assert_eq!(hookbox.rest.get("/v1/replays").await.json()["replays"], json!([]));
}
