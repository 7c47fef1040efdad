//! The list of webhooks.

mod searches;

use jiff::SignedDuration;
use rstest::rstest;

use super::{Browser, form_token, values_of};
use crate::api::access::{EVERY_ROLE, rest, token};
use crate::api::harness::client::Answer;
use crate::api::harness::handler::Step;
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

/// The ids of the webhooks in a list.
fn ids_of(page: &Answer) -> Vec<&str> {
    assert_eq!(page.status, 200, "{}", page.text);
    values_of(&page.text, "data-id")
}

/// The link to the next page; none if there is none.
fn next(page: &Answer) -> Option<String> {
    let (_, rest) = page.text.split_once("rel=\"next\" href=\"")?;
    Some(rest.split('"').next().unwrap().replace("&amp;", "&"))
}

#[rstest]
#[tokio::test]
async fn every_filter_of_the_api_is_a_parameter(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no such <order>")]);
    let dead = hookbox.rest.submit("evt-1", "order.created", r#"{"id":17,"to":"Ann"}"#).await.text_of("id");
    hookbox.wait_for(&dead, "dead_lettered").await;
    hookbox.advance(SignedDuration::from_secs(3_600));
    let paid = hookbox.rest.submit("evt-2", "order.paid", r#"{"id":18,"to":"Bob"}"#).await.text_of("id");
    hookbox.wait_for(&paid, "completed").await;
    let trace_id = hookbox.rest.webhook(&paid).await["trace_id"].as_str().unwrap().to_owned();

    let (dead, paid) = (dead.as_str(), paid.as_str());
    let (both, neither): (Vec<&str>, Vec<&str>) = (vec![paid, dead], vec![]);
    for (filter, expected) in [
        ("", both.clone()),
        ("status=dead_lettered", vec![dead]),
        ("status=dead_lettered,completed", both.clone()),
        ("status=pending&status=completed", vec![paid]),
        ("route=default", both.clone()),
        ("route=other", neither.clone()),
        ("source=hookbox", neither.clone()),
        ("event_type=order.paid", vec![paid]),
        ("within=15m", vec![paid]),
        ("within=24h", both.clone()),
        ("accepted_after=2026-03-01T12:30:00Z", vec![paid]),
        ("accepted_after=2026-03-01+12:30", vec![paid]),
        ("accepted_before=2026-03-01T12:30:00Z", vec![dead]),
        ("idempotency_key=evt-1", vec![dead]),
        (&format!("trace_id={trace_id}"), vec![paid]),
        ("error_contains=such+%3Corder", vec![dead]),
        ("verdict=none", both.clone()),
        ("verdict=verified", neither.clone()),
        ("cause=signature_missing", neither.clone()),
        ("body_contains=Bob", vec![paid]),
        ("body_pointer=/id&body_equals=17", vec![dead]),
        ("status=completed&body_pointer=/id&body_equals=17", neither.clone()),
    ] {
        let page = browser.get(&format!("/webhooks?{filter}")).await;
        assert_eq!(ids_of(&page), expected, "{filter}");
        assert_eq!(page.text.contains("No webhook matches."), expected.is_empty(), "{filter}");
    }
}

#[tokio::test]
async fn a_row_says_what_came_what_became_of_it_and_why() {
    let routes = "[[routes]]\nname = \"orders\"\nhandler = \"simulate\"\n\n\
        [[routes]]\nname = \"audit\"\nhandler = \"pull\"\n";
    let hookbox = Hookbox::with_routes(Sqlite, routes);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let id = hookbox.rest.submit("evt-001", "order.created", "{}").await.text_of("id");
    hookbox.wait_for_runs(1).await;
    crate::api::harness::eventually("a dead letter", || async {
        let webhook = hookbox.rest.webhook(&id).await;
        (webhook["jobs"][0]["status"] == "dead_lettered").then_some(())
    })
    .await;
    hookbox.advance(SignedDuration::from_secs(90));
    let page = Browser::of(&hookbox).get("/webhooks").await;
    let row = page.text.split("<tr data-row").nth(1).unwrap().split("</tr>").next().unwrap();
    for text in [
        format!("<a href=\"/webhooks/{id}\">order.created</a>").as_str(),
        "evt-001",
        "pending",
        "default",
        "orders",
        "dead-lettered",
        "audit",
        "no such order",
        "1 min ago",
        // Touch and keys do not reach a title.
        ">2026-03-01 12:00:00 UTC<",
    ] {
        assert!(row.contains(text), "{text}: {row}");
    }
}

/// The row of a webhook in a list.
#[track_caller]
fn row<'p>(page: &'p Answer, id: &str) -> &'p str {
    let begin = format!("<tr data-row data-id=\"{id}\">");
    let (_, rest) = page.text.split_once(&begin).unwrap_or_else(|| panic!("no {id}: {}", page.text));
    rest.split("</tr>").next().unwrap()
}

