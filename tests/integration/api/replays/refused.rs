//! Requests about replays that are refused, over both APIs.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use reqwest::Method;
use rstest::rstest;
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{everything, start};
use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

#[tokio::test]
async fn a_wrong_member_is_named() {
    let hookbox = Hookbox::start(Sqlite);
    let of_source = json!({ "source": "default" });
    for (asked, field) in [
        (json!({}), "filter"),
        (json!({ "filter": {} }), "filter"),
        (json!({ "filter": { "route": "default", "status": [] } }), "status"),
        (json!({ "filter": { "statuss": ["completed"] } }), "filter.statuss"),
        (json!({ "filter": { "status": ["done"] } }), "status"),
        (json!({ "filter": { "status": ["completed", "pending"] } }), "status"),
        (json!({ "filter": { "status": ["filtered"] } }), "status"),
        (json!({ "filter": { "route": "No Route" } }), "route"),
        (json!({ "filter": { "source": "No Source" } }), "source"),
        (json!({ "filter": { "event_type": "" } }), "event_type"),
        (json!({ "filter": { "verdict": "good" } }), "verdict"),
        (json!({ "filter": { "verdict": "verified", "cause": "signature_missing" } }), "cause"),
        (json!({ "filter": { "idempotency_key": "a\nb" } }), "idempotency_key"),
        (json!({ "filter": { "trace_id": "7" } }), "trace_id"),
        (json!({ "filter": { "error_contains": "x".repeat(4_097) } }), "error_contains"),
        (json!({ "filter": { "body_pointer": "/order" } }), "body_equals"),
        (json!({ "filter": { "body_pointer": "order", "body_equals": "7" } }), "body_pointer"),
        (json!({ "filter": { "status": null, "body_pointer": "" } }), "filter"),
        (json!({ "filter": { "accepted_after": "yesterday" } }), "accepted_after"),
        (json!({ "filter": { "accepted_before": "2026-03-01" } }), "accepted_before"),
        (json!({ "filter": { "accepted_after": "0000-01-01T00:00:00Z" } }), "accepted_after"),
        (json!({ "filter": { "accepted_before": "-009999-01-02T01:59:59Z" } }), "accepted_before"),
        (json!({ "filter": of_source, "rate": "fast" }), "rate"),
        (json!({ "filter": of_source, "rate": "0/s" }), "rate"),
        (json!({ "filter": of_source, "reason": "a\nb" }), "reason"),
        (json!({ "filter": of_source, "reason": "ż".repeat(501) }), "reason"),
        (json!({ "filter": of_source, "limit": 1 }), "limit"),
    ] {
        let problem = start(&hookbox.rest, &asked).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["field"], field, "{asked}: {problem}");
    }
    for (asked, said) in [
        (json!([]), "the body is an array; it must be an object"),
        (json!({ "filter": null }), "`filter` is null; it must be an object"),
        (json!({ "filter": "all" }), "`filter` is a string; it must be an object"),
        (
            json!({ "filter": [["completed"], "default"], "dry_run": true }),
            "`filter` is an array; it must be an object",
        ),
        (json!({ "filter": { "route": 7 } }), "`filter.route` is the number 7; it must be a string"),
        (json!({ "filter": of_source, "dry_run": "yes" }), "`dry_run` is a string; it must be a boolean"),
    ] {
        let problem = start(&hookbox.rest, &asked).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["detail"], said, "{asked}");
    }
    assert_eq!(hookbox.rest.get("/v1/replays").await.json()["replays"], json!([]), "nothing was started");
}

/// The variable of a script may have been empty.
#[tokio::test]
async fn an_empty_text_or_an_unspecified_value_of_a_filter_does_not_mean_any() {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = OperationServiceClient::new(hookbox.channel());
    for field in [
        "route",
        "source",
        "event_type",
        "verdict",
        "cause",
        "idempotency_key",
        "trace_id",
        "error_contains",
        "body_equals",
        "body_contains",
        "accepted_after",
        "accepted_before",
    ] {
        let mut filter = json!({ "status": ["completed"] });
        filter[field] = json!("");
        let problem = start(&hookbox.rest, &json!({ "filter": filter })).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["field"], field, "{problem}");
    }
    let (empty, none) = (Some(String::new()), proto::ReplayFilter::default);
    for (filter, field) in [
        (proto::ReplayFilter { idempotency_key: empty.clone(), ..none() }, "idempotency_key"),
        (proto::ReplayFilter { trace_id: empty.clone(), ..none() }, "trace_id"),
        (proto::ReplayFilter { error_contains: empty.clone(), ..none() }, "error_contains"),
        (proto::ReplayFilter { body_equals: empty.clone(), ..none() }, "body_equals"),
        (proto::ReplayFilter { body_contains: empty, ..none() }, "body_contains"),
        (proto::ReplayFilter { status: vec![0], ..none() }, "status"),
        (proto::ReplayFilter { status: vec![proto::Status::DeadLettered.into(), 0], ..none() }, "status"),
        (proto::ReplayFilter { verdict: Some(0), ..none() }, "verdict"),
        (proto::ReplayFilter { cause: Some(0), ..none() }, "cause"),
    ] {
        let filter = proto::ReplayFilter { route: Some("default".to_owned()), ..filter };
        let request = proto::StartReplayRequest { filter: Some(filter), ..Default::default() };
        let refused = client.start_replay(request).await.unwrap_err();
        refused_as(&refused, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test]
async fn a_body_that_is_not_small_json_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let asked = everything().to_string();
    let plain = hookbox.rest.request(Method::POST, "/v1/replays").body(asked.clone());
    Answer::of(plain).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    let body = |body: String| {
        let request = hookbox.rest.request(Method::POST, "/v1/replays");
        Answer::of(request.header("content-type", "application/json").body(body))
    };
    body(asked[..asked.len() - 1].to_owned()).await.problem(400, "MALFORMED_JSON");
    body(format!("{asked}{}", " ".repeat(16 * 1024))).await.problem(413, "BODY_TOO_LARGE");
}

