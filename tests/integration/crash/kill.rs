//! SIGKILL under load, again and again.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::watch;

use crate::support::client::{client, eventually, post};
use crate::support::ledger::Ledger;
use crate::support::server::Place;

const ROUNDS: usize = 10;
const SENDERS: usize = 8;

/// What the senders are told: where to post, `None` while nothing runs or when all is over.
#[derive(Clone, Debug, Default)]
struct Target {
    url: Option<Arc<str>>,
    over: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_under_load() {
    let place = Place::new(&[
        "--simulate-min=0s",
        "--simulate-max=50ms",
        "--workers=32",
        // Every kill interrupts attempts; none shall be the last one allowed.
        "--max-attempts=1000",
    ]);
    let ledger = Ledger::default();
    let (target, told) = watch::channel(Target::default());
    let senders = (0..SENDERS)
        .map(|number| tokio::spawn(send(number, told.clone(), ledger.clone())))
        .collect::<Vec<_>>();

    let mut random = SmallRng::seed_from_u64(10);
    for round in 0..ROUNDS {
        let server = place.start();
        target.send_replace(Target { url: Some(server.url("/v1/webhooks").into()), over: false });
        // At a random moment of the load, not of the clock: never before the first answer.
        let enough = ledger.len() + random.random_range(1..200);
        eventually(&format!("round {round} is acknowledged"), async || {
            (ledger.len() >= enough).then_some(())
        })
        .await;
        target.send_replace(Target::default());
        server.kill();
    }

    let server = place.start();
    target.send_replace(Target { url: Some(server.url("/v1/webhooks").into()), over: true });
    for sender in senders {
        sender.await.expect("every answer is as it should be");
    }
    assert!(ledger.len() > ROUNDS * SENDERS / 2);
    ledger.reckon(&server).await;
}

/// Posts one webhook after the other. One whose answer did not come is sent again under its key
/// to the next process, as a sender does, until it is acknowledged.
async fn send(sender: usize, mut told: watch::Receiver<Target>, ledger: Ledger) {
    let client = client();
    for number in 0.. {
        let key = format!("{sender}-{number}");
        loop {
            let target = told.wait_for(|target| target.url.is_some()).await.expect("is told").clone();
            let url = target.url.expect("was waited for");
            if let Some(answer) = acknowledged(&client, &url, &key).await {
                ledger.note(&key, &answer);
                if target.over {
                    return;
                }
                break;
            }
            assert!(!target.over, "the last process is not killed, and still did not answer {key}");
        }
    }
}

/// The answer, if one came before the process died.
async fn acknowledged(client: &reqwest::Client, url: &str, key: &str) -> Option<Value> {
    let response = post(client, url, key).await.ok()?;
    let status = response.status();
    let body = response.bytes().await.ok()?;
    assert!(status.is_success(), "{key}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).ok()
}
