//! Requests that go nowhere, and the document that says so.

use hookbox::internals::domain::error::Reason;
use hookbox::internals::http::{RestReason, status_of};
use reqwest::Method;
use rstest::rstest;
use serde_json::Value;

use crate::api::harness::client::Answer;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// The id of no webhook.
const NO_WEBHOOK: &str = "01934c3e-7b00-7000-8000-000000000000";

#[tokio::test]
async fn an_unknown_path_is_answered_with_a_problem_document() {
    let hookbox = Hookbox::start(Sqlite);
    for path in ["/v1", "/v2/webhooks", "/v1/webhooks/", "/v1/webhooks/a/b", "/V1/webhooks"] {
        let problem = hookbox.rest.get(path).await.problem(404, "PATH_NOT_FOUND");
        assert_eq!(problem["instance"], path);
    }
}

#[tokio::test]
async fn a_method_the_path_does_not_take_is_answered_405() {
    let hookbox = Hookbox::start(Sqlite);
    let one = format!("/v1/webhooks/{NO_WEBHOOK}");
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/webhooks".to_owned(), &["GET", "POST"][..]),
        (Method::PUT, one.clone(), &["GET"]),
        (Method::POST, format!("{one}/body"), &["GET"]),
        (Method::GET, format!("{one}/retry"), &["POST"]),
        (Method::GET, format!("{one}/cancel"), &["POST"]),
        (Method::GET, format!("{one}/replay"), &["POST"]),
        (Method::GET, format!("{one}/release"), &["POST"]),
        (Method::GET, format!("{one}/discard"), &["POST"]),
        (Method::POST, "/v1/stats".into(), &["GET"]),
        (Method::POST, "/healthz".into(), &["GET"]),
        (Method::POST, "/v1/routes".into(), &["GET"]),
        (Method::POST, "/v1/sources".into(), &["GET"]),
        (Method::POST, "/v1/sources/shop".into(), &["GET"]),
        (Method::POST, "/v1/sources/shop/rejections".into(), &["GET"]),
        (Method::GET, "/v1/routes/default/move".into(), &["POST"]),
        (Method::GET, "/v1/pause".into(), &["POST"]),
        (Method::GET, "/v1/settings/reload".into(), &["POST"]),
        (Method::DELETE, "/v1/replays".into(), &["GET", "POST"]),
        (Method::DELETE, "/v1/replays/1".into(), &["GET"]),
        (Method::GET, "/v1/replays/1/cancel".into(), &["POST"]),
        (Method::POST, "/v1/actions".into(), &["GET"]),
        (Method::GET, "/v1/work/lease".into(), &["POST"]),
    ] {
        let answer = Answer::of(hookbox.rest.request(method.clone(), &path)).await;
        answer.problem(405, "METHOD_NOT_ALLOWED");
        let allow = answer.header("allow");
        for method in allowed {
            assert!(allow.contains(method), "{path}: Allow is {allow:?}");
        }
        assert!(!allow.contains(method.as_str()), "{path}: Allow is {allow:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_wrong_id_is_refused_and_an_unknown_id_is_not_found(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let calls = [
        (Method::GET, ""),
        (Method::GET, "/body"),
        (Method::GET, "/status"),
        (Method::GET, "/watch"),
        (Method::POST, "/retry"),
        (Method::POST, "/cancel"),
        (Method::POST, "/replay"),
        (Method::POST, "/release"),
        (Method::POST, "/discard"),
    ];
    for (method, call) in calls {
        for bad in ["7", "not-an-id", "%20", "01934c3e-7b00-7000-8000-00000000000g"] {
            let path = format!("/v1/webhooks/{bad}{call}");
            Answer::of(hookbox.rest.request(method.clone(), &path)).await.refused_field("id");
        }
        let path = format!("/v1/webhooks/{NO_WEBHOOK}{call}");
        let answer = Answer::of(hookbox.rest.request(method, &path)).await;
        assert_eq!(answer.problem(404, "WEBHOOK_NOT_FOUND")["instance"], path.as_str());
    }
}

#[tokio::test]
async fn an_id_that_is_not_utf_8_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    hookbox.rest.get("/v1/webhooks/%FF").await.refused_field("id");
}

