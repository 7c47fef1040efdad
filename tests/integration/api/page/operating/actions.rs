//! The list of actions of operators.

use super::{Browser, ROUTES, act, refused, words};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::Answer;
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Sqlite, eventually};
use crate::support::ports::free_port;

/// The forms of a page that change something, each with where it posts to.
fn forms(page: &Answer) -> Vec<(&str, &str)> {
    let forms =
        page.text.split("<form ").skip(1).map(|form| form.split("</form>").next().unwrap_or_default());
    let posts = forms.filter(|form| form.contains("method=\"post\""));
    posts.map(|form| (super::values_of(form, "action")[0], form)).collect()
}

#[tokio::test]
async fn an_action_is_listed_with_actor_kind_target_and_reason() {
    let tokens = token("night-shift", EVERY_ROLE);
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{tokens}"));
    let browser = Browser::logged_in(&hookbox, "night-shift").await;
    let empty = browser.get("/actions").await.text;
    assert!(words(&empty).contains("No action is recorded here."), "{empty}");
    assert!(empty.contains("id=\"rows\" data-live=\"list\""), "the first action shows by itself: {empty}");
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
async fn every_form_for_a_pause_a_breaker_or_a_job_has_a_field_for_the_reason() {
    let port = free_port();
    let out = format!(
        "[[routes]]\nname = \"out\"\nmatch = {{ event_type = \"out\" }}\nhandler = \"http\"\n\
         url = \"http://127.0.0.1:{port}/\"\nallow = [\"127.0.0.0/8\"]\nretry = {{ attempts = 9 }}\n\
         breaker = {{ failures = 1, base = \"10s\", cap = \"40s\" }}\n"
    );
    let audit = "[[routes]]\nname = \"audit\"\nmatch = { event_type = \"order.*\" }\nhandler = \"pull\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{audit}{out}"));
    let browser = Browser::of(&hookbox);
    let tripping = hookbox.rest.submit("evt-001", "out", "{}").await.text_of("id");
    hookbox.wait_for(&tripping, "retrying").await;
    // With two jobs, each has forms of its own.
    let order = hookbox.rest.submit("evt-002", "order.paid", "{}").await.text_of("id");
    eventually("a completed job", || async {
        let webhook = hookbox.rest.webhook(&order).await;
        let mut jobs = webhook["jobs"].as_array().unwrap().iter();
        jobs.any(|job| job["status"] == "completed").then_some(())
    })
    .await;
    let views =
        ["/routes", "/routes/out", "/routes/orders", "/sources", "/sources/default"].map(ToOwned::to_owned);
    let views = [&views[..], &[format!("/webhooks/{order}"), format!("/webhooks/{tripping}")]].concat();
    let mut seen = Vec::new();
    for pausing in ["", "/v1/pause", "/v1/pause?route=out", "/v1/pause?source=default"] {
        if !pausing.is_empty() {
            assert_eq!(hookbox.rest.post(pausing).await.status, 200);
        }
        for view in &views {
            let page = browser.get(view).await;
            assert_eq!(page.status, 200, "{view}: {}", page.text);
            for (action, form) in forms(&page).into_iter().filter(|(action, _)| !action.ends_with("/test")) {
                assert!(form.contains("name=\"reason\""), "{view}: {form}");
                seen.push(action.to_owned());
            }
        }
    }
    for action in [
        "/pause",
        "/resume",
        "/routes/out/pause",
        "/routes/out/resume",
        "/sources/default/pause",
        "/sources/default/resume",
        &format!("/webhooks/{order}/cancel"),
        &format!("/webhooks/{order}/replay"),
    ] {
        assert!(seen.iter().any(|found| found == action), "{action}: {seen:?}");
    }
}

#[tokio::test]
async fn the_reason_for_a_form_of_a_list_is_recorded() {
    let hookbox = Hookbox::with_routes(Sqlite, ROUTES);
    let browser = Browser::of(&hookbox);
    let fields = [("back", "list"), ("reason", "the shop moves")];
    act(&browser, "/routes", "/routes/orders/pause", &fields).await;
    let fields = [("back", "list"), ("reason", "the shop has moved")];
    act(&browser, "/routes", "/routes/orders/resume", &fields).await;
    let text = words(&browser.get("/actions").await.text);
    assert!(text.contains("pause route orders the shop moves"), "{text}");
    assert!(text.contains("resume route orders the shop has moved"), "{text}");
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
    let wrong = browser.get("/actions?webhook_id=k-2").await;
    refused(&wrong, 400, "INVALID_FIELD");
    for text in ["A filter is wrong: `webhook_id` must be the UUID", "name=\"webhook_id\" value=\"k-2\""] {
        assert!(wrong.text.contains(text), "{text}: {}", wrong.text);
    }
}

#[tokio::test]
async fn actions_come_in_pages() {
    let limited = token("orders", "roles = [\"read\"]\nroutes = [\"orders\"]");
    let tokens = [token("all", EVERY_ROLE), limited];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{ROUTES}{}", tokens.concat()));
    let browser = Browser::logged_in(&hookbox, "all").await;
    let all = rest(&hookbox, "all");
    for number in 1..=51 {
        assert_eq!(all.post(&format!("/v1/pause?reason=number-{number}-")).await.status, 200);
    }
    let first = browser.get("/actions").await.text;
    for part in ["id=\"rows\" data-live=\"list\"", "id=\"further\" data-live=\"with-list\""] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(
        first.contains("number-51-") && first.contains("number-2-") && !first.contains("number-1-"),
        "{first}"
    );
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let second = browser.get(&super::unescaped(next)).await.text;
    assert!(second.contains("number-1-") && !second.contains("number-2-"), "{second}");
    assert!(second.contains("rel=\"first\"") && !second.contains("rel=\"next\""), "{second}");
    assert!(!second.contains("data-live"), "only the first page is live: {second}");

    let limited = Browser::logged_in(&hookbox, "orders").await;
    let empty = limited.get("/actions").await.text;
    let told = "This token sees none of the actions on this page. “Older” goes on to the next page.";
    assert!(words(&empty).contains(told) && empty.contains("rel=\"next\""), "{empty}");
    let last = limited.get(&super::unescaped(next)).await.text;
    assert!(words(&last).contains("There are no older actions."), "{last}");
    refused(&browser.get("/actions?page_token=x").await, 400, "INVALID_FIELD");
}
