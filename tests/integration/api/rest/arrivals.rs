//! The stream of new webhooks.

use futures::{StreamExt as _, stream};
use hookbox::internals::grpc::proto;
use reqwest::{Method, Response};
use rstest::rstest;
use serde_json::Value;

use crate::api::harness::client::Rest;
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

const PATH: &str = "/v1/webhooks/watch";

/// Two routes, so that a filter by route has something to leave out.
const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    match = { event_type = "order.*" }

    [[routes]]
    name = "users"
    match = { event_type = "user.*" }
"#;

/// A stream, and what has arrived of its next event.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn open(rest: &Rest, query: &str) -> Self {
        let response = rest.request(Method::GET, &format!("{PATH}{query}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The name, the id and the data of the next event.
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let of = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim_start().to_owned()
                };
                let found = (of("event:"), of("id:"), of("data:"));
                self.text = rest.to_owned();
                if !found.0.is_empty() {
                    return (found.0, found.1, serde_json::from_str(&found.2).unwrap());
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap().expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The id of the next webhook, and the position after it.
    async fn webhook(&mut self) -> (String, String) {
        let (name, id, data) = self.next().await;
        assert_eq!((name.as_str(), &data["resume_after"]), ("webhook", &Value::from(id.as_str())));
        (data["webhook"]["id"].as_str().unwrap().to_owned(), id)
    }
}

#[rstest]
#[tokio::test]
async fn every_webhook_that_comes_in_is_sent_once_in_order(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    hookbox.rest.accept("before").await;
    let mut events = Events::open(&hookbox.rest, "").await;
    let (name, _, position) = events.next().await;
    assert_eq!((name.as_str(), &position["webhook"]), ("position", &Value::Null));
    let mut ids = Vec::new();
    let event_types = ["order.created", "user.created", "other"];
    for (number, event_type) in event_types.iter().cycle().take(30).enumerate() {
        ids.push(hookbox.rest.submit(&number.to_string(), event_type, "1").await.text_of("id"));
    }
    for id in &ids {
        assert_eq!(events.webhook().await.0, *id);
    }
    // A duplicate comes in no second time.
    hookbox.rest.submit("0", "order.created", "1").await;
    let last = hookbox.rest.submit("last", "other", "1").await.text_of("id");
    assert_eq!(events.webhook().await.0, last);
}

#[rstest]
#[tokio::test]
async fn a_stream_begins_after_a_position_and_misses_nothing(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let first = hookbox.rest.accept("first").await;
    // More than one read returns.
    let keys = (0..1_200).map(|number| number.to_string()).collect::<Vec<_>>();
    let accepted = stream::iter(&keys).map(|key| hookbox.rest.accept(key)).buffer_unordered(50);
    let mut ids = accepted.collect::<Vec<_>>().await;
    ids.sort_unstable();
    let mut events = Events::open(&hookbox.rest, &format!("?after={first}")).await;
    events.next().await;
    let mut position = String::new();
    for id in &ids[..600] {
        let sent = events.webhook().await;
        assert_eq!(sent.0, *id);
        position = sent.1;
    }
    drop(events);
    // As a browser that connects again.
    let path = format!("{PATH}?after={first}");
    let request = hookbox.rest.request(Method::GET, &path).header("last-event-id", &position);
    let mut events = Events { response: request.send().await.unwrap(), text: String::new() };
    events.next().await;
    let mut sent = Vec::new();
    while sent.last() != ids.last() {
        sent.push(events.webhook().await.0);
    }
    let again = sent.iter().filter(|id| ids[..600].contains(id));
    assert!(again.clone().all(|id| *id > position), "only what is after the position may be sent again");
    if store == Sqlite {
        assert_eq!(again.count(), 0, "there is only one order");
    }
    sent.retain(|id| !ids[..600].contains(id));
    assert_eq!(sent, ids[600..]);
}

#[rstest]
#[tokio::test]
async fn a_stream_sends_every_webhook_also_if_their_statuses_are_large(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let routes = ["one", "two", "three"].map(|name| format!("[[routes]]\nname = \"{name}\"\n")).concat();
    let hookbox = Hookbox::with_routes(store, &routes);
    let error: &'static str = "x".repeat(2_000).leak();
    hookbox.handler.will((0..300).map(|_| Step::FailForGood(error)));
    let mut ids = Vec::new();
    for number in 0..100 {
        ids.push(hookbox.rest.accept(&number.to_string()).await);
    }
    eventually("all jobs are dead letters", || async {
        let counts = hookbox.rest.get("/v1/stats").await.json()["counts"].clone();
        (counts["dead_lettered"] == 300).then_some(())
    })
    .await;
    // Together they are larger than what a stream keeps in memory.
    let mut events = Events::open(&hookbox.rest, "?after=00000000-0000-0000-0000-000000000000").await;
    events.next().await;
    for id in &ids {
        assert_eq!(events.webhook().await.0, *id);
    }
}

#[rstest]
#[tokio::test]
async fn filters_leave_out_the_other_webhooks(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    for query in ["?route=users", "?event_type=user.created", "?source=default&route=users"] {
        let mut events = Events::open(&hookbox.rest, query).await;
        events.next().await;
        hookbox.rest.submit(&format!("order {query}"), "order.created", "1").await;
        let id = hookbox.rest.submit(&format!("user {query}"), "user.created", "1").await.text_of("id");
        assert_eq!(events.webhook().await.0, id, "{query}");
    }
    for (query, field) in [("?after=7", "after"), ("?route=No", "route"), ("?source=No", "source")] {
        hookbox.rest.get(&format!("{PATH}{query}")).await.refused_field(field);
    }
    hookbox.rest.get(&format!("{PATH}?colour=red")).await.refused_field("colour");
}

#[rstest]
#[tokio::test]
async fn both_apis_send_the_same(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let before = hookbox.rest.accept("before").await;
    let request = proto::WatchWebhooksRequest { after: before.clone(), ..Default::default() };
    let mut messages = hookbox.grpc().watch_webhooks(request).await.unwrap().into_inner();
    let mut events = Events::open(&hookbox.rest, &format!("?after={before}")).await;
    hookbox.rest.submit("filtered", "other", "1").await;
    for expected in ["position", "webhook"] {
        let message = messages.next().await.unwrap().unwrap();
        let (name, _, data) = events.next().await;
        assert_eq!((name.as_str(), message.webhook.is_some()), (expected, expected == "webhook"));
        assert_eq!(data["resume_after"], message.resume_after);
        let webhook = message.webhook.map(|webhook| (webhook.id, webhook.idempotency_key));
        let of = |member: &str| data["webhook"][member].as_str().unwrap_or_default().to_owned();
        assert_eq!(webhook.unwrap_or_default(), (of("id"), of("idempotency_key")));
    }
}

#[rstest]
#[tokio::test]
async fn a_stream_that_the_stop_cuts_off_ends_with_an_error(#[values(Sqlite, Postgres)] store: Store) {
    let mut hookbox = Hookbox::with_routes(store, ROUTES);
    let mut events = Events::open(&hookbox.rest, "").await;
    events.next().await;
    hookbox.begin_to_stop();
    let (name, _, problem) = events.next().await;
    assert_eq!((name.as_str(), &problem["reason"]), ("error", &Value::from("SHUTTING_DOWN")));
    assert!(events.response.chunk().await.unwrap().is_none(), "the stream ends");
}

#[tokio::test]
async fn more_streams_than_there_are_places_are_refused() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(Events::open(&hookbox.rest, "").await);
    }
    let refused = hookbox.rest.get(PATH).await;
    refused.problem(503, "STORE_UNAVAILABLE");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(hookbox.rest.get("/v1/stats").await.status, 200, "other calls are served");
}
