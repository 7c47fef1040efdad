//! Alerts, as the server that takes them sees them.

use rstest::rstest;
use serde_json::{Value, json};

use super::answer;
use super::target::{OK, Target};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

#[rstest]
#[tokio::test]
async fn an_alert_is_posted_like_any_webhook(#[values(Sqlite, Postgres)] store: Store) {
    let target = Target::start([OK]).await;
    let orders = "[[routes]]\nname = \"orders\"\nmatch = { source = \"default\" }\n";
    let hookbox =
        Hookbox::with_routes(store, &format!("{orders}{}", target.route("match = { source = \"hookbox\" }")));
    hookbox.handler.will([Step::FailForGood("no such customer")]);
    let id = hookbox.rest.accept("evt-001").await;
    target.wait_for_requests(1).await;
    let request = target.received().remove(0);
    assert_eq!(request.headers["hookbox-source"], "hookbox");
    assert_eq!(request.headers["hookbox-event-type"], "hookbox.dead_lettered");
    let alert: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((&alert["route"], &alert["webhook_id"]), (&json!("orders"), &json!(id)));
}

/// Each of the routes would otherwise get alerts about the breaker of the other one, which open breakers again.
#[rstest]
#[tokio::test]
async fn two_routes_whose_targets_are_down_make_no_alerts_about_each_other(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let target = Target::start([answer("503 Service Unavailable")]).await;
    let mut routes = "[[routes]]\nname = \"orders\"\nmatch = { source = \"default\" }\n".to_owned();
    for name in ["one", "two"] {
        let members =
            "match = { source = \"hookbox\" }\nbreaker = { failures = 1, base = \"1h\", cap = \"1h\" }";
        routes.push_str(&target.route(members).replace("\"out\"", &format!("\"{name}\"")));
    }
    let hookbox = Hookbox::with_routes(store, &routes);
    hookbox.handler.will([Step::FailForGood("no such customer"), Step::FailForGood("no such customer")]);
    hookbox.rest.accept("evt-001").await;
    for name in ["one", "two"] {
        let opened = format!("hookbox_breaker_openings_total{{route=\"{name}\"}} 1\n");
        eventually(&opened, || async {
            hookbox.rest.get("/metrics").await.text.contains(&opened).then_some(())
        })
        .await;
    }
    hookbox.rest.accept("evt-002").await;
    // Before any time passes: with it, the lease of a running attempt would end.
    let dead_letters = "hookbox_dead_letters_total{route=\"orders\"} 2\n";
    eventually(dead_letters, || async {
        hookbox.rest.get("/metrics").await.text.contains(dead_letters).then_some(())
    })
    .await;
    let alerts = hookbox
        .as_time_passes("the second alert", || async {
            let list = hookbox.rest.get("/v1/webhooks?source=hookbox").await.json();
            let alerts = list["webhooks"].as_array().unwrap().clone();
            (alerts.len() >= 2).then_some(alerts)
        })
        .await;
    let types = alerts.iter().map(|alert| alert["event_type"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(types, ["hookbox.dead_lettered"; 2]);
}
