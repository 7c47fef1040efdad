//! Clients that send a request in small pieces, with pauses. Their connections use the slow lane.

use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::BoxFuture;
use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use prost::Message as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt as _;

use crate::api::harness::client::body;
use crate::api::harness::{Hookbox, START, Sqlite, eventually};
use crate::api::tls::Secured;
use crate::support::tls::connect;

/// Between two pieces: longer than the time after which a client is slow.
const PAUSE: Duration = Duration::from_millis(300);

/// How long an answer may take.
const SOON: Duration = Duration::from_secs(30);

/// In how many pieces a request is sent.
const PIECES: usize = 4;

/// The bytes before a message: whether it is compressed, and its length.
const MESSAGE_HEAD_BYTES: usize = 5;

/// Longer than the head of a request, so that a part of it is in the second piece.
fn payload() -> String {
    format!(r#"{{"total" : 10.50,  "note":"{}"}}"#, "Żółć ".repeat(100))
}

/// A submission over HTTP/1.
fn request(key: &str) -> Vec<u8> {
    let body = body(key, "order.created", &payload());
    let bytes = body.len();
    format!(
        "POST /v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {bytes}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A submission over gRPC.
fn message(key: &str) -> Vec<u8> {
    let request = proto::SubmitWebhookRequest {
        idempotency_key: key.into(),
        event_type: "order.created".into(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson(payload())),
    };
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [[0].as_slice(), length.as_slice(), message.as_slice()].concat()
}

/// The first piece ends within the name of the method, or within the head of the message.
fn pieces(bytes: &[u8]) -> [&[u8]; PIECES] {
    let (first, rest) = bytes.split_at(3);
    let mut rest = rest.chunks(rest.len().div_ceil(PIECES - 1));
    std::array::from_fn(|number| if number == 0 { first } else { rest.next().unwrap() })
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Sends a piece, and waits. There is no answer meanwhile.
async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), piece: &[u8]) {
    write(stream, piece).await;
    let answer = timeout(PAUSE, stream.read_u8()).await;
    assert!(answer.is_err(), "{answer:?}");
}

/// The body of an answer with this status.
async fn answer(stream: &mut (impl AsyncRead + Unpin), status: u16) -> String {
    let answer = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap_or_else(|| panic!("no length: {head}")).parse().unwrap()];
        stream.read_exact(&mut body).await.expect("a body");
        let body = String::from_utf8(body).unwrap();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}{body}");
        body
    };
    timeout(SOON, answer).await.expect("in time")
}

/// The id in the answer to a submission.
async fn accepted(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let accepted: Value = serde_json::from_str(&answer(stream, 202).await).unwrap();
    accepted["id"].as_str().unwrap().to_owned()
}

/// A call whose message arrives in pieces.
struct SlowCall {
    message: UnboundedSender<Result<Frame<Bytes>, Status>>,
    answer: BoxFuture<'static, Result<Response<Body>, tonic::transport::Error>>,
}

impl SlowCall {
    fn new(channel: &Channel) -> Self {
        let (message, frames) = unbounded();
        let request = Request::post("/hookbox.v1.WebhookService/SubmitWebhook")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(frames)))
            .unwrap();
        Self { message, answer: Box::pin(channel.clone().oneshot(request)) }
    }

    fn write(&self, piece: &[u8]) {
        self.message.unbounded_send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).unwrap();
    }

    /// Waits. There is no answer meanwhile.
    async fn pause(&mut self) {
        let answer = timeout(PAUSE, &mut self.answer).await;
        assert!(answer.is_err(), "{answer:?}");
    }

    /// Ends the stream. Returns the id in the answer.
    async fn accepted(self) -> String {
        let Self { message, answer } = self;
        drop(message);
        let answer = async {
            let answer = answer.await.expect("answers");
            let refused = Status::from_header_map(answer.headers());
            assert!(refused.is_none(), "{refused:?}");
            answer.into_body().collect().await.expect("a message").to_bytes()
        };
        let message = timeout(SOON, answer).await.expect("in time");
        proto::SubmitWebhookResponse::decode(&message[MESSAGE_HEAD_BYTES..]).unwrap().id
    }
}

