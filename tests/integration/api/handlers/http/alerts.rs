//! Alerts, as the server that takes them sees them.

use rstest::rstest;
use serde_json::{Value, json};

use super::target::{OK, Target};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

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
    let alert: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!((&alert["route"], &alert["webhook_id"]), (&json!("orders"), &json!(id)));
}
