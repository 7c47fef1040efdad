//! What is refused, and what the details of the status say for programs.

mod overdue;

use std::time::Duration;

use futures::{StreamExt as _, stream};
use hookbox::internals::grpc::proto;
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{named, submission};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// The id of no webhook.
const NO_WEBHOOK: &str = "01934c3e-7b00-7000-8000-000000000000";

#[tokio::test]
async fn a_wrong_field_is_named_in_a_bad_request() {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = hookbox.grpc();
    let good = submission("evt-001", "1");
    for (request, field) in [
        (proto::SubmitWebhookRequest { idempotency_key: String::new(), ..good.clone() }, "idempotency_key"),
        (proto::SubmitWebhookRequest { idempotency_key: "k".repeat(256), ..good.clone() }, "idempotency_key"),
        (proto::SubmitWebhookRequest { idempotency_key: "a\0".into(), ..good.clone() }, "idempotency_key"),
        (proto::SubmitWebhookRequest { event_type: String::new(), ..good.clone() }, "event_type"),
        (proto::SubmitWebhookRequest { content: None, ..good.clone() }, "payload"),
        (submission("evt-001", r#"{"a":1,"a":2}"#), "payload"),
    ] {
        let status = client.submit_webhook(request).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(field_of(&status), field, "{status}");
    }
    let status = client.submit_webhook(submission("evt-001", "{")).await.unwrap_err();
    refused(&status, Code::InvalidArgument, "MALFORMED_JSON");
    let status = client.submit_webhook(submission("evt-001", "")).await.unwrap_err();
    refused(&status, Code::InvalidArgument, "MALFORMED_JSON");
}

#[tokio::test]
async fn an_empty_submission_names_every_field_at_fault() {
    let hookbox = Hookbox::start(Sqlite);
    let status = hookbox.grpc().submit_webhook(proto::SubmitWebhookRequest::default()).await.unwrap_err();
    refused(&status, Code::InvalidArgument, "INVALID_FIELD");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["idempotency_key", "event_type", "payload"]);
    for violation in &violations {
        assert!(violation.description.contains(&violation.field), "{violation:?}");
        assert!(status.message().contains(&violation.description), "{status}");
    }
}

#[rstest]
#[tokio::test]
async fn a_key_used_for_another_webhook_already_exists(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let first = client.submit_webhook(submission("evt-001", "1")).await.unwrap().into_inner();
    let status = client.submit_webhook(submission("evt-001", "2")).await.unwrap_err();
    refused(&status, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(status.get_details_error_info().unwrap().metadata["webhook_id"], first.id);
    assert!(status.message().contains(&first.id), "{status}");
    assert!(status.get_details_retry_info().is_none(), "trying again cannot help");
}

#[tokio::test]
async fn a_name_that_names_nothing_or_two_things_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = hookbox.grpc();
    let name = |id: &str, key: &str, source: &str| proto::GetStatusRequest {
        id: id.into(),
        idempotency_key: key.into(),
        source: source.into(),
    };
    for (request, field) in [
        (name("", "", ""), "idempotency_key"),
        (name("", "", "default"), "idempotency_key"),
        (name(NO_WEBHOOK, "evt-001", ""), "id"),
        (name(NO_WEBHOOK, "", "default"), "source"),
        (name("7", "", ""), "id"),
        (name("", "evt-001", "No Source"), "source"),
    ] {
        let status = client.get_status(request.clone()).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(field_of(&status), field, "{request:?}: {status}");
        let proto::GetStatusRequest { id, idempotency_key, source } = request;
        let names = || (id.clone(), idempotency_key.clone(), source.clone());
        let (id, idempotency_key, source) = names();
        let request = proto::WatchStatusRequest { id, idempotency_key, source };
        assert_eq!(field_of(&client.watch_status(request).await.unwrap_err()), field);
        let (id, idempotency_key, source) = names();
        let request = proto::GetWebhookRequest { id, idempotency_key, source };
        assert_eq!(field_of(&client.get_webhook(request).await.unwrap_err()), field);
        let (id, idempotency_key, source) = names();
        let request = proto::RetryWebhookRequest { id, idempotency_key, source, ..Default::default() };
        assert_eq!(field_of(&client.retry_webhook(request).await.unwrap_err()), field);
        let (id, idempotency_key, source) = names();
        let request = proto::CancelWebhookRequest { id, idempotency_key, source, ..Default::default() };
        assert_eq!(field_of(&client.cancel_webhook(request).await.unwrap_err()), field);
    }
}

#[rstest]
#[tokio::test]
async fn a_webhook_that_is_not_there_is_not_found_by_any_call(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let id = || NO_WEBHOOK.to_owned();
    let key = || "evt-001".to_owned();
    let by_key = proto::GetStatusRequest { idempotency_key: key(), ..Default::default() };
    let statuses = [
        client.get_status(by_key).await.unwrap_err(),
        client.get_status(proto::GetStatusRequest { id: id(), ..Default::default() }).await.unwrap_err(),
        client.get_webhook(named(&id())).await.unwrap_err(),
        client.watch_status(proto::WatchStatusRequest { id: id(), ..Default::default() }).await.unwrap_err(),
        client.retry_webhook(retry_of(&id())).await.unwrap_err(),
        client.cancel_webhook(cancel_of(&id())).await.unwrap_err(),
        client
            .get_webhook(proto::GetWebhookRequest { idempotency_key: key(), ..named("") })
            .await
            .unwrap_err(),
        client
            .retry_webhook(proto::RetryWebhookRequest { idempotency_key: key(), ..retry_of("") })
            .await
            .unwrap_err(),
        client
            .cancel_webhook(proto::CancelWebhookRequest { idempotency_key: key(), ..cancel_of("") })
            .await
            .unwrap_err(),
    ];
    for status in statuses {
        refused(&status, Code::NotFound, "WEBHOOK_NOT_FOUND");
    }
}

#[tokio::test]
async fn a_list_with_a_wrong_filter_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = hookbox.grpc();
    let none = proto::ListWebhooksRequest::default;
    let time = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let (far, before_the_year_1) = (time(i64::MAX, 0), time(-62_135_596_801, 0));
    for (request, field) in [
        (proto::ListWebhooksRequest { status: vec![1, 99], ..none() }, "status"),
        (proto::ListWebhooksRequest { route: "No".into(), ..none() }, "route"),
        (proto::ListWebhooksRequest { source: "No".into(), ..none() }, "source"),
        (proto::ListWebhooksRequest { event_type: "a\n".into(), ..none() }, "event_type"),
        (proto::ListWebhooksRequest { verdict: 99, ..none() }, "verdict"),
        (proto::ListWebhooksRequest { cause: 99, ..none() }, "cause"),
        (proto::ListWebhooksRequest { verdict: 2, cause: 2, ..none() }, "cause"),
        (proto::ListWebhooksRequest { idempotency_key: "a\n".into(), ..none() }, "idempotency_key"),
        (proto::ListWebhooksRequest { trace_id: "7".into(), ..none() }, "trace_id"),
        (proto::ListWebhooksRequest { error_contains: "x".repeat(4_097), ..none() }, "error_contains"),
        (proto::ListWebhooksRequest { body_pointer: "/a".into(), ..none() }, "body_equals"),
        (
            proto::ListWebhooksRequest { body_pointer: "a".into(), body_equals: "1".into(), ..none() },
            "body_pointer",
        ),
        (proto::ListWebhooksRequest { body_contains: "x".repeat(4_097), ..none() }, "body_contains"),
        (proto::ListWebhooksRequest { page_size: 501, ..none() }, "page_size"),
        (proto::ListWebhooksRequest { page_token: "next".into(), ..none() }, "page_token"),
        (proto::ListWebhooksRequest { accepted_after: far, ..none() }, "accepted_after"),
        (proto::ListWebhooksRequest { accepted_before: far, ..none() }, "accepted_before"),
        (proto::ListWebhooksRequest { accepted_after: before_the_year_1, ..none() }, "accepted_after"),
        (proto::ListWebhooksRequest { accepted_before: time(0, -1), ..none() }, "accepted_before"),
        (proto::ListWebhooksRequest { accepted_before: time(0, 1_000_000_000), ..none() }, "accepted_before"),
    ] {
        let status = client.list_webhooks(request).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(field_of(&status), field, "{status}");
    }
}

