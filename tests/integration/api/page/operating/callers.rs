//! What callers see who may not operate, or who see a part only.

use super::{Browser, ROUTES, refused, sent, words};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::{Hookbox, Sqlite};

const SOURCES: &str = r#"
    [sources.shop]
    preset = "shopify"
    secrets = ["s3cret-of-the-shop"]

    [sources.crm]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["s3cret-of-the-crm"]
    key = { header = "X-Id" }
"#;

#[tokio::test]
async fn a_caller_with_the_role_read_sees_everything_and_no_form() {
    let tokens = [token("all", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{SOURCES}{}", tokens.concat()));
    let all = rest(&hookbox, "all");
    for path in ["/v1/pause", "/v1/pause?route=orders", "/v1/pause?source=shop"] {
        assert_eq!(all.post(path).await.status, 200);
    }
    let (reader, operator) =
        (Browser::logged_in(&hookbox, "reader").await, Browser::logged_in(&hookbox, "all").await);
    for path in
        ["/routes", "/routes/orders", "/sources", "/sources/shop", "/sources/default", "/replays", "/actions"]
    {
        let (read, operated) = (reader.get(path).await, operator.get(path).await);
        assert_eq!((read.status, operated.status), (200, 200), "{path}: {}", read.text);
        // That of the logout stays.
        assert_eq!(read.text.matches("method=\"post\"").count(), 1, "{path}: {}", read.text);
        assert!(
            path == "/actions" || operated.text.matches("method=\"post\"").count() > 1,
            "{path}: {}",
            operated.text
        );
    }
}

#[tokio::test]
async fn a_caller_limited_to_routes_sees_and_changes_nothing_else() {
    let limited = token("orders", "roles = [\"submit\", \"operate\"]\nroutes = [\"orders\"]");
    let tokens = [token("all", EVERY_ROLE), limited];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{SOURCES}{}", tokens.concat()));
    let browser = Browser::logged_in(&hookbox, "orders").await;
    let list = browser.get("/routes").await;
    assert!(list.text.contains("/routes/orders") && !list.text.contains("invoices"), "{}", list.text);
    assert!(!list.text.contains("action=\"/pause\""), "{}", list.text);
    refused(&browser.get("/routes/invoices").await, 404, "ROUTE_NOT_FOUND");
    assert_eq!(sent(&browser, "/routes", "/routes/orders/pause", &[]).await.status, 303);
    let token = super::form_token(&list);
    let fields = [("form_token", token.as_str())];
    refused(&browser.post("/pause", &fields).await, 403, "FORBIDDEN");
    refused(&browser.post("/routes/invoices/pause", &fields).await, 404, "ROUTE_NOT_FOUND");
    refused(&browser.post("/sources/shop/pause", &fields).await, 403, "FORBIDDEN");
    let source = browser.get("/sources/shop").await;
    assert!(words(&source.text).contains("does not see what came in"), "{}", source.text);
    assert!(!source.text.contains("/sources/shop/pause"), "{}", source.text);
}

#[tokio::test]
async fn a_caller_limited_to_sources_sees_and_changes_nothing_else() {
    let limited = token("crm", "roles = [\"submit\", \"operate\"]\nsources = [\"crm\"]");
    let tokens = [token("all", EVERY_ROLE), limited];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{SOURCES}{}", tokens.concat()));
    assert_eq!(rest(&hookbox, "all").post("/v1/pause?source=shop").await.status, 200);
    let browser = Browser::logged_in(&hookbox, "crm").await;
    let list = browser.get("/sources").await;
    assert!(list.text.contains("/sources/crm") && !list.text.contains("/sources/shop"), "{}", list.text);
    for path in ["/sources/shop", "/sources/default", "/sources/other"] {
        refused(&browser.get(path).await, 404, "SOURCE_NOT_FOUND");
    }
    assert_eq!(sent(&browser, "/sources/crm", "/sources/crm/pause", &[]).await.status, 303);
    let token = super::form_token(&list);
    let fields = [("form_token", token.as_str()), ("content_type", "application/json"), ("body", "{}")];
    refused(&browser.post("/sources/shop/resume", &fields).await, 404, "SOURCE_NOT_FOUND");
    refused(&browser.post("/sources/shop/test", &fields).await, 404, "SOURCE_NOT_FOUND");
    refused(&browser.post("/routes/orders/pause", &fields).await, 403, "FORBIDDEN");
    assert!(!browser.get("/routes/orders").await.text.contains("/routes/orders/pause"));
}
