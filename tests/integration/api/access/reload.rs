//! A reload takes tokens in and away, all of them or none.

use futures::StreamExt as _;
use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::submit_webhooks_response::Result::{Accepted, Error};
use reqwest::Method;
use tonic::Code;

use super::{EVERY_ROLE, grpc, rest, token};
use crate::api::harness::{Hookbox, Sqlite};

const ROUTE: &str = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";

fn settings(tokens: &[&str]) -> String {
    let tokens = tokens.iter().map(|name| token(name, EVERY_ROLE)).collect::<String>();
    format!("{ROUTE}{tokens}")
}

/// Puts these tokens into the settings, and reloads with the token `one`.
async fn reload(hookbox: &Hookbox, tokens: &[&str]) {
    hookbox.set_routes(&settings(tokens));
    let reloaded = rest(hookbox, "one").post("/v1/settings/reload").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text);
}

#[tokio::test]
async fn tokens_are_taken_in_and_away_at_once() {
    let hookbox = Hookbox::with_routes(Sqlite, &settings(&["one", "two"]));
    let (two, three) = (rest(&hookbox, "two"), rest(&hookbox, "three"));
    assert_eq!(two.get("/v1/stats").await.status, 200);
    three.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
    reload(&hookbox, &["one", "three"]).await;
    two.get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
    assert_eq!(three.get("/v1/stats").await.status, 200);
    let refused = grpc(&hookbox, "two").get_stats(proto::GetStatsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    reload(&hookbox, &[]).await;
    assert_eq!(hookbox.rest.get("/v1/stats").await.status, 200, "without tokens every client is admitted");
}

#[tokio::test]
async fn a_mistake_in_a_token_keeps_all_settings_in_force() {
    let hookbox = Hookbox::with_routes(Sqlite, &settings(&["one"]));
    let wrong = format!("{}{}", settings(&["one"]).replace("orders", "invoices"), token("two", ""));
    hookbox.set_routes(&wrong);
    let one = rest(&hookbox, "one");
    let problem = one.post("/v1/settings/reload").await.problem(422, "SETTINGS_INVALID");
    assert!(problem["detail"].as_str().unwrap().contains("tokens.two has no `roles`"), "{problem}");
    assert_eq!(one.get("/v1/routes").await.json()["routes"][0]["route"], "orders");
    rest(&hookbox, "two").get("/v1/stats").await.problem(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn a_watcher_whose_token_is_taken_away_sees_no_further_change() {
    let hookbox = Hookbox::with_routes(Sqlite, &settings(&["one", "two"]));
    let (one, two) = (rest(&hookbox, "one"), rest(&hookbox, "two"));
    let id = one.accept("evt-001").await;
    let watched = two.request(Method::GET, &format!("/v1/webhooks/{id}/watch")).send().await.unwrap();
    reload(&hookbox, &["one"]).await;
    assert_eq!(one.post(&format!("/v1/webhooks/{id}/cancel")).await.status, 200);
    let events = watched.text().await.unwrap();
    assert!(events.contains("event: error") && events.contains("UNAUTHENTICATED"), "{events}");
    assert!(!events.contains("cancelled"), "{events}");
}

#[tokio::test]
async fn a_pipeline_whose_token_is_taken_away_stores_nothing_more() {
    let hookbox = Hookbox::with_routes(Sqlite, &settings(&["one", "two"]));
    let (send, requests) = futures::channel::mpsc::unbounded();
    let request = |key: &str| proto::SubmitWebhookRequest {
        idempotency_key: key.into(),
        event_type: "order.created".into(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson("1".into())),
    };
    send.unbounded_send(request("evt-001")).unwrap();
    let mut answers = grpc(&hookbox, "two").submit_webhooks(requests).await.unwrap().into_inner();
    let first = answers.next().await.unwrap().unwrap().result;
    assert!(matches!(first, Some(Accepted(_))), "{first:?}");
    reload(&hookbox, &["one"]).await;
    send.unbounded_send(request("evt-002")).unwrap();
    let Some(Error(refused)) = answers.next().await.unwrap().unwrap().result else { panic!("refused") };
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated as i32, "UNAUTHENTICATED"));
    let listed = rest(&hookbox, "one").get("/v1/webhooks").await.json();
    assert_eq!(listed["webhooks"].as_array().unwrap().len(), 1);
}