#[tokio::test]
async fn a_query_parameter_that_is_unknown_or_wrong_is_named() {
    let hookbox = Hookbox::start(Sqlite);
    for (query, field) in [
        ("/v1/webhooks?statuss=pending", "statuss"),
        ("/v1/webhooks?status=done", "status"),
        ("/v1/webhooks?status=PENDING", "status"),
        ("/v1/webhooks?status=pending,done", "status"),
        ("/v1/webhooks?status=pending&status=done", "status"),
        ("/v1/webhooks?status=pending&route=a&route=b", "route"),
        ("/v1/webhooks?route=No%20Route", "route"),
        ("/v1/webhooks?source=No%20Source", "source"),
        ("/v1/webhooks?event_type=%00", "event_type"),
        ("/v1/webhooks?verdict=true", "verdict"),
        ("/v1/webhooks?cause=Missing", "cause"),
        ("/v1/webhooks?cause=signature_missing&verdict=verified", "cause"),
        ("/v1/webhooks?idempotency_key=a%0Ab", "idempotency_key"),
        ("/v1/webhooks?trace_id=7", "trace_id"),
        ("/v1/webhooks?body_pointer=/a", "body_equals"),
        ("/v1/webhooks?body_pointer=a&body_equals=1", "body_pointer"),
        ("/v1/webhooks?body_pointer=/~2&body_equals=1", "body_pointer"),
        ("/v1/webhooks?body_contains=a&body_contains=b", "body_contains"),
        ("/v1/webhooks?accepted_after=yesterday", "accepted_after"),
        ("/v1/webhooks?accepted_before=2026-03-01", "accepted_before"),
        ("/v1/webhooks?page_size=0", "page_size"),
        ("/v1/webhooks?page_size=501", "page_size"),
        ("/v1/webhooks?page_size=-1", "page_size"),
        ("/v1/webhooks?page_size=%2B5", "page_size"),
        ("/v1/webhooks?page_size=ten", "page_size"),
        ("/v1/webhooks?page_token=next", "page_token"),
        ("/v1/webhooks?page_token=zzzzzzzzzzzzzzz", "page_token"),
        ("/v1/webhooks?page_size=1&page_size=2", "page_size"),
        ("/v1/status?key=a", "key"),
        ("/v1/status", "idempotency_key"),
        ("/v1/status?idempotency_key=", "idempotency_key"),
        ("/v1/status?idempotency_key=a%0Ab", "idempotency_key"),
        ("/v1/status?idempotency_key=a&source=A", "source"),
        ("/v1/webhook?id=01934c3e-7b00-7000-8000-000000000000", "id"),
        ("/v1/webhook", "idempotency_key"),
        ("/v1/webhook?idempotency_key=a&source=A", "source"),
        ("/v1/replays?page_size=0", "page_size"),
        ("/v1/replays?page_token=next", "page_token"),
        ("/v1/replays?state=running", "state"),
        ("/v1/actions?page_size=501", "page_size"),
        ("/v1/actions?page_token=-1", "page_token"),
        ("/v1/actions?webhook_id=7", "webhook_id"),
        ("/v1/actions?actor=anna", "actor"),
        ("/v1/status?idempotency_key=caf%e9", "idempotency_key"),
        ("/v1/webhooks?event_type=%ff", "event_type"),
        ("/v1/webhooks?%ff=paid", "\u{fffd}"),
        ("/v1/webhooks/watch?route=%c3", "route"),
    ] {
        let problem = hookbox.rest.get(query).await.problem(400, "INVALID_FIELD");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    for field in ["error_contains", "body_contains", "body_equals"] {
        let query = format!("/v1/webhooks?{field}={}", "x".repeat(4_097));
        hookbox.rest.get(&query).await.refused_field(field);
    }
}

#[tokio::test]
async fn a_time_after_the_last_one_is_refused_with_the_last_one() {
    let hookbox = Hookbox::start(Sqlite);
    let last = "9999-12-30T22:00:00Z";
    for field in ["accepted_after", "accepted_before"] {
        let list = |time: &str| format!("/v1/webhooks?{field}={time}");
        for time in ["9999-12-31T23:59:59Z", "9999-12-30T23:30:00-00:30"] {
            let problem = hookbox.rest.get(&list(time)).await.refused_field(field);
            let said = format!("`{field}` is out of range: the last time is {last}");
            assert!(problem["detail"].as_str().unwrap().starts_with(&said), "{problem}");
        }
        let problem = hookbox.rest.get(&list("9999-12-32T00:00:00Z")).await.refused_field(field);
        assert!(problem["detail"].as_str().unwrap().contains("RFC 3339"), "there is no such day: {problem}");
        assert_eq!(hookbox.rest.get(&list(last)).await.status, 200);
    }
}

#[tokio::test]
async fn a_time_before_the_first_one_is_refused_with_the_first_one() {
    let hookbox = Hookbox::start(Sqlite);
    let first = "0001-01-01T00:00:00Z";
    for field in ["accepted_after", "accepted_before"] {
        let list = |time: &str| format!("/v1/webhooks?{field}={time}");
        for time in ["0000-12-31T23:59:59Z", "0001-01-01T00:00:00%2B00:01", "-009999-01-02T01:59:59Z"] {
            let problem = hookbox.rest.get(&list(time)).await.refused_field(field);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("is out of range") && detail.contains(first), "{problem}");
        }
        assert_eq!(hookbox.rest.get(&list(first)).await.status, 200);
    }
}

