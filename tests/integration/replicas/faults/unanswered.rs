//! The response to a commit is lost on the network.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::replicas::blocking;
use crate::support::client::{client, eventually, get, post};
use crate::support::postgres::{Cluster, Session, close_waiting, hold_commits, release_commits};
use crate::support::server::{Place, Server};

/// Longer than any wait of these tests, so that no lease expires.
const LEASE: &str = "--lease=1h";

/// The statement that records outcomes.
const OUTCOMES: &str = "%final_webhooks%";

/// Starts a replica whose handlers run for `run`.
async fn start(url: &str, run: Duration) -> Server {
    let run = format!("{}ms", run.as_millis());
    let place = Place::new(&[
        &format!("--database-url={url}"),
        LEASE,
        &format!("--simulate-min={run}"),
        &format!("--simulate-max={run}"),
    ]);
    tokio::task::spawn_blocking(move || place.start()).await.expect("starts")
}

async fn accepted(replica: &Server, key: &str) -> Value {
    let answer = post(&client(), &replica.url("/v1/webhooks"), key).await.expect("answers");
    answer.json().await.expect("is JSON")
}

/// The details of an accepted webhook.
async fn detail(replica: &Server, accepted: &Value) -> Value {
    let path = format!("/v1/webhooks/{}", accepted["id"].as_str().expect("has an id"));
    get(&client(), &replica.url(&path)).await
}

/// Waits until a webhook has a status and returns its details.
async fn becomes(replica: &Server, accepted: &Value, status: &str) -> Value {
    eventually(&format!("it becomes {status}"), async || {
        let webhook = detail(replica, accepted).await;
        (webhook["status"] == status).then_some(webhook)
    })
    .await
}

async fn is_completed(replica: &Server, accepted: &Value) -> Value {
    becomes(replica, accepted, "completed").await
}

/// Waits until a statement like `query` is committed, and loses the response. Then commits are answered again.
async fn lose_response(session: &Session, query: &str) {
    eventually(&format!("{query} is committed"), async || blocking(|| close_waiting(session, query))).await;
    blocking(|| release_commits(session));
}

fn outcomes(webhook: &Value) -> Vec<&str> {
    let attempts = webhook["attempts"].as_array().expect("is a list");
    attempts.iter().filter_map(|attempt| attempt["outcome"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_given_back_at_once_if_the_response_to_its_claim_was_lost() {
    let cluster = blocking(Cluster::start);
    let url = cluster.url("postgres");
    let replica = start(&url, Duration::ZERO).await;
    let paused = client().post(replica.url("/v1/pause")).send().await.expect("answers");
    assert_eq!(paused.status(), StatusCode::OK);
    let webhook = accepted(&replica, "one").await;
    let session = blocking(|| Session::open(&url)).expect("connects");
    blocking(|| hold_commits(&session, &url));
    // Through the API, the end of the pause would wait as well.
    for statement in ["SET synchronous_commit = local", "DELETE FROM pauses"] {
        blocking(|| session.ask(statement)).expect("is asked");
    }
    lose_response(&session, "WITH q AS MATERIALIZED%").await;

    let completed = is_completed(&replica, &webhook).await;
    assert_eq!(outcomes(&completed), ["completed"]);
    assert_eq!(completed["attempt_count"], 1, "the lease whose response was lost does not count");
    assert!(replica.has_logged("gave back jobs that were leased by a claim whose response was lost"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_recognised_as_stored_if_the_response_was_lost() {
    let cluster = blocking(Cluster::start);
    let url = cluster.url("postgres");
    let replica = start(&url, Duration::ZERO).await;
    is_completed(&replica, &accepted(&replica, "before").await).await;
    let session = blocking(|| Session::open(&url)).expect("connects");
    blocking(|| hold_commits(&session, &url));
    let (sender, webhooks) = (client(), replica.url("/v1/webhooks"));
    let losing = lose_response(&session, "%INSERT INTO webhooks%");
    let ((), answer) = tokio::join!(losing, post(&sender, &webhooks, "one"));
    let refused = answer.expect("answers");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "the webhook may or may not be stored");

    let again = eventually("it is known", async || {
        let answer = post(&sender, &webhooks, "one").await.ok()?;
        (answer.status() == StatusCode::OK).then_some(answer)
    })
    .await;
    let again = again.json::<Value>().await.expect("is JSON");
    assert_eq!(again["duplicate"], true, "the webhook was already stored: {again}");
    assert_eq!(outcomes(&is_completed(&replica, &again).await), ["completed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_is_recognised_as_recorded_if_the_response_was_lost() {
    let cluster = blocking(Cluster::start);
    let url = cluster.url("postgres");
    let replica = start(&url, Duration::from_secs(2)).await;
    let accepted = accepted(&replica, "one").await;
    becomes(&replica, &accepted, "processing").await;
    let session = blocking(|| Session::open(&url)).expect("connects");
    blocking(|| hold_commits(&session, &url));
    lose_response(&session, OUTCOMES).await;

    assert_eq!(outcomes(&is_completed(&replica, &accepted).await), ["completed"]);
    let metrics = eventually("its thread is idle again", async || {
        let metrics = client().get(replica.url("/metrics")).send().await.ok()?.text().await.ok()?;
        metrics.lines().any(|line| line == "hookbox_workers_busy 0").then_some(metrics)
    })
    .await;
    assert!(metrics.lines().any(|line| line == "hookbox_leases_lost_total 0"), "{metrics}");
    assert!(replica.has_logged("outcomes could not be stored; trying again"));
}

/// Does a call of a worker.
async fn work(replica: &Server, call: &str, body: &Value) -> Value {
    let calling = client().post(replica.url(&format!("/v1/work/{call}"))).json(body).send();
    let answer = calling.await.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK, "{call}");
    answer.json().await.expect("is JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_of_a_pull_worker_is_counted_although_the_response_to_its_commit_was_lost() {
    let cluster = blocking(Cluster::start);
    let url = cluster.url("postgres");
    let place = Place::new(&[&format!("--database-url={url}")]);
    let routes = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";
    std::fs::write(place.file("").with_file_name("hookbox.toml"), routes).expect("writes");
    let replica = blocking(|| place.start());
    accepted(&replica, "one").await;
    let leased = work(&replica, "lease", &json!({ "routes": ["orders"], "worker": "host-1" })).await;
    let lease = &leased["jobs"][0]["lease"];
    let session = blocking(|| Session::open(&url)).expect("connects");
    blocking(|| hold_commits(&session, &url));

    let outcome = json!({ "lease": lease, "failed": { "error": "no", "permanent": true } });
    let outcomes = json!({ "worker": "host-1", "outcomes": [outcome] });
    let finishing = work(&replica, "finish", &outcomes);
    let (finished, ()) = tokio::join!(finishing, lose_response(&session, OUTCOMES));
    let recorded = json!({ "lease": lease, "recorded": true, "status": "dead_lettered" });
    assert_eq!(finished["jobs"], json!([recorded]));
    let metrics = client().get(replica.url("/metrics")).send().await.expect("answers");
    let metrics = metrics.text().await.expect("is text");
    for line in [r#"hookbox_dead_letters_total{route="orders"} 1"#, "hookbox_leases_lost_total 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}
