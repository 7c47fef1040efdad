//! Clients that ask for large answers and do not take them.

use std::time::Duration;

use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use hookbox::internals::grpc::proto::work_service_client::WorkServiceClient;
use hookbox::internals::grpc::proto::{GetWebhookRequest, LeaseJobsRequest};
use prost::Message as _;
use reqwest::{Client, StatusCode};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use super::closed_window::ClosedWindow;
use crate::support::client::{client, eventually, get};
use crate::support::server::{Place, Server};

/// The size of a large answer. It is less than the default of `max_body`.
pub(super) const LARGE_BYTES: usize = 1_000_000;

/// Connections with requests for it. Together, the answers are larger than the memory for answers.
const CONNECTIONS: usize = 6;
const REQUESTS: usize = 16;

/// How long a connection may stay open whose answers are not taken: 45 seconds, and some because other tests run
/// beside. After 60 seconds it would be closed because it does not answer a ping.
const OPEN_TIME: Duration = Duration::from_secs(55);

#[derive(Clone, Copy)]
enum Api {
    Rest,
    Grpc,
}

/// Submits a webhook with this key and event type.
pub(super) async fn submit(client: &Client, server: &Server, key: &str, payload_bytes: usize) -> String {
    let webhook = json!({ "idempotency_key": key, "event_type": key, "payload": "x".repeat(payload_bytes) });
    let answer = client.post(server.url("/v1/webhooks")).json(&webhook).send().await.expect("answers");
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let accepted: Value = answer.json().await.expect("is JSON");
    accepted["id"].as_str().expect("an id").to_owned()
}

#[rstest]
#[tokio::test]
async fn answers_that_are_not_taken_use_bounded_memory_and_are_given_up(
    #[values(Api::Rest, Api::Grpc)] api: Api,
) {
    let server = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).start();
    let reader = client();
    let large = submit(&reader, &server, "large", LARGE_BYTES).await;
    let small = submit(&reader, &server, "small", 10).await;
    let (large_path, small_path) = (format!("/v1/webhooks/{large}"), format!("/v1/webhooks/{small}"));
    let named = GetWebhookRequest { id: large, ..Default::default() };
    let message = named.encode_to_vec();

    let ask = async |requests: usize| {
        let address = match api {
            Api::Rest => server.http_address(),
            Api::Grpc => server.grpc_address(),
        };
        let mut stranger = ClosedWindow::connect(address).await;
        for _ in 0..requests {
            match api {
                Api::Rest => stranger.get(&large_path).await,
                Api::Grpc => stranger.call("/hookbox.v1.WebhookService/GetWebhook", &message).await,
            }
        }
        // Later requests then compete neither with these nor with each other for the memory that is left.
        stranger.answered(requests).await;
        stranger
    };

    let mut strangers = vec![ask(REQUESTS).await];
    let closes_by = Instant::now() + OPEN_TIME;
    for _ in 1..CONNECTIONS {
        strangers.push(ask(REQUESTS).await);
    }
    let refused = eventually("a large answer is refused", async || {
        let answer = reader.get(server.url(&large_path)).send().await.expect("answers");
        if answer.status() != StatusCode::OK {
            return Some(answer);
        }
        // A stranger takes the memory that this answer had.
        drop(answer);
        strangers.push(ask(1).await);
        None
    })
    .await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    let problem: Value = refused.json().await.expect("is JSON");
    assert_eq!(problem["reason"], "STORE_UNAVAILABLE", "{problem}");
    assert_eq!(problem["instance"], large_path, "{problem}");
    let grpc = format!("http://{}", server.grpc_address());
    let mut calls = WebhookServiceClient::connect(grpc).await.expect("connects");
    let refused = eventually("a large answer is refused over gRPC", async || {
        let refused = calls.get_webhook(named.clone()).await.err();
        if refused.is_none() {
            strangers.push(ask(1).await);
        }
        refused
    })
    .await;
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    let metrics = reader.get(server.url("/metrics")).send().await.expect("answers");
    let metrics = metrics.text().await.expect("is text");
    for refusals in [
        r#"hookbox_requests_total{api="rest",endpoint="/v1/webhooks/{id}",code="503"}"#,
        r#"hookbox_requests_total{api="grpc",endpoint="GetWebhook",code="Unavailable"}"#,
    ] {
        assert!(metrics.contains(refusals), "{refusals} in {metrics}");
    }
    assert_eq!(get(&reader, &server.url(&small_path)).await["payload"], "x".repeat(10));

    let first = strangers.remove(0).until_closed();
    tokio::time::timeout_at(closes_by, first).await.expect("the connection is closed");
    let webhook = eventually("a large answer has room again", async || {
        let answer = reader.get(server.url(&large_path)).send().await.expect("answers");
        let is_ok = answer.status() == StatusCode::OK;
        if is_ok { Some(answer.json::<Value>().await.expect("is JSON")) } else { None }
    })
    .await;
    assert_eq!(webhook["payload"].as_str().map(str::len), Some(LARGE_BYTES));
}

#[tokio::test]
async fn jobs_are_given_back_if_there_is_no_memory_for_the_answer_to_their_worker() {
    let place = Place::new(&[]);
    let routes = "[[routes]]\nname = \"jobs\"\nmatch = { event_type = \"job\" }\nhandler = \"pull\"\n";
    std::fs::write(place.file("").with_file_name("hookbox.toml"), routes).expect("writes");
    let server = place.start();
    let reader = client();
    let large = submit(&reader, &server, "large", LARGE_BYTES).await;
    let large_path = format!("/v1/webhooks/{large}");
    // Has no room where another answer has none.
    let job = submit(&reader, &server, "job", LARGE_BYTES + 40_000).await;
    let ask = async |requests: usize| {
        let mut stranger = ClosedWindow::connect(server.http_address()).await;
        for _ in 0..requests {
            stranger.get(&large_path).await;
        }
        stranger.answered(requests).await;
        stranger
    };
    let mut strangers = Vec::new();
    for _ in 0..CONNECTIONS {
        strangers.push(ask(REQUESTS).await);
    }
    eventually("a large answer is refused", async || {
        let answer = reader.get(server.url(&large_path)).send().await.expect("answers");
        if answer.status() != StatusCode::OK {
            return Some(());
        }
        drop(answer);
        strangers.push(ask(1).await);
        None
    })
    .await;

    let is_pending = async || {
        let status = get(&reader, &server.url(&format!("/v1/webhooks/{job}/status"))).await;
        assert_eq!((&status["status"], &status["attempt_count"]), (&json!("pending"), &json!(0)));
    };
    let body = json!({ "routes": ["jobs"], "worker": "worker-1" });
    let refused = reader.post(server.url("/v1/work/lease")).json(&body).send().await.expect("answers");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    is_pending().await;

    let grpc = format!("http://{}", server.grpc_address());
    let mut workers = WorkServiceClient::connect(grpc).await.expect("connects");
    let (routes, worker) = (vec!["jobs".to_owned()], "worker-1".to_owned());
    let request = LeaseJobsRequest { routes, worker, ..Default::default() };
    let refused = workers.lease_jobs(request).await.expect_err("there is no memory");
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    is_pending().await;
}