#[rstest]
#[tokio::test]
async fn a_status_that_does_not_allow_it_is_a_failed_precondition(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
    let route = || Some("default".to_owned());
    let retry = proto::RetryWebhookRequest { route: route(), ..retry_of(&id) };
    refused(&client.retry_webhook(retry).await.unwrap_err(), Code::FailedPrecondition, "WRONG_STATUS");
    let cancel = proto::CancelWebhookRequest { route: route(), ..cancel_of(&id) };
    refused(&client.cancel_webhook(cancel).await.unwrap_err(), Code::FailedPrecondition, "WRONG_STATUS");
}

#[rstest]
#[tokio::test]
async fn a_route_without_a_job_of_the_webhook_is_not_found(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let id = hookbox.rest.accept("evt-001").await;
    for (route, code, reason) in [
        ("other", Code::NotFound, "ROUTE_NOT_FOUND"),
        ("", Code::InvalidArgument, "INVALID_FIELD"),
        ("No Route", Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let route = Some(route.to_owned());
        let retry = proto::RetryWebhookRequest { route: route.clone(), ..retry_of(&id) };
        refused(&client.retry_webhook(retry).await.unwrap_err(), code, reason);
        let cancel = proto::CancelWebhookRequest { route, ..cancel_of(&id) };
        refused(&client.cancel_webhook(cancel).await.unwrap_err(), code, reason);
    }
}

#[rstest]
#[tokio::test]
async fn a_message_that_is_too_large_is_refused_with_its_reason(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("max_body", "1KiB")]);
    let large = format!("{:?}", "x".repeat(100_000));
    let status = hookbox.grpc().submit_webhook(submission("evt-001", &large)).await.unwrap_err();
    refused(&status, Code::ResourceExhausted, "BODY_TOO_LARGE");
    let requests = stream::iter([submission("evt-001", "1"), submission("evt-002", &large)]);
    let mut answers = hookbox.grpc().submit_webhooks(requests).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    refused(&answers.next().await.unwrap().unwrap_err(), Code::ResourceExhausted, "BODY_TOO_LARGE");
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn an_unknown_method_is_refused_with_its_reason() {
    let hookbox = Hookbox::start(Sqlite);
    for path in ["/hookbox.v1.WebhookService/Forget", "/hookbox.v2.WebhookService/GetStatus"] {
        let mut client = tonic::client::Grpc::new(hookbox.channel());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<proto::GetStatsRequest, proto::GetStatsResponse>::default();
        let request = tonic::Request::new(proto::GetStatsRequest {});
        let status = client.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        refused(&status, Code::Unimplemented, "UNKNOWN_METHOD");
    }
    assert!(are_counted(&hookbox, 2, "unmatched", "Unimplemented").await);
}

