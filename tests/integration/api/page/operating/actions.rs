//! The list of actions of operators.

use super::{Browser, ROUTES, act, refused, words};
use crate::api::access::{EVERY_ROLE, token};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Sqlite};

#[tokio::test]
async fn an_action_is_listed_with_actor_kind_target_and_reason() {
    let tokens = token("night-shift", EVERY_ROLE);
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{tokens}"));
    let browser = Browser::logged_in(&hookbox, "night-shift").await;
    assert!(words(&browser.get("/actions").await.text).contains("No action is recorded here."));
    let reason = "<b>why</b> \u{202e}not";
    act(&browser, "/routes/orders", "/routes/orders/pause", &[("reason", reason)]).await;
    act(&browser, "/routes", "/pause", &[]).await;

    let page = browser.get("/actions").await;
    let text = words(&page.text);
    let orders = "2026-03-01 12:00:00.000 UTC (now) night-shift pause route orders <b>why</b> \\u{202e}not";
    let everything = "2026-03-01 12:00:00.000 UTC (now) night-shift pause everything";
    let (of_orders, of_everything) = (text.find(orders), text.find(everything));
    assert!(
        of_orders.is_some() && of_everything < of_orders && of_everything.is_some(),
        "newest first: {text}"
    );
    assert!(page.text.contains("<a href=\"/routes/orders\">orders</a>"), "{}", page.text);
    assert!(!page.text.contains("<b>") && !page.text.contains('\u{202e}'), "{}", page.text);
}

#[tokio::test]
async fn actions_are_narrowed_to_those_on_a_webhook() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("broken")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    assert_eq!(hookbox.rest.post(&format!("/v1/webhooks/{id}/retry?reason=mended")).await.status, 200);
    assert_eq!(hookbox.rest.post("/v1/pause?route=default").await.status, 200);
    let text = words(&browser.get(&format!("/actions?webhook_id={id}")).await.text);
    assert!(text.contains(&format!("retry webhook webhook {id} source default mended")), "{text}");
    assert!(!text.contains("pause"), "{text}");
    refused(&browser.get("/actions?webhook_id=x").await, 400, "INVALID_FIELD");
}

#[tokio::test]
async fn actions_come_in_pages() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    for number in 1..=51 {
        assert_eq!(hookbox.rest.post(&format!("/v1/pause?reason=number-{number}-")).await.status, 200);
    }
    let first = browser.get("/actions").await.text;
    assert!(
        first.contains("number-51-") && first.contains("number-2-") && !first.contains("number-1-"),
        "{first}"
    );
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let second = browser.get(&super::unescaped(next)).await.text;
    assert!(second.contains("number-1-") && !second.contains("number-2-"), "{second}");
    assert!(second.contains("rel=\"first\"") && !second.contains("rel=\"next\""), "{second}");
    refused(&browser.get("/actions?page_token=x").await, 400, "INVALID_FIELD");
}
