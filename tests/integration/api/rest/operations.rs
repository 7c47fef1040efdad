//! For operators: routes, pauses, jobs of routes that are gone, and the settings.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

/// Each takes the events of its own type.
const ORDERS: &str = r#"
    [[routes]]
    name = "orders"
    match = { event_type = "order.*" }
    handler = "simulate"
    timeout = "10s"
    concurrency = 16
    rate = "50/s"
    retry = { attempts = 12, base = "5s", cap = "1h" }
    on_dead_letter = "skip"
    on_interrupt = "dead_letter"
"#;
const INVOICES: &str = r#"
    [[routes]]
    name = "invoices"
    match = { event_type = "invoice.*" }
    handler = "simulate"
"#;
const LARGE_AND_REST: &str = r#"
    [[routes]]
    name = "large"
    match = { source = "shop", event_type = ["order.*", "refund.?"] }
    where = 'body.total > 100 && headers["x-region"] == "eu"'
    handler = "simulate"
    order_by = "/order_id"

    [[routes]]
    name = "rest"
    handler = "simulate"
    fallback = true
"#;

#[rstest]
#[tokio::test]
async fn routes_are_listed_with_their_policy_and_their_jobs(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[ORDERS, INVOICES].concat());
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let routes = hookbox.rest.get("/v1/routes").await.json();
    let counts = json!({
        "pending": 0, "processing": 0, "retrying": 0, "completed": 1, "dead_lettered": 0, "cancelled": 0,
        "filtered": 0, "quarantined": 0,
    });
    let policy = json!({
        "timeout": "10s", "concurrency": 16, "rate": "50/s", "max_attempts": 12, "retry_base": "5s",
        "retry_cap": "1h", "on_dead_letter": "skip", "on_interrupt": "dead_letter",
        "breaker_failures": null, "breaker_base": null, "breaker_cap": null,
    });
    assert_eq!(
        routes["routes"][0],
        json!({
            "route": "orders", "handler": "simulate", "in_settings": true, "counts": counts,
            "oldest_due_seconds": 0.0, "paused": false, "paused_since": null, "paused_by": null,
            "pause_reason": null, "policy": policy, "match_failures": 0, "last_match_failure": null,
            "match": { "source": [], "event_type": ["order.*"] }, "where": null, "order_by": null,
            "fallback": false, "target": null, "breaker": null,
        })
    );
    // What a route does not set is as in the settings of the harness.
    let policy = json!({
        "timeout": null, "concurrency": null, "rate": null, "max_attempts": 3, "retry_base": "2s",
        "retry_cap": "1m", "on_dead_letter": "block", "on_interrupt": "retry",
        "breaker_failures": null, "breaker_base": null, "breaker_cap": null,
    });
    assert_eq!(
        (&routes["routes"][1]["route"], &routes["routes"][1]["policy"]),
        (&json!("invoices"), &policy)
    );
    assert_eq!(routes["routes"].as_array().map(Vec::len), Some(2));
}

#[rstest]
#[tokio::test]
async fn routes_are_listed_with_what_they_match(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, LARGE_AND_REST);
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(
        matching(&route(&routes, "large")),
        json!({
            "match": { "source": ["shop"], "event_type": ["order.*", "refund.?"] },
            "where": r#"body.total > 100 && headers["x-region"] == "eu""#,
            "order_by": "/order_id", "fallback": false,
        })
    );
    assert_eq!(
        matching(&route(&routes, "rest")),
        json!({ "match": null, "where": null, "order_by": null, "fallback": true })
    );
    hookbox.set_routes(INVOICES);
    let unchanged = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(unchanged, routes, "the list shows the routes in force, not the file");
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(
        matching(&route(&routes, "invoices")),
        json!({
            "match": { "source": [], "event_type": ["invoice.*"] }, "where": null, "order_by": null,
            "fallback": false,
        })
    );
}

#[rstest]
#[tokio::test]
async fn a_paused_route_keeps_its_jobs_until_it_is_resumed(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[ORDERS, INVOICES].concat());
    let since = "2026-03-01T12:00:00.000Z";
    let expected = |reason: Option<&str>| {
        let mut pause = json!({ "route": "orders", "source": null, "since": since, "actor": "anonymous" });
        pause["reason"] = json!(reason);
        pause
    };
    let pause = hookbox.rest.post("/v1/pause?route=orders").await;
    assert_eq!((pause.status, pause.json()), (200, expected(None)));
    hookbox.advance(jiff::SignedDuration::from_secs(60));
    let again = hookbox.rest.post("/v1/pause?route=orders&reason=the%20shop%20moves").await;
    let expected = expected(Some("the shop moves"));
    assert_eq!(again.json(), expected, "the time stays, and the new reason counts");
    assert_eq!(hookbox.rest.get("/v1/pauses").await.json(), json!({ "pauses": [expected] }));

    let held = hookbox.rest.accept("held").await;
    hookbox.advance(jiff::SignedDuration::from_secs(60));
    let free = hookbox.rest.submit("free", "invoice.created", "{}").await.text_of("id");
    hookbox.wait_for(&free, "completed").await;
    assert_eq!(hookbox.rest.webhook(&held).await["status"], "pending");
    let stats = hookbox.rest.get("/v1/stats").await.json();
    assert_eq!((&stats["counts"]["pending"], &stats["oldest_due_seconds"]), (&json!(1), &json!(0.0)));
    let orders = route(&stats, "orders");
    assert_eq!((&orders["paused"], &orders["oldest_due_seconds"]), (&json!(true), &json!(60.0)));
    let routes = hookbox.rest.get("/v1/routes").await.json();
    let orders = route(&routes, "orders");
    let shown = ["paused_since", "paused_by", "pause_reason"].map(|member| orders[member].clone());
    assert_eq!(shown, [since, "anonymous", "the shop moves"]);

    let resumed = hookbox.rest.post("/v1/resume?route=orders").await;
    assert_eq!((resumed.status, resumed.json()), (200, json!({ "was_paused": true })));
    hookbox.wait_for(&held, "completed").await;
    let again = hookbox.rest.post("/v1/resume?route=orders").await;
    assert_eq!((again.status, again.json()), (200, json!({ "was_paused": false })));
}

