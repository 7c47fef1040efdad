//! hookbox stops and starts while workers are at work.

use hookbox::internals::grpc::proto;
use rstest::rstest;
use serde_json::{Value, json};

use super::{DEADLINE, ORDERS, answered, extend, finish, grpc, lease_one, poll, wait_for_polls};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// A few seconds after the start of the first one.
const SOON: &str = "2026-03-01T12:00:05Z";

#[rstest]
#[tokio::test]
async fn polls_that_wait_are_answered_at_once_when_hookbox_stops(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::with_routes(store, ORDERS);
    let over_rest = poll(&hookbox.rest, "host-1", "30s");
    let mut client = grpc(&hookbox);
    let request = proto::LeaseJobsRequest {
        routes: vec!["orders".into()],
        worker: "host-2".into(),
        wait: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..Default::default()
    };
    let over_grpc = tokio::spawn(async move { client.lease_jobs(request).await });
    wait_for_polls(&hookbox, 2).await;
    hookbox.begin_to_stop();
    // Time stands still, so that no timer answers them.
    assert_eq!(answered(over_rest).await, Vec::<Value>::new());
    let over_grpc = tokio::time::timeout(DEADLINE, over_grpc).await.expect("in time").unwrap().unwrap();
    assert!(over_grpc.into_inner().jobs.is_empty());
    hookbox.stop();
}

#[rstest]
#[tokio::test]
async fn leases_stay_valid_over_a_restart(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let (one, two) = (hookbox.rest.accept("evt-001").await, hookbox.rest.accept("evt-002").await);
    let jobs = super::lease(&hookbox.rest, "host-1").await;
    assert_eq!(jobs.len(), 2);
    let successor = Hookbox::at(hookbox.stop(), SOON, &[]);
    let extended = extend(&successor.rest, "host-1", &jobs[0]["lease"], "60s").await;
    assert_eq!(extended["lease_until"], "2026-03-01T12:01:05.000Z");
    for job in &jobs {
        let finished = finish(&successor.rest, "host-1", &job["lease"], json!({ "completed": {} })).await;
        assert_eq!(finished["status"], "completed");
    }
    for id in [one, two] {
        let done = successor.rest.webhook(&id).await;
        assert_eq!((&done["attempt_count"], &done["attempts"][0]["worker"]), (&json!(1), &json!("host-1")));
    }
}

#[rstest]
#[tokio::test]
async fn a_job_that_was_not_finished_is_leased_again_after_a_restart(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    lease_one(&hookbox.rest, "host-1").await;
    let successor = Hookbox::at(hookbox.stop(), SOON, &[]);
    assert_eq!(super::lease(&successor.rest, "host-2").await, Vec::<Value>::new(), "the lease lasts");
    successor
        .as_time_passes("the job coming back", || async {
            (successor.rest.webhook(&id).await["status"] == "pending").then_some(())
        })
        .await;
    assert_eq!(lease_one(&successor.rest, "host-2").await["attempt"], 2);
}

#[rstest]
#[tokio::test]
async fn leases_of_a_route_that_is_missing_at_a_restart_stay_valid(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    hookbox.set_routes(&ORDERS.replace("orders", "others"));
    let successor = Hookbox::at(hookbox.stop(), SOON, &[]);
    let finished = finish(&successor.rest, "host-1", &job["lease"], json!({ "completed": {} })).await;
    assert_eq!(finished["status"], "completed");
    assert_eq!(successor.rest.webhook(&id).await["status"], "completed");
}
