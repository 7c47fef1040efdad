//! Answers over HTTP/2 that come before the body of their request.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{Ping, SendStream};
use hyper::Request;
use rstest::rstest;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::api::harness::{Hookbox, Sqlite};
use crate::support::client::{PATIENCE, within};

/// More than the server takes of a request before it reads it.
const LARGE_BYTES: usize = 3 * 1024 * 1024;

// The client closes its connection while hookbox stops, so that it need not wait for that.
#[rstest]
#[case::the_path_is_wrong("/v1/nothing", "application/json", 80, 404)]
#[case::the_query_is_wrong("/v1/webhooks?a=b", "application/json", 80, 400)]
#[case::the_type_is_wrong("/v1/webhooks", "text/plain", 80, 415)]
#[case::the_type_of_a_large_body_is_wrong("/v1/webhooks", "text/plain", LARGE_BYTES, 415)]
#[case::the_body_is_too_large("/v1/webhooks", "application/json", LARGE_BYTES, 413)]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_rest_of_a_body_over_http_2_is_taken_after_an_early_answer(
    #[case] path: &str,
    #[case] content_type: &str,
    #[case] bytes: usize,
    #[case] status: u16,
) {
    let hookbox = Hookbox::start(Sqlite);
    let address = hookbox.rest.address();
    let (client, mut connection) =
        h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", content_type)
        .header("content-length", bytes)
        .body(())
        .unwrap();
    let mut client = client.ready().await.unwrap();
    let (answer, body) = client.send_request(request, false).unwrap();
    let exchange = async {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), status);
        let mut problem = Vec::new();
        let mut parts = answer.into_body();
        while let Some(part) = parts.data().await {
            problem.extend_from_slice(&part.unwrap());
        }
        assert_eq!(serde_json::from_slice::<Value>(&problem).unwrap()["status"], status);
        // If the server resets the stream, it does so before it answers the ping.
        pings.ping(Ping::opaque()).await.unwrap();
        send(body, Bytes::from(vec![b' '; bytes])).await;
    };
    within(PATIENCE, exchange).await.expect("in time");
}

/// Sends a whole body. Fails if the server resets the stream.
async fn send(mut stream: SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let room = poll_fn(|context| stream.poll_capacity(context)).await;
        let room = room.expect("the stream is open").expect("the stream is open");
        let part = body.split_to(room.min(body.len()));
        stream.send_data(part, body.is_empty()).expect("the stream is open");
    }
}
