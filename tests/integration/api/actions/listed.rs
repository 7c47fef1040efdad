//! The list of actions: pages, what limited tokens see, and how long actions are kept.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::{ORDERS, SHOP, actions, quarantine, wait_for};
use crate::api::access::{EVERY_ROLE, rest, secret, token};
use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// Pauses and resumes everything; both are actions.
async fn pause_and_resume(hookbox: &Hookbox) {
    for call in ["pause", "resume"] {
        assert_eq!(hookbox.rest.post(&format!("/v1/{call}")).await.status, 200);
    }
}

/// The words of actions, and on which route each was.
fn shown(actions: &[Value]) -> Vec<(&str, Option<&str>)> {
    actions.iter().map(|action| (action["action"].as_str().unwrap(), action["route"].as_str())).collect()
}

#[rstest]
#[tokio::test]
async fn actions_are_listed_page_by_page(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    pause_and_resume(&hookbox).await;
    pause_and_resume(&hookbox).await;
    let all = actions(&hookbox.rest, "").await;
    assert_eq!(all.len(), 4);
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = hookbox.rest.get(&format!("/v1/actions?page_size=2&page_token={token}")).await.json();
        let on_page = page["actions"].as_array().unwrap();
        assert_eq!(on_page.len(), 2);
        paged.extend(on_page.iter().cloned());
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
}

#[rstest]
#[tokio::test]
async fn the_actions_on_a_webhook_are_found(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    pause_and_resume(&hookbox).await;
    let mut ids = Vec::new();
    for key in ["evt-001", "evt-002"] {
        let id = hookbox.rest.accept(key).await;
        hookbox.wait_for(&id, "completed").await;
        assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/replay")).await.status, 200);
        ids.push(id);
    }
    for id in &ids {
        let found = actions(&hookbox.rest, &format!("?webhook_id={id}")).await;
        assert_eq!(shown(&found), [("replay_webhook", None)]);
        assert_eq!(found[0]["webhook_id"], id.as_str());
    }
    let other = "01934c3e-7b00-7000-8000-000000000000";
    assert!(actions(&hookbox.rest, &format!("?webhook_id={other}")).await.is_empty());
}

#[rstest]
#[tokio::test]
async fn a_limited_token_sees_the_actions_on_its_sources_and_routes(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let tokens = [
        token("all", EVERY_ROLE),
        token("orders", "roles = [\"read\"]\nroutes = \"orders\""),
        token("shop", "roles = [\"read\"]\nsources = \"shop\""),
        token("mail", "roles = [\"read\"]\nsources = \"mail\""),
    ];
    let hookbox = Hookbox::with_routes(store, &[SHOP, ORDERS, tokens.concat().as_str()].concat());
    let all = rest(&hookbox, "all");
    let done = all.accept("evt-001").await;
    wait_for(&all, &done, "completed").await;
    let discarded = quarantine(&all, "evt-002").await;
    for call in [
        "/v1/pause".to_owned(),
        "/v1/resume".to_owned(),
        "/v1/pause?source=shop".to_owned(),
        "/v1/pause?route=orders".to_owned(),
        format!("/v1/webhooks/{done}/replay?route=orders"),
        format!("/v1/webhooks/{done}/cancel"),
        format!("/v1/webhooks/{discarded}/discard"),
    ] {
        assert_eq!(all.post(&call).await.status, 200, "{call}");
    }
    let of = async |name: &str| actions(&rest(&hookbox, name), "").await;
    assert_eq!(of("all").await.len(), 7);
    let orders = of("orders").await;
    assert_eq!(shown(&orders), [("replay_webhook", Some("orders")), ("pause", Some("orders"))]);
    let shop = of("shop").await;
    assert_eq!(shown(&shop), [("discard_webhook", None), ("pause", None)]);
    assert!(shop.iter().all(|action| action["source"] == "shop"), "{shop:?}");
    assert!(of("mail").await.is_empty());
    // What is not seen takes up its place on a page.
    let page = rest(&hookbox, "shop").get("/v1/actions?page_size=2").await.json();
    assert_eq!(shown(page["actions"].as_array().unwrap()), [("discard_webhook", None)]);
    assert_ne!(page["next_page_token"], "");
}

#[rstest]
#[tokio::test]
async fn actions_are_removed_at_the_end_of_their_retention(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with(store, &[("retention_actions", "7d")]);
    pause_and_resume(&hookbox).await;
    hookbox.advance(SignedDuration::from_hours(6 * 24));
    pause_and_resume(&hookbox).await;
    assert_eq!(actions(&hookbox.rest, "").await.len(), 4);
    hookbox.advance(SignedDuration::from_hours(24));
    let left = hookbox
        .as_time_passes("the oldest actions being gone", || async {
            let left = actions(&hookbox.rest, "").await;
            (left.len() < 4).then_some(left)
        })
        .await;
    assert_eq!(shown(&left), [("resume", None), ("pause", None)]);
}

#[rstest]
#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_made_and_logged(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on_new(store, &[]);
    std::fs::write(place.path("hookbox.toml"), token("anna", EVERY_ROLE)).unwrap();
    let process = place.serve().await;
    let anna = process.rest.with_token(&secret("anna"));
    place.execute("DROP TABLE actions");
    let paused = anna.post("/v1/pause?route=default&reason=the%20target%20is%20down").await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    assert_eq!(anna.get("/v1/pauses").await.json()["pauses"][0]["route"], "default");
    process.wait_for_log("an operator's action is done, but could not be recorded").await;
    let log = process.log();
    let line = log.lines().find(|line| line.contains("could not be recorded")).unwrap();
    let line = serde_json::from_str::<Value>(line).unwrap();
    assert_eq!((&line["level"], &line["actor"]), (&json!("ERROR"), &json!("anna")), "{line}");
    assert_eq!((&line["action"], &line["route"]), (&json!("pause"), &json!("default")), "{line}");
    assert_eq!(line["reason"], "the target is down", "{line}");
    assert!(line["error"].is_string() && line.get("webhook_id").is_none(), "{line}");
}
