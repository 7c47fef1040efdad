//! Stopping in order, and starting again on what was left.

use futures::StreamExt;
use hookbox::internals::grpc::proto;
use rstest::rstest;
use tonic::Code;
use tonic_types::StatusExt;

use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

const LATER: &str = "2026-03-02T12:00:00Z";

#[rstest]
#[tokio::test]
async fn what_waited_at_the_stop_is_run_by_the_successor(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::with(store, &[("workers", "1")]);
    hookbox.handler.will([Step::Fail("try tomorrow")]);
    let retrying = hookbox.rest.accept("retrying").await;
    hookbox.wait_for(&retrying, "retrying").await;
    let gate = hookbox.handler.will_hold();
    let running = hookbox.rest.accept("running").await;
    hookbox.wait_for_runs(2).await;
    let pending = hookbox.rest.accept("pending").await;
    hookbox.begin_to_stop();
    drop(gate);
    let home = hookbox.stop();

    let successor = Hookbox::at(home, LATER, &[]);
    assert_eq!(successor.wait_for(&running, "completed").await["attempt_count"], 1);
    assert_eq!(successor.wait_for(&pending, "completed").await["attempt_count"], 1);
    assert_eq!(successor.wait_for(&retrying, "completed").await["attempt_count"], 2);
    let again = successor.rest.submit("running", "order.created", "{}").await;
    assert_eq!((again.status, again.text_of("id")), (200, running));
}

#[rstest]
#[tokio::test]
async fn what_is_claimed_at_the_very_moment_of_the_stop_still_starts_once(
    #[values(Sqlite, Postgres)] store: Store,
) {
    for _ in 0..15 {
        let hookbox = Hookbox::start(store);
        let (one, two) = (hookbox.rest.accept("evt-001").await, hookbox.rest.accept("evt-002").await);
        let home = hookbox.stop();
        let successor = Hookbox::at(home, LATER, &[]);
        for id in [one, two] {
            let done = successor.wait_for(&id, "completed").await;
            assert_eq!(done["attempt_count"], 1, "{done}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn an_attempt_that_outlasts_the_grace_is_interrupted_and_runs_again(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with(store, &[("shutdown_grace", "0s")]);
    let _gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;
    let home = hookbox.stop();

    let successor = Hookbox::at(home, LATER, &[]);
    let done = successor.wait_for(&id, "completed").await;
    assert_eq!(done["attempt_count"], 2);
    assert_eq!(done["attempts"][0]["outcome"], "interrupted");
    assert_eq!(done["attempts"][1]["outcome"], "completed");
}

#[rstest]
#[tokio::test]
async fn a_watcher_is_told_when_the_server_stops(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "processing").await;
    let request = proto::WatchStatusRequest { id: id.clone(), ..Default::default() };
    let mut watched = hookbox.grpc().watch_status(request).await.unwrap().into_inner();
    watched.next().await.unwrap().unwrap();
    let (rest, path) = (hookbox.rest.clone(), format!("/v1/webhooks/{id}/watch"));
    let events = tokio::spawn(async move { rest.get(&path).await });
    eventually("the second watcher", || async {
        let metrics = hookbox.rest.get("/metrics").await.text;
        metrics.contains("/watch\",code=\"200\"} 1").then_some(())
    })
    .await;

    hookbox.begin_to_stop();
    let status = watched.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "SHUTTING_DOWN");
    assert!(status.get_details_retry_info().is_some());
    assert!(events.await.unwrap().text.contains("\"processing\""), "the stream of events ends");
    drop(gate);
}

#[rstest]
#[tokio::test]
async fn a_server_that_stops_takes_no_new_connection(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::start(store);
    let gate = hookbox.handler.will_hold();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "processing").await;
    hookbox.begin_to_stop();
    eventually("a closed door", || async {
        let request = hookbox.rest.request(reqwest::Method::GET, "/healthz");
        request.send().await.is_err().then_some(())
    })
    .await;
    drop(gate);
}

#[rstest]
#[tokio::test]
async fn during_the_shutdown_delay_it_is_not_ready_but_serves(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::with(store, &[("shutdown_delay", "10s")]);
    hookbox.rest.accept("before").await;
    hookbox.begin_to_stop();
    let readiness = eventually("it is not ready", || async {
        let answer = hookbox.rest.get("/readyz").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(readiness.json()["checks"]["lifecycle"], "shutting down");
    assert_eq!(hookbox.rest.get("/healthz").await.status, 200);
    let id = hookbox.rest.accept("during").await;
    hookbox.wait_for(&id, "completed").await;
    hookbox
        .as_time_passes("a closed door", || async {
            let request = hookbox.rest.request(reqwest::Method::GET, "/healthz");
            request.send().await.is_err().then_some(())
        })
        .await;
}
