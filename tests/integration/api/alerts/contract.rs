//! Only hookbox makes webhooks of the source `hookbox`, and the OpenAPI document has their payloads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::access::Access;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::handler::HandlerSettings;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use hookbox::internals::keys::{KeyFetcher, Network};
use hookbox::internals::routes::{RouteSettings, Routes};
use hookbox::internals::service::conflicts::Via;
use hookbox::internals::service::reload::{Reloaded, SettingsInForce};
use hookbox::internals::service::work::Work;
use hookbox::internals::service::{Receiving, Service};
use hookbox::internals::store::Store as _;
use hookbox::internals::store::sqlite::{Options, SqliteStore};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{alerts, routes};
use crate::api::harness::client::body;
use crate::api::harness::{Hookbox, Sqlite};

#[tokio::test]
async fn a_client_cannot_submit_webhooks_of_the_source() {
    let hookbox = Hookbox::with_routes(Sqlite, &routes("*"));
    let with_source =
        body("evt-001", "hookbox.dead_lettered", "{}").replacen('{', r#"{"source":"hookbox","#, 1);
    hookbox.rest.submit_body(with_source).await.refused_field("source");
    assert_eq!(alerts(&hookbox.rest).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_service_refuses_webhooks_of_the_source_from_every_caller() {
    let folder = tempfile::tempdir().unwrap();
    let settings = RouteSettings::everything(
        HandlerSettings::default(),
        RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1),
    );
    let routes = Arc::new(Routes::new(vec![settings]).unwrap());
    let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
    let path = folder.path().join("inbox.db");
    let options = Options { path, max_backlog: 1, policies: routes.policies(), seed: 1 };
    let store = Arc::new(SqliteStore::open(options, Arc::clone(&clock) as _, Arc::default()).await.unwrap());
    let read = || {
        let (routes, sources, tokens, text) = Default::default();
        Ok(Reloaded { routes, sources, tokens, tls: None, text, needs_restart: Vec::new() })
    };
    let in_force = Arc::new(SettingsInForce::new(routes, Arc::new(read)));
    let stopping = CancellationToken::new();
    let (work, _) =
        Work::start(Arc::clone(&store) as _, Arc::clone(&clock) as _, Arc::default(), 1, stopping.clone());
    let access = Arc::new(Access::new(Arc::default(), Arc::clone(&clock) as _));
    let keys = KeyFetcher::new(Arc::clone(&clock) as _, Network::system(), 1);
    let receiving = Arc::new(Receiving::new(None, keys, 1, Arc::clone(&clock) as _));
    let service =
        Service::new(Arc::clone(&store) as _, in_force, clock, Arc::default(), receiving, work, access);
    let webhook = NewWebhook {
        source: Source::own(),
        idempotency_key: IdempotencyKey::new("evt-001").unwrap(),
        event_type: EventType::new("hookbox.dead_lettered").unwrap(),
        payload: Payload::new("{}").unwrap(),
        headers: KeptHeaders::default(),
        verdict: Verdict::None,
        traceparent: Traceparent::new(1, 1, true),
    };
    let routes = service.routes_for_caller().unwrap();
    let refused = service.submit(webhook, &routes, &|| Vec::new(), Via::Rest).await.outcome.unwrap_err();
    assert_eq!((refused.reason(), refused.field()), (Reason::InvalidField, Some("source")));
    stopping.cancel();
    store.close().await;
}

#[test]
fn the_document_has_the_payload_of_each_alert_as_it_is_made() {
    let document = serde_json::to_value(hookbox::internals::http::openapi()).unwrap();
    let webhooks = document["webhooks"].as_object().unwrap();
    let types: Vec<_> = webhooks.keys().map(String::as_str).collect();
    let expected = [
        "hookbox.backlog_high",
        "hookbox.breaker_opened",
        "hookbox.dead_lettered",
        "hookbox.source_silent",
        "hookbox.verification_failing",
    ];
    assert_eq!(types, expected);
    for (event_type, item) in webhooks {
        let content = &item["post"]["requestBody"]["content"]["application/json"];
        let reference = content["schema"]["$ref"].as_str().unwrap();
        let schema = document.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        let members = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let required = schema["required"].as_array().unwrap().iter();
        let required: BTreeSet<_> = required.map(|name| name.as_str().unwrap().to_owned()).collect();
        assert_eq!(members(&content["example"]), members(&schema["properties"]), "{event_type}");
        assert_eq!(members(&content["example"]), required, "{event_type}");
    }
}
