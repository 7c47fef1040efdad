//! What an operator on call sees first.

use jiff::SignedDuration;

use super::Browser;
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Sqlite};

const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    match = { event_type = "order.*" }
    handler = "simulate"

    [[routes]]
    name = "invoices"
    match = { event_type = "invoice.*" }
    handler = "simulate"
"#;

/// Waits until the overview has a text, while time passes.
async fn sees(hookbox: &Hookbox, browser: &Browser, text: &str) -> String {
    let look = || async {
        let page = browser.get("/").await.text;
        page.contains(text).then_some(page)
    };
    hookbox.as_time_passes(&format!("{text:?} on the overview"), look).await
}

#[tokio::test]
async fn nothing_is_wrong_at_first_and_a_pause_is_told_with_where_to_end_it() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    let page = browser.get("/").await.text;
    assert!(page.contains("Nothing is wrong."), "{page}");
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders&reason=the%20shop%20moves").await.status, 200);
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    hookbox.advance(SignedDuration::from_secs(90));
    let page = browser.get("/").await.text;
    for text in [
        "Everything has been paused for 1 min 30 s: webhooks are accepted, and no job starts.",
        "The route orders has been paused for 1 min 30 s",
        "Paused by anonymous: the shop moves",
        "<a href=\"/routes/orders\">Resume it there</a>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("Nothing is wrong."), "{page}");
}

#[tokio::test]
async fn dead_letters_and_slow_handlers_are_seen_by_route() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    let page =
        sees(&hookbox, &browser, "1 job of the route orders became a dead letter in the last 60 minutes.")
            .await;
    assert!(page.contains("<a href=\"/dead-letters?route=orders\">Look at them</a>"), "{page}");
    for text in [
        "Handlers by route",
        "<a href=\"/routes/orders\">orders</a>",
        "<path class=\"line s1\"",
        "In and out",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let table = page.split("Handlers by route").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(!table.contains("invoices"), "no handler of it has run: {table}");
}

#[tokio::test]
async fn jobs_of_a_route_that_is_gone_and_jobs_that_are_due_for_long_are_told() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders").await.status, 200);
    hookbox.rest.accept("evt-001").await;
    hookbox.set_routes("[[routes]]\nname = \"invoices\"\nhandler = \"simulate\"\n");
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    let page = browser.get("/").await.text;
    assert!(
        page.contains("The route orders is gone from the settings, and 1 job waits for a handler of it."),
        "{page}"
    );
    assert!(page.contains("<a href=\"/routes/orders\">Look at the route</a>"), "{page}");

    let gates = [hookbox.handler.will_hold(), hookbox.handler.will_hold()];
    for key in ["evt-002", "evt-003", "evt-004"] {
        let answer = hookbox.rest.submit(key, "invoice.paid", "{}").await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    // The harness has two workers.
    hookbox.wait_for_runs(2).await;
    for _ in 0..5 {
        hookbox.advance(SignedDuration::from_secs(15));
    }
    let page = browser.get("/").await.text;
    assert!(page.contains("A job has been due for 1 min 15 s, and has not started."), "{page}");
    assert!(page.contains("2 pending, 2 running, 0 retrying"), "{page}");
    drop(gates);
}

#[tokio::test]
async fn a_limited_token_sees_only_its_own_numbers() {
    let tokens = [token("all", EVERY_ROLE), token("orders", "roles = [\"read\"]\nroutes = [\"orders\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{}", tokens.concat()));
    let all = rest(&hookbox, "all");
    for (key, event_type) in [("evt-001", "order.paid"), ("evt-002", "invoice.paid")] {
        hookbox.handler.will([Step::FailForGood("wrong")]);
        let id = all.submit(key, event_type, "{}").await.text_of("id");
        crate::api::harness::eventually("a dead letter", || async {
            (all.webhook(&id).await["status"] == "dead_lettered").then_some(())
        })
        .await;
    }
    let everything = Browser::logged_in(&hookbox, "all").await;
    let page = sees(&hookbox, &everything, "1 job of the route invoices became a dead letter").await;
    assert!(page.contains("In and out") && page.contains("default"), "{page}");
    let limited = Browser::logged_in(&hookbox, "orders").await.get("/").await.text;
    assert!(limited.contains("1 job of the route orders became a dead letter"), "{limited}");
    assert!(!limited.contains("invoices") && !limited.contains("In and out"), "{limited}");
}
