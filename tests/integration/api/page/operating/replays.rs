//! Replays over the page.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;

use super::{Browser, act, form_token, refused, row, sent, unescaped, values_of, words};
use crate::api::harness::client::Answer;
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Sqlite};

/// Accepts webhooks, and waits until they are completed.
async fn complete(hookbox: &Hookbox, keys: &[&str]) {
    for key in keys {
        let id = hookbox.rest.accept(key).await;
        hookbox.wait_for(&id, "completed").await;
    }
}

/// The fields of the form of a page that posts to a path.
fn fields_of(page: &str, action: &str) -> Vec<(String, String)> {
    let action = format!("action=\"{action}\"");
    let form = page.split("<form ").find(|form| form.contains(&action)).unwrap_or_else(|| panic!("{page}"));
    let form = form.split("</form>").next().unwrap_or_default();
    let inputs = form.split("<input").skip(1).map(|input| input.split('>').next().unwrap_or_default());
    let first =
        |input: &str, attribute: &str| values_of(input, attribute).first().map(|text| unescaped(text));
    inputs.filter_map(|input| Some((first(input, "name")?, first(input, "value")?))).collect()
}

#[tokio::test]
async fn a_replay_counts_first_and_then_runs_the_same_jobs_again() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    complete(&hookbox, &["evt-001", "evt-002", "evt-003"]).await;
    let fields =
        [("status", "completed"), ("route", "default"), ("reason", "<b>wrong</b> result"), ("rate", "")];
    let page = act(&browser, "/replays", "/replays", &fields).await;
    let text = words(&page.text);
    for expected in [
        "The jobs are counted. Nothing runs again yet.",
        "3 jobs of 3 webhooks would run again.",
        "completed jobs of the route default",
        "dry run",
        "3 counted",
        "<b>wrong</b> result",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!page.text.contains("<b>"), "{}", page.text);
    assert_eq!(hookbox.handler.runs().len(), 3);

    // It comes after the count.
    hookbox.advance(jiff::SignedDuration::from_secs(1));
    complete(&hookbox, &["evt-004"]).await;
    let page = act(&browser, "/replays/1", "/replays/1/run", &[]).await;
    assert!(words(&page.text).contains("The replay is started."), "{}", page.text);
    hookbox.wait_for_runs(7).await;
    let look = || async {
        let page = browser.get("/replays/2").await;
        words(&page.text).contains("State completed").then_some(page)
    };
    let page = hookbox.as_time_passes("the end of the replay", look).await;
    let text = words(&page.text);
    assert!(text.contains("3 run again") && text.contains("<b>wrong</b> result"), "{text}");
    assert!(text.contains("accepted before 2026-03-01 12:00:00.001 UTC"), "{text}");
    assert!(page.text.contains("id=\"replay\" data-live"), "{}", page.text);
    let list = hookbox.rest.get("/v1/webhooks?source=default&idempotency_key=evt-001").await.json();
    let id = list["webhooks"][0]["id"].as_str().unwrap();
    let webhook = browser.get(&format!("/webhooks/{id}")).await;
    let text = words(&webhook.text);
    assert_eq!(text.matches("Replay 2 began run 2: <b>wrong</b> result").count(), 1, "{text}");
    assert!(webhook.text.contains("<a href=\"/replays/2\">Replay 2</a>"), "{}", webhook.text);
    let list = browser.get("/replays").await;
    assert!(
        row(&list, "/replays/1").contains("dry run") && row(&list, "/replays/2").contains("completed"),
        "{}",
        list.text
    );
    assert!(list.text.contains("id=\"replays\" data-live"), "{}", list.text);
    let older = browser.get("/replays?page_token=2").await;
    assert!(row(&older, "/replays/1").contains("dry run"), "{}", older.text);
    assert!(!older.text.contains("data-live"), "only the first page is live: {}", older.text);
    assert!(older.text.contains("Newest</a></nav></div>"), "its links are replaced with it: {}", older.text);
    assert_eq!(hookbox.handler.runs().len(), 7);
}

