//! Bodies that are no webhook: each is refused in words that help, and nothing is stored.

use futures::stream;
use hookbox::internals::grpc::proto;
use rstest::rstest;

use crate::api::harness::client::{Answer, body};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::api::sources::{answer_of, begin};

#[tokio::test]
async fn a_missing_field_is_named() {
    let hookbox = Hookbox::start(Sqlite);
    for (body, field) in [
        (r#"{"event_type":"t","payload":1}"#, "idempotency_key"),
        (r#"{"idempotency_key":"k","payload":1}"#, "event_type"),
        (r#"{"idempotency_key":"k","event_type":null,"payload":1}"#, "event_type"),
        (r#"{"idempotency_key":"k","event_type":7,"payload":1}"#, "event_type"),
        (r#"{"idempotency_key":"k","event_type":"t"}"#, "payload"),
        ("{}", "idempotency_key"),
    ] {
        hookbox.rest.submit_body(body).await.refused_field(field);
    }
}

#[tokio::test]
async fn an_unknown_member_is_refused_so_that_a_misspelt_one_is_seen() {
    let hookbox = Hookbox::start(Sqlite);
    for member in ["idempotencyKey", "source", "id", ""] {
        let body = format!(r#"{{"{member}":1,"idempotency_key":"k","event_type":"t","payload":1}}"#);
        hookbox.rest.submit_body(body).await.refused_field(member);
    }
}

#[tokio::test]
async fn a_repeated_member_is_refused_wherever_it_is() {
    let hookbox = Hookbox::start(Sqlite);
    for (body, field) in [
        (r#"{"idempotency_key":"k","idempotency_key":"k","event_type":"t","payload":1}"#, "idempotency_key"),
        (r#"{"idempotency_key":"k","event_type":"t","payload":1,"payload":1}"#, "payload"),
        (r#"{"idempotency_key":"k","event_type":"t","payload":{"a":1,"a":1}}"#, "payload"),
        (r#"{"idempotency_key":"k","event_type":"t","payload":[{"x":{"a":1,"\u0061":2}}]}"#, "payload"),
    ] {
        hookbox.rest.submit_body(body).await.refused_field(field);
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    for body in [r#"["k","t",1]"#, "[]", r#""text""#, "1", "-1", "true", "null", "  [1]"] {
        hookbox.rest.submit_body(body).await.problem(400, "INVALID_FIELD");
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let good = body("k", "t", "1");
    for body in [
        String::new(),
        " ".into(),
        "hello".into(),
        "{".into(),
        format!("{good} x"),
        format!("{good}{good}"),
        format!("\u{feff}{good}"),
        body("k", "t", "NaN"),
        body("k", "t", "01"),
        body("k", "t", "'text'"),
        body("k", "t", "[1,]"),
        body("k", "t", "\"\t\""),
        body("k", "t", r#""\ud800""#),
        good.replace(':', "="),
    ] {
        let answer = hookbox.rest.submit_body(body.clone()).await;
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text);
        answer.problem(400, "MALFORMED_JSON");
    }
    let half_a_pair = r#"{"idempotency_key":"k","event_type":"\ud800","payload":1}"#;
    let problem = hookbox.rest.submit_body(half_a_pair).await.problem(400, "MALFORMED_JSON");
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("`event_type` is not valid JSON; within its text: "), "{detail}");
}

#[rstest]
#[tokio::test]
async fn half_of_a_surrogate_pair_in_a_payload_is_named_by_both_apis(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let expected = r"`payload` is not valid JSON: half of a surrogate pair, \ud83d, at line 1 column 11 of the payload; ";
    for payload in [r#"{"t":"cut \ud83d"}"#, r#"{"t":"cut \ud83d within a long text"}"#] {
        let problem = hookbox.rest.submit("k", "t", payload).await.problem(400, "MALFORMED_JSON");
        assert!(problem["detail"].as_str().unwrap_or_default().starts_with(expected), "{problem}");
        let request = proto::SubmitWebhookRequest {
            idempotency_key: "k".into(),
            event_type: "t".into(),
            content: Some(proto::submit_webhook_request::Content::PayloadJson(payload.into())),
        };
        let status = hookbox.grpc().submit_webhook(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        assert!(status.message().starts_with(expected), "{status}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_refused_wherever_the_bad_byte_is() {
    let hookbox = Hookbox::start(Sqlite);
    for body in [
        b"{\"idempotency_key\":\"k\xff\",\"event_type\":\"t\",\"payload\":1}".as_slice(),
        b"{\"idempotency_key\":\"k\",\"event_type\":\"t\",\"payload\":\"\xc3\x28\"}",
        b"{\"idempotency_key\":\"k\",\"event_type\":\"t\",\"payload\":{\"\xed\xa0\x80\":1}}",
        b"\xff\xfe{\0}\0",
    ] {
        hookbox.rest.submit_body(body.to_vec()).await.problem(400, "MALFORMED_JSON");
    }
}

#[rstest]
#[tokio::test]
async fn json_that_nests_100_000_levels_deep_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for payload in [deep(100_000), deep(129), objects] {
        hookbox.rest.submit("k", "t", &payload).await.refused_field("payload");
    }
    let in_a_key = format!(r#"{{"idempotency_key":{}}}"#, deep(100_000));
    hookbox.rest.submit_body(in_a_key).await.refused_field("idempotency_key");
    hookbox.rest.submit_body(deep(100_000)).await.problem(400, "INVALID_FIELD");
    assert_eq!(hookbox.rest.submit("k", "t", &deep(128)).await.status, 202);
}

#[rstest]
#[tokio::test]
async fn only_json_is_taken_with_any_parameters(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let post = |media_type: Option<&'static str>| {
        let request = hookbox.rest.request(reqwest::Method::POST, "/v1/webhooks").body(body("k", "t", "1"));
        media_type.into_iter().fold(request, |request, value| request.header("content-type", value))
    };
    for wrong in [
        None,
        Some(""),
        Some("text/plain"),
        Some("application/xml"),
        Some("application/jsonp"),
        Some("application/x-www-form-urlencoded"),
    ] {
        Answer::of(post(wrong)).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    for good in ["application/json", "Application/JSON ; charset=utf-8", "application/json;x=y"] {
        assert!(Answer::of(post(Some(good))).await.status < 300, "{good}");
    }
}

#[rstest]
#[tokio::test]
async fn a_compressed_body_is_refused_as_what_it_is(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let request = hookbox.rest.submission(vec![0x1f, 0x8b, 8, 0]).header("content-encoding", "gzip");
    let problem = Answer::of(request).await.problem(415, "UNSUPPORTED_MEDIA_TYPE");
    assert!(problem["detail"].as_str().unwrap().contains("gzip"), "{problem}");
    for encoding in ["identity", "IDENTITY"] {
        let plain = hookbox.rest.submission(body(encoding, "t", "1")).header("content-encoding", encoding);
        assert_eq!(Answer::of(plain).await.status, 202, "{encoding}");
    }
}

#[rstest]
#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_or_without_a_length(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("max_body", "1KiB")]);
    let large = body("k", "t", &format!("{:?}", "x".repeat(1024)));
    let told = hookbox.rest.submit_body(large.clone()).await.problem(413, "BODY_TOO_LARGE");
    assert!(told["detail"].as_str().unwrap().contains("1024"), "{told}");
    Answer::of(hookbox.rest.submission(chunked(large))).await.problem(413, "BODY_TOO_LARGE");

    let fits = body("k", "t", &format!("{:?}", "x".repeat(900)));
    assert_eq!(Answer::of(hookbox.rest.submission(chunked(fits))).await.status, 202);
    let least = body("k2", "t", "\"\"");
    let exactly = body("k2", "t", &format!("{:?}", "x".repeat(1024 - least.len())));
    assert_eq!(exactly.len(), 1024);
    assert_eq!(hookbox.rest.submit_body(exactly).await.status, 202);
}

#[rstest]
#[tokio::test]
async fn nothing_of_what_was_refused_is_stored(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    hookbox.rest.submit("k", "t", "{").await;
    hookbox.rest.submit("k", "", "1").await;
    hookbox.rest.submit("", "t", "1").await;
    let page = hookbox.rest.get("/v1/webhooks").await.json();
    assert_eq!(page["webhooks"], serde_json::json!([]));
    assert!(hookbox.handler.runs().is_empty());
}

/// A body in chunks, with no length told.
fn chunked(body: String) -> reqwest::Body {
    let chunks: Vec<_> =
        body.into_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    reqwest::Body::wrap_stream(stream::iter(chunks))
}

#[tokio::test]
async fn bodies_that_do_not_arrive_are_refused_and_counted_at_every_call() {
    let hookbox = Hookbox::start(Sqlite);
    let paths = ["/v1/webhooks", "/v1/work/lease", "/v1/replays", "/v1/pause"];
    let rest = &hookbox.rest;
    let slow = paths.map(|path| async move { answer_of(begin(rest, path, 2, "").await).await });
    let answers = futures::future::join_all(slow).await;
    let metrics = rest.get("/metrics").await.text;
    for (path, answer) in paths.into_iter().zip(answers) {
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("BODY_TIMEOUT"), "{path}: {answer}");
        let line = format!(r#"hookbox_requests_total{{api="rest",endpoint="{path}",code="408"}} 1"#);
        assert!(metrics.lines().any(|written| written == line), "{line}: {metrics}");
    }
}
