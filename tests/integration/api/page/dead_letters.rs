//! Dead letters in groups.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use rstest::rstest;

use super::{Browser, form_token, refused};
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

/// A hookbox with four dead letters in three groups; and their ids.
async fn hookbox(store: Store) -> (Hookbox, Vec<String>) {
    let hookbox = Hookbox::with_routes(store, ROUTES);
    let mut ids = Vec::new();
    for (key, event_type, error) in [
        ("evt-1", "order.paid", "no order 17 in <table>"),
        ("evt-2", "order.paid", "the target answered 503 Service Unavailable"),
        ("evt-3", "invoice.paid", "no order 18 in <table>"),
        ("evt-4", "order.paid", "no order 4711 in <table>"),
    ] {
        hookbox.handler.will([Step::FailForGood(error)]);
        let id = hookbox.rest.submit(key, event_type, "{}").await.text_of("id");
        hookbox.wait_for(&id, "dead_lettered").await;
        hookbox.advance(SignedDuration::from_secs(60));
        ids.push(id);
    }
    (hookbox, ids)
}

/// The rows of the groups.
fn rows(page: &str) -> Vec<&str> {
    page.split("<tr data-row>").skip(1).map(|rest| rest.split("</tr>").next().unwrap()).collect()
}

/// The name of a group, in its row.
fn group_of(row: &str) -> &str {
    let (_, rest) = row.split_once("name=\"group\" value=\"").expect("a form");
    rest.split('"').next().unwrap()
}

#[rstest]
#[tokio::test]
async fn dead_letters_are_grouped_by_route_and_error(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, _) = hookbox(store).await;
    let browser = Browser::of(&hookbox);
    let page = browser.get("/dead-letters").await;
    assert!(page.text.contains("4 dead letters in 3 groups. These are all."), "{}", page.text);
    let rows = rows(&page.text);
    assert_eq!(rows.len(), 3, "{}", page.text);
    for (row, texts) in rows.iter().zip([
        ["no order 4711 in &lt;table&gt;", "orders", ">2</td>", "4 min ago", ">2026-03-01 12:03:00 UTC<"],
        ["no order 18 in &lt;table&gt;", "invoices", ">1</td>", "2 min ago", "2 min ago"],
        ["the target answered 503", "orders", ">1</td>", "3 min ago", "3 min ago"],
    ]) {
        for text in texts {
            assert!(row.contains(text), "{text}: {row}");
        }
    }
    let link = "href=\"/webhooks?status=dead_lettered&amp;route=orders&amp;error_contains=in+%3Ctable%3E\"";
    assert!(rows[0].contains(link), "{}", rows[0]);
    let replay = "href=\"/replays?status=dead_lettered&amp;route=orders&amp;error_contains=in+%3Ctable%3E#new\">\
        Replay all of this group…</a>";
    assert!(rows[0].contains(replay), "{}", rows[0]);

    let of_route = browser.get("/dead-letters?route=invoices&source=").await;
    assert!(of_route.text.contains("1 dead letter in 1 group."), "{}", of_route.text);
}

#[tokio::test]
async fn a_wrong_filter_keeps_the_form_and_its_value() {
    let hookbox = Hookbox::start(Sqlite);
    for (query, kept) in [
        ("source=Bad!", "name=\"source\" value=\"Bad!\""),
        ("route=A", "<option value=\"A\" selected>"),
        ("source=shop&page_token=x", "name=\"source\" value=\"shop\""),
    ] {
        let page = Browser::of(&hookbox).get(&format!("/dead-letters?{query}")).await;
        refused(&page, 400, "INVALID_FIELD");
        for text in ["A filter is wrong: `", "<h1>Dead letters</h1>", kept] {
            assert!(page.text.contains(text), "{text}: {}", page.text);
        }
    }
}