#[tokio::test]
async fn what_a_dry_run_has_counted_runs_again_and_no_more() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    complete(&hookbox, &["evt-001", "evt-002", "evt-003"]).await;
    let filter = json!({ "source": "default", "idempotency_key": "evt-002" });
    let body = json!({ "filter": filter, "reason": "a <wrong> order", "rate": "9/s", "dry_run": true });
    let request = hookbox.rest.request(Method::POST, "/v1/replays").header(CONTENT_TYPE, "application/json");
    let counted = Answer::of(request.body(body.to_string())).await;
    assert_eq!(
        (counted.status, counted.json()["counts"]["jobs"].as_u64()),
        (202, Some(1)),
        "{}",
        counted.text
    );

    let page = act(&browser, "/replays/1", "/replays/1/run", &[]).await;
    let text = words(&page.text);
    for expected in ["The replay is started.", "idempotency key evt-002", "a <wrong> order", "At most 9/s"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let look = || async {
        let page = browser.get("/replays/2").await;
        words(&page.text).contains("State completed").then_some(page)
    };
    let page = hookbox.as_time_passes("the end of the replay", look).await;
    assert!(words(&page.text).contains("1 run again"), "{}", page.text);
    hookbox.wait_for_runs(4).await;

    let token = form_token(&browser.get("/replays").await);
    let second = browser.post("/replays/2/run", &[("form_token", token.as_str())]).await;
    refused(&second, 409, "WRONG_STATUS");
    let unknown = browser.post("/replays/9/run", &[("form_token", token.as_str())]).await;
    refused(&unknown, 404, "REPLAY_NOT_FOUND");
}

#[tokio::test]
async fn a_running_replay_shows_what_it_does_and_is_cancelled() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    complete(&hookbox, &["evt-001", "evt-002", "evt-003"]).await;
    let fields = [("status", "completed"), ("rate", "1/h"), ("dry_run", "false")];
    let page = act(&browser, "/replays", "/replays", &fields).await;
    let text = words(&page.text);
    assert!(text.contains("The replay is started.") && text.contains("State running"), "{text}");
    assert!(text.contains("At most 1/h") && page.text.contains("<progress max=\"100\""), "{}", page.text);
    let second = sent(&browser, "/replays", "/replays", &fields).await;
    refused(&second, 409, "REPLAY_RUNNING");

    let page = act(&browser, "/replays/1", "/replays/1/cancel", &[("reason", "enough")]).await;
    let text = words(&page.text);
    assert!(text.contains("The replay is cancelled.") && text.contains("State cancelled"), "{text}");
    assert!(!page.text.contains("/replays/1/cancel"), "{}", page.text);
    assert!(hookbox.handler.runs().len() <= 4, "one job an hour");
}

#[tokio::test]
async fn a_replay_without_a_filter_or_with_a_wrong_one_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    for (fields, why) in [
        (vec![("dry_run", "false")], "everything would run again"),
        (vec![("status", "pending")], "only finished jobs run again"),
        (vec![("status", "completed"), ("rate", "fast")], "such as 50/s"),
        (vec![("accepted_after", "yesterday")], "must be a time in UTC"),
        (vec![("route", "No Route")], "route"),
        (vec![("verdict", "good")], "`verdict` must be"),
        (vec![("body_pointer", "/id")], "`body_equals`"),
        (vec![("route", "default"), ("route", "other")], "`route` is given more than once"),
    ] {
        let answer = sent(&browser, "/replays", "/replays", &fields).await;
        refused(&answer, 400, "INVALID_FIELD");
        assert!(words(&answer.text).contains(why), "{why}: {}", answer.text);
    }
    refused(&browser.get("/replays/1").await, 404, "REPLAY_NOT_FOUND");
    refused(&browser.get("/replays/first").await, 404, "REPLAY_NOT_FOUND");
    refused(&browser.get("/replays?page_token=x").await, 400, "INVALID_FIELD");
    let list = browser.get("/replays").await.text;
    assert!(list.contains("No replay was started."), "{list}");
    assert!(list.contains("id=\"replays\" data-live"), "one can be started from elsewhere: {list}");
    let older = browser.get("/replays?page_token=1").await.text;
    assert!(older.contains("There are no older replays."), "{older}");
}

#[tokio::test]
async fn a_form_that_is_refused_keeps_its_fields() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let filled_in = [("status", "completed"), ("source", "shop"), ("reason", "a <wrong> order")];
    for (wrong, why) in [
        (("rate", "50 per s"), "such as 50/s"),
        (("body_pointer", "/id"), "`body_equals`"),
        (("route", "No Route"), "`route`"),
    ] {
        let answer = sent(&browser, "/replays", "/replays", &[&filled_in[..], &[wrong]].concat()).await;
        refused(&answer, 400, "INVALID_FIELD");
        let text = words(&answer.text);
        assert!(text.contains("Nothing was started: ") && text.contains(why), "{why}: {text}");
        let fields = fields_of(&answer.text, "/replays");
        for (name, value) in filled_in[1..].iter().chain([&wrong]) {
            assert!(fields.contains(&((*name).to_owned(), (*value).to_owned())), "{name}: {fields:?}");
        }
        for (status, checked) in [("dead_lettered", ""), ("completed", " checked")] {
            let input = format!("<input type=\"checkbox\" name=\"status\" value=\"{status}\"{checked}>");
            assert!(answer.text.contains(&input), "{input}: {}", answer.text);
        }
    }
    let page = browser.get("/replays?page_token=x&route=default").await;
    refused(&page, 400, "INVALID_FIELD");
    let fields = fields_of(&page.text, "/replays");
    assert!(fields.contains(&("route".to_owned(), "default".to_owned())), "{fields:?}");
}

