//! Three replicas under load: one is killed, one is frozen, and the server goes down twice.

use std::time::Duration;

use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::replicas::runs::Runs;
use crate::support::client::{client, eventually, get};
use crate::support::collector::Collector;
use crate::support::ledger::list;
use crate::support::postgres::{Cluster, Session};
use crate::support::server::{Place, Server};

const REPLICAS: usize = 3;
const WORKERS: usize = 48;

/// The number of injected failures. Each interrupts at most all running attempts.
const FAULTS: usize = 4;

/// The timeout of a request: long enough for a response, short enough to switch to another replica soon.
const PATIENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_webhook_is_lost_or_completed_twice_when_replicas_and_the_server_fail() {
    let mut cluster = blocking(Cluster::start);
    let url = cluster.url("postgres");
    let collector = Collector::start().await;
    let place = Place::new(&[
        &format!("--database-url={url}"),
        "--lease=1s",
        &format!("--workers={WORKERS}"),
        "--simulate-min=100ms",
        "--simulate-max=400ms",
        // Attempts are interrupted repeatedly. The limit is high so that no job runs out of attempts.
        "--max-attempts=1000",
    ]);
    let place = place
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .with("OTEL_BSP_SCHEDULE_DELAY", "100")
        .with("OTEL_BSP_MAX_QUEUE_SIZE", "65536");
    let mut replicas = (0..REPLICAS).map(|_| place.start()).collect::<Vec<_>>();
    let load = Load::start(
        &replicas.iter().map(|replica| replica.url("/v1/webhooks")).collect::<Vec<_>>(),
        PATIENCE,
    );
    load.goes_on("by all replicas").await;

    load.set(0, None);
    let killed = replicas.remove(0);
    let killed_process = killed.process_id();
    killed.kill();
    load.goes_on("after one replica was killed").await;
    replicas.insert(0, place.start());
    load.set(0, Some(replicas[0].url("/v1/webhooks")));
    load.goes_on("after it was started again").await;

    // It may freeze with jobs whose handlers have not started; those are given back without a word.
    eventually("a frozen replica sees that it is late", async || {
        freeze_until_others_took_over(&replicas[1], &url).await;
        load.goes_on("after one replica was frozen").await;
        replicas[1].has_logged("the lease was lost before the attempt ended").then_some(())
    })
    .await;

    blocking(|| cluster.restart());
    load.goes_on("after the server was restarted").await;
    // The server loses its statistics when it is killed, so they are checked before.
    had_no_deadlocks(&url);
    blocking(|| cluster.kill_hard());
    blocking(|| cluster.start_again());
    load.goes_on("after the server was killed").await;

    let ledger = load.stop().await;
    had_no_deadlocks(&url);
    let webhooks = ledger.reckon(&replicas[2]).await;
    assert_eq!(list(&replicas[2]).await.len(), ledger.len(), "every stored webhook was acknowledged");
    let counts = get(&client(), &replicas[2].url("/v1/stats")).await["counts"].clone();
    assert_eq!(counts["completed"], ledger.len(), "{counts}");
    for replica in replicas {
        assert!(replica.terminate().await.success());
    }
    Runs::told(&collector).reckon(&webhooks, &[killed_process], FAULTS * REPLICAS * WORKERS);
}

/// Checks that the database has counted no deadlocks.
fn had_no_deadlocks(url: &str) {
    let asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let counted = blocking(|| Session::open(url).and_then(|session| session.ask(asked)));
    assert_eq!(counted.expect("is counted"), ["0"], "deadlocks");
}

/// Freezes a replica during attempts and resumes it after other replicas have taken over its jobs.
async fn freeze_until_others_took_over(replica: &Server, url: &str) {
    let session = blocking(|| Session::open(url)).expect("connects");
    let worker = format!("worker ~ ' {}-[0-9a-f]+$'", replica.process_id());
    let count = |from: &str| {
        let sql = format!("SELECT count(*) FROM {from} AND {worker}");
        blocking(|| session.ask(&sql)).expect("is counted").concat()
    };
    eventually("it freezes while it holds jobs", async || {
        replica.freeze();
        if count("jobs WHERE status = 1") != "0" {
            return Some(());
        }
        replica.wake();
        None
    })
    .await;
    eventually("its jobs are taken over", async || {
        (count("attempts WHERE outcome = 2") != "0" && count("jobs WHERE status = 1") == "0").then_some(())
    })
    .await;
    replica.wake();
}
