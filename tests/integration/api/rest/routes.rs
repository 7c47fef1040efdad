//! Webhooks with several jobs, or with none.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::client::{Answer, body};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// The first takes orders, the second everything but what is ignored.
const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    match = { event_type = "order.*" }
    handler = "simulate"

    [[routes]]
    name = "audit"
    where = 'event_type != "ignored"'
    handler = "simulate"
"#;

#[rstest]
#[tokio::test]
async fn a_webhook_has_a_job_for_each_route_that_matches(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let order = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    let order = hookbox.wait_for(&order, "completed").await;
    assert_eq!(routes_of(&order), ["orders", "audit"], "in the order of the settings");
    let first = &order["jobs"][0];
    for member in ["attempt_count", "max_attempts", "available_at", "completed_at", "result", "attempts"] {
        assert_eq!(order[member], first[member], "{member} is that of the first job");
    }
    let other = hookbox.rest.submit("evt-002", "user.created", "{}").await.text_of("id");
    let other = hookbox.wait_for(&other, "completed").await;
    assert_eq!(routes_of(&other), ["audit"]);
    assert_eq!(hookbox.handler.runs().len(), 3);
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_no_route_matches_is_filtered(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let accepted = hookbox.rest.submit("evt-001", "ignored", "[1]").await;
    assert_eq!((accepted.status, accepted.text_of("status").as_str()), (202, "filtered"));
    let id = accepted.text_of("id");
    let webhook = hookbox.rest.webhook(&id).await;
    let at = &json!("2026-03-01T12:00:00.000Z");
    for member in ["accepted_at", "updated_at", "available_at", "completed_at"] {
        assert_eq!(&webhook[member], at, "{member}");
    }
    for (member, value) in [
        ("status", json!("filtered")),
        ("attempt_count", json!(0)),
        ("max_attempts", json!(0)),
        ("attempts", json!([])),
        ("jobs", json!([])),
        ("payload", json!([1])),
    ] {
        assert_eq!(webhook[member], value, "{member}");
    }
    assert_eq!(webhook.get("result"), None);

    let again = hookbox.rest.submit("evt-001", "ignored", "[1]").await;
    assert_eq!((again.status, again.text_of("status").as_str()), (200, "filtered"));
    let watched = hookbox.rest.get(&format!("/v1/webhooks/{id}/watch")).await.text;
    assert_eq!(watched.matches("event: status").count(), 1, "{watched}");
    let page = hookbox.rest.get("/v1/webhooks?status=filtered").await.json();
    assert_eq!(page["webhooks"][0]["id"], id.as_str());
    let stats = hookbox.rest.get("/v1/stats").await.json();
    assert_eq!(stats["counts"]["filtered"], 1);
    for call in ["retry", "cancel"] {
        let answer = hookbox.rest.post(&format!("/v1/webhooks/{id}/{call}")).await;
        answer.problem(409, "WRONG_STATUS");
    }
}

#[rstest]
#[tokio::test]
async fn one_job_of_a_webhook_is_retried_or_cancelled(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    hookbox.rest.post("/v1/pause?route=audit").await;
    hookbox.handler.will([Step::FailForGood("no")]);
    let id = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    hookbox.wait_for_runs(1).await;
    let act = async |call: &str| {
        let answer = hookbox.rest.post(&format!("/v1/webhooks/{id}/{call}")).await;
        assert_eq!(answer.status, 200, "{call}: {}", answer.text);
        answer.text_of("status")
    };
    let statuses = async || {
        let webhook = hookbox.rest.webhook(&id).await;
        [webhook["jobs"][0]["status"].clone(), webhook["jobs"][1]["status"].clone()]
    };
    crate::api::harness::eventually("a dead letter", || async {
        (statuses().await == ["dead_lettered", "pending"]).then_some(())
    })
    .await;
    let refused = hookbox.rest.post(&format!("/v1/webhooks/{id}/retry?route=audit")).await;
    refused.problem(409, "WRONG_STATUS");

    assert_eq!(act("cancel?route=audit").await, "dead_lettered", "that of the other job");
    assert_eq!(statuses().await, ["dead_lettered", "cancelled"]);
    let _gate = hookbox.handler.will_hold();
    act("retry?route=orders").await;
    hookbox.wait_for_runs(2).await;
    let webhook = hookbox.rest.webhook(&id).await;
    assert_eq!((&webhook["jobs"][0]["run"], &webhook["jobs"][1]["run"]), (&json!(2), &json!(1)));
    assert_eq!(webhook["jobs"][1]["status"], "cancelled");

    let unknown = hookbox.rest.post(&format!("/v1/webhooks/{id}/cancel?route=other")).await;
    let problem = unknown.problem(404, "ROUTE_NOT_FOUND");
    assert!(problem["detail"].as_str().unwrap().contains("other"), "{problem}");
    for (query, field) in [("route=", "route"), ("route=A", "route"), ("routes=audit", "routes")] {
        let refused = hookbox.rest.post(&format!("/v1/webhooks/{id}/cancel?{query}")).await;
        assert_eq!(refused.problem(400, "INVALID_FIELD")["field"], field, "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn without_a_route_every_job_that_allows_it_is_acted_on(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    hookbox.rest.post("/v1/pause").await;
    let id = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    let cancelled = hookbox.rest.post(&format!("/v1/webhooks/{id}/cancel")).await;
    assert_eq!((cancelled.status, cancelled.text_of("status").as_str()), (200, "cancelled"));
    let retried = hookbox.rest.post(&format!("/v1/webhooks/{id}/retry")).await;
    assert_eq!((retried.status, retried.text_of("status").as_str()), (200, "pending"));
    hookbox.rest.post("/v1/resume").await;
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!((&done["jobs"][0]["run"], &done["jobs"][1]["run"]), (&json!(2), &json!(2)));
}

#[rstest]
#[tokio::test]
async fn a_watcher_sees_the_changes_of_every_job(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    hookbox.rest.post("/v1/pause").await;
    let id = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    let watcher = tokio::spawn({
        let (rest, path) = (hookbox.rest.clone(), format!("/v1/webhooks/{id}/watch"));
        async move { rest.get(&path).await.text }
    });
    crate::api::harness::eventually("a watcher", || async {
        let metrics = hookbox.rest.get("/metrics").await.text;
        metrics.contains("/watch\",code=\"200\"} 1").then_some(())
    })
    .await;
    hookbox.rest.post("/v1/resume").await;
    let told = watcher.await.unwrap();
    // The first status, then processing and completed of either job.
    assert_eq!(told.matches("event: status").count(), 5, "{told}");
    assert_eq!(told.matches(r#""status":"completed""#).count(), 1, "{told}");
}

#[rstest]
#[tokio::test]
async fn a_list_is_filtered_by_a_job_that_has_both_route_and_status(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    hookbox.rest.post("/v1/pause?route=audit").await;
    let id = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    hookbox.wait_for_runs(1).await;
    crate::api::harness::eventually("a completed job", || async {
        (hookbox.rest.webhook(&id).await["jobs"][0]["status"] == "completed").then_some(())
    })
    .await;
    for (filter, found) in [
        ("route=orders", 1),
        ("route=audit", 1),
        ("route=orders&status=completed", 1),
        ("route=orders&status=pending", 0),
        ("route=audit&status=pending", 1),
        ("status=completed", 1),
        ("status=pending", 1),
    ] {
        let page = hookbox.rest.get(&format!("/v1/webhooks?{filter}")).await.json();
        assert_eq!(page["webhooks"].as_array().map(Vec::len), Some(found), "{filter}");
    }
}

#[rstest]
#[tokio::test]
async fn routes_see_headers_but_no_credentials(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(
        store,
        r#"
        [[routes]]
        name = "region"
        where = 'headers["x-region"] == "eu"'
        handler = "simulate"

        [[routes]]
        name = "credentials"
        where = '"authorization" in headers || "proxy-authorization" in headers || "cookie" in headers'
        handler = "simulate"
        "#,
    );
    let request = hookbox
        .rest
        .submission(body("evt-001", "t", "1"))
        .header("X-Region", "eu")
        .header("Authorization", "Bearer secret")
        .header("Proxy-Authorization", "Basic secret")
        .header("Cookie", "session=secret");
    let id = Answer::of(request).await.text_of("id");
    assert_eq!(routes_of(&hookbox.rest.webhook(&id).await), ["region"]);
}

/// The routes of the jobs of a webhook.
fn routes_of(webhook: &Value) -> Vec<String> {
    let jobs = webhook["jobs"].as_array().expect("jobs");
    jobs.iter().map(|job| job["route"].as_str().expect("a route").to_owned()).collect()
}
