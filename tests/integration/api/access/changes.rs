//! Every operation of REST that changes something, asked for by those who must not. The operations are those of the
//! router, so that none is forgotten.

use std::collections::BTreeSet;

use hookbox::internals::http::openapi;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{EVERY_ROLE, rest, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Sqlite, eventually};
use crate::api::page::Browser;
use crate::api::work::call;

const SOURCES: &str = r#"
    [sources.open]
    verify = "none"
    key = { json = "/id" }

    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    unverified = "quarantine"
"#;

/// What browsers say of a request that a page of another server sends.
const FOREIGN: [(&str, &str); 4] = [
    ("origin", "http://evil.example"),
    ("origin", "null"),
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
];

/// A request by POST that changes something, if it comes from an operator.
struct Change {
    /// The documented path.
    path: &'static str,
    /// The path of the request.
    at: String,
    /// Null to send none.
    body: Value,
}

impl Change {
    /// The request of a client.
    fn of(&self, client: &Rest) -> RequestBuilder {
        self.with_body(client.request(Method::POST, &self.at))
    }

    fn with_body(&self, request: RequestBuilder) -> RequestBuilder {
        if self.body.is_null() {
            return request;
        }
        request.header(CONTENT_TYPE, "application/json").body(self.body.to_string())
    }
}

