//! Alerts: the webhooks of the source `hookbox`, which hookbox makes itself.

mod backlog;
mod contract;
mod delivered;
mod silence;
mod verification;

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::handler::Step;
use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store, eventually};

/// A route whose jobs can become dead letters, and two that take everything that comes from outside.
const ORDERS: &str = r#"
    [[routes]]
    name = "orders"
    match = { source = "default", event_type = "order.*" }

    [[routes]]
    name = "star"
    match = { source = "*", event_type = "*.dead_lettered" }

    [[routes]]
    name = "rest"
    fallback = true
"#;

/// The routes above, and one that takes alerts of an event type.
fn routes(event_type: &str) -> String {
    format!(
        "{ORDERS}\n[[routes]]\nname = \"alerts\"\nmatch = {{ source = \"hookbox\", event_type = \"{event_type}\" }}\n"
    )
}

/// The routes above, one that takes alerts of an event type, and the source `shop` with these members besides.
fn shop(event_type: &str, members: &str) -> String {
    let shop = r#"
        [sources.shop]
        verify = { token = "plain", header = "X-Token" }
        secrets = ["s3cret"]
        key = { header = "X-Id" }
    "#;
    format!("{}{shop}{members}\n", routes(event_type))
}

/// Sends a webhook to the URL of the source `shop`, with this token. Empty, it counts as missing.
async fn send(rest: &Rest, key: &str, token: &str) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").body("{}");
    Answer::of(request.header("X-Id", key).header("X-Token", token)).await
}

/// All webhooks of the source `hookbox`, oldest first.
async fn alerts(rest: &Rest) -> Vec<Value> {
    let list = rest.get("/v1/webhooks?source=hookbox").await.json();
    let mut alerts = Vec::new();
    for webhook in list["webhooks"].as_array().unwrap().iter().rev() {
        alerts.push(rest.webhook(webhook["id"].as_str().unwrap()).await);
    }
    alerts
}

/// Waits until there are so many alerts, and answers them. No time passes.
async fn wait_for_alerts(rest: &Rest, count: usize) -> Vec<Value> {
    eventually("an alert", || async {
        let alerts = alerts(rest).await;
        (alerts.len() >= count).then_some(alerts)
    })
    .await
}

/// Lets minutes pass until there are so many alerts, and answers them.
async fn pass_minutes_until_alerts(hookbox: &Hookbox, count: usize) -> Vec<Value> {
    hookbox
        .as_time_passes("an alert", || async {
            let alerts = alerts(&hookbox.rest).await;
            (alerts.len() >= count).then_some(alerts)
        })
        .await
}

fn counts(alerts: &[Value]) -> Vec<u64> {
    alerts.iter().map(|alert| alert["payload"]["count"].as_u64().unwrap()).collect()
}

/// Makes so many dead letters of the route `orders`, and waits until so many were made in all.
async fn make_dead_letters(hookbox: &Hookbox, count: usize, in_all: usize) {
    hookbox.handler.will((0..count).map(|_| Step::FailForGood("no such customer")));
    for number in 0..count {
        hookbox.rest.accept(&format!("evt-{in_all}-{number}")).await;
    }
    wait_for_dead_letters(hookbox, "orders", in_all).await;
}

async fn wait_for_dead_letters(hookbox: &Hookbox, route: &str, in_all: usize) {
    let counted = format!("hookbox_dead_letters_total{{route=\"{route}\"}} {in_all}\n");
    eventually(&counted, || async {
        let metrics = hookbox.rest.get("/metrics").await.text;
        metrics.contains(&counted).then_some(())
    })
    .await;
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_makes_a_webhook_for_the_routes_that_name_the_source(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &routes("*"));
    hookbox.handler.will([Step::FailForGood("no such customer")]);
    let dead = hookbox.rest.accept("evt-001").await;
    let alert = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    let id = alert["id"].as_str().unwrap();
    let alert = hookbox.wait_for(id, "completed").await;
    assert_eq!(alert["event_type"], "hookbox.dead_lettered");
    assert_eq!(alert["idempotency_key"], "hookbox.dead_lettered/orders/2026-03-01T12:00:00Z");
    let jobs: Vec<_> = alert["jobs"].as_array().unwrap().iter().map(|job| job["route"].clone()).collect();
    assert_eq!(jobs, ["alerts"], "neither wildcards nor the fallback take it");
    let text = format!(
        "A job of the route orders became a dead letter: webhook {dead} from default, attempts: 1, error: no such \
         customer"
    );
    let expected = json!({
        "at": "2026-03-01T12:00:00.000Z",
        "count": 1,
        "text": text,
        "route": "orders",
        "webhook_id": dead,
        "source": "default",
        "attempts": 1,
        "error": "no such customer",
    });
    assert_eq!(alert["payload"], expected);
    let run = hookbox.handler.runs().pop().unwrap();
    assert_eq!((run.event_type.as_str(), run.webhook.as_str()), ("hookbox.dead_lettered", id));
}

#[rstest]
#[tokio::test]
async fn many_dead_letters_of_a_route_make_one_webhook_a_minute_that_tells_their_number(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &routes("*"));
    make_dead_letters(&hookbox, 1, 1).await;
    let first = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    hookbox.wait_for(first["id"].as_str().unwrap(), "completed").await;
    make_dead_letters(&hookbox, 49, 50).await;
    assert_eq!(counts(&alerts(&hookbox.rest).await), [1]);

    let both = pass_minutes_until_alerts(&hookbox, 2).await;
    assert_eq!(counts(&both), [1, 49]);
    hookbox.wait_for(both[1]["id"].as_str().unwrap(), "completed").await;
    make_dead_letters(&hookbox, 1, 51).await;
    assert_eq!(counts(&pass_minutes_until_alerts(&hookbox, 3).await), [1, 49, 1]);
}

