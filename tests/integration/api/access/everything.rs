//! Every operation of both APIs, with each role and without one.

use std::collections::BTreeSet;

use hookbox::internals::access::{Need, OPERATIONS, Role};
use hookbox::internals::grpc::proto::{DESCRIPTORS, WatchWebhooksRequest};
use jiff::SignedDuration;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use tonic::Code;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_types::StatusExt as _;

use super::{rest, secret, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Sqlite};
use crate::support::client::client_builder;

const ID: &str = "01934c3e-7b00-7000-8000-000000000000";

/// A hookbox with a token for each role, which has its name.
fn with_roles() -> Hookbox {
    let tokens = Role::ALL.map(|role| token(role.as_str(), &format!("roles = [\"{role}\"]")));
    Hookbox::with_routes(Sqlite, &tokens.concat())
}

fn may(role: Role, need: Need) -> bool {
    match need {
        Need::Nothing => true,
        Need::Metrics => matches!(role, Role::Read | Role::Operate),
        Need::Role(needed) => needed == role || (needed == Role::Read && role == Role::Operate),
    }
}

async fn send(rest: &Rest, method: &str, path: &str) -> Answer {
    let path = path.replace("{id}", ID).replace("{from}", "gone").replace("{route}", "gone");
    let mut path = path.replace("{source}", "gone").replace("{number}", "1");
    if path == "/v1/webhooks/watch" {
        // Otherwise the answer does not end.
        path.push_str("?after=nothing");
    }
    Answer::of(rest.request(Method::from_bytes(method.as_bytes()).unwrap(), &path)).await
}

/// Calls a method with an empty message, or one that is refused; answers the code and the reason.
async fn call(hookbox: &Hookbox, call: &str, token: Option<&str>) -> (Code, String) {
    let mut client = tonic::client::Grpc::new(hookbox.channel());
    client.ready().await.unwrap();
    // With an empty message, the answer does not end.
    let after = if call.ends_with("/WatchWebhooks") { "nothing" } else { "" };
    let message = WatchWebhooksRequest { after: after.to_owned(), ..Default::default() };
    let mut request = tonic::Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let path = format!("/{call}").parse::<PathAndQuery>().unwrap();
    let codec = tonic_prost::ProstCodec::<WatchWebhooksRequest, ()>::default();
    let answer = client.unary(request, path, codec).await;
    match answer {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => {
            let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
            (status.code(), reason)
        }
    }
}

#[test]
fn the_table_has_every_operation_of_both_apis() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let methods = files.iter().filter(|file| file.package() == "hookbox.v1").flat_map(|file| &file.service);
    let methods: BTreeSet<_> = methods
        .flat_map(|service| {
            let name = service.name();
            service.method.iter().map(move |method| format!("hookbox.v1.{name}/{}", method.name()))
        })
        .collect();
    let calls = OPERATIONS.iter().map(|operation| operation.call).filter(|call| !call.is_empty());
    assert_eq!(calls.map(ToOwned::to_owned).collect::<BTreeSet<_>>(), methods);

    let document = serde_json::to_value(hookbox::internals::http::openapi()).unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            documented.insert((method.to_uppercase(), path.clone()));
        }
    }
    let paths = OPERATIONS.iter().flat_map(|operation| operation.paths);
    let paths: BTreeSet<_> = paths.map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(paths, documented);
}

#[tokio::test]
async fn every_path_needs_a_token_with_its_role() {
    let hookbox = with_roles();
    for operation in OPERATIONS {
        for (method, path) in operation.paths {
            let is_open = operation.need == Need::Nothing;
            let without = send(&hookbox.rest, method, path).await;
            let wrong = send(&hookbox.rest.with_token("hbx_wrong"), method, path).await;
            for refused in [without, wrong] {
                if is_open {
                    // There is no source of this name.
                    let expected = if path.contains("{source}") { 404 } else { 200 };
                    assert_eq!(refused.status, expected, "{method} {path}: {}", refused.text);
                } else {
                    refused.problem(401, "UNAUTHENTICATED");
                    assert_eq!(refused.header("www-authenticate"), "Bearer", "{method} {path}");
                }
            }
            for role in Role::ALL {
                let answer = send(&rest(&hookbox, role.as_str()), method, path).await;
                if may(role, operation.need) {
                    assert!(![401, 403].contains(&answer.status), "{role}, {method} {path}: {}", answer.text);
                } else {
                    answer.problem(403, "FORBIDDEN");
                }
            }
            // The failed tokens are forgotten.
            hookbox.advance(SignedDuration::from_mins(1));
        }
    }
}

