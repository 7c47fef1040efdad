//! What operators do with a webhook.

use rstest::rstest;

use super::{act, has};
use crate::api::access::{EVERY_ROLE, rest, secret, token};
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store, eventually};
use crate::api::page::{Browser, form_token, refused};

const ROUTES: &str = r#"
    [[routes]]
    name = "orders"
    handler = "simulate"

    [[routes]]
    name = "audit"
    handler = "simulate"
"#;

#[rstest]
#[tokio::test]
async fn a_dead_letter_is_retried_and_a_completed_webhook_replayed(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "dead_lettered").await;
    let path = format!("/webhooks/{id}");
    let page = browser.get(&path).await;
    has(&page, &[&format!("action=\"{path}/retry\""), &format!("action=\"{path}/cancel\"")]);
    assert!(!page.text.contains(&format!("action=\"{path}/replay\"")), "{}", page.text);

    let page = act(&browser, &path, &format!("{path}/retry"), &[("reason", "the order is there now")]).await;
    has(&page, &["Dead letters and cancelled jobs start a new run.", "Retried", "the order is there now"]);
    hookbox.wait_for(&id, "completed").await;
    let page = browser.get(&path).await;
    has(&page, &["run 2", "Attempt 2 of", &format!("action=\"{path}/replay\"")]);
    assert!(!page.text.contains(&format!("action=\"{path}/retry\"")), "{}", page.text);

    let page = act(&browser, &path, &format!("{path}/replay"), &[("reason", "")]).await;
    has(&page, &["All finished jobs start a new run.", "Replayed"]);
    hookbox.wait_for_runs(3).await;
    hookbox.wait_for(&id, "completed").await;
    has(&browser.get(&path).await, &["run 3", "Attempt 3 of"]);
}

#[tokio::test]
async fn one_job_of_several_is_cancelled_and_retried() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    assert_eq!(hookbox.rest.post("/v1/pause").await.status, 200);
    let id = hookbox.rest.accept("evt-001").await;
    let path = format!("/webhooks/{id}");
    let page = act(&browser, &path, &format!("{path}/cancel"), &[("route", "orders")]).await;
    has(&page, &["The job of orders is cancelled."]);
    let statuses = async || {
        let webhook = hookbox.rest.webhook(&id).await;
        [0_usize, 1].map(|job| webhook["jobs"][job]["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(statuses().await, ["cancelled", "pending"]);
    let page = act(&browser, &path, &format!("{path}/retry"), &[("route", "orders")]).await;
    has(&page, &["The job of orders starts a new run."]);
    assert_eq!(statuses().await, ["pending", "pending"]);
    let page = act(&browser, &path, &format!("{path}/cancel"), &[]).await;
    has(&page, &["Waiting jobs and dead letters are cancelled."]);
    assert_eq!(statuses().await, ["cancelled", "cancelled"]);
}

#[tokio::test]
async fn an_action_that_is_refused_says_why() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no")]);
    let dead = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&dead, "dead_lettered").await;
    let token = form_token(&browser.get(&format!("/webhooks/{dead}")).await);
    let done = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&done, "completed").await;
    let long = "x".repeat(501);
    for (path, field, status, reason) in [
        (format!("/webhooks/{done}/retry"), ("route", ""), 409, "WRONG_STATUS"),
        (format!("/webhooks/{done}/release"), ("route", ""), 409, "WRONG_STATUS"),
        (format!("/webhooks/{done}/discard"), ("route", ""), 409, "WRONG_STATUS"),
        (format!("/webhooks/{dead}/retry"), ("route", "other"), 404, "ROUTE_NOT_FOUND"),
        (format!("/webhooks/{dead}/retry"), ("route", "Not A Name"), 400, "INVALID_FIELD"),
        (format!("/webhooks/{dead}/retry"), ("reason", long.as_str()), 400, "INVALID_FIELD"),
        ("/webhooks/7/retry".to_owned(), ("route", ""), 400, "INVALID_FIELD"),
    ] {
        refused(&browser.post(&path, &[("form_token", &token), field]).await, status, reason);
    }
    assert_eq!(hookbox.rest.webhook(&dead).await["status"], "dead_lettered");
}

#[tokio::test]
async fn a_token_that_may_only_read_sees_no_buttons_and_is_refused() {
    let tokens = [
        token("operator", EVERY_ROLE),
        token("reader", "roles = [\"read\"]"),
        token("mender", "roles = [\"operate\"]"),
    ];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let operator = rest(&hookbox, "operator");
    hookbox.handler.will([Step::FailForGood("no")]);
    let id = operator.accept("evt-001").await;
    eventually("a dead letter", || async {
        (operator.webhook(&id).await["status"] == "dead_lettered").then_some(())
    })
    .await;
    let reader = Browser::logged_in(&hookbox, "reader").await;
    let path = format!("/webhooks/{id}");
    for view in [path.as_str(), "/webhooks", "/dead-letters"] {
        let page = reader.get(view).await;
        has(&page, &["read-only"]);
        let forms = page.text.matches("method=\"post\"").count();
        assert_eq!(forms, 1, "only that of the logout: {view}: {}", page.text);
        assert!(!page.text.contains("Edit and send"), "{}", page.text);
    }
    let of_reader = form_token(&reader.get(&path).await);
    for action in ["retry", "replay", "cancel", "release", "discard", "send"] {
        let answer = reader.post(&format!("{path}/{action}"), &[("form_token", &of_reader)]).await;
        refused(&answer, 403, "FORBIDDEN");
    }
    refused(&reader.post("/dead-letters/retry", &[("form_token", &of_reader)]).await, 403, "FORBIDDEN");
    refused(&reader.get(&format!("{path}/edit")).await, 403, "FORBIDDEN");
    assert_eq!(operator.webhook(&id).await["status"], "dead_lettered");
    assert!(!reader.get(&path).await.text.contains(&secret("operator")));
    has(&Browser::logged_in(&hookbox, "operator").await.get(&path).await, &["Edit and send", "/retry\""]);

    // A caller without the role `submit` must not submit in the name of a source.
    let mender = Browser::logged_in(&hookbox, "mender").await;
    let page = mender.get(&path).await;
    has(&page, &["/retry\""]);
    assert!(!page.text.contains("Edit and send"), "{}", page.text);
    refused(&mender.get(&format!("{path}/edit")).await, 403, "FORBIDDEN");
    let sent = mender.post(&format!("{path}/send"), &[("form_token", &form_token(&page))]).await;
    refused(&sent, 403, "FORBIDDEN");
}
