//! The real binary, and clients that open connections or begin requests and leave them. Senders of webhooks
//! must not notice.

mod closed_window;
mod forms;
mod handshakes;
mod open_answers;
mod readers;

use std::net::SocketAddr;
use std::time::Duration;

use hookbox::internals::grpc::proto::GetStatsRequest;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::{client, post, within};
use crate::support::server::{Place, Server};

/// The limit on open files of the process, and more connections than it allows.
const OPEN_FILES: u32 = 128;
const CONNECTIONS: usize = 150;

/// How long an honest client waits for an answer.
const SOON: Duration = Duration::from_secs(5);

/// The media type of forms.
const FORM: &str = "application/x-www-form-urlencoded";

async fn connect(address: SocketAddr, begin: &[u8]) -> TcpStream {
    let connected = within(SOON, TcpStream::connect(address));
    let mut stream = connected.await.expect("in time").expect("connects");
    stream.write_all(begin).await.expect("sends");
    stream
}

/// A sender with a new connection is answered on both ports.
async fn serves(server: &Server, key: &str) {
    let (sender, url) = (client(), server.url("/v1/webhooks"));
    let posted = within(SOON, post(&sender, &url, key));
    assert_eq!(posted.await.expect("in time").expect("answers").status(), 202);
    let asked = within(SOON, async {
        let mut calls = WebhookServiceClient::connect(server.grpc_url()).await.expect("connects");
        calls.get_stats(GetStatsRequest::default()).await.expect("answers")
    });
    asked.await.expect("in time");
}

/// Has an attacker make more connections than the limit with `attack`, and leave them. Senders are served meanwhile.
async fn keep_no_sender_out<C>(attack: impl AsyncFn(&Server) -> C) {
    let place = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).with_open_files(OPEN_FILES);
    let server = place.start();
    serves(&server, "before").await;
    let mut left = Vec::new();
    for number in 0..CONNECTIONS {
        left.push(attack(&server).await);
        if number % 50 == 0 {
            serves(&server, &format!("beside {number}")).await;
        }
    }
    serves(&server, "beside all of them").await;
    server.says("the connection limit is reached").await;
    drop(left);
    serves(&server, "after").await;
    assert!(server.terminate().await.success());
}

#[rstest]
#[case::silent(b"")]
#[case::half_a_head(b"POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\n")]
#[case::half_a_body(b"POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")]
#[case::half_a_preface(b"PRI * HTTP/2.0\r\n")]
#[tokio::test]
async fn more_connections_than_the_limit_keep_no_sender_out(#[case] begin: &[u8]) {
    keep_no_sender_out(async |server: &Server| {
        [connect(server.http_address(), begin).await, connect(server.grpc_address(), begin).await]
    })
    .await;
}

/// Together they declare more than the memory for bodies has room for.
#[tokio::test]
async fn bodies_that_do_not_arrive_take_no_memory_from_others_and_are_refused() {
    let place = Place::new(&["--simulate-min=0s", "--simulate-max=0s", "--max-body=16MiB"]);
    let server = place.start();
    let begin = "POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n{";
    let mut left = Vec::new();
    for _ in 0..40 {
        left.push(connect(server.http_address(), begin.as_bytes()).await);
    }
    serves(&server, "beside").await;
    let mut answer = String::new();
    let refused = within(SOON * 3, left[0].read_to_string(&mut answer)).await;
    refused.expect("in time").expect("answers");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BODY_TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_declared_too_large_is_refused_before_it_is_sent() {
    let server = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).start();
    let begin = "POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 16000000\r\n\r\n";
    let mut stream = connect(server.http_address(), begin.as_bytes()).await;
    let mut answer = [0; 12];
    let refused = within(SOON * 3, stream.read_exact(&mut answer)).await;
    refused.expect("in time").expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

/// Clients such as Python's `urllib` send everything before they read anything.
#[tokio::test]
async fn a_client_that_sends_all_of_a_body_that_is_too_large_reads_why_it_was_refused() {
    let server = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).start();
    const MIB: usize = 1024 * 1024;
    let sized = format!("Content-Length: {}\r\n\r\n", 64 * MIB);
    for (length, chunk) in
        [(sized.as_str(), Vec::new()), ("Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n".to_vec())]
    {
        let begin = format!(
            "POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}"
        );
        let mut stream = connect(server.http_address(), begin.as_bytes()).await;
        let is_chunked = !chunk.is_empty();
        let sending = async {
            for _ in 0..64 {
                stream.write_all(&chunk).await.expect("sends");
                stream.write_all(&vec![b' '; MIB]).await.expect("sends");
                stream.write_all(if is_chunked { b"\r\n" } else { b"" }).await.expect("sends");
            }
        };
        within(SOON * 4, sending).await.expect("in time");
        let mut answer = [0; 12];
        within(SOON, stream.read_exact(&mut answer)).await.expect("in time").expect("answers");
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
}

#[tokio::test]
async fn nothing_is_written_to_a_grpc_client_before_it_sends_something() {
    let server = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).start();
    let mut stream = connect(server.grpc_address(), b"").await;
    let mut settings = [0; 9];
    let early = tokio::time::timeout(Duration::from_millis(500), stream.read_exact(&mut settings)).await;
    assert!(early.is_err(), "{early:?}");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sends");
    let answered = within(SOON, stream.read_exact(&mut settings)).await;
    answered.expect("in time").expect("answers");
    assert_eq!(settings[3], 4, "the type of the frame");
}