#[tokio::test]
async fn an_unknown_or_repeated_parameter_is_refused_with_what_to_write() {
    let hookbox = Hookbox::start(Sqlite);
    for (query, field, said) in [
        ("/v1/status?key=a", "key", "`key` is not known; this call takes `idempotency_key`, `source`"),
        ("/v1/replays/1/cancel?why=a", "why", "`why` is not known; this call takes `reason`"),
        ("/v1/status?source=a&source=b", "source", "`source` is given twice; give it once"),
        ("/v1/webhooks?route=a&route=b", "route", "`route` is given twice; give it once"),
    ] {
        let method = if query.contains("cancel") { Method::POST } else { Method::GET };
        let problem = Answer::of(hookbox.rest.request(method, query)).await.refused_field(field);
        assert_eq!(problem["detail"], said, "{query}");
    }
    let problem = hookbox.rest.get("/v1/webhooks?routes=a").await.refused_field("routes");
    let said = "`routes` is not known; this call takes `status`, `route`, ";
    assert!(problem["detail"].as_str().unwrap().starts_with(said), "{problem}");
}

#[rstest]
#[tokio::test]
async fn a_call_by_a_wrong_or_an_unknown_key_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.rest.accept("evt-001").await;
    let calls = [
        (Method::GET, "/v1/webhook"),
        (Method::GET, "/v1/watch"),
        (Method::POST, "/v1/retry"),
        (Method::POST, "/v1/replay"),
        (Method::POST, "/v1/cancel"),
    ];
    for (method, path) in calls {
        let ask = async |query: &str| {
            Answer::of(hookbox.rest.request(method.clone(), &format!("{path}?{query}"))).await
        };
        for (query, field) in [
            ("source=default", "idempotency_key"),
            ("idempotency_key=a%0Ab", "idempotency_key"),
            ("idempotency_key=evt-001&source=No%20Source", "source"),
        ] {
            ask(query).await.refused_field(field);
        }
        for (query, field) in
            [("", "idempotency_key"), ("idempotency_key=evt-001&id=7", "id"), ("id=7", "id")]
        {
            let problem = ask(query).await.refused_field(field);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("in the path: /v1/webhooks/{id}, or"), "{path}: {detail}");
        }
        for query in ["idempotency_key=evt-002", "idempotency_key=evt-001&source=other"] {
            assert_eq!(ask(query).await.problem(404, "WEBHOOK_NOT_FOUND")["instance"], path);
        }
    }
}