#[rstest]
#[tokio::test]
async fn pauses_of_everything_and_of_a_source_are_independent(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for target in ["", "?source=default"] {
        assert_eq!(hookbox.rest.post(&format!("/v1/pause{target}")).await.status, 200);
    }
    let accepted = hookbox.rest.submit("evt-001", "order.created", "{}").await;
    assert_eq!(accepted.status, 202, "accepting goes on: {}", accepted.text);
    assert_eq!(hookbox.rest.post("/v1/resume").await.json(), json!({ "was_paused": true }));
    let pauses = hookbox.rest.get("/v1/pauses").await.json();
    assert_eq!(pauses["pauses"][0]["source"], "default");
    assert_eq!(pauses["pauses"].as_array().map(Vec::len), Some(1));
    let id = accepted.text_of("id");
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "pending");
    hookbox.rest.post("/v1/resume?source=default").await;
    hookbox.wait_for(&id, "completed").await;
}

#[rstest]
#[tokio::test]
async fn a_wrong_target_pauses_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for call in ["pause", "resume"] {
        for (query, field) in [
            ("route=", "route"),
            ("route=No+Route", "route"),
            ("source=", "source"),
            ("route=default&source=default", "source"),
            ("rout=default", "rout"),
        ] {
            let answer = hookbox.rest.post(&format!("/v1/{call}?{query}")).await;
            assert_eq!(answer.problem(400, "INVALID_FIELD")["field"], field, "{call} {query}");
        }
    }
    for call in ["pause", "resume"] {
        hookbox.rest.post(&format!("/v1/{call}?route=other")).await.problem(404, "ROUTE_NOT_FOUND");
    }
    assert_eq!(hookbox.rest.get("/v1/pauses").await.json(), json!({ "pauses": [] }));
}

#[rstest]
#[tokio::test]
async fn the_pause_of_a_route_that_is_gone_can_be_ended(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[ORDERS, INVOICES].concat());
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders").await.status, 200);
    hookbox.set_routes(INVOICES);
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    let resumed = hookbox.rest.post("/v1/resume?route=orders").await;
    assert_eq!((resumed.status, resumed.json()), (200, json!({ "was_paused": true })));
    hookbox.rest.post("/v1/resume?route=orders").await.problem(404, "ROUTE_NOT_FOUND");
}

#[rstest]
#[tokio::test]
async fn jobs_of_a_route_that_is_gone_are_held_and_can_be_moved(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, id) = with_a_held_order(store).await;
    let orders = route(&hookbox.rest.get("/v1/routes").await.json(), "orders");
    assert_eq!((&orders["in_settings"], &orders["counts"]["pending"]), (&json!(false), &json!(1)));
    assert_eq!((&orders["policy"], &orders["handler"]), (&Value::Null, &Value::Null));
    assert_eq!(
        matching(&orders),
        json!({ "match": null, "where": null, "order_by": null, "fallback": false })
    );
    assert_eq!(hookbox.rest.webhook(&id).await["jobs"][0]["handler"], Value::Null);

    let held = r#"hookbox_route_held_jobs{route="orders"}"#;
    assert!(metrics(&hookbox).await.contains(&format!("{held} 1\n")));

    let moved = hookbox.rest.post("/v1/routes/orders/move?to=invoices").await;
    assert_eq!((moved.status, moved.json()), (200, json!({ "moved": 1, "cancelled": 0 })));
    let done = hookbox.wait_for(&id, "completed").await;
    assert_eq!(done["jobs"][0]["route"], "invoices");
    assert!(!metrics(&hookbox).await.contains(held), "nothing is held any more");
}

