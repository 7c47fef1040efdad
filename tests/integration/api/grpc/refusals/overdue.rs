//! Calls that end because something has not arrived in time, or because their deadline has passed.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::{are_counted, refused};
use crate::api::harness::{Hookbox, Sqlite};
use crate::support::client::client_builder;

/// Calls that the client leaves open, what it sends of their messages, and what the status says.
const LEFT_OPEN: [(&str, &[u8], &str); 4] = [
    // The head says 1,024 bytes, of which two follow.
    ("SubmitWebhook", b"\0\0\0\x04\0\x01\x02", "2 bytes of it"),
    // The whole message, without the end of the stream.
    ("SubmitWebhook", b"\0\0\0\0\0", "did not end the stream"),
    ("WatchStatus", b"\0\0\0\0\0", "did not end the stream"),
    ("GetWebhook", b"", "0 bytes of it"),
];

#[tokio::test]
async fn a_call_is_ended_if_its_message_or_the_end_of_its_stream_does_not_arrive() {
    let hookbox = Hookbox::start(Sqlite);
    let calls = LEFT_OPEN.map(|(method, sent, text)| {
        let frames = stream::iter([Ok::<_, Status>(http_body::Frame::data(bytes::Bytes::from_static(sent)))]);
        let body = http_body_util::StreamBody::new(frames.chain(stream::pending()));
        let request = tonic::codegen::http::Request::post(format!("/hookbox.v1.WebhookService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(tonic::body::Body::new(body))
            .expect("is valid");
        let answered = tokio::time::timeout(Duration::from_secs(20), hookbox.channel().oneshot(request));
        async move {
            let response = answered.await.expect("in time").expect("answers");
            let status = Status::from_header_map(response.headers()).expect("has a status");
            refused(&status, Code::DeadlineExceeded, "BODY_TIMEOUT");
            assert!(status.message().contains(text), "{method}: {status}");
        }
    });
    futures::future::join_all(calls).await;
}

// The client closes its connection while hookbox stops, so that it need not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_whose_deadline_passes_ends_with_its_reason() {
    let hookbox = Hookbox::start(Sqlite);
    // tonic's client would end the calls itself.
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    let calls = LEFT_OPEN.map(|(method, sent, _)| {
        let url = format!("http://{}/hookbox.v1.WebhookService/{method}", hookbox.grpc_address());
        let frames = stream::iter([Ok::<_, std::io::Error>(sent)]).chain(stream::pending());
        let call = client
            .post(url)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "100m")
            .body(reqwest::Body::wrap_stream(frames))
            .timeout(Duration::from_secs(20))
            .send();
        async move {
            let response = call.await.expect("answers");
            let status = Status::from_header_map(response.headers()).expect("has a status");
            refused(&status, Code::DeadlineExceeded, "DEADLINE_PASSED");
        }
    });
    futures::future::join_all(calls).await;
    assert!(are_counted(&hookbox, 2, "SubmitWebhook", "DeadlineExceeded").await);
}