/// A route whose jobs wait for workers.
fn route(name: &str, event_type: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nmatch = {{ event_type = \"{event_type}\" }}\nhandler = \"pull\"\n"
    )
}

/// The settings: the sources, a token for an operator and one for a reader, and these routes.
fn settings(routes: &[String]) -> String {
    let tokens = [token("operator", EVERY_ROLE), token("reader", "roles = [\"read\"]")].concat();
    [SOURCES, tokens.as_str(), routes.concat().as_str()].concat()
}

/// The methods and paths of all operations that do not only read, as the router documents them.
fn documented() -> BTreeSet<(String, String)> {
    let document = serde_json::to_value(openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, operations)| {
        let methods = operations.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    operations.filter(|(method, _)| !["GET", "HEAD", "OPTIONS"].contains(&method.as_str())).collect()
}

/// Has the operator submit a webhook and cancel its job. Answers its id.
async fn cancelled(operator: &Rest, key: &str, event_type: &str) -> String {
    let id = operator.submit(key, event_type, "{}").await.text_of("id");
    assert_eq!(operator.post(&format!("/v1/webhooks/{id}/cancel")).await.status, 200);
    id
}

/// Sends two webhooks into quarantine. Answers their ids.
async fn quarantined(operator: &Rest) -> [String; 2] {
    for key in ["held-1", "held-2"] {
        let request =
            operator.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", "another");
        let request = request.header("x-id", key).header(CONTENT_TYPE, "application/json").body("{}");
        assert_eq!(Answer::of(request).await.status, 202);
    }
    let page = operator.get("/v1/webhooks?status=quarantined").await.json();
    [0_usize, 1].map(|at| page["webhooks"][at]["id"].as_str().expect("it is in the list").to_owned())
}

/// Starts a replay that is not over. Time stands still, so it restarts one job only.
async fn start_replay(operator: &Rest) {
    for key in ["again-1", "again-2"] {
        cancelled(operator, key, "order.again").await;
    }
    let request = operator.request(Method::POST, "/v1/replays").header(CONTENT_TYPE, "application/json");
    let answer = Answer::of(request.body(replay().to_string())).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    eventually("a job that runs again", || async {
        (operator.get("/v1/replays/1").await.json()["counts"]["jobs"] == 1).then_some(())
    })
    .await;
}

fn replay() -> Value {
    json!({ "filter": { "event_type": "order.again" }, "rate": "1/h" })
}

/// A hookbox with something to change for each operation, and the requests, in an order in which each of them can
/// succeed.
async fn hookbox() -> (Hookbox, Vec<Change>) {
    let (orders, old, new) = (route("orders", "order.*"), route("old", "old.*"), route("new", "new.*"));
    let hookbox = Hookbox::with_routes(Sqlite, &settings(&[orders.clone(), old]));
    let operator = rest(&hookbox, "operator");
    operator.accept("leased").await;
    let work = json!({ "routes": ["orders"], "worker": "host-1", "max_jobs": 1 });
    let lease = call(&operator, "lease", &work).await.json()["jobs"][0]["lease"].clone();
    start_replay(&operator).await;
    let retried = cancelled(&operator, "retried", "order.created").await;
    let replayed = cancelled(&operator, "replayed", "order.created").await;
    cancelled(&operator, "retried-by-key", "order.created").await;
    cancelled(&operator, "replayed-by-key", "order.created").await;
    let waits = operator.accept("waits").await;
    operator.accept("waits-too").await;
    let [released, discarded] = quarantined(&operator).await;
    assert_eq!(operator.submit("old", "old.created", "{}").await.status, 202);
    assert_eq!(operator.post("/v1/pause?source=open").await.status, 200);
    hookbox.set_routes(&settings(std::slice::from_ref(&orders)));
    assert_eq!(operator.post("/v1/settings/reload").await.status, 200);
    // In force after the next reload.
    hookbox.set_routes(&settings(&[orders, new]));

    let submission = json!({ "idempotency_key": "k", "event_type": "order.created", "payload": {} });
    let extend = json!({ "worker": "host-1", "leases": [lease] });
    let finish = json!({ "worker": "host-1", "outcomes": [{ "lease": lease, "completed": {} }] });
    let changes = [
        ("/v1/webhooks", "/v1/webhooks".to_owned(), submission),
        ("/v1/sources/{source}/webhooks", "/v1/sources/open/webhooks".to_owned(), json!({ "id": "k" })),
        ("/v1/webhooks/{id}/retry", format!("/v1/webhooks/{retried}/retry"), Value::Null),
        ("/v1/retry", "/v1/retry?idempotency_key=retried-by-key".to_owned(), Value::Null),
        ("/v1/webhooks/{id}/cancel", format!("/v1/webhooks/{waits}/cancel"), Value::Null),
        ("/v1/cancel", "/v1/cancel?idempotency_key=waits-too".to_owned(), Value::Null),
        ("/v1/webhooks/{id}/replay", format!("/v1/webhooks/{replayed}/replay"), Value::Null),
        ("/v1/replay", "/v1/replay?idempotency_key=replayed-by-key".to_owned(), Value::Null),
        ("/v1/webhooks/{id}/release", format!("/v1/webhooks/{released}/release"), Value::Null),
        ("/v1/webhooks/{id}/discard", format!("/v1/webhooks/{discarded}/discard"), Value::Null),
        ("/v1/work/extend", "/v1/work/extend".to_owned(), extend),
        ("/v1/work/finish", "/v1/work/finish".to_owned(), finish),
        ("/v1/work/lease", "/v1/work/lease".to_owned(), work),
        ("/v1/pause", "/v1/pause?source=shop".to_owned(), Value::Null),
        ("/v1/resume", "/v1/resume?source=open".to_owned(), Value::Null),
        ("/v1/routes/{from}/move", "/v1/routes/old/move?to=orders".to_owned(), Value::Null),
        ("/v1/routes/{route}/cancel", "/v1/routes/old/cancel".to_owned(), Value::Null),
        ("/v1/replays/{number}/cancel", "/v1/replays/1/cancel".to_owned(), Value::Null),
        ("/v1/replays", "/v1/replays".to_owned(), replay()),
        ("/v1/settings/reload", "/v1/settings/reload".to_owned(), Value::Null),
    ];
    (hookbox, changes.map(|(path, at, body)| Change { path, at, body }).into())
}

/// All that the requests could change.
async fn state(operator: &Rest) -> Vec<Value> {
    let mut state = Vec::new();
    for path in ["/v1/webhooks?page_size=500", "/v1/pauses", "/v1/replays", "/v1/actions"] {
        state.push(operator.get(path).await.json());
    }
    let routes = operator.get("/v1/routes").await.json();
    state.push(routes["routes"].as_array().unwrap().iter().map(|route| route["route"].clone()).collect());
    state
}

#[tokio::test]
async fn no_operation_changes_anything_for_a_foreign_page_or_without_the_token_of_a_permitted_caller() {
    let (hookbox, changes) = hookbox().await;
    let sent = changes.iter().map(|change| ("POST".to_owned(), change.path.to_owned()));
    assert_eq!(sent.collect::<BTreeSet<_>>(), documented());
    let (operator, reader) = (rest(&hookbox, "operator"), rest(&hookbox, "reader"));
    let of_operator = Browser::logged_in(&hookbox, "operator").await;
    let before = state(&operator).await;
    for change in &changes {
        // Not even with the token of an operator.
        for (name, value) in FOREIGN {
            let answer = Answer::of(change.of(&operator).header(name, value)).await;
            answer.problem(403, "ORIGIN_NOT_ALLOWED");
        }
        Answer::of(change.of(&hookbox.rest)).await.problem(401, "UNAUTHENTICATED");
        // The session of a browser counts on the page only.
        let with_cookie = change.with_body(of_operator.request(Method::POST, &change.at));
        Answer::of(with_cookie).await.problem(401, "UNAUTHENTICATED");
        Answer::of(change.of(&reader)).await.problem(403, "FORBIDDEN");
        assert_eq!(state(&operator).await, before, "{}", change.path);
    }
    for change in &changes {
        let answer = Answer::of(change.of(&operator)).await;
        assert!((200..300).contains(&answer.status), "an operator may: {}: {}", change.path, answer.text);
    }
}