#[tokio::test]
async fn what_failed_is_retried_from_its_row_with_a_reason_and_the_list_stays_as_it_was() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no such order")]);
    let dead = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&dead, "dead_lettered").await;
    let done = hookbox.rest.accept("evt-002").await;
    hookbox.wait_for(&done, "completed").await;
    let list = "/webhooks?source=default&event_type=order.created";
    let page = browser.get(list).await;
    assert!(!row(&page, &done).contains("<form"), "there is nothing to retry: {}", page.text);
    let (retry, form) = (format!("/webhooks/{dead}/retry"), row(&page, &dead));
    assert!(form.contains(&format!("method=\"post\" action=\"{retry}\"")), "{form}");
    let escaped = list.replace('&', "&amp;");
    assert!(form.contains(&format!("name=\"back\" value=\"{escaped}\"")), "{form}");

    let token = form_token(&page);
    let fields =
        [("form_token", token.as_str()), ("route", "default"), ("back", list), ("reason", "it is there now")];
    let answer = browser.post(&retry, &fields).await;
    let location = answer.header("location");
    assert!(answer.status == 303 && location.starts_with(&format!("{list}&notice=")), "{location}");
    let page = browser.get(location).await;
    assert_eq!(ids_of(&page), [done.as_str(), dead.as_str()]);
    assert!(page.text.contains("The job of default starts a new run."), "{}", page.text);
    hookbox.wait_for(&dead, "completed").await;
    let actions = hookbox.rest.get("/v1/actions").await.json();
    let action = &actions["actions"][0];
    let recorded = (action["action"].as_str(), action["reason"].as_str());
    assert_eq!(recorded, (Some("retry_webhook"), Some("it is there now")));
}

