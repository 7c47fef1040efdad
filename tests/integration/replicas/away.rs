//! A replica that is frozen or disconnected during an attempt until after its lease has expired. When it returns,
//! another replica has taken over its job.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::replicas::blocking;
use crate::replicas::proxy::Proxy;
use crate::support::client::{LOOK_EVERY, PATIENCE, client, eventually, get, post};
use crate::support::inbox_database::inbox_database_for;
use crate::support::postgres::{Session, server};
use crate::support::server::{Place, Server};

/// The time after the expiry of a lease within which another replica takes over the job.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(2);

const LOST: &str = "the lease was lost before the attempt ended; its outcome does not count";

/// A route whose handler runs until the file `end` exists.
const ROUTES: &str = r#"
    [[routes]]
    name = "held"
    handler = "exec"
    command = ["/bin/sh", "-c", "until [ -e end ]; do /bin/sleep 0.05; done; : > ended"]
"#;

/// A replica with one worker, whose handlers run for as long as the test wants.
struct Replica {
    server: Server,
    folder: PathBuf,
}

impl Replica {
    async fn start(url: &str, lease: &str) -> Self {
        let place =
            Place::new(&[&format!("--database-url={url}"), &format!("--lease={lease}"), "--workers=1"]);
        let settings = place.file("").with_file_name("hookbox.toml");
        std::fs::write(&settings, ROUTES).expect("writes");
        let folder = settings.parent().expect("a folder").to_owned();
        // On another thread, so that concurrent scenarios are not blocked.
        let server = tokio::task::spawn_blocking(move || place.start()).await.expect("starts");
        Self { server, folder }
    }

    /// Lets its handlers end, also those that start later.
    fn end(&self) {
        std::fs::write(self.folder.join("end"), "").expect("writes");
    }

    /// Lets its handler end, and waits until it has.
    async fn ends(&self) {
        self.end();
        let ended = self.folder.join("ended");
        eventually("its handler ends", async || ended.exists().then_some(())).await;
    }
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
    replica.says(LOST).await;
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
    let database = blocking(|| inbox_database_for(2));
    let frozen = Replica::start(&database.url(), "3s").await;
    let path = occupy(&frozen.server).await;
    let other = Replica::start(&database.url(), "3s").await;
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    frozen.server.freeze();
    // Counted in looks, so that a pause of the machine does not count.
    let mut late = Duration::ZERO;
    eventually("the other replica takes over", async || {
        let asked = "SELECT lease_until <= now() FROM jobs WHERE attempts = 1 AND status = 1";
        match blocking(|| session.ask(asked)).expect("is asked").concat().as_str() {
            "" => return Some(()),
            "t" => late += LOOK_EVERY,
            _ => {}
        }
        None
    })
    .await;
    assert!(late <= TAKEN_OVER_WITHIN, "taken over {late:?} after the lease");
    let running = becomes(&other.server, &path, "processing").await;
    let interrupted = &running["attempts"][0];
    assert_eq!(interrupted["outcome"], "interrupted", "{running}");

    // The frozen run ends before the replica is resumed. Its outcome must not be recorded.
    frozen.ends().await;
    frozen.server.wake();
    has_lost_its_lease(&frozen.server).await;
    let running = get(&client(), &other.server.url(&path)).await;
    assert_eq!(running["status"], "processing", "the other run goes on: {running}");
    other.end();
    let completed = becomes(&other.server, &path, "completed").await;
    was_completed_by_another(&completed);
    assert_eq!(completed["attempts"][0], *interrupted, "the interrupted attempt is unchanged");
    let shown = get(&client(), &frozen.server.url(&path)).await;
    assert_eq!(shown, completed, "both replicas show the same webhook");
}

async fn a_frozen_replica_returns_after_another_completed_its_job() {
    let database = blocking(|| inbox_database_for(2));
    let frozen = Replica::start(&database.url(), "1s").await;
    let path = occupy(&frozen.server).await;
    frozen.server.freeze();
    let other = Replica::start(&database.url(), "1s").await;
    other.end();
    let completed = becomes(&other.server, &path, "completed").await;
    was_completed_by_another(&completed);
    frozen.ends().await;
    frozen.server.wake();
    has_lost_its_lease(&frozen.server).await;
    assert_eq!(get(&client(), &frozen.server.url(&path)).await, completed, "nothing has changed");
}

async fn a_disconnected_replica_returns() {
    let database = blocking(|| inbox_database_for(2));
    let (proxy, url) = Proxy::before(&database.url()).await;
    let cut_off = Replica::start(&url, "1s").await;
    let path = occupy(&cut_off.server).await;
    proxy.cut_off();
    let other = Replica::start(&database.url(), "1s").await;
    other.end();
    let completed = becomes(&other.server, &path, "completed").await;
    was_completed_by_another(&completed);
    cut_off.ends().await;
    cut_off.server.says("outcomes could not be stored; trying again").await;
    proxy.speak();
    has_lost_its_lease(&cut_off.server).await;
    assert_eq!(get(&client(), &cut_off.server.url(&path)).await, completed, "nothing has changed");
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
        let most = away.elapsed().as_secs() as usize + 2;
        assert!(times <= most, "{fault}: {times} lines in {most} s");
    }
    replica.says("a request could not be served").await;
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
