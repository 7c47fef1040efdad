//! A replica that is frozen or disconnected during an attempt until after its lease has expired. When it returns,
//! another replica has taken over its job.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::replicas::blocking;
use crate::replicas::proxy::Proxy;
use crate::support::client::{PATIENCE, client, eventually, get, post};
use crate::support::postgres::{Session, server};
use crate::support::server::{Place, Server};

/// The time after the expiry of a lease within which another replica takes over the job.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(2);

const LOST: &str = "the lease was lost before the attempt ended; its outcome does not count";

/// Starts a replica with one worker, this lease and handlers that run for `run`.
async fn start(url: &str, lease: &str, run: Duration) -> Server {
    let run = format!("{}ms", run.as_millis());
    let place = Place::new(&[
        &format!("--database-url={url}"),
        &format!("--lease={lease}"),
        "--workers=1",
        &format!("--simulate-min={run}"),
        &format!("--simulate-max={run}"),
    ]);
    // On another thread, so that concurrent scenarios are not blocked.
    tokio::task::spawn_blocking(move || place.start()).await.expect("starts")
}

/// Sends a webhook, waits until the replica runs its job, and returns the path of the webhook.
async fn occupy(replica: &Server) -> String {
    let accepted = post(&client(), &replica.url("/v1/webhooks"), "one").await.expect("answers");
    let accepted = accepted.json::<Value>().await.expect("is JSON");
    let path = format!("/v1/webhooks/{}", accepted["id"].as_str().expect("has an id"));
    becomes(replica, &path, "processing").await;
    // The status changes before the replica receives the response to its claim.
    eventually("its worker has the job", async || {
        metrics(replica).await.lines().any(|line| line == "hookbox_workers_busy 1").then_some(())
    })
    .await;
    path
}

async fn metrics(replica: &Server) -> String {
    let metrics = client().get(replica.url("/metrics")).send().await.expect("answers");
    metrics.text().await.expect("is text")
}

/// Waits until a webhook has a status and returns its details.
async fn becomes(replica: &Server, path: &str, status: &str) -> Value {
    eventually(&format!("it becomes {status}"), async || {
        let webhook = get(&client(), &replica.url(path)).await;
        (webhook["status"] == status).then_some(webhook)
    })
    .await
}

/// Waits until a replica logs that its lease was lost.
async fn has_lost_its_lease(replica: &Server) {
    eventually("the log says that the lease was lost", async || replica.has_logged(LOST).then_some(())).await;
    let metrics = metrics(replica).await;
    assert!(metrics.lines().any(|line| line == "hookbox_leases_lost_total 1"), "{metrics}");
}

/// Checks that the first attempt was interrupted and that another worker completed the second.
fn was_completed_by_another(webhook: &Value) {
    assert_eq!(webhook["attempts"].as_array().map(Vec::len), Some(2), "{webhook}");
    let (first, second) = (&webhook["attempts"][0], &webhook["attempts"][1]);
    assert_eq!((&first["outcome"], &second["outcome"]), (&"interrupted".into(), &"completed".into()));
    assert_ne!(first["worker"], second["worker"]);
}

/// Runs all scenarios concurrently, because they wait most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_comes_back_after_its_lease_changes_nothing() {
    tokio::join!(
        a_frozen_replica_returns_while_another_runs_its_job(),
        a_frozen_replica_returns_after_another_completed_its_job(),
        a_disconnected_replica_returns()
    );
}

async fn a_frozen_replica_returns_while_another_runs_its_job() {
    // Longer than a lease: the frozen run reaches its end while the other replica runs the job.
    let run = Duration::from_millis(3_500);
    let database = blocking(|| server().database_for(2));
    let frozen = start(&database.url(), "3s", run).await;
    let path = occupy(&frozen).await;
    let began = tokio::time::Instant::now();
    let other = start(&database.url(), "3s", run).await;
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
    let running = becomes(&other, &path, "processing").await;
    let interrupted = &running["attempts"][0];
    assert_eq!(interrupted["outcome"], "interrupted", "{running}");
    let late = time_of(interrupted, "finished_at").duration_since(lease_ends.expect("the job had a lease"));
    assert!(late.unsigned_abs() <= TAKEN_OVER_WITHIN, "taken over {late:?} after the lease");

    // The frozen run ends as soon as the replica is resumed. Its outcome must not be recorded.
    tokio::time::sleep_until(began + run).await;
    frozen.wake();
    has_lost_its_lease(&frozen).await;
    let completed = becomes(&other, &path, "completed").await;
    was_completed_by_another(&completed);
    assert_eq!(completed["attempts"][0], *interrupted, "the interrupted attempt is unchanged");
    let second = &completed["attempts"][1];
    let ran = time_of(second, "finished_at").duration_since(time_of(second, "started_at"));
    assert!(ran.unsigned_abs() >= run, "the outcome is not that of the frozen run: {completed}");
    assert_eq!(get(&client(), &frozen.url(&path)).await, completed, "both replicas show the same webhook");
}

