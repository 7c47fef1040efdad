//! Polls that wait for jobs.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{ORDERS, answered, call, finish, lease_one, poll, wait_for_polls};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[rstest]
#[tokio::test]
async fn a_poll_is_answered_as_soon_as_a_webhook_is_accepted(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let waiting = poll(&hookbox.rest, "host-1", "30s");
    wait_for_polls(&hookbox, 1).await;
    let id = hookbox.rest.accept("evt-001").await;
    // Time stands still, so that no timer answers it.
    let jobs = answered(waiting).await;
    assert_eq!(jobs[0]["webhook_id"], id.as_str());
    wait_for_polls(&hookbox, 0).await;
}

#[rstest]
#[tokio::test]
async fn a_poll_is_answered_as_soon_as_a_retry_is_due(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    let failed = json!({ "failed": { "error": "busy", "retry_after": "20s" } });
    finish(&hookbox.rest, "host-1", &job["lease"], failed).await;
    let waiting = poll(&hookbox.rest, "host-1", "30s");
    wait_for_polls(&hookbox, 1).await;
    hookbox.advance(SignedDuration::from_secs(20));
    assert_eq!(answered(waiting).await[0]["attempt"], 2);
}

#[rstest]
#[tokio::test]
async fn a_poll_is_answered_when_a_pause_ends(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders").await.status, 200);
    hookbox.rest.accept("evt-001").await;
    let waiting = poll(&hookbox.rest, "host-1", "30s");
    wait_for_polls(&hookbox, 1).await;
    assert_eq!(hookbox.rest.post("/v1/resume?route=orders").await.status, 200);
    assert_eq!(answered(waiting).await.len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_poll_without_a_job_is_answered_after_its_wait(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let waiting = poll(&hookbox.rest, "host-1", "20s");
    wait_for_polls(&hookbox, 1).await;
    hookbox.advance(SignedDuration::from_secs(19));
    wait_for_polls(&hookbox, 1).await;
    assert!(!waiting.is_finished());
    hookbox.advance(SignedDuration::from_secs(1));
    assert_eq!(answered(waiting).await, Vec::<Value>::new());
}

#[rstest]
#[tokio::test]
async fn of_two_polls_the_one_that_has_waited_longer_gets_the_job(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let first = poll(&hookbox.rest, "host-1", "30s");
    wait_for_polls(&hookbox, 1).await;
    let second = poll(&hookbox.rest, "host-2", "30s");
    wait_for_polls(&hookbox, 2).await;
    let mut ids = Vec::new();
    for (number, waiting) in [first, second].into_iter().enumerate() {
        ids.push(hookbox.rest.accept(&format!("evt-{number}")).await);
        assert_eq!(answered(waiting).await[0]["webhook_id"], ids[number].as_str());
        wait_for_polls(&hookbox, 1 - number).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_poll_gets_jobs_of_the_routes_that_it_names_only(#[values(Sqlite, Postgres)] store: Store) {
    let routes = r#"
        [[routes]]
        name = "orders"
        match = { event_type = "order.*" }
        handler = "pull"

        [[routes]]
        name = "invoices"
        match = { event_type = "invoice.*" }
        handler = "pull"
    "#;
    let hookbox = Hookbox::with_routes(store, routes);
    let orders = poll(&hookbox.rest, "host-1", "30s");
    wait_for_polls(&hookbox, 1).await;
    hookbox.rest.submit("evt-001", "invoice.sent", "{}").await;
    let both = json!({ "routes": ["orders", "invoices", "orders"], "worker": "host-2" });
    let jobs = call(&hookbox.rest, "lease", &both).await.json()["jobs"].clone();
    assert_eq!((jobs.as_array().unwrap().len(), &jobs[0]["route"]), (1, &json!("invoices")));
    assert!(!orders.is_finished());
    hookbox.rest.accept("evt-002").await;
    assert_eq!(answered(orders).await[0]["route"], "orders");
}

#[rstest]
#[tokio::test]
async fn nothing_is_leased_for_a_client_that_disconnects(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let body = r#"{"routes":["orders"],"worker":"gone","wait":"30s"}"#;
    let mut client = TcpStream::connect(hookbox.rest.address()).await.unwrap();
    let head = format!(
        "POST /v1/work/lease HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    wait_for_polls(&hookbox, 1).await;
    drop(client);
    wait_for_polls(&hookbox, 0).await;
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    assert_eq!((&job["webhook_id"], &job["attempt"]), (&json!(id), &json!(1)));
}

#[rstest]
#[tokio::test]
async fn a_poll_waits_while_its_route_runs_as_many_jobs_as_it_may(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &format!("{ORDERS}\nconcurrency = 1\n"));
    let (one, two) = (hookbox.rest.accept("evt-001").await, hookbox.rest.accept("evt-002").await);
    let job = lease_one(&hookbox.rest, "host-1").await;
    assert_eq!(job["webhook_id"], one.as_str());
    let waiting = poll(&hookbox.rest, "host-2", "30s");
    wait_for_polls(&hookbox, 1).await;
    finish(&hookbox.rest, "host-1", &job["lease"], json!({ "completed": {} })).await;
    assert_eq!(answered(waiting).await[0]["webhook_id"], two.as_str());
}
