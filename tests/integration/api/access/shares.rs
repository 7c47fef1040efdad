//! What is limited in a process, and of which one token has a share, so that it cannot keep the others out.

use std::time::Duration;

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::work_service_client::WorkServiceClient;
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Bearer, EVERY_ROLE, bearer, grpc, rest, secret, token};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};
use crate::api::work::{call, wait_for_polls};

/// A hookbox with the tokens `one` and `other`, whose jobs wait for workers.
fn hookbox(store: Store) -> Hookbox {
    let tokens = ["one", "other"].map(|name| token(name, EVERY_ROLE)).concat();
    let route = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";
    Hookbox::with_routes(store, &format!("metrics_open = true\n{route}{tokens}"))
}

/// A client of workers with the token of this name.
fn work(hookbox: &Hookbox, name: &str) -> WorkServiceClient<InterceptedService<Channel, Bearer>> {
    WorkServiceClient::with_interceptor(hookbox.channel(), bearer(&secret(name)))
}

/// Checks that the token `one` has its share, over REST.
#[track_caller]
fn refused(answer: &Answer, detail: &str) {
    let problem = answer.problem(503, "STORE_UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(problem["detail"].as_str().unwrap().starts_with(detail), "{problem}");
    assert_eq!(problem["title"], "Not available at the moment", "the store is not at fault");
}

/// Checks that the token `one` has its share, over gRPC.
#[track_caller]
fn refused_call(status: &Status, detail: &str) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.get_details_error_info().expect("an ErrorInfo").reason, "STORE_UNAVAILABLE");
    let delay = status.get_details_retry_info().expect("a RetryInfo").retry_delay;
    assert_eq!(delay, Some(Duration::from_secs(1)));
    assert!(status.message().starts_with(detail), "{status}");
}

/// Checks that the token `other` gets a stream over REST.
async fn is_open(hookbox: &Hookbox, path: &str) {
    let stream = rest(hookbox, "other").request(Method::GET, path).send().await.unwrap();
    assert_eq!((stream.status().as_u16(), path), (200, path));
}

#[tokio::test]
async fn one_token_has_half_of_the_streams_of_new_webhooks() {
    let hookbox = hookbox(Sqlite);
    let (one, mut other) = (grpc(&hookbox, "one"), grpc(&hookbox, "other"));
    let (asked, path) = (proto::WatchWebhooksRequest::default, "/v1/webhooks/watch");
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(one.clone().watch_webhooks(asked()).await.unwrap());
    }
    let detail = "`one` has 32 of at most 64 streams of new webhooks";
    refused_call(&one.clone().watch_webhooks(asked()).await.unwrap_err(), detail);
    refused(&rest(&hookbox, "one").get(path).await, detail);
    let _stream = other.watch_webhooks(asked()).await.unwrap();
    is_open(&hookbox, path).await;
    drop(open);
    eventually("a stream of the token has ended", || {
        let mut one = one.clone();
        async move { one.watch_webhooks(asked()).await.ok() }
    })
    .await;
}

#[tokio::test]
async fn one_token_has_half_of_the_watchers_of_webhooks() {
    let hookbox = hookbox(Sqlite);
    let id = rest(&hookbox, "one").accept("evt-001").await;
    let asked = || proto::WatchStatusRequest { id: id.clone(), ..Default::default() };
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut one = grpc(&hookbox, "one");
        for _ in 0..100 {
            open.push(one.watch_status(asked()).await.unwrap());
        }
    }
    let detail = "`one` has 500 of at most 1000 watchers of webhooks";
    refused_call(&grpc(&hookbox, "one").watch_status(asked()).await.unwrap_err(), detail);
    let _stream = grpc(&hookbox, "other").watch_status(asked()).await.unwrap();
    for path in [format!("/v1/webhooks/{id}/watch"), "/v1/watch?idempotency_key=evt-001".to_owned()] {
        refused(&rest(&hookbox, "one").get(&path).await, detail);
        is_open(&hookbox, &path).await;
    }
    drop(open);
    eventually("a watcher of the token has gone", || {
        let (mut one, asked) = (grpc(&hookbox, "one"), asked());
        async move { one.watch_status(asked).await.ok() }
    })
    .await;
}

#[tokio::test]
async fn one_token_has_half_of_the_requests_that_wait_for_jobs() {
    let hookbox = hookbox(Sqlite);
    let asked = |seconds| proto::LeaseJobsRequest {
        routes: vec!["orders".into()],
        worker: "host-1".into(),
        wait: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    let mut polls = JoinSet::new();
    for _ in 0..5 {
        let one = work(&hookbox, "one");
        for _ in 0..100 {
            let (mut one, asked) = (one.clone(), asked(30));
            polls.spawn(async move { one.lease_jobs(asked).await });
        }
    }
    wait_for_polls(&hookbox, 500).await;
    let detail = "`one` has 500 of at most 1000 requests of workers that wait for jobs";
    refused_call(&work(&hookbox, "one").lease_jobs(asked(0)).await.unwrap_err(), detail);
    let body = json!({ "routes": ["orders"], "worker": "host-1" });
    refused(&call(&rest(&hookbox, "one"), "lease", &body).await, detail);
    assert!(work(&hookbox, "other").lease_jobs(asked(0)).await.unwrap().into_inner().jobs.is_empty());
    assert_eq!(call(&rest(&hookbox, "other"), "lease", &body).await.status, 200);
    polls.shutdown().await;
    wait_for_polls(&hookbox, 0).await;
    assert_eq!(call(&rest(&hookbox, "one"), "lease", &body).await.status, 200);
}

/// Sessions that wait for the lock of the table.
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'webhooks'::regclass AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Moves the time on until one of these searches has ended, and answers its result.
async fn ended<T: 'static>(hookbox: &Hookbox, searches: &mut JoinSet<T>) -> T {
    let ended = eventually("the end of a search", || {
        // For so long a search waits for its turn.
        hookbox.advance(SignedDuration::from_millis(200));
        let ended = searches.try_join_next();
        async move { ended }
    });
    ended.await.unwrap()
}

#[tokio::test]
async fn one_token_has_half_of_the_searches_in_bodies() {
    let hookbox = hookbox(Postgres);
    let path = "/v1/webhooks?body_contains=paid";
    // Once it has answered, it has started: the start reads the table, too.
    assert_eq!(rest(&hookbox, "one").get(path).await.status, 200);
    let lock = hookbox.lock_webhooks();
    let mut searches = JoinSet::new();
    for _ in 0..2 {
        let one = rest(&hookbox, "one");
        searches.spawn(async move { one.get(path).await });
    }
    let detail = "`one` has 1 of at most 2 searches in bodies";
    refused(&ended(&hookbox, &mut searches).await, detail);
    let mut calls = JoinSet::new();
    let mut one = grpc(&hookbox, "one");
    let asked = proto::ListWebhooksRequest { body_contains: "paid".into(), ..Default::default() };
    calls.spawn(async move { one.list_webhooks(asked).await });
    refused_call(&ended(&hookbox, &mut calls).await.unwrap_err(), detail);

    let other = rest(&hookbox, "other");
    searches.spawn(async move { other.get(path).await });
    eventually("a search of each token", || async {
        let waiting = lock.ask(WAITING).unwrap().concat().parse::<usize>().unwrap();
        (waiting >= 2).then_some(())
    })
    .await;
    lock.ask("COMMIT").unwrap();
    while let Some(found) = searches.join_next().await {
        assert_eq!(found.unwrap().status, 200);
    }
}
