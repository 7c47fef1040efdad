//! The list of routes, and the view of each.

use rstest::rstest;

use super::{Browser, ROUTES, act, refused, row, words};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use crate::support::ports::free_port;

#[rstest]
#[tokio::test]
async fn a_paused_route_starts_no_job_and_says_so_until_it_is_resumed(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let browser = Browser::of(&hookbox);
    let page = act(&browser, "/routes/orders", "/routes/orders/pause", &[("reason", "the shop moves")]).await;
    let text = words(&page.text);
    assert!(text.contains("Paused the route orders: webhooks are accepted, and no job starts."), "{text}");
    assert!(text.contains("This route has been paused since 2026-03-01 12:00:00.000 UTC"), "{text}");
    assert!(text.contains("Paused by anonymous: the shop moves"), "{text}");

    let order = hookbox.rest.submit("evt-001", "order.paid", "{}").await.text_of("id");
    let invoice = hookbox.rest.submit("evt-002", "invoice.paid", "{}").await.text_of("id");
    hookbox.wait_for(&invoice, "completed").await;
    assert_eq!(hookbox.rest.webhook(&order).await["status"], "pending");
    let list = browser.get("/routes").await;
    let orders = row(&list, "/routes/orders");
    assert!(orders.contains("paused") && orders.contains("by anonymous: the shop moves"), "{orders}");
    assert!(orders.contains("<a href=\"/webhooks?status=pending&amp;route=orders\">1</a>"), "{orders}");
    assert!(row(&list, "/routes/invoices").contains("running"), "{}", list.text);

    let list = act(&browser, "/routes", "/routes/orders/resume", &[("back", "list")]).await;
    assert!(
        list.text.contains("<h1>Routes</h1>") && list.text.contains("Resumed the route orders."),
        "{}",
        list.text
    );
    assert!(row(&list, "/routes/orders").contains("running"), "{}", list.text);
    hookbox.wait_for(&order, "completed").await;
}

#[tokio::test]
async fn everything_is_paused_and_resumed_from_the_list() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    let list = act(&browser, "/routes", "/pause", &[("reason", "")]).await;
    assert!(
        words(&list.text).contains("Everything has been paused since 2026-03-01 12:00:00.000 UTC"),
        "{}",
        list.text
    );
    let id = hookbox.rest.accept("evt-001").await;
    let route = words(&browser.get("/routes/orders").await.text);
    assert!(route.contains("Everything has been paused since"), "{route}");
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "pending");
    let list = act(&browser, "/routes", "/resume", &[]).await;
    assert!(list.text.contains("Resumed everything."), "{}", list.text);
    hookbox.wait_for(&id, "completed").await;
}

#[tokio::test]
async fn the_settings_of_a_route_are_told_in_words() {
    let routes = r#"
        [[routes]]
        name = "orders"
        match = { source = ["shop", "erp-*"], event_type = "order.*" }
        where = 'body.total > 100 && key != "<b>"'
        handler = "exec"
        command = ["/usr/local/bin/deploy", "--token", "s3cret"]
        timeout = "10s"
        concurrency = 16
        rate = "50/s"
        retry = { attempts = 12, base = "5s", cap = "1h" }
        order_by = "/order_id"
        on_dead_letter = "skip"
        on_interrupt = "dead_letter"

        [[routes]]
        name = "rest"
        fallback = true
        handler = "pull"
    "#;
    let hookbox = Hookbox::with_routes(Sqlite, routes);
    let page = Browser::of(&hookbox).get("/routes/orders").await;
    let text = words(&page.text);
    for expected in [
        "Webhooks of the source shop or erp-*, with the event type order.*",
        "Only if body.total > 100 && key != \"<b>\"",
        "exec: runs /usr/local/bin/deploy",
        "At most 12 in a run. After a failure the next one follows within 5s, then within twice as long, up to 1h.",
        "10s for each attempt",
        "At most 16 jobs, over all replicas",
        "At most 50/s attempts, over all replicas",
        "One at a time, in the order of arrival, for equal values of /order_id. Jobs behind a dead letter start.",
        "is never started again",
        "0 of 16",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!page.text.contains("<b>") && !page.text.contains("s3cret"), "{}", page.text);
    let rest = words(&Browser::of(&hookbox).get("/routes/rest").await.text);
    assert!(rest.contains("Webhooks that no other route takes"), "{rest}");
    assert!(rest.contains("pull: workers elsewhere lease the jobs"), "{rest}");
}