#[rstest]
#[tokio::test]
async fn dead_letters_of_alerts_make_no_alert(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &routes("*"));
    hookbox.handler.will([Step::FailForGood("no such customer"), Step::FailForGood("the chat is closed")]);
    hookbox.rest.accept("evt-001").await;
    wait_for_dead_letters(&hookbox, "alerts", 1).await;
    make_dead_letters(&hookbox, 1, 2).await;
    let alerts = pass_minutes_until_alerts(&hookbox, 2).await;
    let routes: Vec<_> = alerts.iter().map(|alert| alert["payload"]["route"].clone()).collect();
    assert_eq!(routes, ["orders", "orders"]);
    assert_eq!(counts(&alerts), [1, 1]);
}

#[rstest]
#[case::no_route_names_the_source(None)]
#[case::no_route_takes_the_event_type(Some("hookbox.backlog_high"))]
#[tokio::test]
async fn alerts_that_no_route_takes_are_not_stored(
    #[values(Sqlite, Postgres)] store: Store,
    #[case] taken: Option<&str>,
) {
    let hookbox = Hookbox::with_routes(store, &taken.map_or_else(|| ORDERS.to_owned(), routes));
    make_dead_letters(&hookbox, 2, 2).await;
    hookbox.set_routes(&routes("hookbox.dead_*"));
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    make_dead_letters(&hookbox, 1, 3).await;
    let alerts = pass_minutes_until_alerts(&hookbox, 1).await;
    assert_eq!(alerts.len(), 1);
    let stats = hookbox.rest.get("/v1/stats").await.json();
    assert_eq!(stats["counts"]["filtered"], 0, "nothing else was stored");
}

#[rstest]
#[tokio::test]
async fn a_dead_letter_at_the_stop_is_told_to_the_successor(#[values(Sqlite, Postgres)] store: Store) {
    let routes = routes("*").replacen(
        "event_type = \"order.*\" }",
        "event_type = \"order.*\" }\non_interrupt = \"dead_letter\"",
        1,
    );
    let routes = format!("shutdown_grace = \"0s\"\n{routes}");
    let hookbox = Hookbox::with_routes(store, &routes);
    let _gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;
    let home = hookbox.stop();

    let successor = Hookbox::at(home, "2026-03-02T12:00:00Z", &[]);
    assert_eq!(successor.rest.webhook(&id).await["status"], "dead_lettered");
    let alert = wait_for_alerts(&successor.rest, 1).await.remove(0);
    assert_eq!(alert["payload"]["webhook_id"], id.as_str());
    successor.wait_for(alert["id"].as_str().unwrap(), "completed").await;
}

#[rstest]
#[tokio::test]
async fn a_take_over_that_makes_a_dead_letter_makes_an_alert(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on(store, &[("HOOKBOX_LEASE", "1s")]);
    let routes = r#"
        [[routes]]
        name = "orders"
        match = { source = "default" }
        on_interrupt = "dead_letter"
        simulate = { min = "1h", max = "1h" }

        [[routes]]
        name = "alerts"
        match = { source = "hookbox" }
    "#;
    std::fs::write(place.path("hookbox.toml"), routes).unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "processing").await;
    // Kills it.
    drop(process);
    if store == Postgres {
        // On SQLite the next process does not wait for the end of leases.
        place.execute("UPDATE jobs SET lease_until = now() - interval '1 hour' WHERE status = 1");
    }
    let successor = place.serve().await;
    let alert = wait_for_alerts(&successor.rest, 1).await.remove(0);
    let payload = &alert["payload"];
    assert_eq!((&payload["webhook_id"], &payload["count"]), (&json!(id), &json!(1)));
    assert_eq!(payload["error"], "the process died or lost the lease during the attempt");
    successor.wait_for(alert["id"].as_str().unwrap(), "completed").await;
}

#[tokio::test]
async fn a_program_gets_an_alert_on_its_standard_input() {
    let routes = format!(
        "{ORDERS}\n{}",
        r#"
            [[routes]]
            name = "mail"
            match = { source = "hookbox" }
            handler = "exec"
            command = ["/bin/cat"]
        "#
    );
    let hookbox = Hookbox::with_routes(Sqlite, &routes);
    make_dead_letters(&hookbox, 1, 1).await;
    let alert = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    let alert = hookbox.wait_for(alert["id"].as_str().unwrap(), "completed").await;
    assert_eq!(alert["payload"]["route"], "orders");
    assert_eq!(alert["result"], alert["payload"]);
}

#[rstest]
#[tokio::test]
async fn a_process_tells_in_the_next_minute_what_another_one_has_told_in_this_one(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &routes("*"));
    hookbox.handler.will([Step::FailForGood("no such customer")]);
    hookbox.rest.accept("evt-001").await;
    let first = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    hookbox.wait_for(first["id"].as_str().unwrap(), "completed").await;

    let other = Hookbox::at(hookbox.stop(), START, &[]);
    make_dead_letters(&other, 2, 2).await;
    let refused = r#"hookbox_submissions_total{source="hookbox",outcome="IDEMPOTENCY_KEY_REUSED"} 1"#;
    eventually(refused, || async { other.rest.get("/metrics").await.text.contains(refused).then_some(()) })
        .await;
    assert_eq!(alerts(&other.rest).await.len(), 1);
    assert_eq!(counts(&pass_minutes_until_alerts(&other, 2).await), [1, 2]);
}