#[tokio::test]
async fn a_problem_document_quotes_the_beginning_of_a_long_text() {
    let hookbox = Hookbox::start(Sqlite);
    let long = "n".repeat(60_000);
    let path = format!("/{long}");
    let method = Method::from_bytes(long.as_bytes()).unwrap();
    let at_path = hookbox.rest.get(&path).await;
    let by_method = Answer::of(hookbox.rest.request(method, "/healthz")).await;
    let by_query = hookbox.rest.get(&format!("/v1/webhooks?{long}=1")).await;
    let by_body = hookbox.rest.submit_body(format!(r#"{{"{}":1}}"#, "n".repeat(900_000))).await;
    at_path.problem(404, "PATH_NOT_FOUND");
    by_method.problem(405, "METHOD_NOT_ALLOWED");
    for refused in [&by_query, &by_body] {
        let problem = refused.problem(400, "INVALID_FIELD");
        assert!(long.starts_with(problem["field"].as_str().unwrap().trim_end_matches('…')), "{problem}");
    }
    for answer in [at_path, by_method, by_query, by_body] {
        assert!(answer.text.len() < 16 * 1024, "{} bytes", answer.text.len());
    }
}

#[tokio::test]
async fn a_problem_document_carries_on_the_trace_of_its_request() {
    let hookbox = Hookbox::start(Sqlite);
    let get = |traceparent: &'static str| {
        hookbox.rest.request(Method::GET, "/nowhere?secret=1").header("traceparent", traceparent)
    };
    let answer = Answer::of(get("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")).await;
    let problem = answer.problem(404, "PATH_NOT_FOUND");
    assert_eq!(problem["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(problem["instance"], "/nowhere", "without the query string");
    // What is no traceparent is ignored, as its standard asks.
    let answer = Answer::of(get("00-zz-zz-01")).await;
    answer.problem(404, "PATH_NOT_FOUND");
}

#[tokio::test]
async fn a_problem_document_has_the_members_it_is_documented_with() {
    let hookbox = Hookbox::start(Sqlite);
    let problem = hookbox.rest.submit("", "t", "1").await.refused_field("idempotency_key");
    let mut members: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    let expected =
        ["detail", "field", "instance", "reason", "status", "title", "trace_id", "type", "violations"];
    assert_eq!(members, expected);
    let document = hookbox.rest.get("/openapi.json").await.json();
    let documented = document["components"]["schemas"]["Problem"]["properties"].as_object().unwrap();
    let mut documented: Vec<_> = documented.keys().map(String::as_str).collect();
    documented.sort_unstable();
    // The id of a webhook is only in the document of a key that is used, the cause in that of an unverified request.
    documented.retain(|member| !["webhook_id", "cause"].contains(member));
    assert_eq!(members, documented);
}

#[tokio::test]
async fn an_empty_submission_names_every_field_at_fault() {
    let hookbox = Hookbox::start(Sqlite);
    let problem = hookbox.rest.submit_body("{}").await.refused_field("idempotency_key");
    assert_eq!(fields_of(&problem), ["idempotency_key", "event_type", "payload"]);
    for violation in problem["violations"].as_array().unwrap() {
        let detail = violation["detail"].as_str().unwrap();
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
}

#[tokio::test]
async fn a_submission_with_several_wrong_members_names_each_of_them() {
    let hookbox = Hookbox::start(Sqlite);
    for body in [
        r#"{"idempotency_key":7,"event_type":null,"payload":{"a":1,"a":2}}"#,
        r#"{"idempotency_key":["k"],"event_type":true}"#,
        r#"{"idempotency_key":"","event_type":{}}"#,
    ] {
        let problem = hookbox.rest.submit_body(body).await.refused_field("idempotency_key");
        assert_eq!(fields_of(&problem), ["idempotency_key", "event_type", "payload"], "{body}");
    }
}

#[test]
fn every_documented_error_has_an_example_with_its_status_and_path() {
    let document = serde_json::to_value(hookbox::internals::http::openapi()).unwrap();
    let mut examples = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = &response["content"]["application/problem+json"];
                if content.is_null() {
                    continue;
                }
                let example = &content["example"];
                let place = format!("{status} of {method} {path}: {example}");
                assert_eq!(example["status"].to_string(), *status, "{place}");
                let reason = example["reason"].as_str().unwrap_or_default();
                // A handshake is refused as its sender expects.
                let is_of_handshake = reason == "NOT_VERIFIED" && status == "403";
                let expected = status_of_reason(reason);
                assert!(is_of_handshake || expected.as_ref() == Some(status), "{place}");
                let instance = example["instance"].as_str().unwrap_or_default();
                assert_eq!(instance.split('/').count(), path.split('/').count(), "{place}");
                assert!(!instance.contains('{'), "{place}");
                assert!(example["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{place}");
                examples += 1;
            }
        }
    }
    assert!(examples > 40, "{examples}");
}

/// The names of the fields in `violations`.
fn fields_of(problem: &Value) -> Vec<&str> {
    let violations = problem["violations"].as_array().unwrap();
    violations.iter().map(|violation| violation["field"].as_str().unwrap()).collect()
}

fn status_of_reason(reason: &str) -> Option<String> {
    let both = Reason::ALL.iter().map(|known| (known.as_str(), status_of(*known)));
    let rest = RestReason::ALL.iter().map(|known| (known.as_str(), known.status()));
    let mut found = both.chain(rest).filter(|(known, _)| *known == reason);
    found.next().map(|(_, status)| status.as_str().to_owned())
}