/// A message that no method of webhooks can decode: it has a number where they have a text.
const NUMBER: proto::GetReplayRequest = proto::GetReplayRequest { number: 1 };

/// A client that encodes such messages.
async fn wrong_client(hookbox: &Hookbox) -> tonic::client::Grpc<tonic::transport::Channel> {
    let mut client = tonic::client::Grpc::new(hookbox.channel());
    client.ready().await.unwrap();
    client
}

/// Whether so many calls of a method are counted with this code.
async fn are_counted(hookbox: &Hookbox, times: u64, method: &str, code: &str) -> bool {
    let line = format!(r#"hookbox_requests_total{{api="grpc",endpoint="{method}",code="{code}"}} {times}"#);
    hookbox.rest.get("/metrics").await.text.lines().any(|written| written == line)
}

#[rstest]
#[case::answered_at_once("SubmitWebhook")]
#[case::answered_in_turn("GetWebhook")]
#[tokio::test]
async fn a_message_that_cannot_be_decoded_or_is_compressed_is_refused_with_its_reason(#[case] method: &str) {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = wrong_client(&hookbox).await;
    let path = format!("/hookbox.v1.WebhookService/{method}");
    let codec = tonic_prost::ProstCodec::<proto::GetReplayRequest, proto::GetStatsResponse>::default;
    let request = tonic::Request::new(NUMBER);
    let status = client.unary(request, path.parse().unwrap(), codec()).await.unwrap_err();
    refused(&status, Code::InvalidArgument, "MALFORMED_MESSAGE");
    assert!(are_counted(&hookbox, 1, method, "InvalidArgument").await);

    let mut request = tonic::Request::new(NUMBER);
    request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    client.ready().await.unwrap();
    let status = client.unary(request, path.parse().unwrap(), codec()).await.unwrap_err();
    refused(&status, Code::Unimplemented, "COMPRESSION_UNKNOWN");
    assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity");
    assert!(are_counted(&hookbox, 1, method, "Unimplemented").await);
}

#[tokio::test]
async fn a_message_of_a_pipeline_that_cannot_be_decoded_ends_it_with_its_reason() {
    let hookbox = Hookbox::start(Sqlite);
    // The first one has no bytes.
    let requests = stream::iter([proto::GetReplayRequest::default(), NUMBER, NUMBER]);
    let path = "/hookbox.v1.WebhookService/SubmitWebhooks".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<proto::GetReplayRequest, proto::SubmitWebhooksResponse>::default();
    let mut client = wrong_client(&hookbox).await;
    let answers = client.streaming(tonic::Request::new(requests), path, codec).await.unwrap();
    let mut answers = answers.into_inner();
    answers.next().await.unwrap().unwrap();
    refused(&answers.next().await.unwrap().unwrap_err(), Code::InvalidArgument, "MALFORMED_MESSAGE");
    assert!(answers.next().await.is_none());
    assert!(are_counted(&hookbox, 2, "SubmitWebhooks", "InvalidArgument").await);
}

#[tokio::test]
async fn a_refusal_that_quotes_a_long_text_still_arrives() {
    let hookbox = Hookbox::start(Sqlite);
    let name = "n".repeat(8_000);
    let payload = format!(r#"{{"{name}":1,"{name}":2}}"#);
    let status = hookbox.grpc().submit_webhook(submission("evt-001", &payload)).await.unwrap_err();
    refused(&status, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(field_of(&status), "payload");
}

#[rstest]
#[tokio::test]
async fn over_a_limit_the_status_says_when_to_come_again(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("rate_limit", "2/m"), ("max_backlog", "1")]);
    let _gate = hookbox.handler.will_hold();
    let mut client = hookbox.grpc();
    client.submit_webhook(submission("evt-001", "1")).await.unwrap();
    let full = client.submit_webhook(submission("evt-002", "1")).await.unwrap_err();
    refused(&full, Code::Unavailable, "BACKLOG_FULL");
    assert_eq!(retry_delay(&full), Some(Duration::from_secs(5)));
    let limited = client.submit_webhook(submission("evt-002", "1")).await.unwrap_err();
    refused(&limited, Code::ResourceExhausted, "RATE_LIMITED");
    assert_eq!(retry_delay(&limited), Some(Duration::from_secs(30)));
}

#[rstest]
#[tokio::test]
async fn a_refusal_carries_on_the_trace_of_its_call(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut request = tonic::Request::new(named(NO_WEBHOOK));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    let status = hookbox.grpc().get_webhook(request).await.unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

fn retry_of(id: &str) -> proto::RetryWebhookRequest {
    proto::RetryWebhookRequest { id: id.to_owned(), ..Default::default() }
}

fn cancel_of(id: &str) -> proto::CancelWebhookRequest {
    proto::CancelWebhookRequest { id: id.to_owned(), ..Default::default() }
}

#[track_caller]
fn refused(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status}");
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "hookbox"), "{status}");
    assert_eq!(info.metadata["trace_id"].len(), 32);
    assert!(!status.message().is_empty());
}

/// The field of the BadRequest; empty if there is none.
fn field_of(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}
