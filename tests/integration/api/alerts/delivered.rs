//! Each alert on its whole way: to a server by `http`, and to a program by `exec`.

use rstest::rstest;
use serde_json::{Value, json};

use super::{backlog, send, silence, wait_for_alerts};
use crate::api::handlers::http::target::{Does, OK, Target};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const ALERTS: [&str; 5] = [
    "hookbox.dead_lettered",
    "hookbox.breaker_opened",
    "hookbox.backlog_high",
    "hookbox.source_silent",
    "hookbox.verification_failing",
];

/// Routes that take an alert, one that takes only the other alerts, and one whose target is down, which also matches the
/// alert about its breaker.
fn settings(event_type: &str, target: &Target, down: &Target) -> String {
    let named = |route: String, name: &str| route.replace("\"out\"", &format!("\"{name}\""));
    let members =
        "match = { source = [\"shop\", \"hookbox\"], event_type = [\"shop\", \"hookbox.breaker_opened\"] }
        breaker = { failures = 1 }";
    let down = named(down.route(members), "down");
    let taken = format!("match = {{ source = \"hookbox\", event_type = \"{event_type}\" }}");
    let posted = named(target.route(&taken), "posted");
    let others = ALERTS.into_iter().filter(|other| *other != event_type).collect::<Vec<_>>();
    format!(
        r#"
        max_backlog = 10

        [sources.shop]
        verify = {{ token = "plain", header = "X-Token" }}
        secrets = ["s3cret"]
        key = {{ header = "X-Id" }}
        silent_after = "5m"

        [[routes]]
        name = "orders"
        match = {{ source = "default" }}

        [[routes]]
        name = "program"
        {taken}
        handler = "exec"
        command = ["/bin/cat"]

        [[routes]]
        name = "elsewhere"
        match = {{ source = "hookbox", event_type = {others:?} }}

        {posted}
        {down}
        "#
    )
}

/// Makes what an alert is about happen.
async fn provoke(hookbox: &Hookbox, event_type: &str) {
    match event_type {
        "hookbox.dead_lettered" => {
            hookbox.handler.will([Step::FailForGood("no such customer")]);
            hookbox.rest.accept("evt-001").await;
        }
        "hookbox.breaker_opened" => {
            assert_eq!(send(&hookbox.rest, "evt-001", "s3cret").await.status, 202);
        }
        "hookbox.backlog_high" => {
            hookbox.rest.post("/v1/pause?source=default").await;
            for number in 0..8 {
                hookbox.rest.accept(&format!("evt-{number}")).await;
            }
            backlog::look(hookbox).await;
        }
        "hookbox.source_silent" => silence::look(hookbox, 6).await,
        _ => {
            for number in 0..10 {
                assert_eq!(send(&hookbox.rest, &format!("evt-{number}"), "f0rged").await.status, 401);
            }
        }
    }
}

#[rstest]
#[case::dead_lettered("hookbox.dead_lettered")]
#[case::breaker_opened("hookbox.breaker_opened")]
#[case::backlog_high("hookbox.backlog_high")]
#[case::source_silent("hookbox.source_silent")]
#[case::verification_failing("hookbox.verification_failing")]
#[tokio::test]
async fn every_alert_reaches_a_server_and_a_program_and_no_route_that_must_not_get_it(
    #[values(Sqlite, Postgres)] store: Store,
    #[case] event_type: &str,
) {
    let (target, down) = (Target::start([OK]).await, Target::start([unavailable()]).await);
    let hookbox = Hookbox::with_routes(store, &settings(event_type, &target, &down));
    provoke(&hookbox, event_type).await;
    let alert = wait_for_alerts(&hookbox.rest, 1).await.remove(0);
    let alert = hookbox.wait_for(alert["id"].as_str().unwrap(), "completed").await;
    assert_eq!(alert["event_type"], event_type);

    let jobs = alert["jobs"].as_array().unwrap();
    let mut routes = jobs.iter().map(|job| job["route"].as_str().unwrap()).collect::<Vec<_>>();
    routes.sort_unstable();
    assert_eq!(routes, ["posted", "program"]);
    let [request] = &target.received()[..] else { panic!("one request") };
    assert_eq!(request.header("hookbox-event-type"), event_type);
    assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), alert["payload"]);
    let by_program = jobs.iter().find(|job| job["route"] == "program").unwrap();
    assert_eq!(by_program["result"], alert["payload"]);
    if event_type == "hookbox.breaker_opened" {
        let payload = &alert["payload"];
        let told = [&payload["route"], &payload["failures"], &payload["error"], &payload["until"]];
        let error = "the target answered 503 Service Unavailable";
        assert_eq!(json!(told), json!(["down", 1, error, "2026-03-01T12:00:10.000Z"]));
        assert_eq!(down.received().len(), 1, "only the webhook of the shop");
    }
}

fn unavailable() -> Does {
    Does::Answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".into())
}
