//! The two ways to give a payload.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use hookbox::internals::grpc::proto::{self, submit_webhook_request::Content};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use rstest::rstest;
use tokio::sync::oneshot;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{named, submission, submission_of_value};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

/// What no double can hold and no map would keep in order.
const EXACT: &str = r#"{ "z":12345678901234567890, "a" : 1.10,"e":1E+2,"u":"\u00e9", "n":-0.0 }"#;

#[rstest]
#[tokio::test]
async fn payload_json_comes_out_byte_for_byte_through_both_apis(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let id = client.submit_webhook(submission("evt-001", EXACT)).await.unwrap().into_inner().id;
    let kept = client.get_webhook(named(&id)).await.unwrap().into_inner();
    assert_eq!(kept.payload_json.as_deref(), Some(EXACT));
    let rest = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await;
    assert!(rest.text.contains(&format!(r#""payload":{EXACT}"#)), "{}", rest.text);
}

#[rstest]
#[tokio::test]
async fn a_payload_given_as_a_value_is_the_json_it_stands_for(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = hookbox.grpc();
    let object = |members: Vec<(&str, Value)>| {
        let fields = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        of(Kind::StructValue(Struct { fields }))
    };
    let list = |values| of(Kind::ListValue(ListValue { values }));
    for (number, (value, json)) in [
        (of(Kind::NullValue(0)), "null"),
        (of(Kind::BoolValue(true)), "true"),
        (of(Kind::NumberValue(12.0)), "12"),
        (of(Kind::NumberValue(-1.5)), "-1.5"),
        (of(Kind::StringValue("é\"\n".into())), r#""é\"\n""#),
        (list(vec![]), "[]"),
        (object(vec![]), "{}"),
        (object(vec![("a", list(vec![of(Kind::NumberValue(1.0)), object(vec![])]))]), r#"{"a":[1,{}]}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let request = submission_of_value(&format!("evt-{number}"), value);
        let id = client.submit_webhook(request).await.unwrap().into_inner().id;
        let kept = client.get_webhook(named(&id)).await.unwrap().into_inner();
        assert_eq!(kept.payload_json.as_deref(), Some(json));
    }
}

#[rstest]
#[tokio::test]
async fn a_value_and_the_json_it_stands_for_are_the_same_payload(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    assert_eq!(hookbox.rest.submit("evt-001", "order.created", "[1.0, null]").await.status, 202);
    let values = vec![of(Kind::NumberValue(1.0)), of(Kind::NullValue(0))];
    let request = submission_of_value("evt-001", of(Kind::ListValue(ListValue { values })));
    assert!(hookbox.grpc().submit_webhook(request).await.unwrap().into_inner().duplicate);
}

#[tokio::test]
async fn a_number_that_json_cannot_write_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let request = submission_of_value("evt-001", of(Kind::NumberValue(number)));
        let status = hookbox.grpc().submit_webhook(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let request = submission_of_value("evt-001", Value { kind: None });
    assert_eq!(hookbox.grpc().submit_webhook(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[rstest]
#[case::lists(49, list_of)]
#[case::objects(33, object_of)]
#[tokio::test]
async fn a_value_may_nest_as_deep_as_the_proto_says_and_json_deeper(
    #[case] most: usize,
    #[case] within: fn(Value) -> Value,
) {
    let hookbox = Hookbox::start(Sqlite);
    let mut client = hookbox.grpc();
    let nested = |levels: usize| {
        let value = (0..levels).fold(of(Kind::BoolValue(true)), |value, _| within(value));
        submission_of_value("evt-001", value)
    };
    client.submit_webhook(nested(most)).await.unwrap();
    let status = client.submit_webhook(nested(most + 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "MALFORMED_MESSAGE");
    let message = status.message();
    assert!(message.contains(&most.to_string()) && message.contains("payload_json"), "{message}");
    assert!(message.len() < 300, "it names no level: {message}");
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    client.submit_webhook(submission("evt-002", &deep)).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_value_that_nests_without_end_does_not_harm_the_server(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut value = of(Kind::NullValue(0));
    for _ in 0..2_000 {
        value = of(Kind::ListValue(ListValue { values: vec![value] }));
    }
    let mut client = hookbox.grpc();
    client.submit_webhook(submission_of_value("evt-001", value)).await.unwrap_err();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let status = client.submit_webhook(submission("evt-001", &deep)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    client.submit_webhook(submission("evt-001", "1")).await.unwrap();
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused_in_either_form() {
    let hookbox = Hookbox::with(Sqlite, &[("max_body", "1KiB")]);
    let mut client = hookbox.grpc();
    let text = "x".repeat(1100);
    for content in [
        Content::PayloadJson(format!("{text:?}")),
        Content::Payload(of(Kind::StringValue(text))),
        Content::PayloadJson(format!("{:?}", "x".repeat(100_000))),
    ] {
        let request = proto::SubmitWebhookRequest { content: Some(content), ..submission("evt-001", "") };
        let status = client.submit_webhook(request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    }
}

#[tokio::test]
async fn a_value_without_room_for_what_it_holds_is_refused_and_does_not_wait() {
    let hookbox = Hookbox::start(Sqlite);
    // Encoded 1.4 MB, decoded more than there is memory for: it has room only while nothing else has any.
    let fields = BTreeMap::from([(String::new(), Value::default())]);
    let values = vec![of(Kind::StructValue(Struct { fields })); 240_000];
    let large = submission_of_value("evt-001", of(Kind::ListValue(ListValue { values })));
    let begin = stream::iter([Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])]);
    let (begun, has_begun) = oneshot::channel();
    let rest = stream::once(async move {
        begun.send(()).unwrap();
        std::future::pending().await
    });
    let arriving = reqwest::Body::wrap_stream(begin.chain(rest));
    let arriving = tokio::spawn(hookbox.rest.submission(arriving).send());
    // Each look at it below takes long.
    has_begun.await.unwrap();
    let refused = eventually("the other body to arrive", || async {
        let status = hookbox.grpc().submit_webhook(large.clone()).await.unwrap_err();
        (status.code() == Code::Unavailable).then_some(status)
    })
    .await;
    assert_eq!(refused.get_details_error_info().unwrap().reason, "BACKLOG_FULL");
    let delay = refused.get_details_retry_info().unwrap().retry_delay;
    assert_eq!(delay, Some(Duration::from_secs(1)));
    hookbox.grpc().submit_webhook(submission("evt-002", "1")).await.unwrap();
    arriving.abort();
}

fn of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn list_of(value: Value) -> Value {
    of(Kind::ListValue(ListValue { values: vec![value] }))
}

fn object_of(value: Value) -> Value {
    of(Kind::StructValue(Struct { fields: BTreeMap::from([("a".to_owned(), value)]) }))
}
