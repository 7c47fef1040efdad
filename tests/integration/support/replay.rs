//! A replay of webhooks that are completed, and the reckoning at its end.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::client::{client, eventually, get, post};
use crate::support::ledger::list;
use crate::support::server::Server;

/// Webhooks that were completed before the replay.
pub(crate) const WEBHOOKS: usize = 300;

/// So that the replay takes three seconds.
const RATE: &str = "100/s";

/// Accepts webhooks, waits until they are completed, and starts a replay of all of them.
pub(crate) async fn start(server: &Server) {
    let (client, url) = (client(), server.url("/v1/webhooks"));
    for number in 0..WEBHOOKS {
        let response = post(&client, &url, &number.to_string()).await.expect("answers");
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    eventually("every webhook is completed", async || {
        let counts = get(&client, &server.url("/v1/stats")).await["counts"].clone();
        (counts["completed"] == WEBHOOKS).then_some(())
    })
    .await;
    let asked = json!({ "filter": { "source": "default" }, "rate": RATE });
    let started = client.post(server.url("/v1/replays")).json(&asked).send().await.expect("answers");
    assert_eq!(started.status(), StatusCode::ACCEPTED);
}

/// Waits until the replay has restarted so many jobs. It must not be over.
pub(crate) async fn is_under_way(server: &Server, jobs: usize) {
    let restarted = eventually("the replay is under way", async || {
        let replay = replay(server).await;
        let restarted = replay["counts"]["jobs"].as_u64().expect("is a number");
        (restarted >= jobs as u64).then_some(replay)
    })
    .await;
    assert_eq!(restarted["state"], "running", "{restarted}");
}

/// Waits for the end of the replay. Every job runs again exactly once.
pub(crate) async fn reckon(server: &Server) {
    let ended = eventually("the end of the replay", async || {
        let replay = replay(server).await;
        (replay["state"] == "completed").then_some(replay)
    })
    .await;
    assert_eq!(ended["counts"]["jobs"], WEBHOOKS, "{ended}");
    let client = client();
    eventually("every webhook is completed again", async || {
        let counts = get(&client, &server.url("/v1/stats")).await["counts"].clone();
        (counts["completed"] == WEBHOOKS).then_some(())
    })
    .await;
    for (_, id) in list(server).await {
        let webhook = get(&client, &server.url(&format!("/v1/webhooks/{id}"))).await;
        assert_eq!(webhook["jobs"][0]["run"], 2, "{webhook}");
        let attempts = webhook["attempts"].as_array().expect("is a list").iter();
        let completed = attempts.filter(|attempt| attempt["outcome"] == "completed").count();
        assert_eq!(completed, 2, "{webhook}");
    }
}

async fn replay(server: &Server) -> Value {
    get(&client(), &server.url("/v1/replays/1")).await
}
