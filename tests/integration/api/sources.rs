//! Sources: requests as their senders send them, to the URL of each source.

mod answers;
mod batches;
mod bodies;
mod causes;
mod conflicts;
mod deadline;
mod documented;
mod fetched;
mod handshake_tokens;
mod handshakes;
mod limits;
mod once;
mod quarantine;
mod reload;
mod settings;
mod tokens;
mod vectors;
mod verified;
mod watching;

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use ring::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::api::harness::client::{Answer, Rest};

/// The source `shop`: an HMAC of the body in a header, and the key in another one. More of its members can follow.
const SHOP: &str = r#"
[sources.shop]
verify = { hmac = "sha256", header = "X-Signature" }
secrets = ["s3cret"]
key = { header = "X-Id" }
"#;

/// A route whose jobs wait for workers.
const PULLED: &str = "[[routes]]\nname = \"pulled\"\nhandler = \"pull\"\n";

/// The HMAC-SHA256 of a text, in hexadecimal digits.
fn sign(secret: &str, text: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text);
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A request to the URL of a source.
fn request(rest: &Rest, method: Method, source: &str) -> RequestBuilder {
    rest.request(method, &format!("/v1/sources/{source}/webhooks"))
}

/// A request by POST with a body of JSON.
fn post(rest: &Rest, source: &str, body: &str) -> RequestBuilder {
    request(rest, Method::POST, source).header(CONTENT_TYPE, "application/json").body(body.to_owned())
}

/// A webhook of the source `shop`, signed with this secret.
fn signed_with(rest: &Rest, secret: &str, key: &str, body: &str) -> RequestBuilder {
    post(rest, "shop", body).header("X-Id", key).header("X-Signature", sign(secret, body.as_bytes()))
}

/// Sends a webhook of the source `shop` as its sender does.
async fn send(rest: &Rest, key: &str, body: &str) -> Answer {
    Answer::of(signed_with(rest, "s3cret", key, body)).await
}

/// All webhooks of a source, the oldest first.
async fn stored(rest: &Rest, source: &str) -> Vec<Value> {
    let listed = rest.get(&format!("/v1/webhooks?source={source}&page_size=500")).await.json();
    let mut webhooks = listed["webhooks"].as_array().unwrap().clone();
    webhooks.reverse();
    webhooks
}

/// How long an answer may take, also one that the limit on the time of a body makes.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// Sends the head of a request with a body of this many bytes. Returns once hookbox has begun the request and wants the
/// body. Each of `headers` ends with a line break.
pub(super) async fn begin(rest: &Rest, path: &str, bytes: usize, headers: &str) -> TcpStream {
    const CONTINUE: &[u8; 25] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut stream = TcpStream::connect(rest.address()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {bytes}\r\nExpect: 100-continue\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; CONTINUE.len()];
    tokio::time::timeout(ANSWER_TIME, stream.read_exact(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(&answer, CONTINUE);
    stream
}

/// The whole answer to a request that was begun.
pub(super) async fn answer_of(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    tokio::time::timeout(ANSWER_TIME, stream.read_to_string(&mut answer)).await.expect("in time").unwrap();
    answer
}

/// The keys of all webhooks of a source, the oldest first.
async fn keys(rest: &Rest, source: &str) -> Vec<String> {
    let webhooks = stored(rest, source).await;
    webhooks.iter().map(|webhook| webhook["idempotency_key"].as_str().unwrap().to_owned()).collect()
}

/// The kept values of a header of a webhook.
fn header<'w>(webhook: &'w Value, name: &str) -> Vec<&'w str> {
    let headers = webhook["headers"].as_array().unwrap().iter();
    headers.filter(|header| header["name"] == name).map(|header| header["value"].as_str().unwrap()).collect()
}

/// The value of a sample of `/metrics`; none if it is not there.
async fn metric(rest: &Rest, sample: &str) -> Option<f64> {
    let metrics = rest.get("/metrics").await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// The sample that counts requests of a source.
fn requests(source: &str, verdict: &str, cause: &str) -> String {
    format!(r#"hookbox_source_requests_total{{source="{source}",verdict="{verdict}",cause="{cause}"}}"#)
}
