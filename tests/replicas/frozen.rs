//! A replica that freezes in the middle of an attempt, beyond its lease, and wakes up again.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::blocking;
use crate::client::{client, eventually, get, post};
use crate::postgres::{Session, server};
use crate::server::{Place, Server};

const LEASE: Duration = Duration::from_secs(3);

/// Longer than a lease: the work of the frozen attempt is done while the other one runs.
const RUN: Duration = Duration::from_millis(3_500);

/// How long after the end of a lease another replica has taken the job over.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(2);

const LOST: &str = "the lease was lost before the attempt ended; its outcome does not count";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_wakes_after_its_lease_changes_nothing() {
    let database = blocking(|| server().database());
    let place = Place::new(&[
        &format!("--database-url={}", database.url()),
        &format!("--lease={}s", LEASE.as_secs()),
        "--workers=1",
        &format!("--simulate-min={}ms", RUN.as_millis()),
        &format!("--simulate-max={}ms", RUN.as_millis()),
    ]);
    let frozen = place.start();
    let client = client();
    let accepted = post(&client, &frozen.url("/v1/webhooks"), "one").await.expect("answers");
    let accepted = accepted.json::<Value>().await.expect("is JSON");
    let path = format!("/v1/webhooks/{}", accepted["id"].as_str().expect("has an id"));
    eventually("it is processing", async || {
        (get(&client, &frozen.url(&path)).await["status"] == "processing").then_some(())
    })
    .await;
    let began = tokio::time::Instant::now();
    let other = place.start();
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    frozen.freeze();
    let mut lease_ends = None;
    eventually("the other replica takes over", async || {
        let asked = "SELECT (extract(epoch FROM lease_until) * 1000)::bigint FROM jobs WHERE attempts = 1 AND status = 1";
        match blocking(|| session.ask(asked)).expect("is asked").concat().parse() {
            Ok(ends) => lease_ends = Some(Timestamp::from_millisecond(ends).expect("is a time")),
            Err(_) => return Some(()),
        }
        None
    })
    .await;
    let running = eventually("the other replica runs it", async || {
        let webhook = get(&client, &other.url(&path)).await;
        (webhook["status"] == "processing").then_some(webhook)
    })
    .await;
    let interrupted = &running["attempts"][0];
    assert_eq!(interrupted["outcome"], "interrupted", "{running}");
    let late = time_of(interrupted, "finished_at").duration_since(lease_ends.expect("it had a lease"));
    assert!(late.unsigned_abs() <= TAKEN_OVER_WITHIN, "taken over {late:?} after the lease");

    // The work of the frozen attempt is done when it wakes; only its outcome is not recorded.
    tokio::time::sleep_until(began + RUN).await;
    frozen.wake();
    has_lost_its_lease(&frozen).await;
    let completed = eventually("the other replica completes it", async || {
        let webhook = get(&client, &other.url(&path)).await;
        (webhook["status"] == "completed").then_some(webhook)
    })
    .await;
    assert_eq!(completed["attempts"].as_array().map(Vec::len), Some(2), "{completed}");
    let (first, second) = (&completed["attempts"][0], &completed["attempts"][1]);
    assert_eq!(first, interrupted, "it stays interrupted");
    assert_eq!(second["outcome"], "completed", "{completed}");
    assert_ne!(second["worker"], first["worker"]);
    let ran = time_of(second, "finished_at").duration_since(time_of(second, "started_at"));
    assert!(
        ran.unsigned_abs() >= RUN,
        "the outcome is that of the other run, not of the frozen one: {completed}"
    );
    assert_eq!(get(&client, &frozen.url(&path)).await, completed, "both tell the same");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_wakes_when_another_has_completed_its_job_changes_nothing() {
    let database = blocking(|| server().database());
    let place = Place::new(&[
        &format!("--database-url={}", database.url()),
        "--lease=1s",
        "--workers=1",
        "--simulate-min=2s",
        "--simulate-max=2s",
    ]);
    let frozen = place.start();
    let other = place.start();
    let client = client();
    // Either may be the one that runs it.
    let accepted = post(&client, &frozen.url("/v1/webhooks"), "one").await.expect("answers");
    let accepted = accepted.json::<Value>().await.expect("is JSON");
    let path = format!("/v1/webhooks/{}", accepted["id"].as_str().expect("has an id"));
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    let worker = eventually("it is processing", async || {
        let workers = blocking(|| session.ask("SELECT worker FROM jobs WHERE status = 1"));
        workers.expect("is asked").pop()
    })
    .await;
    let is_of = |replica: &Server| worker.contains(&format!("-{}-", replica.process_id()));
    let (frozen, other) = if is_of(&frozen) { (frozen, other) } else { (other, frozen) };
    frozen.freeze();
    let completed = eventually("the other replica completes it", async || {
        let webhook = get(&client, &other.url(&path)).await;
        (webhook["status"] == "completed").then_some(webhook)
    })
    .await;
    assert_eq!(completed["attempts"].as_array().map(Vec::len), Some(2), "{completed}");
    frozen.wake();
    has_lost_its_lease(&frozen).await;
    assert_eq!(get(&client, &frozen.url(&path)).await, completed, "nothing has changed");
}

/// Waits until a replica notices that its one outcome comes too late.
async fn has_lost_its_lease(replica: &Server) {
    eventually("the log says that the lease was lost", async || replica.has_logged(LOST).then_some(())).await;
    let metrics = client().get(replica.url("/metrics")).send().await.expect("answers");
    let metrics = metrics.text().await.expect("is text");
    assert!(metrics.lines().any(|line| line == "hookbox_leases_lost_total 1"), "{metrics}");
}

fn time_of(value: &Value, member: &str) -> Timestamp {
    value[member].as_str().expect("is text").parse().expect("is a time")
}