/// Submits a webhook in pieces, and then reads it over the same connection, in two pieces.
async fn submits_in_pieces(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let request = request("evt-001");
    let [others @ .., last] = pieces(&request);
    for piece in others {
        send(&mut stream, piece).await;
    }
    write(&mut stream, last).await;
    let id = accepted(&mut stream).await;
    let read = format!("GET /v1/webhooks/{id}/body HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (first, rest) = read.as_bytes().split_at(3);
    send(&mut stream, first).await;
    write(&mut stream, rest).await;
    assert_eq!(answer(&mut stream, 200).await, payload());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_arrives_in_pieces_is_stored_exactly() {
    let hookbox = Hookbox::start(Sqlite);
    submits_in_pieces(TcpStream::connect(hookbox.rest.address()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_arrives_in_pieces_over_tls_is_stored_exactly() {
    let secured = Secured::start();
    let tls = secured.authority.client(None, &["http/1.1"]);
    submits_in_pieces(connect(secured.hookbox.rest.address(), tls).await.unwrap()).await;
}

/// Submits a webhook in pieces, with other calls on the same connection before it is there, and then reads it.
async fn calls_in_pieces(channel: Channel) {
    let mut calls = WebhookServiceClient::new(channel.clone());
    let mut call = SlowCall::new(&channel);
    let message = message("evt-001");
    let [others @ .., last] = pieces(&message);
    for piece in others {
        call.write(piece);
        let other = timeout(SOON, calls.get_stats(proto::GetStatsRequest::default())).await;
        other.expect("in time").expect("answers");
        call.pause().await;
    }
    call.write(last);
    let named = proto::GetWebhookRequest { id: call.accepted().await, ..Default::default() };
    let read = timeout(SOON, calls.get_webhook(named)).await.expect("in time").expect("answers");
    assert_eq!(read.into_inner().payload_json, Some(payload()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_arrives_in_pieces_is_stored_exactly() {
    let hookbox = Hookbox::start(Sqlite);
    calls_in_pieces(hookbox.channel()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_arrives_in_pieces_over_tls_is_stored_exactly() {
    let secured = Secured::start();
    calls_in_pieces(secured.channel().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_still_arrive_in_pieces_at_the_stop_are_answered_and_stored() {
    let mut hookbox = Hookbox::start(Sqlite);
    let mut stream = TcpStream::connect(hookbox.rest.address()).await.unwrap();
    // Not on the runtime of hookbox, which ends with it.
    let endpoint = Endpoint::from_shared(format!("http://{}", hookbox.grpc_address())).unwrap();
    let mut call = SlowCall::new(&endpoint.connect().await.unwrap());
    let (request, message) = (request("rest"), message("grpc"));
    let (request, message) = (pieces(&request), pieces(&message));
    let last = PIECES - 1;
    for number in 0..last {
        if number == 2 {
            hookbox.begin_to_stop();
            eventually("a closed door", || async {
                let request = hookbox.rest.request(reqwest::Method::GET, "/healthz");
                request.send().await.is_err().then_some(())
            })
            .await;
        }
        call.write(message[number]);
        tokio::join!(send(&mut stream, request[number]), call.pause());
    }
    write(&mut stream, request[last]).await;
    call.write(message[last]);
    let (over_rest, over_grpc) = tokio::join!(accepted(&mut stream), call.accepted());

    let successor = Hookbox::at(hookbox.stop(), START, &[]);
    for id in [over_rest, over_grpc] {
        let stored = successor.rest.get(&format!("/v1/webhooks/{id}/body")).await;
        assert_eq!(stored.text, payload());
    }
}