#[tokio::test]
async fn every_call_needs_a_token_with_its_role() {
    let hookbox = with_roles();
    for operation in OPERATIONS.iter().filter(|operation| !operation.call.is_empty()) {
        for token in [None, Some("hbx_wrong")] {
            let refused = call(&hookbox, operation.call, token).await;
            assert_eq!(refused, (Code::Unauthenticated, "UNAUTHENTICATED".to_owned()), "{}", operation.call);
        }
        for role in Role::ALL {
            let (code, reason) = call(&hookbox, operation.call, Some(&secret(role.as_str()))).await;
            if may(role, operation.need) {
                let refused = [Code::Unauthenticated, Code::PermissionDenied];
                assert!(!refused.contains(&code), "{role}, {}: {reason}", operation.call);
            } else {
                assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "FORBIDDEN"), "{role}");
            }
        }
        hookbox.advance(SignedDuration::from_mins(1));
    }
}

#[tokio::test]
async fn health_documentation_and_wrong_paths_need_no_token() {
    let hookbox = with_roles();
    for (path, status) in [("/openapi.json", 200), ("/docs/", 200), ("/v1/nothing", 404), ("/v1/pause", 405)]
    {
        assert_eq!(hookbox.rest.get(path).await.status, status, "{path}");
    }
    for known in ["grpc.health.v1.Health/Check", "other.v1.Service/Method"] {
        let (code, _) = call(&hookbox, known, None).await;
        assert!([Code::Ok, Code::Unimplemented].contains(&code), "{known}: {code:?}");
    }
    let unknown = call(&hookbox, "hookbox.v1.WebhookService/Nothing", None).await;
    assert_eq!(unknown.0, Code::Unauthenticated, "what is not in the table needs a token");
}

#[tokio::test]
async fn metrics_can_be_open() {
    let reader = token("reader", "roles = [\"read\"]");
    let hookbox = Hookbox::with_routes(Sqlite, &format!("metrics_open = true\n{reader}"));
    assert_eq!(hookbox.rest.get("/metrics").await.status, 200);
    assert_eq!(hookbox.rest.get("/v1/stats").await.status, 401);
}

#[tokio::test]
async fn where_tokens_are_needed_any_host_is_answered_but_no_foreign_page() {
    let hookbox = with_roles();
    let operator = rest(&hookbox, "operate");
    let named = |method: Method, path: &str| operator.request(method, path).header("host", "inbox.internal");
    assert_eq!(Answer::of(named(Method::GET, "/v1/stats")).await.status, 200);
    let foreign = named(Method::POST, "/v1/pause").header("origin", "http://evil.example");
    Answer::of(foreign).await.problem(403, "ORIGIN_NOT_ALLOWED");
}

// The client closes its connection while hookbox stops, so that it need not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_token_counts_over_http_2_too() {
    let hookbox = with_roles();
    let client = crate::support::client::client_builder().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/v1/stats", hookbox.rest.address());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 401);
    assert_eq!(client.get(&url).bearer_auth(secret("submit")).send().await.unwrap().status(), 403);
    assert_eq!(client.get(&url).bearer_auth(secret("read")).send().await.unwrap().status(), 200);
}

// The client closes its connection while hookbox stops, so that it need not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_with_a_content_type_that_a_page_can_send_is_refused() {
    let hookbox = Hookbox::with_routes(Sqlite, "");
    let client = client_builder().http2_prior_knowledge().build().unwrap();
    for operation in OPERATIONS.iter().filter(|operation| !operation.call.is_empty()) {
        let url = format!("http://{}/{}", hookbox.grpc_address(), operation.call);
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json"] {
            let call = client.post(&url).header(CONTENT_TYPE, content_type).body(vec![0; 5]);
            let status = call.send().await.unwrap().status();
            assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{}, {content_type}", operation.call);
        }
    }
    let pauses = hookbox.rest.get("/v1/pauses").await.json()["pauses"].clone();
    assert_eq!(pauses, serde_json::json!([]), "nothing is paused");
}
