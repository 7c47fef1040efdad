//! Two replicas on one database: each receives the changes that the other makes.

use std::time::Duration;

use futures::StreamExt as _;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::clock::Clock;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use hookbox::internals::grpc::proto::{Status, WatchStatusRequest, WatchWebhooksRequest};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tonic::transport::Channel;

use crate::replicas::blocking;
use crate::support::client::{client, eventually, get, post};
use crate::support::inbox_database::inbox_database_for;
use crate::support::postgres::Database;
use crate::support::server::{Place, Server};

/// The time within which a watcher receives most changes. One may be late because the machine pauses.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_millis(1_500);

/// The time within which an idle replica claims at least half of the jobs: much less than any polling interval. The
/// others may be late because the machine pauses.
const CLAIMED_WITHIN: SignedDuration = SignedDuration::from_millis(250);

/// The number of webhooks in each test.
const WATCHED: i32 = 3;
const CLAIMED: i32 = 20;
const FOLLOWED: i32 = 100;

/// The time within which a stream has the next webhook.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(10);

/// Two replicas on one database. The only worker of the first replica is permanently busy.
struct Pair {
    busy: Server,
    idle: Server,
    _database: Database,
}

impl Pair {
    async fn start() -> Self {
        let database = blocking(|| inbox_database_for(2));
        let url = format!("--database-url={}", database.url());
        let busy = Place::new(&[&url, "--workers=1", "--simulate-min=1h", "--simulate-max=1h"]).start();
        submit(&busy, "busy").await;
        eventually("it is busy", async || {
            (get(&client(), &busy.url("/v1/stats")).await["workers"]["busy"] == 1).then_some(())
        })
        .await;
        let quick = ["--workers=32", "--simulate-min=300ms", "--simulate-max=300ms"];
        let idle = Place::new(&[&[url.as_str()], &quick[..]].concat()).start();
        Self { busy, idle, _database: database }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_on_one_replica_receives_changes_made_by_another() {
    let pair = Pair::start().await;
    let grpc = WebhookServiceClient::connect(pair.busy.grpc_url()).await.expect("connects");
    let mut late = Vec::new();
    for number in 0..WATCHED {
        let id = submit(&pair.busy, &number.to_string()).await;
        let (events, calls) = tokio::join!(by_events(&pair.busy, &id), by_call(grpc.clone(), &id));
        let webhook = get(&client(), &pair.busy.url(&format!("/v1/webhooks/{id}"))).await;
        assert_eq!(webhook["status"], "completed", "{webhook}");
        late.push(events.max(calls).duration_since(time_of(&webhook, "completed_at")));
    }
    late.sort_unstable();
    assert!(late[late.len() / 2] <= TOLD_WITHIN, "received {late:?} after the completion");
    assert_eq!(get(&client(), &pair.idle.url("/v1/stats")).await["counts"]["completed"], WATCHED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_replica_claims_at_once_what_a_busy_one_accepts() {
    let pair = Pair::start().await;
    let mut waited = Vec::new();
    for number in 0..CLAIMED {
        let id = submit(&pair.busy, &number.to_string()).await;
        let path = format!("/v1/webhooks/{id}");
        let accepted_at = time_of(&get(&client(), &pair.busy.url(&path)).await, "accepted_at");
        let claimed_at = eventually("it is claimed", async || {
            let webhook = get(&client(), &pair.busy.url(&path)).await;
            (webhook["status"] != "pending").then(|| time_of(&webhook, "updated_at"))
        })
        .await;
        waited.push(claimed_at.duration_since(accepted_at));
    }
    waited.sort_unstable();
    assert!(waited[waited.len() / 2] <= CLAIMED_WITHIN, "the jobs waited {waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_one_replica_has_every_webhook_of_both_once() {
    let pair = Pair::start().await;
    let mut grpc = WebhookServiceClient::connect(pair.idle.grpc_url()).await.expect("connects");
    let mut stream =
        grpc.watch_webhooks(WatchWebhooksRequest::default()).await.expect("answers").into_inner();
    let first = stream.next().await.expect("it goes on").expect("is told");
    assert!(first.webhook.is_none(), "{first:?}");
    let submitting = async |replica: &Server, name: &str| {
        let mut ids = Vec::new();
        for number in 0..FOLLOWED {
            ids.push(submit(replica, &format!("{name} {number}")).await);
        }
        ids
    };
    let (busy, idle) = tokio::join!(submitting(&pair.busy, "busy"), submitting(&pair.idle, "idle"));
    let mut expected = [busy, idle].concat();
    let mut sent = Vec::new();
    while sent.len() < expected.len() {
        let next = tokio::time::timeout(FOLLOWED_WITHIN, stream.next()).await.expect("in time");
        let message = next.expect("it goes on").expect("is told");
        sent.extend(message.webhook.map(|webhook| webhook.id));
    }
    expected.sort_unstable();
    sent.sort_unstable();
    assert_eq!(sent, expected);
}

/// Returns when server-sent events report that a webhook is completed.
async fn by_events(replica: &Server, id: &str) -> Timestamp {
    let asked = client().get(replica.url(&format!("/v1/webhooks/{id}/watch"))).send().await;
    let mut events = asked.expect("answers").bytes_stream();
    let mut text = String::new();
    while !text.contains(r#""status":"completed""#) {
        let event = events.next().await.expect("it goes on").expect("is read");
        text.push_str(&String::from_utf8_lossy(&event));
    }
    SystemClock.now()
}

/// Returns when a gRPC stream reports that a webhook is completed.
async fn by_call(mut client: WebhookServiceClient<Channel>, id: &str) -> Timestamp {
    let request = WatchStatusRequest { id: id.to_owned(), ..WatchStatusRequest::default() };
    let mut changes = client.watch_status(request).await.expect("answers").into_inner();
    while changes.next().await.expect("it goes on").expect("is told").status() != Status::Completed {}
    SystemClock.now()
}

/// Sends a webhook to a replica and returns its id.
async fn submit(replica: &Server, key: &str) -> String {
    let accepted = post(&client(), &replica.url("/v1/webhooks"), key).await.expect("answers");
    let accepted = accepted.json::<Value>().await.expect("is JSON");
    accepted["id"].as_str().expect("has an id").to_owned()
}

fn time_of(webhook: &Value, member: &str) -> Timestamp {
    webhook[member].as_str().expect("is text").parse().expect("is a time")
}
