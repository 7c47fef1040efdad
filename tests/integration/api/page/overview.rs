//! What an operator on call sees first.

use diesel::connection::SimpleConnection as _;
use jiff::SignedDuration;
use reqwest::Method;
use rstest::rstest;

use super::Browser;
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

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

/// A source that is silent after 5 minutes.
const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["s3cret-of-the-shop"]
    key = { header = "X-Id" }
    silent_after = "5m"
"#;

/// The line about a silent source, as far as it is the same at all times.
const SILENT: &str = "Nothing has come from the source shop for ";

/// Sends a request with a valid token to the source `shop`; without a key, it cannot be read.
async fn send(rest: &Rest, key: &str) -> Answer {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks");
    Answer::of(request.header("X-Token", "s3cret-of-the-shop").header("X-Id", key).body("{}")).await
}

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
async fn a_pause_leads_to_a_button_only_where_the_caller_has_one() {
    let limited = "roles = [\"operate\"]\nsources = [\"shop\"]";
    let tokens = [token("all", EVERY_ROLE), token("limited", limited), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{SHOP}{}", tokens.concat()));
    assert_eq!(rest(&hookbox, "all").post("/v1/pause?route=orders").await.status, 200);
    for (name, label) in [("all", "Resume it there"), ("limited", "Look at it"), ("reader", "Look at it")] {
        let page = Browser::logged_in(&hookbox, name).await.get("/").await.text;
        assert!(page.contains(&format!("<a href=\"/routes/orders\">{label}</a>")), "{name}: {page}");
    }
}

#[tokio::test]
async fn dead_letters_and_slow_handlers_are_seen_by_route() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    let told = "The route orders has 1 dead letter (1 new in the last 60 minutes).";
    let page = sees(&hookbox, &browser, told).await;
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

#[rstest]
#[tokio::test]
async fn dead_letters_are_told_for_as_long_as_there_are_some(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    hookbox.handler.will([Step::FailForGood("no such order"), Step::FailForGood("no such order")]);
    for key in ["evt-001", "evt-002"] {
        let id = hookbox.rest.accept(key).await;
        hookbox.wait_for(&id, "dead_lettered").await;
    }
    // What happened before is not in the memory of the next process.
    let successor = Hookbox::at(hookbox.stop(), "2026-03-08T12:00:00Z", &[]);
    let browser = Browser::of(&successor);
    let page = browser.get("/").await.text;
    assert!(page.contains("<li class=\"warn\"><span>The route orders has 2 dead letters.</span>"), "{page}");
    assert!(page.contains("<a href=\"/dead-letters?route=orders\">Look at them</a>"), "{page}");
    assert!(!page.contains("Nothing is wrong.") && !page.contains("The route invoices has"), "{page}");

    let list = successor.rest.get("/v1/webhooks?status=dead_lettered").await.json();
    for webhook in list["webhooks"].as_array().unwrap() {
        let id = webhook["id"].as_str().unwrap();
        assert_eq!(successor.rest.post(&format!("/v1/webhooks/{id}/cancel")).await.status, 200);
    }
    let page = browser.get("/").await.text;
    assert!(page.contains("Nothing is wrong."), "{page}");
}

#[rstest]
#[tokio::test]
async fn a_source_is_told_to_be_silent_for_as_long_as_it_is(#[values(Sqlite, Postgres)] store: Store) {
    let settings = format!("{ROUTES}{SHOP}{}", token("all", EVERY_ROLE));
    let limited = token("orders", "roles = [\"read\"]\nroutes = [\"orders\"]");
    let hookbox = Hookbox::with_routes(store, &format!("{settings}{limited}"));
    let browser = Browser::logged_in(&hookbox, "all").await;
    assert_eq!(send(&hookbox.rest, "evt-001").await.status, 202);
    assert!(browser.get("/").await.text.contains("Nothing is wrong."), "it has sent something");
    let page = sees(&hookbox, &browser, SILENT).await;
    assert!(page.contains("It counts as silent after 5 min."), "{page}");
    assert!(page.contains("<a href=\"/sources/shop\">Look at the source</a>"), "{page}");
    let source = browser.get("/sources/shop").await.text;
    assert!(source.contains("Look at the log of deliveries at the sender"), "{source}");
    let unseen = Browser::logged_in(&hookbox, "orders").await.get("/").await.text;
    assert!(!unseen.contains(SILENT), "what came is that of all routes: {unseen}");

    // Long after the counts of 60 minutes, and without a browser that looks.
    hookbox.advance(SignedDuration::from_hours(30));
    let page = browser.get("/").await.text;
    assert!(page.contains(&format!("{SILENT}1 d 6 h.")), "{page}");

    let successor = Hookbox::at(hookbox.stop(), "2026-03-08T12:00:00Z", &[]);
    let browser = Browser::logged_in(&successor, "all").await;
    let page = sees(&successor, &browser, SILENT).await;
    assert!(page.contains(&format!("{SILENT}7 d")), "the store knows when it was last seen: {page}");
    assert_eq!(send(&successor.rest, "evt-001").await.status, 200);
    let page = browser.get("/").await.text;
    assert!(!page.contains(SILENT), "a duplicate ends the silence: {page}");
}

#[tokio::test]
async fn what_is_refused_before_it_is_a_webhook_counts_by_source_and_is_told() {
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{SHOP}"));
    let browser = Browser::of(&hookbox);
    assert_eq!(send(&hookbox.rest, "evt-001").await.status, 202);
    let large = hookbox.rest.request(Method::POST, "/v1/sources/shop/webhooks");
    let large = Answer::of(large.body("x".repeat(1024 * 1024 + 1))).await;
    large.problem(413, "BODY_TOO_LARGE");
    send(&hookbox.rest, "").await.problem(400, "MALFORMED_WEBHOOK");
    hookbox.rest.submit_body("{").await.problem(400, "MALFORMED_JSON");
    let told = "2 requests of the source shop were refused in the last 10 minutes, beside 1 accepted webhook. The \
                last reason: MALFORMED_WEBHOOK.";
    let page = sees(&hookbox, &browser, told).await;
    let told = "1 request of the source default was refused in the last 10 minutes, and none was accepted. The last \
                reason: MALFORMED_JSON.";
    assert!(page.contains(told), "{page}");
    for source in ["shop", "default"] {
        let link = format!("<a href=\"/sources/{source}\">Look at the source</a>");
        assert!(page.contains(&link), "{link}: {page}");
    }
    let table = page.split("<h2>Sources</h2>").nth(1).unwrap().split("</section>").next().unwrap();
    let refused = |source: &str| {
        let row = table.split("<tr ").find(|row| row.contains(&format!("\"/sources/{source}\""))).unwrap();
        let numbers = row.split("<td class=\"num\"").skip(1);
        let numbers = numbers.map(|cell| cell.split(['>', '<']).nth(1).unwrap());
        numbers.map(|number| number.parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    // Accepted, refused and unverified.
    assert_eq!((refused("shop"), refused("default")), (vec![1, 2, 0], vec![0, 1, 0]), "{table}");
}

#[tokio::test]
async fn a_problem_of_the_store_leads_to_the_settings_for_who_may_see_them() {
    let tokens = [token("all", EVERY_ROLE), token("orders", "roles = [\"read\"]\nroutes = [\"orders\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{}", tokens.concat()));
    // The store is open once something is answered.
    let (all, orders) =
        (Browser::logged_in(&hookbox, "all").await, Browser::logged_in(&hookbox, "orders").await);
    let later = "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231235959'); COMMIT";
    hookbox.lock_store().batch_execute(later).unwrap();
    let told = "The tables of the store (database_url) are not those of this version of hookbox.";
    let link = "<a href=\"/settings\">Look at the settings</a>";
    let page = all.get("/").await.text;
    assert!(page.contains(told) && page.contains(link), "{page}");
    let limited = orders.get("/").await.text;
    assert!(limited.contains(told) && !limited.contains(link), "{limited}");
}

#[tokio::test]
async fn the_numbers_are_a_live_part_also_while_the_store_cannot_be_read() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    // The numbers have to read when this job is due.
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders").await.status, 200);
    hookbox.rest.accept("evt-001").await;
    let numbers = "<div class=\"tiles\" id=\"numbers\" data-live>";
    for (change, is_readable, begin) in [
        ("ALTER TABLE lanes RENAME TO lost; COMMIT", false, format!("{numbers}</div>")),
        ("ALTER TABLE lost RENAME TO lanes; COMMIT", true, format!("{numbers}<div class=\"tile\">")),
    ] {
        hookbox.lock_store().batch_execute(change).unwrap();
        let page = browser.get("/").await.text;
        assert_eq!(!page.contains("The store cannot be read"), is_readable, "{change}: {page}");
        assert!(page.contains(&begin), "{change}: {page}");
    }
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
    let page = sees(&hookbox, &everything, "The route invoices has 1 dead letter (1 new").await;
    assert!(page.contains("In and out") && page.contains("default"), "{page}");
    let limited = Browser::logged_in(&hookbox, "orders").await.get("/").await.text;
    assert!(limited.contains("The route orders has 1 dead letter (1 new"), "{limited}");
    assert!(!limited.contains("invoices") && !limited.contains("In and out"), "{limited}");
}
