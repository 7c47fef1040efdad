//! `SubmitWebhooks`: an answer for each request, in their order.

use rstest::rstest;
use std::time::Duration;

use futures::{StreamExt, stream};
use hookbox::internals::grpc::proto::submit_webhooks_response::Result::{Accepted, Error};
use hookbox::internals::grpc::proto::{self, SubmitWebhooksResponse};
use tonic::Code;
use tonic_types::StatusExt;

use super::submission;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const REQUESTS: usize = 2_000;

#[rstest]
#[tokio::test]
async fn every_request_is_answered_in_order_even_if_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    // Every tenth has a key that is refused, every other tenth repeats the one before it.
    let requests: Vec<_> = (0..REQUESTS)
        .map(|number| match number % 10 {
            3 => submission("bad\nkey", "1"),
            7 => submission(&format!("evt-{}", number - 1), "1"),
            _ => submission(&format!("evt-{number}"), "1"),
        })
        .collect();
    let answers = hookbox.grpc().submit_webhooks(stream::iter(requests.clone())).await.unwrap();
    let answers: Vec<_> = answers.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(answers.len(), REQUESTS);
    let mut duplicates = 0;
    for (number, (request, answer)) in requests.iter().zip(&answers).enumerate() {
        match (number % 10, answer) {
            (3, SubmitWebhooksResponse { result: Some(Error(error)) }) => {
                assert_eq!(error.code, Code::InvalidArgument as i32);
                assert_eq!(error.reason, "INVALID_FIELD");
                assert!(error.message.contains("control character"), "{error:?}");
                assert_eq!(error.idempotency_key, "bad\nkey");
                assert_eq!(error.retry_after_ms, 0);
            }
            (kind, SubmitWebhooksResponse { result: Some(Accepted(accepted)) }) if kind != 3 => {
                assert_eq!(accepted.idempotency_key, request.idempotency_key);
                duplicates += usize::from(accepted.duplicate);
            }
            (_, answer) => panic!("request {number} was answered {answer:?}"),
        }
    }
    assert_eq!(duplicates, REQUESTS / 10);
}

#[rstest]
#[tokio::test]
async fn a_pipeline_is_answered_while_it_is_open(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let (send, requests) = futures::channel::mpsc::unbounded();
    send.unbounded_send(submission("evt-0", "1")).unwrap();
    let mut answers = hookbox.grpc().submit_webhooks(requests).await.unwrap().into_inner();
    for number in 1..5 {
        let answer = answers.next().await.unwrap().unwrap();
        assert!(matches!(answer.result, Some(Accepted(_))), "{answer:?}");
        send.unbounded_send(submission(&format!("evt-{number}"), "1")).unwrap();
    }
    drop(send);
    assert_eq!(answers.count().await, 1);
}

#[rstest]
#[tokio::test]
async fn a_refusal_that_passes_says_when_to_come_again(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("rate_limit", "2/m")]);
    let requests = (0..3).map(|number| submission(&format!("evt-{number}"), "1"));
    let answers = hookbox.grpc().submit_webhooks(stream::iter(requests)).await.unwrap().into_inner();
    let refused: Vec<_> = answers
        .filter_map(|answer| async {
            match answer.unwrap().result {
                Some(Error(error)) => Some(error),
                _ => None,
            }
        })
        .collect()
        .await;
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (refused[0].code, refused[0].reason.as_str()),
        (Code::ResourceExhausted as i32, "RATE_LIMITED")
    );
    assert_eq!(refused[0].retry_after_ms, 30_000);
}

#[rstest]
#[tokio::test]
async fn a_pipeline_that_the_stop_cuts_off_ends_with_an_error(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::start(store);
    let (send, requests) = futures::channel::mpsc::unbounded();
    send.unbounded_send(submission("evt-0", "1")).unwrap();
    let mut answers = hookbox.grpc().submit_webhooks(requests).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(Accepted(_))), "{answer:?}");
    hookbox.begin_to_stop();
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_details_error_info().unwrap().reason, "SHUTTING_DOWN");
    assert!(status.get_details_retry_info().is_some());
    assert!(answers.next().await.is_none());
    drop(send);
}

#[rstest]
#[tokio::test]
async fn an_empty_pipeline_has_no_answers(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let none = stream::iter(Vec::<proto::SubmitWebhookRequest>::new());
    let answers = hookbox.grpc().submit_webhooks(none).await.unwrap().into_inner();
    let count = tokio::time::timeout(Duration::from_secs(30), answers.count()).await.unwrap();
    assert_eq!(count, 0);
}

/// What is refused may be large, and its answers wait in memory for the client.
#[tokio::test]
async fn a_refusal_is_short_whatever_the_request_has() {
    let hookbox = Hookbox::start(Sqlite);
    let member = "m".repeat(100_000);
    let payload = format!("{{\"{member}\":1,\"{member}\":2}}");
    let requests = [submission("evt-0", &payload), submission(&"ż".repeat(100_000), "1")];
    let answers = hookbox.grpc().submit_webhooks(stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().result).collect().await;
    let [Some(Error(repeated)), Some(Error(long))] = &answers[..] else { panic!("refused: {answers:?}") };
    let most_bytes = 2_000 + "…".len();
    assert!(repeated.message.contains("repeats the member \"mmm"), "{repeated:?}");
    assert_eq!((repeated.message.len(), repeated.idempotency_key.as_str()), (most_bytes, "evt-0"));
    assert_eq!(long.reason, "INVALID_FIELD");
    assert_eq!((long.idempotency_key.len(), long.idempotency_key.ends_with("żż…")), (most_bytes, true));
}

#[rstest]
#[tokio::test]
async fn a_refused_key_names_the_webhook_that_has_it(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let id = hookbox.grpc().submit_webhook(submission("evt-0", "1")).await.unwrap().into_inner().id;
    let requests = [submission("evt-0", "2"), submission("bad\nkey", "1")];
    let answers = hookbox.grpc().submit_webhooks(stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().result).collect().await;
    let [Some(Error(reused)), Some(Error(bad))] = &answers[..] else { panic!("refused: {answers:?}") };
    assert_eq!((reused.reason.as_str(), &reused.webhook_id), ("IDEMPOTENCY_KEY_REUSED", &id));
    assert_eq!((bad.reason.as_str(), bad.webhook_id.as_str()), ("INVALID_FIELD", ""));
}
