//! Tokens that may replay, and what limited tokens may replay and see.

use rstest::rstest;
use serde_json::{Value, json};

use super::{cancel, completed, has_restarted, start, started};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::Rest;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    handler = "simulate"

    [[routes]]
    name = "audit"
    handler = "simulate"
"#;

/// A hookbox with two routes, and one webhook whose jobs are completed; answers its id, too.
async fn hookbox(store: Store) -> (Hookbox, String) {
    let operate = |limit: &str| format!("roles = [\"operate\"]\n{limit}");
    let tokens = [
        token("all", EVERY_ROLE),
        token("reader", "roles = [\"read\"]"),
        token("orders", &operate("routes = \"orders\"")),
        token("some", &operate("routes = [\"ord*\"]")),
        token("shop", &operate("sources = \"shop\"")),
        token("shops", &operate("sources = [\"shop*\"]")),
    ];
    let hookbox = Hookbox::with_routes(store, &format!("{ROUTES}{}", tokens.concat()));
    let all = rest(&hookbox, "all");
    let id = all.accept("evt-001").await;
    are_completed(&all, &id).await;
    (hookbox, id)
}

async fn are_completed(rest: &Rest, id: &str) -> Vec<Value> {
    eventually("completed jobs", || async {
        let webhook = rest.webhook(id).await;
        let jobs = webhook["jobs"].as_array().unwrap().iter();
        (webhook["status"] == "completed").then(|| jobs.map(|job| job["run"].clone()).collect())
    })
    .await
}

/// The numbers of the replays that a token sees.
async fn listed(rest: &Rest) -> Vec<u64> {
    let page = rest.get("/v1/replays").await.json();
    let replays = page["replays"].as_array().unwrap().iter();
    replays.map(|replay| replay["number"].as_u64().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn a_token_limited_to_a_route_replays_and_sees_its_jobs_only(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, id) = hookbox(store).await;
    let [all, orders, some] = ["all", "orders", "some"].map(|name| rest(&hookbox, name));
    let done = json!({ "filter": { "status": ["completed"] } });
    let of = |route: &str| json!({ "filter": { "route": route } });
    start(&some, &done).await.problem(403, "FORBIDDEN");
    start(&some, &of("audit")).await.problem(404, "ROUTE_NOT_FOUND");
    start(&orders, &of("audit")).await.problem(404, "ROUTE_NOT_FOUND");
    start(&orders, &json!({ "filter": {} })).await.refused_field("filter");
    assert_eq!(listed(&all).await, [0; 0], "nothing was started");

    let number = started(&orders, &done).await;
    let ended = completed(&orders, number).await;
    assert_eq!(ended["filter"], json!({ "status": ["completed"], "route": "orders" }));
    assert_eq!((&ended["actor"], &ended["counts"]["jobs"]), (&json!("orders"), &json!(1)));
    assert_eq!(are_completed(&all, &id).await, [2, 1]);
    completed(&some, started(&some, &of("orders")).await).await;
    assert_eq!(are_completed(&all, &id).await, [3, 1]);

    let number = started(&all, &json!({ "filter": { "source": "default" }, "rate": "1/h" })).await;
    has_restarted(&all, number, 2).await;
    orders.get(&format!("/v1/replays/{number}")).await.problem(404, "REPLAY_NOT_FOUND");
    cancel(&orders, number).await.problem(404, "REPLAY_NOT_FOUND");
    assert_eq!((listed(&all).await, listed(&orders).await), (vec![3, 2, 1], vec![2, 1]));
}

#[rstest]
#[tokio::test]
async fn a_token_is_told_the_number_of_a_running_replay_only_if_it_sees_it(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let (hookbox, _) = hookbox(store).await;
    let [all, orders] = ["all", "orders"].map(|name| rest(&hookbox, name));
    let second = all.accept("evt-002").await;
    are_completed(&all, &second).await;
    let done = json!({ "filter": { "status": ["completed"] } });
    for (filter, numbered) in [(json!({ "route": "audit" }), false), (json!({ "route": "orders" }), true)] {
        // The job of the second webhook waits for an hour.
        let number = started(&all, &json!({ "filter": filter, "rate": "1/h" })).await;
        has_restarted(&all, number, 1).await;
        for (rest, is_told) in [(&all, true), (&orders, numbered)] {
            let problem = start(rest, &done).await.problem(409, "REPLAY_RUNNING");
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(detail.starts_with(&format!("replay {number} is running")), is_told, "{detail}");
            assert_eq!(
                detail.contains("cancel it"),
                is_told,
                "one that is hidden cannot be cancelled: {detail}"
            );
        }
        assert_eq!(cancel(&all, number).await.status, 200);
    }
}

#[rstest]
#[tokio::test]
async fn a_token_limited_to_a_source_replays_and_sees_its_webhooks_only(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let (hookbox, id) = hookbox(store).await;
    let [all, shop, shops] = ["all", "shop", "shops"].map(|name| rest(&hookbox, name));
    let of_route = json!({ "filter": { "route": "orders" } });
    let of = |source: &str| json!({ "filter": { "source": source } });
    for limited in [&shop, &shops] {
        let hidden = start(limited, &of("default")).await.problem(404, "SOURCE_NOT_FOUND");
        let absent = start(limited, &of("absent")).await.problem(404, "SOURCE_NOT_FOUND");
        let detail = |problem: &Value| problem["detail"].as_str().unwrap().to_owned();
        assert_eq!(detail(&hidden).replace("default", "absent"), detail(&absent));
    }
    start(&shops, &of_route).await.problem(403, "FORBIDDEN");
    let ended = completed(&shop, started(&shop, &of_route).await).await;
    assert_eq!(ended["filter"], json!({ "route": "orders", "source": "shop" }));
    assert_eq!(ended["counts"]["webhooks"], 0);
    completed(&shops, started(&shops, &of("shop")).await).await;
    completed(&all, started(&all, &of_route).await).await;
    assert_eq!(are_completed(&all, &id).await, [2, 1]);
    assert_eq!((listed(&all).await, listed(&shop).await), (vec![3, 2, 1], vec![2, 1]));

    let one = |rest: &Rest| {
        let (rest, path) = (rest.clone(), format!("/v1/webhooks/{id}/replay"));
        async move { rest.post(&path).await }
    };
    one(&shop).await.problem(404, "WEBHOOK_NOT_FOUND");
    one(&rest(&hookbox, "orders")).await.problem(403, "FORBIDDEN");
    assert_eq!(one(&all).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_reader_sees_replays_and_starts_none(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, id) = hookbox(store).await;
    let (all, reader) = (rest(&hookbox, "all"), rest(&hookbox, "reader"));
    let done = json!({ "filter": { "status": ["completed"] } });
    start(&reader, &done).await.problem(403, "FORBIDDEN");
    let number = started(&all, &done).await;
    completed(&reader, number).await;
    assert_eq!(listed(&reader).await, [number]);
    cancel(&reader, number).await.problem(403, "FORBIDDEN");
    reader.post(&format!("/v1/webhooks/{id}/replay")).await.problem(403, "FORBIDDEN");
}