#[tokio::test]
async fn a_form_of_a_list_leads_to_no_other_site() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    hookbox.handler.will([Step::FailForGood("no"), Step::FailForGood("no")]);
    let id = hookbox.rest.accept("evt-001").await;
    for back in ["//evil.example/webhooks", "https://evil.example/webhooks"] {
        hookbox.wait_for(&id, "dead_lettered").await;
        let token = form_token(&browser.get("/webhooks").await);
        let fields = [("form_token", token.as_str()), ("back", back)];
        let answer = browser.post(&format!("/webhooks/{id}/retry"), &fields).await;
        let location = answer.header("location");
        assert!(
            answer.status == 303 && location.starts_with(&format!("/webhooks/{id}?notice=")),
            "{location}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn all_pages_together_have_every_webhook_once_and_only_the_first_is_live(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let browser = Browser::of(&hookbox);
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.insert(0, hookbox.rest.accept(&format!("evt-{number}")).await);
    }
    let mut page = browser.get("/webhooks?page_size=3&source=default").await;
    // The link to older ones has to go with the rows, also in a list that has no such link yet.
    for first in [&page, &browser.get("/webhooks?event_type=other").await] {
        for part in ["id=\"rows\" data-live=\"list\"", "id=\"further\" data-live=\"with-list\""] {
            assert!(first.text.contains(part), "{part}: {}", first.text);
        }
    }
    hookbox.rest.accept("late").await;
    let mut seen: Vec<String> = Vec::new();
    loop {
        seen.extend(ids_of(&page).into_iter().map(ToOwned::to_owned));
        let Some(next) = next(&page) else { break };
        assert!(next.contains("page_size=3") && next.contains("source=default"), "{next}");
        page = browser.get(&next).await;
        assert!(!page.text.contains("data-live"), "{}", page.text);
        assert!(
            page.text.contains("rel=\"first\" href=\"/webhooks?page_size=3&amp;source=default\""),
            "{}",
            page.text
        );
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn a_wrong_filter_is_told_and_what_was_written_is_kept() {
    let hookbox = Hookbox::start(Sqlite);
    hookbox.rest.accept("evt-001").await;
    let page = Browser::of(&hookbox).get("/webhooks?event_type=a%22%3Cb%3E&accepted_after=yesterday").await;
    assert_eq!(page.status, 400, "{}", page.text);
    for text in [
        "A filter is wrong: `accepted_after` must be a time",
        "value=\"yesterday\"",
        "value=\"a&quot;&lt;b&gt;\"",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert!(!page.text.contains("data-id"), "nothing is listed");
}

#[tokio::test]
async fn parameters_that_are_no_filters_are_ignored_and_told() {
    let hookbox = Hookbox::start(Sqlite);
    let id = hookbox.rest.accept("evt-001").await;
    let page = Browser::of(&hookbox).get("/webhooks?stauts=completed&%3Cscript%3E=1").await;
    assert_eq!(ids_of(&page), [id]);
    assert!(page.text.contains("<code>stauts</code>, <code>&lt;script&gt;</code>"), "{}", page.text);
}

#[tokio::test]
async fn what_is_listed_can_be_replayed_by_the_same_filter_by_operators_alone() {
    let tokens = [token("operator", EVERY_ROLE), token("reader", "roles = [\"read\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let operator = Browser::logged_in(&hookbox, "operator").await;
    let listed = "/webhooks?status=dead_lettered&route=default&error_contains=%3Corder&page_size=10";
    let link = "<a class=\"button\" href=\"/replays?status=dead_lettered&amp;route=default\
        &amp;error_contains=%3Corder#new\">Replay these…</a>";
    let page = operator.get(listed).await;
    assert!(page.text.contains(link), "{}", page.text);
    let reader = Browser::logged_in(&hookbox, "reader").await;
    let pages = [
        reader.get(listed).await,
        operator.get("/webhooks").await,
        operator.get("/webhooks?status=pending").await,
        operator.get("/webhooks?route=A").await,
    ];
    for page in pages {
        assert!(!page.text.contains("Replay these"), "{}", page.text);
    }
}

#[tokio::test]
async fn a_form_leads_to_a_short_address_and_an_id_a_key_or_a_trace_to_what_they_name() {
    let tokens = [token("all", EVERY_ROLE), token("some", "roles = [\"read\"]\nroutes = [\"other\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &tokens.concat());
    let browser = Browser::logged_in(&hookbox, "all").await;
    // Senders have keys that look like ids and traces.
    let (uuid, digits) = ("72d3162e-cc78-11e3-81ab-4c9367dc0958", "72d3162ecc7811e381ab4c9367dc0958");
    let (other_id, trace_id) = ("01934c3e-7b00-7000-8000-000000000000", "4bf92f3577b34da6a3ce929d0e0e4736");
    let all = rest(&hookbox, "all");
    let (id, _) = (all.accept(uuid).await, all.accept(digits).await);
    let limited = Browser::logged_in(&hookbox, "some").await.get(&format!("/webhooks?find={id}")).await;
    let location = format!("/webhooks?idempotency_key={id}");
    assert_eq!(limited.header("location"), location, "an id that the caller does not see is none");
    for (query, location) in [
        ("status=completed&route=&source=&find=&page_size=", "/webhooks?status=completed"),
        ("status=&route=", "/webhooks"),
        (&format!("status=completed&find=+{id}"), &format!("/webhooks/{id}")),
        (&format!("find={other_id}"), &format!("/webhooks?idempotency_key={other_id}")),
        (&format!("find={uuid}"), &format!("/webhooks?idempotency_key={uuid}")),
        (&format!("find={digits}"), &format!("/webhooks?idempotency_key={digits}")),
        (&format!("find={trace_id}"), &format!("/webhooks?trace_id={trace_id}")),
        ("find=evt%2F1", "/webhooks?idempotency_key=evt%2F1"),
        ("find=%2F%2Fevil.example", "/webhooks?idempotency_key=%2F%2Fevil.example"),
    ] {
        let answer = browser.get(&format!("/webhooks?{query}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, location), "{query}");
    }
}

#[tokio::test]
async fn hostile_names_and_errors_are_text() {
    let hookbox = Hookbox::start(Sqlite);
    let (key, event_type) = ("\"><script>alert(1)</script>", "<img src=x>\u{202e}\u{200b}exe");
    hookbox.handler.will([Step::FailForGood("</td><script>alert(2)</script>\u{0}\u{2066}")]);
    let id = hookbox.rest.submit(key, event_type, "{}").await.text_of("id");
    hookbox.wait_for(&id, "dead_lettered").await;
    let browser = Browser::of(&hookbox);
    for path in ["/webhooks".to_owned(), "/dead-letters".to_owned(), format!("/webhooks/{id}")] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert_eq!(page.text.matches("<script").count(), 1, "only that of the frame: {path}: {}", page.text);
        assert!(!page.text.contains("<img") && page.text.contains("&lt;script&gt;alert(2)"), "{path}");
        for hidden in ['\u{202e}', '\u{200b}', '\u{2066}', '\0'] {
            assert!(!page.text.contains(hidden), "{path} has {hidden:?}");
        }
        assert!(page.text.contains("\\u{2066}</span>"), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn a_limited_token_sees_only_its_own_webhooks_and_names() {
    let routes = "[[routes]]\nname = \"orders\"\nmatch = { event_type = \"order.*\" }\nhandler = \"simulate\"\n\n\
        [[routes]]\nname = \"invoices\"\nmatch = { event_type = \"invoice.*\" }\nhandler = \"simulate\"\n\n";
    let tokens = [token("all", EVERY_ROLE), token("orders", "roles = [\"operate\"]\nroutes = [\"orders\"]")];
    let hookbox = Hookbox::with_routes(Sqlite, &format!("{routes}{}", tokens.concat()));
    let all = rest(&hookbox, "all");
    let order = all.submit("evt-1", "order.paid", "{}").await.text_of("id");
    let invoice = all.submit("evt-2", "invoice.paid", "{}").await.text_of("id");
    let limited = Browser::logged_in(&hookbox, "orders").await;
    let page = limited.get("/webhooks").await;
    assert_eq!(ids_of(&page), [order.as_str()]);
    assert!(!page.text.contains("invoice"), "{}", page.text);
    for path in [
        format!("/webhooks/{invoice}"),
        format!("/webhooks/{invoice}/body"),
        format!("/webhooks/{invoice}/edit"),
    ] {
        super::refused(&limited.get(&path).await, 404, "WEBHOOK_NOT_FOUND");
    }
    let everything = Browser::logged_in(&hookbox, "all").await;
    assert_eq!(ids_of(&everything.get("/webhooks").await), [invoice.as_str(), order.as_str()]);
}
