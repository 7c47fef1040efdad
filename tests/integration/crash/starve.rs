//! A disk that is full for a while, played by a limit on the size of files.

use std::process::Command;

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::support::client::{client, eventually, get, post};
use crate::support::ledger::{Ledger, list};
use crate::support::server::{Place, Server, size_of};

/// What the log of the database may still grow by when the disk begins to be full: some commits.
const SPACE_LEFT_BYTES: u64 = 256 * 1024;

/// Refusals that are waited for: the fault lasts over several batches and openings of the file.
const REFUSALS: usize = 60;

/// The most webhooks that fit into the space that is left.
const MOST: usize = 2_000;

/// Limits the size of what a running process writes, with the tool of util-linux.
fn limit_files(server: &Server, bytes: &str) {
    let limited = Command::new("prlimit")
        .arg(format!("--pid={}", server.process_id()))
        .arg(format!("--fsize={bytes}:"))
        .status()
        .expect("prlimit of util-linux is installed");
    assert!(limited.success(), "{limited}");
}

/// Checks that a full store is reported, with the time to try again.
async fn says_that_the_store_is_unavailable(response: Response) {
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let after = response.headers().get("retry-after").expect("has the time to try again");
    assert!(after.to_str().expect("is text").parse::<u64>().expect("is a number") >= 1);
    let problem = response.json::<Value>().await.expect("is JSON");
    assert_eq!(problem["reason"], "STORE_UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing_and_is_over_when_there_is_space_again() {
    let place = Place::new(&["--simulate-min=0s", "--simulate-max=20ms", "--workers=16"]);
    let server = place.start();
    let (client, url) = (client(), server.url("/v1/webhooks"));
    let ledger = Ledger::default();
    let accept = async |key: &str| {
        let response = post(&client, &url, key).await.expect("answers");
        let accepted = response.status() == StatusCode::ACCEPTED;
        if accepted {
            ledger.note(key, &response.json().await.expect("is JSON"));
        } else {
            says_that_the_store_is_unavailable(response).await;
        }
        accepted
    };
    for number in 0..50 {
        assert!(accept(&format!("before-{number}")).await);
    }

    limit_files(&server, &(size_of(&place.file("-wal")) + SPACE_LEFT_BYTES).to_string());
    let mut refused = Vec::new();
    for number in 0..MOST {
        let key = format!("during-{number}");
        if !accept(&key).await {
            refused.push(key);
        }
        if refused.len() == REFUSALS {
            break;
        }
    }
    assert_eq!(refused.len(), REFUSALS, "the space is used up");
    server.says("the store cannot write; nothing of this batch was acknowledged").await;

    // The probe writes less than a webhook, and may fit a few times.
    eventually("it is not ready", async || {
        let ready = client.get(server.url("/readyz")).send().await.expect("answers");
        (ready.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!(client.get(server.url("/healthz")).send().await.expect("answers").status(), StatusCode::OK);
    let kept = list(&server).await;
    assert_eq!(kept.len(), ledger.len(), "what was acknowledged can be read, and nothing else is there");
    for key in &refused {
        let asked = client.get(server.url(&format!("/v1/status?idempotency_key={key}"))).send().await;
        assert_eq!(asked.expect("answers").status(), StatusCode::NOT_FOUND, "{key} was refused");
    }

    limit_files(&server, "unlimited");
    eventually("the store can be written again", async || accept("after").await.then_some(())).await;
    let ready = get(&client, &server.url("/readyz")).await;
    assert_eq!(ready["ready"], true);
    for key in &refused {
        assert!(accept(key).await, "{key} is new");
    }
    ledger.reckon(&server).await;

    limit_files(&server, "0");
    let stopped = server.terminate_saying("the write-ahead log could not be copied back at shutdown").await;
    assert!(stopped.success(), "{stopped}");
    assert!(size_of(&place.file("-wal")) > 0, "the log is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_while_the_disk_is_full() {
    let place =
        Place::new(&["--simulate-min=0s", "--simulate-max=20ms", "--workers=16", "--max-attempts=1000"]);
    let server = place.start();
    let (client, url) = (client(), server.url("/v1/webhooks"));
    let ledger = Ledger::default();
    limit_files(&server, &(size_of(&place.file("-wal")) + SPACE_LEFT_BYTES).to_string());
    for number in 0..MOST {
        let key = number.to_string();
        let response = post(&client, &url, &key).await.expect("answers");
        if response.status() != StatusCode::ACCEPTED {
            says_that_the_store_is_unavailable(response).await;
            break;
        }
        ledger.note(&key, &response.json().await.expect("is JSON"));
    }
    assert!((1..MOST).contains(&ledger.len()), "some fit, not all");
    server.kill();

    let server = place.start();
    ledger.reckon(&server).await;
}
