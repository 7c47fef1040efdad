//! How soon the next process is ready when much is left to do.

use std::time::Duration;

use serde_json::Value;

use crate::support::client::{client, eventually, get, post};
use crate::support::ledger::{Ledger, list};
use crate::support::server::{Place, Server};

const WEBHOOKS: usize = 3_000;
const SENDERS: usize = 16;
const WORKERS: u64 = 256;

/// Far more than it takes, even beside other tests.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// The starts of which one has to be quick: the machine may pause during one.
const STARTS: usize = 3;

async fn counts(server: &Server) -> Value {
    get(&client(), &server.url("/v1/stats")).await["counts"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_ready_quickly_after_a_kill_that_left_thousands_unfinished() {
    let workers = format!("--workers={WORKERS}");
    let place = Place::new(&["--simulate-min=1h", "--simulate-max=1h", &workers]);
    let server = place.start();
    let ledger = Ledger::default();
    let senders = (0..SENDERS).map(|sender| {
        let (url, ledger) = (server.url("/v1/webhooks"), ledger.clone());
        tokio::spawn(async move {
            let client = client();
            for number in (sender..WEBHOOKS).step_by(SENDERS) {
                let key = number.to_string();
                let response = post(&client, &url, &key).await.expect("answers");
                assert_eq!(response.status(), reqwest::StatusCode::ACCEPTED);
                ledger.note(&key, &response.json().await.expect("is JSON"));
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("all are accepted");
    }
    eventually("every worker is busy", async || {
        (counts(&server).await["processing"] == WORKERS).then_some(())
    })
    .await;
    server.kill();

    let mut starts = 0;
    let server = loop {
        let started = tokio::time::Instant::now();
        let server = place.start();
        let ready = get(&client(), &server.url("/readyz")).await;
        let took = started.elapsed();
        assert_eq!(ready["ready"], true);
        if took < READY_WITHIN {
            break server;
        }
        starts += 1;
        assert!(starts < STARTS, "took {took:?}");
        server.kill();
    };

    assert_eq!(ledger.len(), WEBHOOKS);
    assert_eq!(list(&server).await.len(), WEBHOOKS);
    eventually("every worker is busy again", async || {
        let counts = counts(&server).await;
        let unfinished = ["pending", "processing", "retrying"].map(|status| counts[status].as_u64());
        assert_eq!(unfinished.into_iter().flatten().sum::<u64>(), WEBHOOKS as u64, "{counts}");
        (counts["processing"] == WORKERS).then_some(())
    })
    .await;
}