#[tokio::test]
async fn a_long_error_leaves_the_other_columns_their_room() {
    let (hookbox, _) = hookbox(Sqlite).await;
    let browser = Browser::of(&hookbox);
    let groups = browser.get("/dead-letters").await.text;
    assert!(groups.contains("<div class=\"table\"><table class=\"cards\">"), "{groups}");
    assert!(groups.contains("<td class=\"main long\">"), "{groups}");
    let list = browser.get("/webhooks?status=dead_lettered").await.text;
    assert!(list.contains("<td class=\"long\" data-label=\"Last error\">"), "{list}");
    let styles = super::values_of(&list, "href").into_iter().find(|path| path.ends_with(".css")).unwrap();
    let styles = browser.get(styles).await.text;
    assert!(styles.contains("td.long { min-width: 200px; overflow-wrap: anywhere; }"), "{styles}");
}

#[rstest]
#[tokio::test]
async fn a_group_is_retried_and_no_other(#[values(Sqlite, Postgres)] store: Store) {
    let (hookbox, ids) = hookbox(store).await;
    let browser = Browser::of(&hookbox);
    let page = browser.get("/dead-letters").await;
    let (token, group) = (form_token(&page), group_of(rows(&page.text)[0]).to_owned());
    let fields = [("form_token", token.as_str()), ("group", &group), ("reason", "the table is there")];
    let answer = browser.post("/dead-letters/retry", &fields).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let page = browser.get(answer.header("location")).await;
    assert!(page.text.contains("2 dead letters of orders run again."), "{}", page.text);
    for id in [&ids[0], &ids[3]] {
        hookbox.wait_for(id, "completed").await;
    }
    for id in [&ids[1], &ids[2]] {
        assert_eq!(hookbox.rest.webhook(id).await["status"], "dead_lettered");
    }
    let runs = hookbox.handler.runs();
    let again = runs[4..].iter().map(|run| run.webhook.as_str()).collect::<BTreeSet<_>>();
    assert_eq!(again, BTreeSet::from([ids[0].as_str(), ids[3].as_str()]));

    let answer = browser.post("/dead-letters/retry", &fields).await;
    let page = browser.get(answer.header("location")).await;
    assert!(page.text.contains("Nothing was retried"), "{}", page.text);
    assert_eq!(hookbox.handler.runs().len(), 6);
}

#[tokio::test]
async fn a_retry_of_a_group_leads_back_to_the_same_filters() {
    let (hookbox, _) = hookbox(Sqlite).await;
    let browser = Browser::of(&hookbox);
    let page = browser.get("/dead-letters?route=invoices").await;
    let (token, group) = (form_token(&page), group_of(rows(&page.text)[0]).to_owned());
    let fields = [("form_token", token.as_str()), ("group", &group), ("route", "invoices")];
    let answer = browser.post("/dead-letters/retry", &fields).await;
    assert!(
        answer.header("location").starts_with("/dead-letters?route=invoices&notice="),
        "{:?}",
        answer.headers
    );
    refused(&browser.post("/dead-letters/retry", &[("form_token", &token)]).await, 400, "INVALID_FIELD");
}

#[tokio::test]
async fn a_group_without_a_text_that_all_its_errors_have_has_no_link_to_a_replay() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    hookbox.handler.will([Step::FailForGood("no 7")]);
    let id = hookbox.rest.submit("evt-1", "order.paid", "{}").await.text_of("id");
    hookbox.wait_for(&id, "dead_lettered").await;
    let page = Browser::of(&hookbox).get("/dead-letters").await;
    assert!(rows(&page.text)[0].contains("no 7") && !page.text.contains("Replay all"), "{}", page.text);
    // A list would have all dead letters of the route.
    let link = format!("<a href=\"/webhooks/{id}\">no 7</a>");
    assert!(rows(&page.text)[0].contains(&link), "{link}: {}", page.text);
}

#[tokio::test]
async fn without_dead_letters_the_view_says_so() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let page = browser.get("/dead-letters").await;
    assert!(page.status == 200 && page.text.contains("There are no dead letters."), "{}", page.text);
    let older = browser.get("/dead-letters?page_token=01934c3e7b0070008000000000000000").await;
    let part = older.text.split("id=\"groups\"").nth(1).expect("the groups");
    assert!(part.contains("Newest</a></nav></div>"), "its links are replaced with it: {}", older.text);
}
