//! Clients that begin TLS handshakes and leave them.

use std::net::SocketAddr;
use std::time::Duration;

use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{OPEN_FILES, SOON, connect};
use crate::support::client::{post, within};
use crate::support::server::{Place, Server};
use crate::support::tls::{self, Authority, SETTINGS};

/// Handshakes that are open at once on each port.
const HANDSHAKES: usize = 100;

/// The first bytes of a handshake whose rest never comes.
const BEGUN: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// Longer than a handshake may take.
const HANDSHAKE_TIME: Duration = Duration::from_secs(20);

fn place() -> (Place, Authority) {
    let place = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]);
    let authority = Authority::new();
    let settings = place.file("").with_file_name("hookbox.toml");
    authority.issue().write(settings.parent().expect("a folder"));
    std::fs::write(&settings, SETTINGS).expect("is written");
    (place, authority)
}

/// A sender with a new connection is answered on both ports.
async fn serves(server: &Server, authority: &Authority, key: &str) {
    let url = format!("https://localhost:{}/v1/webhooks", server.http_address().port());
    let sender = authority.sender(&["http/1.1"]);
    let posted = within(SOON, post(&sender, &url, key)).await;
    assert_eq!(posted.expect("in time").expect("answers").status(), 202);
    let secured = tls::connect(server.grpc_address(), authority.client(None, &["h2"]));
    let mut calls = within(SOON, secured).await.expect("in time").expect("connects");
    let begun = async {
        calls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
        calls.flush().await?;
        calls.read_exact(&mut [0; 9]).await
    };
    within(SOON, begun).await.expect("in time").expect("answers");
}

#[rstest]
#[case::within_the_limit_on_connections(None)]
#[case::beyond_it(Some(OPEN_FILES))]
#[tokio::test]
async fn idle_handshakes_keep_no_client_out(#[case] open_files: Option<u32>) {
    let (place, authority) = place();
    let place = match open_files {
        None => place,
        Some(limit) => place.with_open_files(limit),
    };
    let server = place.start();
    serves(&server, &authority, "before").await;
    let mut left = Vec::new();
    for number in 0..HANDSHAKES {
        for address in [server.http_address(), server.grpc_address()] {
            let begin = if number % 2 == 0 { BEGUN } else { b"" };
            left.push(connect(address, begin).await);
        }
        if number % 50 == 0 {
            serves(&server, &authority, &format!("beside {number}")).await;
        }
    }
    serves(&server, &authority, "beside all of them").await;
    drop(left);
    serves(&server, &authority, "after").await;
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_closed_in_time() {
    let (place, _authority) = place();
    let server = place.start();
    let (http, grpc) = (server.http_address(), server.grpc_address());
    let closed = |address: SocketAddr, begin: &'static [u8]| async move {
        let mut stream: TcpStream = connect(address, begin).await;
        let mut rest = Vec::new();
        // It ends, or the connection is reset.
        let _ = tokio::time::timeout(HANDSHAKE_TIME, stream.read_to_end(&mut rest)).await.expect("in time");
    };
    tokio::join!(closed(http, b""), closed(http, BEGUN), closed(grpc, b""), closed(grpc, BEGUN));
    assert!(server.terminate().await.success());
}

#[tokio::test]
async fn a_body_that_does_not_arrive_over_tls_is_refused() {
    let (place, authority) = place();
    let server = place.start();
    let secured = tls::connect(server.http_address(), authority.client(None, &["http/1.1"]));
    let mut stream = secured.await.expect("connects");
    let head = "POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sends");
    stream.flush().await.expect("sends");
    let mut answer = [0; 12];
    let refused = within(SOON * 3, stream.read_exact(&mut answer)).await;
    refused.expect("in time").expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 408");
}
