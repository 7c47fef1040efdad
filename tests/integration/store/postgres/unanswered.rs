//! A breaker that was opened by a transaction whose response was lost.

use std::collections::HashMap;
use std::sync::Arc;

use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::breaker::Health;
use hookbox::internals::domain::clock::Clock as _;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::postgres::{Options, PostgresStore};
use hookbox::internals::store::{Claim, ClaimedJob, Finish, Inbox as _, JobQueue as _, Store as _, Wanted};
use hookbox::internals::telemetry::metrics::Metrics;

use crate::store::inbox::{LEASE, webhook};
use crate::store::routes::{breaking, in_force, job};
use crate::support::client::eventually;
use crate::support::postgres::{Cluster, Session, close_waiting, hold_commits, release_commits};

const WORKER: &str = "process 1";

/// An attempt that has found the target down.
fn down(job: &ClaimedJob) -> Finish {
    let now = SystemClock.now();
    Finish {
        lease: job.lease,
        order: None,
        attempt: job.attempt,
        outcome: Outcome::Failed,
        started_at: job.claimed_at,
        finished_at: now,
        error: Some("503".to_owned()),
        result: None,
        delivery: None,
        health: Some(Health::Down),
        next: Status::Retrying,
        available_at: now,
        counts: true,
        blocks: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_is_told_to_have_opened_although_the_response_to_its_commit_was_lost() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let url = cluster.url("postgres");
    let metrics = Arc::new(Metrics::default());
    let options = Options {
        target: url.parse().expect("a URL"),
        max_backlog: 1_000,
        policies: in_force([breaking("out", 1)]),
        worker: WORKER.to_owned(),
        seed: 1,
    };
    let store = PostgresStore::open(options, Arc::new(SystemClock), Arc::clone(&metrics)).await;
    let store = Arc::new(store.expect("opens"));
    store.accept(webhook("k"), vec![job("out")]).await.expect("accepts");
    let claim = Claim {
        worker: WORKER.into(),
        wanted: Wanted::Run,
        threads: 1,
        max_bytes: usize::MAX,
        lease: LEASE,
        running: HashMap::new(),
    };
    let jobs = store.claim(claim).await.expect("claims").jobs;
    let finish = down(&jobs[0]);

    let session = Session::open(&url).expect("connects");
    hold_commits(&session, &url);
    let (other, sent) = (Arc::clone(&store), finish.clone());
    let finishing = tokio::spawn(async move { other.finish(WORKER, vec![sent]).await });
    eventually("the transaction is committed", async || close_waiting(&session, "COMMIT%")).await;
    finishing.await.expect("runs").expect_err("the response is lost");
    release_commits(&session);

    assert_eq!(store.finish(WORKER, vec![finish]).await.expect("answers"), [true], "it was recorded");
    let opened = "hookbox_breaker_openings_total{route=\"out\"} 1\n";
    eventually("the opening is counted", async || {
        metrics.encode().expect("encodes").contains(opened).then_some(())
    })
    .await;
    store.close().await;
}
