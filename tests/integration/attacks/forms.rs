//! Forms of the page that do not arrive.

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{FORM, SOON, connect};
use crate::support::client::client;
use crate::support::server::{Place, Server};

/// Forms that do not arrive.
const FORMS: usize = 40;

/// Begins a form of which nothing but the first byte comes, once the server reads it.
async fn begin(server: &Server, path: &str) -> TcpStream {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut stream = connect(server.http_address(), head.as_bytes()).await;
    let mut answer = [0; 25];
    let goes_on = tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await;
    goes_on.expect("in time").expect("answers");
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"r").await.expect("sends");
    stream
}

#[tokio::test]
async fn forms_that_do_not_arrive_keep_no_other_form_out_and_are_refused() {
    let server = Place::new(&["--simulate-min=0s", "--simulate-max=0s"]).start();
    let mut left = Vec::new();
    for number in 0..FORMS {
        left.push(begin(&server, if number % 2 == 0 { "/pause" } else { "/login" }).await);
    }
    let form = client().post(server.url("/pause")).header(CONTENT_TYPE, FORM).body("reason=beside");
    let answer = tokio::time::timeout(SOON, form.send()).await.expect("in time").expect("answers");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "it is read, and lacks the token of forms");
    for stream in left.iter_mut().take(2) {
        let mut answer = [0; 12];
        let refused = tokio::time::timeout(SOON * 3, stream.read_exact(&mut answer)).await;
        refused.expect("in time").expect("answers");
        assert_eq!(&answer, b"HTTP/1.1 400");
    }
}