#[rstest]
#[tokio::test]
async fn what_is_not_there_is_not_found(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let asked = json!({ "filter": { "route": "other" } });
    start(&hookbox.rest, &asked).await.problem(404, "ROUTE_NOT_FOUND");
    for number in ["1", "0", "18446744073709551615"] {
        let path = format!("/v1/replays/{number}");
        assert_eq!(hookbox.rest.get(&path).await.problem(404, "REPLAY_NOT_FOUND")["instance"], path.as_str());
        hookbox.rest.post(&format!("{path}/cancel")).await.problem(404, "REPLAY_NOT_FOUND");
    }
    for wrong in ["one", "-1", "+1", "18446744073709551616", "%FF"] {
        hookbox.rest.get(&format!("/v1/replays/{wrong}")).await.refused_field("number");
        hookbox.rest.post(&format!("/v1/replays/{wrong}/cancel")).await.refused_field("number");
    }
}

#[rstest]
#[tokio::test]
async fn grpc_refuses_what_rest_refuses(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = OperationServiceClient::new(hookbox.channel());
    let of_route = |name: &str| proto::ReplayFilter { route: Some(name.to_owned()), ..Default::default() };
    let of_status = proto::ReplayFilter { status: vec![proto::Status::Pending.into()], ..Default::default() };
    let asked = |filter| proto::StartReplayRequest { filter: Some(filter), ..Default::default() };
    let after = |seconds, nanos| {
        let time = prost_types::Timestamp { seconds, nanos };
        asked(proto::ReplayFilter { accepted_after: Some(time), ..Default::default() })
    };
    let all = || asked(of_route("default"));
    for (request, field) in [
        (proto::StartReplayRequest::default(), "filter"),
        (asked(proto::ReplayFilter::default()), "filter"),
        (asked(of_status), "status"),
        (asked(of_route("No Route")), "route"),
        (after(0, -1), "accepted_after"),
        (after(0, 1_000_000_000), "accepted_after"),
        (after(-377_705_023_201, 0), "accepted_after"),
        (proto::StartReplayRequest { rate: Some("fast".into()), ..all() }, "rate"),
        (proto::StartReplayRequest { reason: Some("a\nb".into()), ..all() }, "reason"),
    ] {
        let refused = client.start_replay(request).await.unwrap_err();
        refused_as(&refused, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let unknown = client.start_replay(asked(of_route("other"))).await.unwrap_err();
    refused_as(&unknown, Code::NotFound, "ROUTE_NOT_FOUND");
    assert!(unknown.message().contains("ListRoutes"), "it names a call of gRPC: {unknown}");
    let unknown = client.get_replay(proto::GetReplayRequest { number: 7 }).await.unwrap_err();
    refused_as(&unknown, Code::NotFound, "REPLAY_NOT_FOUND");
    assert!(unknown.message().contains("ListReplays"), "{unknown}");
    let unknown = proto::CancelReplayRequest { number: u64::MAX, reason: None };
    refused_as(&client.cancel_replay(unknown).await.unwrap_err(), Code::NotFound, "REPLAY_NOT_FOUND");
    for (page_size, page_token, field) in [(501, "", "page_size"), (0, "next", "page_token")] {
        let request = proto::ListReplaysRequest { page_size, page_token: page_token.to_owned() };
        let refused = client.list_replays(request).await.unwrap_err();
        assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let request = proto::ListActionsRequest { webhook_id: "7".to_owned(), ..Default::default() };
    let refused = client.list_actions(request).await.unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "webhook_id");
}

#[track_caller]
fn refused_as(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, reason);
}
