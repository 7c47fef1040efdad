//! Bodies that are not JSON, and what is kept of requests besides their bodies, as both APIs show them.

use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::grpc::proto;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::api::harness::client::{Answer, body};
use crate::api::harness::home::Home;
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store};

/// A route that workers pull.
const PULLED: &str = "[[routes]]\nname = \"pulled\"\nhandler = \"pull\"\n";

/// A hookbox with a webhook of these bytes, which has a job of this route; and the id of the webhook.
pub(crate) async fn hookbox_with(
    bytes: &[u8],
    content_type: &str,
    routes: &str,
    route: &str,
) -> (Hookbox, String) {
    let home = Home::new(Sqlite, routes);
    let content_type = ContentType::of_header(Some(content_type.as_bytes()));
    let id = home.put(Payload::of_bytes(bytes, content_type), route).await;
    (Hookbox::at(home, START, &[]), id)
}

#[tokio::test]
async fn a_body_is_json_or_a_text_or_base64_for_both_apis_and_for_workers() {
    let deep = ["[".repeat(129), "]".repeat(129)].concat();
    for (bytes, content_type, members) in [
        (&b"{\"a\" : 1.50}"[..], "application/cloudevents+json", json!({ "payload": { "a": 1.5 } })),
        (b"{\"a\"", "application/json", json!({ "payload_text": "{\"a\"" })),
        (b"a=1&b=%C5%BC", "application/x-www-form-urlencoded", json!({ "payload_text": "a=1&b=%C5%BC" })),
        (b"", "text/plain", json!({ "payload_text": "" })),
        (b"\xff\0", "image/png", json!({ "payload_base64": "/wA=" })),
        (b" 1\n", "text/json", json!({ "payload": 1 })),
        // Valid, but many clients could not read the answer.
        (b"\"cut \\ud83d\"", "application/json", json!({ "payload_text": "\"cut \\ud83d\"" })),
        (deep.as_bytes(), "application/json", json!({ "payload_text": deep })),
    ] {
        let (hookbox, id) = hookbox_with(bytes, content_type, PULLED, "pulled").await;
        let text = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.text;
        let webhook: Value = serde_json::from_str(&text).unwrap();
        let request = json!({ "routes": ["pulled"], "worker": "w" });
        let leased = super::work::call(&hookbox.rest, "lease", &request).await.json()["jobs"][0].clone();
        for shown in [&webhook, &leased] {
            assert_eq!(shown["content_type"], content_type);
            for member in ["payload", "payload_text", "payload_base64"] {
                assert_eq!(shown.get(member), members.get(member), "{member} of {shown}");
            }
        }
        assert_eq!(webhook["payload_size"], bytes.len(), "with all white space");
        let is_json = members.get("payload").is_some();
        let json = str::from_utf8(bytes).ok().filter(|_| is_json);
        let as_it_came = json.map(|json| format!("\"payload\":{},", json.trim()));
        assert!(as_it_came.is_none_or(|member| text.contains(&member)), "{text}");

        let request = proto::GetWebhookRequest { id, ..Default::default() };
        let shown = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
        assert_eq!(shown.payload_json.as_deref(), json);
        assert_eq!(shown.payload_bytes.as_deref(), (!is_json).then_some(bytes));
        assert_eq!(
            (shown.content_type.as_str(), shown.payload_size),
            (content_type, Some(bytes.len() as u64))
        );
    }
}

#[tokio::test]
async fn a_verdict_and_its_cause_are_shown() {
    let (hookbox, id) = hookbox_with(b"1", "text/plain", PULLED, "pulled").await;
    let webhook = hookbox.rest.webhook(&id).await;
    assert_eq!((&webhook["verdict"], &webhook["cause"]), (&json!("unverified"), &json!("timestamp_too_old")));
    let headers = [("x-shop", "7"), ("authorization", "***")];
    let headers = headers.map(|(name, value)| json!({ "name": name, "value": value }));
    assert_eq!(webhook["headers"], json!(headers));
    let request = proto::GetWebhookRequest { id, ..Default::default() };
    let shown = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    assert_eq!((shown.verdict(), shown.cause()), (proto::Verdict::Unverified, proto::Cause::TimestampTooOld));
    let header = |name: &str, value: &str| proto::Header { name: name.into(), value: value.into() };
    assert_eq!(shown.headers, [header("x-shop", "7"), header("authorization", "***")]);
}

#[rstest]
#[tokio::test]
async fn the_headers_of_a_submission_are_kept_without_credentials(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let submission = hookbox.rest.submission(body("evt-001", "order.created", "{}"));
    let submission = submission
        .header("X-Shop", "7")
        .header("Authorization", "Bearer secret")
        .header("Cookie", "session=secret")
        .header("x-shop", "8");
    let over_rest = Answer::of(submission).await.text_of("id");

    let mut request = Request::new(proto::SubmitWebhookRequest {
        idempotency_key: "evt-002".into(),
        event_type: "order.created".into(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson("{}".into())),
    });
    let metadata = request.metadata_mut();
    metadata.append("x-shop", MetadataValue::from_static("7"));
    metadata.append("authorization", MetadataValue::from_static("Bearer secret"));
    metadata.append("cookie", MetadataValue::from_static("session=secret"));
    metadata.append("x-shop", MetadataValue::from_static("8"));
    metadata.append_bin("x-shop-bin", MetadataValue::from_bytes(b"\0"));
    let over_grpc = hookbox.grpc().submit_webhook(request).await.unwrap().into_inner().id;

    for id in [over_rest, over_grpc] {
        let webhook = hookbox.rest.webhook(&id).await;
        let headers = webhook["headers"].as_array().unwrap();
        let values = |name: &str| {
            let named = headers.iter().filter(|header| header["name"] == name);
            named.map(|header| header["value"].as_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(values("x-shop"), ["7", "8"], "{webhook}");
        assert_eq!((values("authorization"), values("cookie")), (vec!["***"], vec!["***"]), "{webhook}");
        assert_eq!(values("x-shop-bin"), Vec::<&str>::new());
        assert!(!webhook.to_string().contains("secret"), "{webhook}");
        assert_eq!(
            (&webhook["content_type"], &webhook["verdict"]),
            (&json!("application/json"), &json!("none"))
        );
        assert_eq!(webhook["cause"], Value::Null);
    }
}