#[tokio::test]
async fn the_form_has_every_filter_and_refuses_fields_that_it_does_not_have() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    for (key, body, error) in
        [("evt-001", "{\"id\": 1}", "no order of evt-001"), ("evt-002", "{\"id\": 2}", "no order of evt-002")]
    {
        hookbox.handler.will([Step::FailForGood(error)]);
        let id = hookbox.rest.submit(key, "order.paid", body).await.text_of("id");
        hookbox.wait_for(&id, "dead_lettered").await;
    }
    let first = hookbox.rest.get("/v1/webhooks?idempotency_key=evt-001").await.json();
    let first = hookbox.rest.webhook(first["webhooks"][0]["id"].as_str().unwrap()).await;
    let trace_id = first["trace_id"].as_str().unwrap();
    for (fields, count) in [
        (vec![("verdict", "none")], 2),
        (vec![("verdict", "unverified"), ("cause", "signature_missing")], 0),
        (vec![("idempotency_key", "evt-001")], 1),
        (vec![("trace_id", trace_id)], 1),
        (vec![("error_contains", "of evt-002")], 1),
        (vec![("error_contains", "of evt-002 ")], 0),
        (vec![("body_pointer", "/id"), ("body_equals", "1")], 1),
        (vec![("body_contains", "id")], 2),
    ] {
        let all = [&[("status", "dead_lettered"), ("route", "default")][..], &fields[..]].concat();
        let page = act(&browser, "/replays", "/replays", &all).await;
        assert!(words(&page.text).contains(&format!("{count} counted")), "{fields:?}: {}", page.text);
    }
    let misspelled = [("route", "default"), ("error_contain", "of evt-001"), ("dry_run", "false")];
    let answer = sent(&browser, "/replays", "/replays", &misspelled).await;
    refused(&answer, 400, "INVALID_FIELD");
    let told = "`error_contain` is no field of a replay, so nothing was started";
    assert!(words(&answer.text).contains(told), "{}", answer.text);
    assert_eq!(hookbox.handler.runs().len(), 2);
}

#[tokio::test]
async fn a_link_fills_in_the_form() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let query = "status=cancelled&status=completed&route=default&accepted_after=2026-03-01T12:00:00.123456Z\
        &event_type=%22%3Cb%3E&cause=signature_missing&idempotency_key=evt-001\
        &trace_id=4bf92f3577b34da6a3ce929d0e0e4736&error_contains=+503&body_pointer=/id&body_equals=7&body_contains=x";
    let page = browser.get(&format!("/replays?{query}")).await;
    for (status, checked) in [("dead_lettered", ""), ("cancelled", " checked"), ("completed", " checked")] {
        let input = format!("<input type=\"checkbox\" name=\"status\" value=\"{status}\"{checked}>");
        assert!(page.text.contains(&input), "{input}: {}", page.text);
    }
    let fields = fields_of(&page.text, "/replays");
    for (name, value) in [
        ("route", "default"),
        ("accepted_after", "2026-03-01T12:00:00.124"),
        ("event_type", "\"<b>"),
        ("idempotency_key", "evt-001"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("error_contains", " 503"),
        ("body_pointer", "/id"),
        ("body_equals", "7"),
        ("body_contains", "x"),
    ] {
        assert!(fields.contains(&(name.to_owned(), value.to_owned())), "{name}: {fields:?}");
    }
    assert!(page.text.contains("<option value=\"signature_missing\" selected>"), "{}", page.text);
    assert!(page.text.contains("<details class=\"more\" id=\"more-filters\" open>"), "{}", page.text);
    let wrong = "The link that filled in this form is wrong";
    assert!(!page.text.contains(wrong), "{}", page.text);
    for query in ["status=pending", "route=a&route=b", "accepted_after=yesterday", "verdict=good"] {
        let page = browser.get(&format!("/replays?{query}")).await;
        assert!(page.status == 200 && page.text.contains(wrong), "{query}: {}", page.text);
    }
    let fresh = browser.get("/replays").await.text;
    assert!(fresh.contains("name=\"status\" value=\"dead_lettered\" checked>"), "{fresh}");
}
