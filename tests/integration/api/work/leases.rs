//! Leases that are extended, lost, or not the worker's.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::{ORDERS, call, extend, finish, lease, lease_one, not_recorded};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

#[rstest]
#[tokio::test]
async fn an_outcome_is_recorded_once(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    let completed = json!({ "completed": { "result": 1 } });
    let finished = finish(&hookbox.rest, "host-1", &job["lease"], completed).await;
    assert_eq!(finished["recorded"], true);
    let done = hookbox.rest.webhook(&id).await;
    let again = json!({ "failed": { "error": "too late", "permanent": true } });
    assert_eq!(finish(&hookbox.rest, "host-1", &job["lease"], again).await, not_recorded(&job["lease"]));
    assert_eq!(hookbox.rest.webhook(&id).await, done);
    let metrics = hookbox.rest.get("/metrics").await.text;
    assert!(metrics.contains("\nhookbox_leases_lost_total 1\n"), "{metrics}");
}

#[rstest]
#[tokio::test]
async fn a_lease_belongs_to_its_worker(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    let completed = || json!({ "completed": {} });
    let processing = hookbox.rest.webhook(&id).await;
    let theirs = finish(&hookbox.rest, "host-2", &job["lease"], completed()).await;
    assert_eq!(theirs, not_recorded(&job["lease"]));
    let theirs = extend(&hookbox.rest, "host-2", &job["lease"], "1h").await;
    assert_eq!((&theirs["held"], &theirs["lease_until"]), (&json!(false), &Value::Null));
    assert_eq!(hookbox.rest.webhook(&id).await, processing);
    let own = finish(&hookbox.rest, "host-1", &job["lease"], completed()).await;
    assert_eq!(own["recorded"], true);
}

#[rstest]
#[tokio::test]
async fn the_job_of_a_worker_that_vanishes_comes_back_after_its_lease(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let id = hookbox.rest.accept("evt-001").await;
    let old = lease_one(&hookbox.rest, "host-1").await;
    let back = hookbox
        .as_time_passes("the job coming back", || async {
            let webhook = hookbox.rest.webhook(&id).await;
            (webhook["status"] == "pending").then_some(webhook)
        })
        .await;
    let attempt = &back["attempts"][0];
    assert_eq!((&attempt["outcome"], &attempt["worker"]), (&json!("interrupted"), &json!("host-1")));
    let counted = "\nhookbox_attempts_total{route=\"orders\",handler=\"pull\",outcome=\"interrupted\"} 1\n";
    eventually("the attempt being counted", || async {
        hookbox.rest.get("/metrics").await.text.contains(counted).then_some(())
    })
    .await;

    let late = json!({ "completed": { "result": "late" } });
    assert_eq!(
        finish(&hookbox.rest, "host-1", &old["lease"], late.clone()).await,
        not_recorded(&old["lease"])
    );
    assert_eq!(extend(&hookbox.rest, "host-1", &old["lease"], "60s").await["held"], false);
    assert_eq!(hookbox.rest.webhook(&id).await, back, "nothing has changed");

    // The same worker leases it again: the old lease is still lost.
    let new = lease_one(&hookbox.rest, "host-1").await;
    assert_eq!(new["attempt"], 2);
    assert_eq!(finish(&hookbox.rest, "host-1", &old["lease"], late).await, not_recorded(&old["lease"]));
    let completed = json!({ "completed": { "result": "in time" } });
    assert_eq!(finish(&hookbox.rest, "host-1", &new["lease"], completed).await["recorded"], true);
    let done = hookbox.rest.webhook(&id).await;
    assert_eq!(done["result"], "in time");
    assert_eq!(done["attempts"].as_array().unwrap().len(), 2);
}

#[rstest]
#[tokio::test]
async fn an_interrupted_attempt_is_final_if_the_route_says_so(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &format!("{ORDERS}\non_interrupt = \"dead_letter\"\n"));
    let id = hookbox.rest.accept("evt-001").await;
    lease_one(&hookbox.rest, "host-1").await;
    hookbox
        .as_time_passes("the dead letter", || async {
            (hookbox.rest.webhook(&id).await["status"] == "dead_lettered").then_some(())
        })
        .await;
    assert_eq!(lease(&hookbox.rest, "host-1").await, Vec::<Value>::new());
}

#[rstest]
#[tokio::test]
async fn an_extended_lease_keeps_its_job_until_the_timeout_of_the_route(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, &format!("{ORDERS}\ntimeout = \"2m\"\n"));
    let id = hookbox.rest.accept("evt-001").await;
    let job = lease_one(&hookbox.rest, "host-1").await;
    assert_eq!(job["lease_until"], "2026-03-01T12:01:00.000Z");
    for (passes, until) in [(30, "2026-03-01T12:01:30.000Z"), (45, "2026-03-01T12:02:00.000Z")] {
        hookbox.advance(SignedDuration::from_secs(passes));
        let extended = extend(&hookbox.rest, "host-1", &job["lease"], "60s").await;
        assert_eq!((&extended["held"], &extended["lease_until"]), (&json!(true), &json!(until)));
        let shown = hookbox.rest.webhook(&id).await["jobs"][0].clone();
        assert_eq!((&shown["worker"], &shown["lease_until"]), (&json!("host-1"), &json!(until)));
    }
    let webhook = hookbox.rest.webhook(&id).await;
    assert_eq!((&webhook["status"], &webhook["attempts"]), (&json!("processing"), &json!([])));

    hookbox.advance(SignedDuration::from_secs(45));
    let extended = extend(&hookbox.rest, "host-1", &job["lease"], "60s").await;
    assert_eq!((&extended["held"], &extended["lease_until"]), (&json!(false), &Value::Null));
    hookbox
        .as_time_passes("the job coming back", || async {
            (hookbox.rest.webhook(&id).await["status"] == "pending").then_some(())
        })
        .await;
}

#[rstest]
#[tokio::test]
async fn a_lease_is_cut_to_the_shortest_timeout_of_its_routes(#[values(Sqlite, Postgres)] store: Store) {
    let routes = r#"
        [[routes]]
        name = "orders"
        handler = "pull"

        [[routes]]
        name = "quick"
        match = { event_type = "quick" }
        handler = "pull"
        timeout = "10s"
    "#;
    let hookbox = Hookbox::with_routes(store, routes);
    for (names, key, until) in [
        (json!(["orders"]), "evt-001", "2026-03-02T00:00:00.000Z"),
        (json!(["quick", "orders"]), "evt-002", "2026-03-01T12:00:10.000Z"),
    ] {
        hookbox.rest.accept(key).await;
        let body = json!({ "routes": names, "worker": "host-1", "lease": "12h" });
        let jobs = call(&hookbox.rest, "lease", &body).await.json()["jobs"].clone();
        assert_eq!(jobs[0]["lease_until"], until, "{jobs}");
    }
}
