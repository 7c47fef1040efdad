//! Faults of the store in what hookbox does beside its work, and can do without for a while.

use reqwest::Method;
use serde_json::json;

use super::{has_fields, lines};
use crate::api::harness::client::Answer;
use crate::api::harness::process::Place;
use crate::api::harness::{Postgres, eventually};

#[tokio::test]
async fn a_purge_that_fails_is_logged() {
    const FAILED: &str =
        "what is past its retention could not be removed; trying again after the purge interval";
    let place = Place::new(&[("HOOKBOX_PURGE_INTERVAL", "100ms")]);
    let process = place.serve().await;
    place.execute("ALTER TABLE actions RENAME TO lost");
    process.wait_for_log(FAILED).await;
    has_fields(&lines(&process, "WARN", FAILED)[0], &json!({ "times": 1 }));
}

#[tokio::test]
async fn what_a_source_answers_with_a_5xx_status_is_logged_whatever_its_reason() {
    const SETTINGS: &str = "[sources.shop]\nverify = \"none\"\nkey = \"body\"\nrate_limit = \"1/h\"\n";
    let place = Place::new(&[]);
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let process = place.serve().await;
    let send = async |body: &'static str| {
        let request = process.rest.request(Method::POST, "/v1/sources/shop/webhooks");
        Answer::of(request.header("content-type", "application/json").body(body)).await
    };
    assert_eq!(send("1").await.status, 202);
    send("2").await.problem(503, "RATE_LIMITED");
    process.wait_for_log("a request could not be served: ").await;
    assert!(process.log().contains("RATE_LIMITED"), "{}", process.log());
}

#[tokio::test]
async fn a_notification_of_the_other_replicas_that_fails_is_logged() {
    const FAILED: &str = "the other replicas could not be notified; they find the news when they poll";
    /// Closes the connection that has sent a notification.
    const CLOSE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%pg_notify%'";
    let place = Place::on(Postgres, &[]);
    let process = place.serve().await;
    eventually(FAILED, || async {
        // The other replicas are notified of each pause.
        assert_eq!(process.rest.post("/v1/pause").await.status, 200);
        place.execute(CLOSE);
        process.log().contains(FAILED).then_some(())
    })
    .await;
    has_fields(&lines(&process, "WARN", FAILED)[0], &json!({ "times": 1 }));
}