async fn a_frozen_replica_returns_after_another_completed_its_job() {
    let run = Duration::from_secs(2);
    let database = blocking(|| server().database_for(2));
    let frozen = start(&database.url(), "1s", run).await;
    let path = occupy(&frozen).await;
    frozen.freeze();
    let other = start(&database.url(), "1s", run).await;
    let completed = becomes(&other, &path, "completed").await;
    was_completed_by_another(&completed);
    frozen.wake();
    has_lost_its_lease(&frozen).await;
    assert_eq!(get(&client(), &frozen.url(&path)).await, completed, "nothing has changed");
}

async fn a_disconnected_replica_returns() {
    let run = Duration::from_secs(2);
    let database = blocking(|| server().database_for(2));
    let (proxy, url) = Proxy::before(&database.url()).await;
    let cut_off = start(&url, "1s", run).await;
    let path = occupy(&cut_off).await;
    proxy.cut_off();
    let other = start(&database.url(), "1s", run).await;
    let completed = becomes(&other, &path, "completed").await;
    was_completed_by_another(&completed);
    eventually("the one that is cut off has tried to record its outcome", async || {
        cut_off.has_logged("outcomes could not be stored; trying again").then_some(())
    })
    .await;
    proxy.speak();
    has_lost_its_lease(&cut_off).await;
    assert_eq!(get(&client(), &cut_off.url(&path)).await, completed, "nothing has changed");
}

fn time_of(value: &Value, member: &str) -> Timestamp {
    value[member].as_str().expect("is text").parse().expect("is a time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_logged_once_a_second_and_so_is_its_return() {
    let database = blocking(|| server().database());
    let (proxy, url) = Proxy::before(&database.url()).await;
    let place = Place::new(&[
        &format!("--database-url={url}"),
        "--workers=64",
        "--simulate-min=1s",
        "--simulate-max=1500ms",
        "--purge-interval=1s",
    ]);
    let replica = tokio::task::spawn_blocking(move || place.start()).await.expect("starts");
    let (sender, webhooks) = (client(), replica.url("/v1/webhooks"));
    for number in 0..64 {
        let accepted = post(&sender, &webhooks, &format!("before {number}")).await.expect("answers");
        assert_eq!(accepted.status(), 202);
    }
    proxy.cut_off();
    let away = Instant::now();
    // The hot tables are looked at every 5 s.
    let upkeep = [
        "the hot tables could not be vacuumed",
        "what is past its retention could not be removed",
        "the store could not be asked for replays that go on",
    ];
    while away.elapsed() < Duration::from_secs(3) || !upkeep.iter().all(|fault| replica.has_logged(fault)) {
        assert!(away.elapsed() < PATIENCE, "no upkeep has failed");
        let refused = post(&sender, &webhooks, "during").await.expect("answers");
        assert_eq!(refused.status(), 503);
    }
    proxy.speak();
    eventually("it stores webhooks again", async || {
        let answer = post(&sender, &webhooks, "after").await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    let most = away.elapsed().as_secs() as usize + 2;
    for fault in [
        "the database refused a statement",
        "the database refused a write",
        "outcomes could not be stored",
        "leases could not be renewed",
        "jobs could not be claimed",
        "a request could not be served",
        "what is past its retention could not be removed",
        "the store could not be asked for replays that go on",
        "notifications of other replicas cannot be received",
    ] {
        let times = replica.times_logged(fault);
        assert!(times <= most, "{fault}: {times} lines in {most} s");
    }
    assert!(replica.has_logged("a request could not be served"));
    // A fault is over once there was a second without it. The others are mostly notified of nothing before the return.
    for line in [
        "requests are served again",
        "outcomes are stored again",
        "the other replicas could not be notified",
        "the other replicas are notified again",
        "what is past its retention is removed again",
        "the store is asked for replays again",
        "the hot tables are kept clean again",
    ] {
        let mut number = 0;
        eventually(line, async || {
            number += 1;
            drop(post(&sender, &webhooks, &format!("{line} {number}")).await);
            replica.has_logged(line).then_some(())
        })
        .await;
    }
}
