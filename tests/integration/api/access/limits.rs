//! Tokens that are limited to routes or sources: the rest is as if it were not there.

use std::time::Duration;

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;

use super::{EVERY_ROLE, bearer, grpc, rest, secret, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    handler = "pull"

    [[routes]]
    name = "audit"
    handler = "pull"
"#;

/// A hookbox with two routes, and tokens: `all`, `orders` limited to that route, `shop` limited to that source.
fn hookbox(store: Store) -> Hookbox {
    let tokens = [
        token("all", EVERY_ROLE),
        token("orders", "roles = [\"read\", \"work\", \"operate\"]\nroutes = [\"ord*\"]"),
        token("shop", "roles = [\"submit\", \"operate\"]\nsources = \"shop\""),
    ];
    Hookbox::with_routes(store, &format!("{ROUTES}{}", tokens.concat()))
}

async fn work(rest: &Rest, call: &str, body: &Value) -> Answer {
    let request = rest.request(Method::POST, &format!("/v1/work/{call}"));
    Answer::of(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await
}

/// The names of the routes in a list.
fn routes(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["route"].as_str().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn a_token_limited_to_a_route_sees_its_jobs_only(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = hookbox(store);
    let (all, orders) = (rest(&hookbox, "all"), rest(&hookbox, "orders"));
    let id = all.accept("evt-001").await;
    assert_eq!(routes(&all.webhook(&id).await["jobs"]), ["orders", "audit"]);
    assert_eq!(routes(&orders.webhook(&id).await["jobs"]), ["orders"]);

    let listed = |query: &str| {
        let (orders, path) = (orders.clone(), format!("/v1/webhooks{query}"));
        async move { orders.get(&path).await.json()["webhooks"].as_array().unwrap().len() }
    };
    assert_eq!(listed("").await, 1);
    assert_eq!(listed("?route=audit").await, 0);
    let cancelled = all.post(&format!("/v1/webhooks/{id}/cancel?route=audit")).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    assert_eq!(listed("?status=cancelled").await, 0, "only a hidden job has the status");
    assert_eq!(listed("?status=pending").await, 1);
    assert_eq!(orders.webhook(&id).await["status"], "pending");

    let stats = orders.get("/v1/stats").await.json();
    assert_eq!(routes(&stats["routes"]), ["orders"]);
    assert_eq!(stats["counts"]["pending"], 1);
    assert_eq!(stats["counts"]["cancelled"], 0);
    assert_eq!(routes(&orders.get("/v1/routes").await.json()["routes"]), ["orders"]);
    orders.get("/metrics").await.problem(403, "FORBIDDEN");
}

#[rstest]
#[tokio::test]
async fn a_limited_token_is_sent_only_the_new_webhooks_that_it_sees(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = hookbox(store);
    let all = rest(&hookbox, "all");
    let id = all.accept("evt-001").await;
    let after = proto::WatchWebhooksRequest {
        after: "00000000-0000-0000-0000-000000000000".to_owned(),
        ..Default::default()
    };
    let mut sent = grpc(&hookbox, "orders").watch_webhooks(after.clone()).await.unwrap().into_inner();
    assert!(sent.message().await.unwrap().unwrap().webhook.is_none());
    assert_eq!(sent.message().await.unwrap().unwrap().webhook.unwrap().id, id);

    // It has no webhook of its source: it is not sent the one that is there, only one that comes.
    let mut sent = grpc(&hookbox, "shop").watch_webhooks(after).await.unwrap().into_inner();
    assert!(sent.message().await.unwrap().unwrap().webhook.is_none());
    let nothing = tokio::time::timeout(Duration::from_millis(200), sent.message()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[rstest]
#[tokio::test]
async fn a_token_limited_to_a_route_acts_on_its_jobs_only(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = hookbox(store);
    let (all, orders) = (rest(&hookbox, "all"), rest(&hookbox, "orders"));
    let id = all.accept("evt-001").await;
    let cancel = format!("/v1/webhooks/{id}/cancel");
    orders.post(&cancel).await.problem(403, "FORBIDDEN");
    // What is hidden is told as what is not there.
    let told = async |route: &str| {
        let problem = orders.post(&format!("{cancel}?route={route}")).await.problem(404, "ROUTE_NOT_FOUND");
        problem["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(told("audit").await.replace("audit", "order-absent"), told("order-absent").await);
    let untouched = all.webhook(&id).await;
    assert_eq!(untouched["status"], "pending");
    let cancelled = orders.post(&format!("{cancel}?route=orders")).await;
    assert_eq!((cancelled.status, cancelled.text_of("status")), (200, "cancelled".to_owned()));
    let retried = orders.post(&format!("/v1/webhooks/{id}/retry?route=orders")).await;
    assert_eq!((retried.status, retried.text_of("status")), (200, "pending".to_owned()));

    orders.post("/v1/pause").await.problem(403, "FORBIDDEN");
    orders.post("/v1/pause?source=default").await.problem(403, "FORBIDDEN");
    orders.post("/v1/pause?route=audit").await.problem(404, "ROUTE_NOT_FOUND");
    assert_eq!(orders.post("/v1/pause?route=orders").await.status, 200);
    assert_eq!(all.post("/v1/pause?route=audit").await.status, 200);
    assert_eq!(routes(&orders.get("/v1/pauses").await.json()["pauses"]), ["orders"]);
    orders.post("/v1/resume?route=audit").await.problem(404, "ROUTE_NOT_FOUND");
    orders.post("/v1/routes/gone/cancel").await.problem(404, "ROUTE_NOT_FOUND");
    orders.post("/v1/settings/reload").await.problem(403, "FORBIDDEN");
}

#[rstest]
#[tokio::test]
async fn a_worker_limited_to_a_route_can_neither_lease_nor_finish_other_jobs(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = hookbox(store);
    let (all, orders) = (rest(&hookbox, "all"), rest(&hookbox, "orders"));
    all.accept("evt-001").await;
    let ask = |route: &str| json!({ "routes": [route], "worker": "host-1" });
    work(&orders, "lease", &ask("audit")).await.problem(404, "ROUTE_NOT_FOUND");
    let both = json!({ "routes": ["orders", "audit"], "worker": "host-1" });
    work(&orders, "lease", &both).await.problem(404, "ROUTE_NOT_FOUND");
    let leased = work(&all, "lease", &ask("audit")).await.json();
    let lease = &leased["jobs"][0]["lease"];
    let extended = work(&orders, "extend", &json!({ "worker": "host-1", "leases": [lease] })).await.json();
    assert_eq!(extended["leases"][0]["held"], false);
    let outcome = json!({ "worker": "host-1", "outcomes": [{ "lease": lease, "completed": {} }] });
    let finished = work(&orders, "finish", &outcome).await.json();
    assert_eq!(finished["jobs"][0]["recorded"], false);
    assert_eq!(work(&all, "finish", &outcome).await.json()["jobs"][0]["recorded"], true);
    assert_eq!(work(&orders, "lease", &ask("orders")).await.json()["jobs"].as_array().unwrap().len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_token_limited_to_a_source_sees_no_webhook_of_another(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = hookbox(store);
    let (all, shop) = (rest(&hookbox, "all"), rest(&hookbox, "shop"));
    let id = all.accept("evt-001").await;
    for path in ["", "/body", "/status", "/watch"] {
        shop.get(&format!("/v1/webhooks/{id}{path}")).await.problem(404, "WEBHOOK_NOT_FOUND");
    }
    for path in ["/v1/status", "/v1/watch"] {
        shop.get(&format!("{path}?idempotency_key=evt-001")).await.problem(404, "WEBHOOK_NOT_FOUND");
    }
    for call in ["retry", "cancel"] {
        shop.post(&format!("/v1/webhooks/{id}/{call}")).await.problem(404, "WEBHOOK_NOT_FOUND");
    }
    // What is hidden is told as what is not there.
    let missing = "01934c3e-7b00-7000-8000-000000000000";
    let hidden = shop.get(&format!("/v1/webhooks/{id}")).await.text_of("detail");
    let absent = shop.get(&format!("/v1/webhooks/{missing}")).await.text_of("detail");
    assert_eq!(hidden.replace(&id, missing), absent);

    assert_eq!(shop.get("/v1/webhooks").await.json()["webhooks"], json!([]));
    assert_eq!(shop.get("/v1/stats").await.json()["counts"]["pending"], 0);
    shop.submit("evt-002", "order.created", "{}").await.problem(403, "FORBIDDEN");
    shop.post("/v1/pause?route=orders").await.problem(403, "FORBIDDEN");
    shop.post("/v1/pause?source=default").await.problem(404, "SOURCE_NOT_FOUND");
    assert_eq!(shop.post("/v1/pause?source=shop").await.status, 200);

    let named = proto::GetStatusRequest { id: id.clone(), ..Default::default() };
    let refused = grpc(&hookbox, "shop").get_status(named.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(grpc(&hookbox, "all").get_status(named).await.unwrap().into_inner().id, id);
    let listed = grpc(&hookbox, "shop").list_webhooks(proto::ListWebhooksRequest::default()).await;
    assert!(listed.unwrap().into_inner().webhooks.is_empty());
}

#[rstest]
#[tokio::test]
async fn a_hidden_name_is_answered_as_one_that_is_not_there(#[values(Sqlite, Postgres)] store: Store) {
    let both = token("both", "roles = [\"operate\"]\nroutes = [\"ord*\"]\nsources = [\"sh*\"]");
    let tokens = [
        token("orders", "roles = [\"operate\"]\nroutes = [\"ord*\"]"),
        token("shop", "roles = [\"operate\"]\nsources = \"shop\""),
        both,
    ];
    let hookbox = Hookbox::with_routes(store, &format!("{ROUTES}{}", tokens.concat()));
    let [orders, shop, both] = ["orders", "shop", "both"].map(|name| rest(&hookbox, name));
    for (limited, path, hidden, reason) in [
        (&shop, "/v1/pause?source=", "default", "SOURCE_NOT_FOUND"),
        (&shop, "/v1/resume?source=", "default", "SOURCE_NOT_FOUND"),
        (&both, "/v1/pause?source=", "default", "SOURCE_NOT_FOUND"),
        (&both, "/v1/pause?route=", "audit", "ROUTE_NOT_FOUND"),
        (&orders, "/v1/resume?route=", "audit", "ROUTE_NOT_FOUND"),
    ] {
        let detail = async |name: &str| {
            let problem = limited.post(&format!("{path}{name}")).await.problem(404, reason);
            problem["detail"].as_str().unwrap().to_owned()
        };
        assert_eq!(detail(hidden).await.replace(hidden, "absent"), detail("absent").await, "{path}");
    }
    // What they see, they cannot pause for others.
    both.post("/v1/pause?source=shop").await.problem(403, "FORBIDDEN");
    both.post("/v1/pause?route=orders").await.problem(403, "FORBIDDEN");

    let mut operations = OperationServiceClient::with_interceptor(hookbox.channel(), bearer(&secret("shop")));
    let mut told = Vec::new();
    for source in ["default", "absent"] {
        let source = Some(source.to_owned());
        let pause = proto::PauseRequest { source: source.clone(), ..Default::default() };
        let resume = proto::ResumeRequest { source: source.clone(), ..Default::default() };
        let filter = Some(proto::ReplayFilter { source: source.clone(), ..Default::default() });
        let replay = proto::StartReplayRequest { filter, ..Default::default() };
        let refused = [
            operations.pause(pause).await.unwrap_err(),
            operations.resume(resume).await.unwrap_err(),
            operations.start_replay(replay).await.unwrap_err(),
        ];
        told.push(refused.map(|status| {
            assert_eq!(status.code(), Code::NotFound, "{status}");
            status.message().replace("default", "absent")
        }));
    }
    assert_eq!(told[0], told[1]);
}

#[rstest]
#[tokio::test]
async fn a_watcher_limited_to_a_route_sees_its_changes_until_its_jobs_are_final(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = hookbox(store);
    let (all, orders) = (rest(&hookbox, "all"), rest(&hookbox, "orders"));
    let id = all.accept("evt-001").await;
    let watched = orders.request(Method::GET, &format!("/v1/webhooks/{id}/watch")).send().await.unwrap();
    for route in ["audit", "orders"] {
        assert_eq!(all.post(&format!("/v1/webhooks/{id}/cancel?route={route}")).await.status, 200);
    }
    let events = watched.text().await.unwrap();
    let statuses = events.lines().filter_map(|line| line.strip_prefix("data: ")).map(|data| {
        let status = serde_json::from_str::<Value>(data).unwrap()["status"].clone();
        status.as_str().unwrap().to_owned()
    });
    assert_eq!(statuses.collect::<Vec<_>>(), ["pending", "cancelled"]);
}

#[rstest]
#[tokio::test]
async fn a_search_tells_nothing_of_what_a_token_does_not_see(#[values(Sqlite, Postgres)] store: Store) {
    let routes = ["orders", "audit"].map(|name| {
        format!("[[routes]]\nname = \"{name}\"\nmatch = {{ event_type = \"{name}\" }}\nhandler = \"pull\"\n")
    });
    // Two globs, so that the route of the list is not told by the token.
    let limited = token("orders", "roles = [\"read\"]\nroutes = [\"ord*\", \"other*\"]");
    let hookbox = Hookbox::with_routes(store, &[routes.concat(), token("all", EVERY_ROLE), limited].concat());
    let (all, orders) = (rest(&hookbox, "all"), rest(&hookbox, "orders"));
    let visible = all.submit("visible", "orders", "{\"n\":7}").await.text_of("id");
    for number in 0..5 {
        all.submit(&format!("hidden-{number}"), "audit", "{\"n\":7,\"secret\":true}").await;
    }
    for query in ["", "body_pointer=/n&body_equals=7", "body_contains=%22n%22", "status=pending"] {
        let page = orders.get(&format!("/v1/webhooks?page_size=1&{query}")).await.json();
        assert_eq!(page["webhooks"][0]["id"], visible.as_str(), "hidden webhooks fill no page: {query}");
    }
    for query in ["body_contains=secret", "idempotency_key=hidden-1", "status=cancelled"] {
        let page = orders.get(&format!("/v1/webhooks?page_size=1&{query}")).await.json();
        let nothing = json!({ "webhooks": [], "next_page_token": "", "searched_to": null });
        assert_eq!(page, nothing, "{query}");
    }
}
