//! The actions of operators: who did what, on what, why and when, over both APIs.

mod listed;
mod operator;

use hookbox::internals::grpc::proto;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rstest::rstest;
use serde_json::{Value, json};

use self::operator::{Act, Operator, Over};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
    unverified = "quarantine"
"#;

const ORDERS: &str = r#"
    [[routes]]
    name = "orders"
    match = { event_type = "order.*" }
    handler = "simulate"
"#;

const OLD: &str = r#"
    [[routes]]
    name = "old"
    match = { event_type = "old.*" }
    handler = "simulate"
"#;

/// The settings: a source, tokens that may do everything, and these routes.
fn settings(routes: &[&str]) -> String {
    let tokens = ["anna", "sender"].map(|name| token(name, EVERY_ROLE)).concat();
    [SHOP, tokens.as_str(), routes.concat().as_str()].concat()
}

/// Sends a webhook to the source `shop` that is not verified; answers its id.
async fn quarantine(rest: &Rest, key: &str) -> String {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-token", "another");
    let request = request.header("x-id", key).header(CONTENT_TYPE, "application/json");
    let answer = Answer::of(request.body("{}")).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let page = rest.get("/v1/webhooks?status=quarantined&page_size=1").await.json();
    page["webhooks"][0]["id"].as_str().expect("it is in the list").to_owned()
}

/// Waits until a webhook has a status, as the sender sees it.
async fn wait_for(sender: &Rest, id: &str, status: &str) {
    eventually(status, || async { (sender.webhook(id).await["status"] == status).then_some(()) }).await;
}