#[tokio::test]
async fn jobs_whose_route_is_lost_are_listed_by_the_number_of_their_queue_and_can_be_moved() {
    let (hookbox, id) = with_a_held_order(Postgres).await;
    hookbox.lose_queues();
    let listed = hookbox.rest.get("/v1/routes").await.json();
    let routes = listed["routes"].as_array().unwrap();
    let names = routes.iter().filter_map(|route| route["route"].as_str()).collect::<Vec<_>>();
    let [_, lost] = names.as_slice() else { panic!("{names:?}") };
    assert!(lost.starts_with("unknown-"), "{names:?}");
    assert_eq!(route(&listed, lost)["counts"]["pending"], 1);

    let moved = hookbox.rest.post(&format!("/v1/routes/{lost}/move?to=invoices")).await;
    assert_eq!((moved.status, moved.json()), (200, json!({ "moved": 1, "cancelled": 0 })));
    assert_eq!(hookbox.wait_for(&id, "completed").await["jobs"][0]["route"], "invoices");
}

#[rstest]
#[tokio::test]
async fn jobs_are_moved_only_to_a_route_of_the_settings(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, id) = with_a_held_order(store).await;
    // The first has jobs, the second never had any.
    for to in ["orders", "other"] {
        let refused = hookbox.rest.post(&format!("/v1/routes/orders/move?to={to}")).await;
        let detail = refused.problem(404, "ROUTE_NOT_FOUND")["detail"].as_str().unwrap().to_owned();
        let said = format!("the route `{to}`, which is to get the jobs, is not in the settings");
        assert!(detail.starts_with(&said), "{detail}");
    }
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "pending");
}

async fn metrics(hookbox: &Hookbox) -> String {
    hookbox.rest.get("/metrics").await.text
}

#[rstest]
#[tokio::test]
async fn jobs_of_a_route_that_is_gone_can_be_cancelled(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, id) = with_a_held_order(store).await;
    let cancelled = hookbox.rest.post("/v1/routes/orders/cancel").await;
    assert_eq!((cancelled.status, cancelled.json()), (200, json!({ "cancelled": 1 })));
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "cancelled");
    let again = hookbox.rest.post("/v1/routes/orders/cancel").await;
    assert_eq!(again.json(), json!({ "cancelled": 0 }));
}

#[rstest]
#[tokio::test]
async fn jobs_of_a_route_in_the_settings_are_not_moved_or_cancelled(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &[ORDERS, INVOICES].concat());
    for call in ["move?to=invoices", "cancel"] {
        hookbox.rest.post(&format!("/v1/routes/orders/{call}")).await.problem(409, "ROUTE_IN_FORCE");
        hookbox.rest.post(&format!("/v1/routes/other/{call}")).await.problem(404, "ROUTE_NOT_FOUND");
    }
    for (path, field) in [
        ("/v1/routes/orders/move", "to"),
        ("/v1/routes/orders/move?to=", "to"),
        ("/v1/routes/NO/move?to=invoices", "from"),
        ("/v1/routes/%FF/move?to=invoices", "from"),
        ("/v1/routes/NO/cancel", "route"),
    ] {
        hookbox.rest.post(path).await.refused_field(field);
    }
    let problem = hookbox.rest.post("/v1/routes/orders/move").await.refused_field("to");
    assert_eq!(problem["detail"], "`to` is missing");
}

#[rstest]
#[tokio::test]
async fn settings_with_mistakes_are_refused_and_change_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    hookbox.set_routes("[[routes]]\nname = \"No Route\"\nhandler = \"simulate\"\n");
    let problem = hookbox.rest.post("/v1/settings/reload").await.problem(422, "SETTINGS_INVALID");
    assert!(problem["detail"].as_str().unwrap().contains("No Route"), "{problem}");
    let routes = hookbox.rest.get("/v1/routes").await.json();
    assert_eq!(route(&routes, "orders")["in_settings"], true);
}

#[rstest]
#[tokio::test]
async fn a_hang_up_brings_other_routes_into_force(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    hookbox.set_routes(INVOICES);
    hookbox.hang_up();
    eventually("the other routes", || async {
        let answer = hookbox.rest.get("/v1/routes").await.json();
        answer["routes"].as_array()?.iter().any(|route| route["route"] == "invoices").then_some(())
    })
    .await;
}

/// A server without the route `orders`, and the id of a webhook whose job belongs to it.
async fn with_a_held_order(store: Store) -> (Hookbox, String) {
    let hookbox = Hookbox::with_routes(store, &[ORDERS, INVOICES].concat());
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders").await.status, 200);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.set_routes(INVOICES);
    let reloaded = hookbox.rest.post("/v1/settings/reload").await;
    assert_eq!((reloaded.status, reloaded.json()), (200, json!({ "routes": 1, "needs_restart": [] })));
    (hookbox, id)
}

/// The members of a route that say what it matches. A member that is missing fails the test.
#[track_caller]
fn matching(route: &Value) -> Value {
    let member = |name: &str| route.get(name).unwrap_or_else(|| panic!("{name} in {route}"));
    json!({
        "match": member("match"), "where": member("where"), "order_by": member("order_by"),
        "fallback": member("fallback"),
    })
}

/// A route of the statistics or of the list of routes.
#[track_caller]
fn route(answer: &Value, name: &str) -> Value {
    let routes = answer["routes"].as_array().expect("routes");
    routes.iter().find(|route| route["route"] == name).unwrap_or_else(|| panic!("{name} in {answer}")).clone()
}
