//! The list of sources, and the requests of a source that were refused, over both APIs.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const SOURCES: &str = r#"
    [sources.shop]
    preset = "shopify"
    secrets = ["s3cret-of-the-shop"]
    rate_limit = "1000/m"

    [sources.erp]
    description = "The ERP of the warehouse"
    verify = { token = "plain", header = "X-Token" }
    secrets = ["s3cret-of-the-erp"]
    key = { header = "X-Id" }
    unverified = "quarantine"
    sensitive = true

    [sources.crm]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["s3cret-of-the-crm"]
    key = { header = "X-Id" }
"#;

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// When driven time begins, as answers have it.
const NOW: &str = "2026-03-01T12:00:00.000Z";

/// Sends a request to the source `crm`.
async fn send(rest: &Rest, headers: &[(&str, &str)]) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/crm/webhooks");
    let request = request.header(CONTENT_TYPE, "application/json");
    let request = request.header("traceparent", format!("00-{TRACE_ID}-00f067aa0ba902b7-01"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::of(request.body(r#"{"total":1}"#)).await
}

/// Sends one request of each kind: not verified, malformed, and verified.
async fn send_one_of_each(rest: &Rest) {
    let right = ("x-token", "s3cret-of-the-crm");
    let not_verified = send(rest, &[("x-token", "another-token"), ("x-id", "evt-001")]).await;
    assert_eq!(not_verified.status, 401, "{}", not_verified.text);
    let malformed = send(rest, &[right]).await;
    assert_eq!(malformed.status, 400, "{}", malformed.text);
    let verified = send(rest, &[right, ("x-id", "evt-001")]).await;
    assert!((200..300).contains(&verified.status), "{}", verified.text);
}

async fn sources(rest: &Rest) -> Vec<Value> {
    let answer = rest.get("/v1/sources").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.text.contains("s3cret"), "{}", answer.text);
    answer.json()["sources"].as_array().unwrap().clone()
}

/// A source of the list.
async fn source(rest: &Rest, name: &str) -> Value {
    let sources = sources(rest).await;
    sources.iter().find(|source| source["source"] == name).unwrap_or_else(|| panic!("{sources:#?}")).clone()
}

async fn rejections(rest: &Rest, name: &str) -> Answer {
    rest.get(&format!("/v1/sources/{name}/rejections")).await
}

/// The names of the sources in a list.
fn names(sources: &[Value]) -> Vec<&str> {
    sources.iter().map(|source| source["source"].as_str().unwrap()).collect()
}

fn operations(hookbox: &Hookbox) -> OperationServiceClient<tonic::transport::Channel> {
    OperationServiceClient::new(hookbox.channel())
}

#[rstest]
#[tokio::test]
async fn the_sources_of_the_settings_are_listed_by_name(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    hookbox.rest.accept("evt-001").await;
    let counts =
        json!({ "verified": 0, "unverified": 0, "malformed": 0, "handshakes": 0, "unauthorized": 0 });
    let unseen = |name: &str, members: Value| {
        let mut source = json!({
            "source": name, "preset": null, "description": null, "verifies": true,
            "path": format!("/v1/sources/{name}/webhooks"), "unverified": "reject", "rate_limit": null,
            "counts": counts, "last_seen": null, "paused": false, "paused_since": null, "paused_by": null,
            "pause_reason": null, "sensitive": false,
        });
        for (member, value) in members.as_object().unwrap() {
            source[member] = value.clone();
        }
        source
    };
    let shop = "Shopify: webhooks of apps and of the admin";
    let expected = [
        unseen("crm", json!({})),
        unseen(
            "erp",
            json!({
                "description": "The ERP of the warehouse", "unverified": "quarantine", "sensitive": true,
            }),
        ),
        unseen("shop", json!({ "preset": "shopify", "description": shop, "rate_limit": "1000/m" })),
    ];
    assert_eq!(sources(&hookbox.rest).await, expected, "without `default`");
}

#[rstest]
#[tokio::test]
async fn the_list_follows_reloads_and_pauses(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    let form = "[sources.form]\nverify = \"none\"\nkey = \"body\"\n";
    hookbox.set_routes(form);
    assert_eq!(names(&sources(&hookbox.rest).await), ["crm", "erp", "shop"], "the file is not read yet");
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    assert_eq!(names(&sources(&hookbox.rest).await), ["form"]);
    rejections(&hookbox.rest, "crm").await.problem(404, "SOURCE_NOT_FOUND");
    assert_eq!(hookbox.rest.post("/v1/pause?source=form&reason=it%20moves").await.status, 200);
    let paused = source(&hookbox.rest, "form").await;
    assert_eq!((&paused["verifies"], &paused["paused"]), (&json!(false), &json!(true)));
    let shown = ["paused_since", "paused_by", "pause_reason"].map(|member| paused[member].clone());
    assert_eq!(shown, [NOW, "anonymous", "it moves"]);
    assert_eq!(hookbox.rest.post("/v1/resume?source=form").await.status, 200);
    let resumed = source(&hookbox.rest, "form").await;
    assert_eq!((&resumed["paused"], &resumed["paused_since"]), (&json!(false), &Value::Null));
}

#[rstest]
#[tokio::test]
async fn what_came_in_is_counted_and_what_was_refused_is_listed(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    send_one_of_each(&hookbox.rest).await;
    let crm = source(&hookbox.rest, "crm").await;
    let counts = &crm["counts"];
    assert_eq!((&counts["unverified"], &counts["malformed"]), (&json!(1), &json!(1)), "{crm}");
    assert!(counts["verified"].as_u64() >= Some(1), "{crm}");
    assert_eq!(crm["last_seen"], NOW);
    assert_eq!(source(&hookbox.rest, "erp").await["last_seen"], Value::Null);

    let answer = rejections(&hookbox.rest, "crm").await;
    let list = answer.json()["rejections"].as_array().unwrap().clone();
    let [malformed, not_verified] = &list[..] else { panic!("newest first: {list:#?}") };
    let reasons = (&not_verified["reason"], &malformed["reason"]);
    assert_eq!(reasons, (&json!("NOT_VERIFIED"), &json!("MALFORMED_WEBHOOK")));
    assert_eq!((&not_verified["cause"], &malformed["cause"]), (&json!("credentials_wrong"), &Value::Null));
    for rejection in &list {
        for (member, value) in [
            ("at", json!(NOW)),
            ("client", json!("127.0.0.1")),
            ("method", json!("POST")),
            ("content_type", json!("application/json")),
            ("body_bytes", json!(11)),
            ("trace_id", json!(TRACE_ID)),
        ] {
            assert_eq!(rejection[member], value, "{member} of {rejection}");
        }
        assert!(rejection["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{rejection}");
    }
    assert!(!answer.text.contains("total"), "no bodies: {}", answer.text);
    assert_eq!(rejections(&hookbox.rest, "erp").await.json(), json!({ "rejections": [] }));
}

#[rstest]
#[tokio::test]
async fn rejections_of_a_source_that_is_unknown_or_wrong_are_refused(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    for unknown in ["default", "hookbox", "other"] {
        rejections(&hookbox.rest, unknown).await.problem(404, "SOURCE_NOT_FOUND");
    }
    for wrong in ["Shop", "%FF"] {
        rejections(&hookbox.rest, wrong).await.refused_field("source");
    }
    let ask = async |source: &str| {
        let request = proto::ListRejectionsRequest { source: source.to_owned() };
        let refused = operations(&hookbox).list_rejections(request).await.unwrap_err();
        (refused.code(), refused.get_details_error_info().unwrap().reason)
    };
    assert_eq!(ask("default").await, (Code::NotFound, "SOURCE_NOT_FOUND".to_owned()));
    assert_eq!(ask("").await, (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
}

#[rstest]
#[tokio::test]
async fn a_token_sees_its_sources_only(#[values(Sqlite, Postgres)] store: Store) {
    let tokens = [
        token("all", EVERY_ROLE),
        token("crm", "roles = [\"read\"]\nsources = \"c*\""),
        token("orders", "roles = [\"read\"]\nroutes = \"orders\""),
    ];
    let hookbox = Hookbox::with_routes(store, &[SOURCES, tokens.concat().as_str()].concat());
    send_one_of_each(&hookbox.rest).await;
    let (all, crm, orders) = (rest(&hookbox, "all"), rest(&hookbox, "crm"), rest(&hookbox, "orders"));
    assert_eq!(names(&sources(&all).await), ["crm", "erp", "shop"]);
    assert_eq!(sources(&crm).await, [source(&all, "crm").await]);
    assert_eq!(rejections(&crm, "crm").await.json(), rejections(&all, "crm").await.json());
    // What is hidden is told as what is not there.
    let hidden = rejections(&crm, "erp").await.problem(404, "SOURCE_NOT_FOUND");
    let absent = rejections(&crm, "xyz").await.problem(404, "SOURCE_NOT_FOUND");
    let text = |problem: &Value| problem["detail"].as_str().unwrap().to_owned();
    assert_eq!(text(&hidden).replace("erp", "xyz"), text(&absent));

    let shown = source(&orders, "crm").await;
    let nothing =
        json!({ "verified": 0, "unverified": 0, "malformed": 0, "handshakes": 0, "unauthorized": 0 });
    assert_eq!((&shown["counts"], &shown["last_seen"]), (&nothing, &Value::Null), "numbers of all routes");
    rejections(&orders, "crm").await.problem(403, "FORBIDDEN");
}

#[rstest]
#[tokio::test]
async fn both_apis_tell_the_same_of_sources_and_rejections(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, SOURCES);
    send_one_of_each(&hookbox.rest).await;
    assert_eq!(hookbox.rest.post("/v1/pause?source=crm").await.status, 200);
    let mut client = operations(&hookbox);
    let listed = client.list_sources(proto::ListSourcesRequest {}).await.unwrap().into_inner().sources;
    assert_eq!(listed.into_iter().map(source_json).collect::<Vec<_>>(), sources(&hookbox.rest).await);

    let request = proto::ListRejectionsRequest { source: "crm".to_owned() };
    let refused = client.list_rejections(request).await.unwrap().into_inner().rejections;
    assert_eq!(refused.len(), 2);
    let refused = refused.into_iter().map(rejection_json).collect::<Vec<_>>();
    assert_eq!(rejections(&hookbox.rest, "crm").await.json(), json!({ "rejections": refused }));
}

/// What gRPC tells of a source, written as REST writes it.
fn source_json(source: proto::Source) -> Value {
    let counts = source.counts.unwrap();
    json!({
        "source": source.source, "preset": source.preset, "description": source.description,
        "verifies": source.verifies, "path": source.path, "unverified": source.unverified,
        "rate_limit": source.rate_limit, "last_seen": time(source.last_seen), "paused": source.paused,
        "paused_since": time(source.paused_since), "paused_by": source.paused_by,
        "pause_reason": source.pause_reason, "sensitive": source.sensitive,
        "counts": {
            "verified": counts.verified, "unverified": counts.unverified, "malformed": counts.malformed,
            "handshakes": counts.handshakes, "unauthorized": counts.unauthorized,
        },
    })
}

fn rejection_json(rejection: proto::Rejection) -> Value {
    let cause = rejection.cause.map(|_| rejection.cause().as_str_name().strip_prefix("CAUSE_").unwrap());
    json!({
        "at": time(rejection.at), "cause": cause.map(str::to_lowercase), "reason": rejection.reason,
        "detail": rejection.detail, "client": rejection.client, "method": rejection.method,
        "content_type": rejection.content_type, "body_bytes": rejection.body_bytes,
        "trace_id": rejection.trace_id,
    })
}

fn time(time: Option<prost_types::Timestamp>) -> Option<String> {
    time.map(|time| format!("{:.3}", Timestamp::new(time.seconds, time.nanos).unwrap()))
}
