//! Heads of requests that are too long, or have too many headers.

use std::time::Duration;

use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::harness::{Hookbox, Sqlite};

/// The most bytes of a head.
const HEAD_BYTES: usize = 64 * 1024;

/// The most headers of a head.
const HEADERS: usize = 100;

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(30);

/// Sends the beginning of a request, filled up to a length; returns the first line of the answer.
async fn answer_to(hookbox: &Hookbox, begin: &str, length: usize, end: &str) -> String {
    let mut stream = TcpStream::connect(hookbox.rest.address()).await.unwrap();
    let filling = "x".repeat(length - begin.len() - end.len());
    stream.write_all(format!("{begin}{filling}{end}").as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let answered = tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await;
    answered.expect("in time").expect("an answer");
    String::from_utf8(answer).unwrap()
}

#[rstest]
#[case::header("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Long: ", "\r\n\r\n")]
#[case::path("GET /healthz?", " HTTP/1.1\r\nHost: localhost\r\n\r\n")]
#[tokio::test]
async fn a_head_of_64_kib_without_an_end_is_answered_431(#[case] begin: &str, #[case] end: &str) {
    let hookbox = Hookbox::start(Sqlite);
    assert_eq!(answer_to(&hookbox, begin, HEAD_BYTES, "").await, "HTTP/1.1 431");
    assert_eq!(answer_to(&hookbox, begin, HEAD_BYTES / 2, end).await, "HTTP/1.1 200");
    assert_eq!(hookbox.rest.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_head_may_have_100_headers() {
    let hookbox = Hookbox::start(Sqlite);
    for (headers, status) in [(HEADERS, "HTTP/1.1 200"), (HEADERS + 1, "HTTP/1.1 431")] {
        // One of them is `Host`.
        let others = (1..headers).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
        let head = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{others}");
        assert_eq!(answer_to(&hookbox, &head, head.len() + 2, "\r\n").await, status, "{headers} headers");
    }
}