#[tokio::test]
async fn an_open_breaker_says_until_when_and_why_and_can_be_closed() {
    let port = free_port();
    let routes = format!(
        "[[routes]]\nname = \"out\"\nhandler = \"http\"\nurl = \"http://127.0.0.1:{port}/hooks\"\n\
         allow = [\"127.0.0.0/8\"]\nretry = {{ attempts = 9 }}\n\
         breaker = {{ failures = 1, base = \"10s\", cap = \"40s\" }}\n"
    );
    let hookbox = Hookbox::with_routes(Sqlite, &routes);
    let browser = Browser::of(&hookbox);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "retrying").await;
    let list = browser.get("/routes").await;
    assert!(row(&list, "/routes/out").contains("breaker open"), "{}", list.text);
    let text = words(&browser.get("/routes/out").await.text);
    for expected in [
        "The breaker is open until 2026-03-01 12:00:10.000 UTC (in 10 s): no job starts, and none uses up attempts.",
        "1 attempt in a row found the target down",
        "The last error of a job that waits: ",
        "Opens after 1 attempt in a row that found the target down: for 10s at first, then for twice as long, up to 40s.",
        &format!("http: sends them to http://127.0.0.1:{port}/hooks"),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let page = act(&browser, "/routes/out", "/routes/out/resume", &[]).await;
    let text = words(&page.text);
    assert!(text.contains("The breaker of the route out is closed. It was not paused."), "{text}");
    assert!(!text.contains("The breaker is open"), "{text}");
}

#[tokio::test]
async fn webhooks_that_a_where_could_not_be_evaluated_for_are_told() {
    let routes = "[[routes]]\nname = \"large\"\nwhere = 'body.total > 100'\nhandler = \"simulate\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, routes);
    assert_eq!(hookbox.rest.submit("evt-001", "order.created", r#"{"sum":1}"#).await.status, 202);
    let browser = Browser::of(&hookbox);
    assert!(row(&browser.get("/routes").await, "/routes/large").contains("where fails"));
    let text = words(&browser.get("/routes/large").await.text);
    assert!(text.contains("The where of this route could not be evaluated for 1 webhook"), "{text}");
    assert!(text.contains("The last error: ") && text.contains("total"), "{text}");
}

/// A hookbox with one job of the route `orders`, which is gone from the settings. Returns the id of its webhook.
async fn with_gone_route() -> (Hookbox, String) {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    assert_eq!(hookbox.rest.post("/v1/pause?route=orders").await.status, 200);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.set_routes("[[routes]]\nname = \"invoices\"\nhandler = \"simulate\"\n");
    assert_eq!(hookbox.rest.post("/v1/settings/reload").await.status, 200);
    (hookbox, id)
}

#[tokio::test]
async fn jobs_of_a_route_that_is_gone_are_moved_to_another_one() {
    let (hookbox, id) = with_gone_route().await;
    let browser = Browser::of(&hookbox);
    let list = browser.get("/routes").await;
    assert!(row(&list, "/routes/orders").contains("gone, jobs held"), "{}", list.text);
    assert!(
        words(&list.text).contains("1 job waits for a route that the settings no longer have."),
        "{}",
        list.text
    );
    let page = browser.get("/routes/orders").await;
    assert!(page.text.contains("<option value=\"invoices\">invoices</option>"), "{}", page.text);
    let fields = [("to", "invoices"), ("reason", "renamed")];
    let list = act(&browser, "/routes/orders", "/routes/orders/move", &fields).await;
    assert!(list.text.contains("Moved 1 job of orders to invoices."), "{}", list.text);
    let webhook = hookbox.wait_for(&id, "completed").await;
    assert_eq!(webhook["jobs"][0]["route"], "invoices");
}

#[tokio::test]
async fn jobs_of_a_route_that_is_gone_are_cancelled() {
    let (hookbox, id) = with_gone_route().await;
    let browser = Browser::of(&hookbox);
    let list = act(&browser, "/routes/orders", "/routes/orders/cancel", &[("reason", "")]).await;
    assert!(list.text.contains("Cancelled 1 job of orders."), "{}", list.text);
    assert_eq!(hookbox.rest.webhook(&id).await["status"], "cancelled");
    let page = browser.get("/routes/orders").await;
    assert!(!page.text.contains("/routes/orders/cancel"), "nothing is left to cancel: {}", page.text);
}

#[tokio::test]
async fn a_route_that_was_never_there_is_told() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    refused(&browser.get("/routes/nothing").await, 404, "ROUTE_NOT_FOUND");
    refused(&browser.get("/routes/No%20Route").await, 400, "INVALID_FIELD");
}