/// The actions on a page, newest first.
async fn actions(rest: &Rest, query: &str) -> Vec<Value> {
    let answer = rest.get(&format!("/v1/actions{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["actions"].as_array().unwrap().clone()
}

#[rstest]
#[tokio::test]
async fn whatever_an_operator_changes_is_recorded(
    #[values(Sqlite, Postgres)] store: Store,
    #[values(Over::Rest, Over::Grpc)] over: Over,
) {
    let hookbox = Hookbox::with_routes(store, &settings(&[ORDERS, OLD]));
    let sender = rest(&hookbox, "sender");
    let mut anna = Operator::new(&hookbox, "anna", over);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let dead = sender.accept("evt-001").await;
    wait_for(&sender, &dead, "dead_lettered").await;

    anna.does(Act::Retry(&dead), "1").await;
    wait_for(&sender, &dead, "completed").await;
    anna.does(Act::Replay(&dead, "orders"), "the order was lost").await;
    wait_for(&sender, &dead, "completed").await;
    anna.does(Act::Pause("orders"), "3").await;
    let waits = sender.accept("evt-002").await;
    anna.does(Act::Cancel(&waits), "4").await;
    anna.does(Act::Resume("orders"), "5").await;
    let released = quarantine(&sender, "evt-003").await;
    anna.does(Act::Release(&released), "6").await;
    let discarded = quarantine(&sender, "evt-004").await;
    anna.does(Act::Discard(&discarded), "7").await;
    anna.does(Act::Pause("old"), "8").await;
    assert_eq!(sender.submit("evt-005", "old.created", "{}").await.status, 202);
    hookbox.set_routes(&settings(&[ORDERS]));
    anna.does(Act::Reload, "9").await;
    anna.does(Act::MoveJobs("old", "orders"), "10").await;
    anna.does(Act::CancelJobs("old"), "11").await;
    anna.does(Act::StartReplay("orders"), "12").await;
    anna.does(Act::CancelReplay(1), "13").await;
    // Answered, but not recorded: it changes nothing.
    anna.does(Act::CancelReplay(1), "14").await;

    let action = |action: &str, reason: &str, members: Value| {
        let mut all = json!({
            "at": "2026-03-01T12:00:00.000Z", "actor": "anna", "action": action, "webhook_id": null,
            "route": null, "source": null, "replay": null, "reason": reason, "detail": null,
        });
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    };
    let on = |id: &str, source: &str| json!({ "webhook_id": id, "source": source });
    let (moved, cancelled) = ("jobs moved to the route orders: 1; jobs cancelled: 0", "jobs cancelled: 0");
    let expected = [
        action("retry_webhook", "1", on(&dead, "default")),
        action(
            "replay_webhook",
            "the order was lost",
            json!({ "webhook_id": dead, "source": "default", "route": "orders" }),
        ),
        action("pause", "3", json!({ "route": "orders" })),
        action("cancel_webhook", "4", on(&waits, "default")),
        action("resume", "5", json!({ "route": "orders" })),
        action("release_webhook", "6", on(&released, "shop")),
        action("discard_webhook", "7", on(&discarded, "shop")),
        action("pause", "8", json!({ "route": "old" })),
        action("reload_settings", "9", json!({ "detail": "routes in force: 1" })),
        action("move_jobs", "10", json!({ "route": "old", "detail": moved })),
        action("cancel_jobs", "11", json!({ "route": "old", "detail": cancelled })),
        action("start_replay", "12", json!({ "route": "orders", "replay": 1 })),
        action("cancel_replay", "13", json!({ "route": "orders", "replay": 1 })),
    ];
    let mut told = actions(&sender, "").await;
    let by_grpc = anna.actions().await.into_iter().map(action_json).collect::<Vec<_>>();
    assert_eq!(told, by_grpc, "both APIs tell the same");
    let numbers = told.iter_mut().map(|action| action.as_object_mut().unwrap().remove("number"));
    let numbers = numbers.map(|number| number.unwrap().as_u64().unwrap()).collect::<Vec<_>>();
    assert!(numbers.is_sorted_by(|one, next| one > next), "{numbers:?}");
    told.reverse();
    assert_eq!(told, expected);
}

#[rstest]
#[tokio::test]
async fn what_changes_nothing_is_not_recorded(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &settings(&[ORDERS]));
    let sender = rest(&hookbox, "sender");
    let done = sender.accept("evt-001").await;
    wait_for(&sender, &done, "completed").await;
    for (refused, status) in [
        (format!("/v1/webhooks/{done}/retry"), 409),
        (format!("/v1/webhooks/{done}/cancel"), 409),
        (format!("/v1/webhooks/{done}/release"), 409),
        ("/v1/pause?route=gone".to_owned(), 404),
        ("/v1/resume?route=gone".to_owned(), 404),
        ("/v1/routes/orders/cancel".to_owned(), 409),
        ("/v1/replays/1/cancel".to_owned(), 404),
        ("/v1/resume".to_owned(), 200),
        (format!("/v1/pause?reason={}", "a".repeat(501)), 400),
    ] {
        let answer = sender.post(&refused).await;
        assert_eq!(answer.status, status, "{refused}: {}", answer.text);
    }
    hookbox.set_routes("nonsense");
    sender.post("/v1/settings/reload").await.problem(422, "SETTINGS_INVALID");
    let recorded = actions(&sender, "").await;
    assert!(recorded.is_empty(), "{recorded:?}");
}

#[rstest]
#[tokio::test]
async fn a_reason_is_not_needed(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for query in ["", "?reason=", "?reason=%20"] {
        assert_eq!(hookbox.rest.post(&format!("/v1/pause{query}")).await.status, 200);
    }
    hookbox.hang_up();
    let recorded = eventually("a reload", || async {
        let recorded = actions(&hookbox.rest, "").await;
        (recorded.len() == 4).then_some(recorded)
    })
    .await;
    assert!(recorded.iter().all(|action| action["reason"].is_null()), "{recorded:?}");
    let actors = recorded.iter().map(|action| action["actor"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(actors, ["hookbox", "anonymous", "anonymous", "anonymous"]);
}

/// What gRPC tells of an action, written as REST writes it.
fn action_json(action: proto::Action) -> Value {
    let at = action.at.map(|at| format!("{:.3}", Timestamp::new(at.seconds, at.nanos).unwrap()));
    json!({
        "number": action.number, "at": at, "actor": action.actor, "action": action.action,
        "webhook_id": action.webhook_id, "route": action.route, "source": action.source,
        "replay": action.replay, "reason": action.reason, "detail": action.detail,
    })
}
