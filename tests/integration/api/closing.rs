//! Connections without a request when hookbox stops.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Sqlite};
use crate::api::tls::Secured;
use crate::support::client::post;
use crate::support::tls::connect;

/// How long an answer, or the end of a connection, may take. Less than a TLS handshake may take, and than hookbox gives
/// open requests at the stop.
const SOON: Duration = Duration::from_secs(8);

const NOTHING: &[u8] = b"";

const HALF_A_HEAD: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: local";

const HALF_A_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// The preface of HTTP/2, and a frame without settings. The client answers no pings.
const NO_PINGS: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first bytes of a TLS handshake.
const HALF_A_HANDSHAKE: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Sends the beginning of something.
async fn begun<S: AsyncWrite + Unpin>(mut stream: S, begin: &[u8]) -> S {
    stream.write_all(begin).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// The same, and waits for the first byte that comes back.
async fn answered<S: AsyncRead + AsyncWrite + Unpin>(stream: S, begin: &[u8]) -> S {
    let mut stream = begun(stream, begin).await;
    timeout(SOON, stream.read_u8()).await.expect("in time").expect("an answer");
    stream
}

/// Waits until the server has closed a connection.
async fn closed(mut stream: impl AsyncRead + Unpin) {
    let mut rest = Vec::new();
    // It ends, or is reset.
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("is closed in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_are_closed_at_the_stop() {
    let mut hookbox = Hookbox::start(Sqlite);
    // So that hookbox does not end before its connections.
    let _gate = hookbox.handler.will_hold();
    hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;

    let mut open = Vec::new();
    for address in [hookbox.rest.address(), hookbox.grpc_address()] {
        for begin in [NOTHING, HALF_A_HEAD, HALF_A_PREFACE] {
            open.push(begun(TcpStream::connect(address).await.unwrap(), begin).await);
        }
        // Connections are accepted in turn, so the others are open by now.
        open.push(answered(TcpStream::connect(address).await.unwrap(), NO_PINGS).await);
    }
    hookbox.begin_to_stop();
    for stream in open {
        closed(stream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_without_a_request_over_tls_are_closed_at_the_stop() {
    let mut secured = Secured::start();
    let _gate = secured.hookbox.handler.will_hold();
    let url = format!("https://localhost:{}/v1/webhooks", secured.hookbox.rest.address().port());
    let accepted = post(&secured.authority.sender(&["http/1.1"]), &url, "evt-001").await.unwrap();
    assert_eq!(accepted.status(), 202);
    secured.hookbox.wait_for_runs(1).await;
    let h2 = secured.authority.client(None, &["h2"]);

    let (mut handshakes, mut open) = (Vec::new(), Vec::new());
    for address in [secured.hookbox.rest.address(), secured.hookbox.grpc_address()] {
        for begin in [NOTHING, HALF_A_HANDSHAKE] {
            handshakes.push(begun(TcpStream::connect(address).await.unwrap(), begin).await);
        }
        for begin in [NOTHING, HALF_A_PREFACE] {
            open.push(begun(connect(address, h2.clone()).await.unwrap(), begin).await);
        }
        open.push(answered(connect(address, h2.clone()).await.unwrap(), NO_PINGS).await);
    }
    secured.hookbox.begin_to_stop();
    for stream in handshakes {
        closed(stream).await;
    }
    for stream in open {
        closed(stream).await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_arrive_does_not_hold_up_the_end_of_the_process() {
    let place = Place::new(&[]);
    let mut process = place.serve().await;
    let address = process.rest.address();
    let _half = begun(TcpStream::connect(address).await.unwrap(), HALF_A_HEAD).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Connections are accepted in turn.
    let _later = answered(TcpStream::connect(address).await.unwrap(), request).await;
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(!process.log().contains("did not end in time"), "{}", process.log());
}
