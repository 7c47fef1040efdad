//! Searching: what lists find by verdict, key, trace, the text of errors, and what is in bodies. `listing` tests the
//! other filters.

use std::collections::BTreeSet;

use hookbox::internals::domain::body_filter::BodyFilter;
use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::filter::{FilterText, TraceId};
use hookbox::internals::domain::job::{JobStatus, Status};
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::{Cause, Verdict, VerdictFilter};
use hookbox::internals::domain::webhook::{NewWebhook, WebhookDetail, WebhookStatus};
use hookbox::internals::store::{Finish, ListQuery, Seen};

use super::purging::purge_all;
use super::quarantine::quarantined;
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, key_of, milliseconds, seconds, source, webhook, webhook_with};
use crate::store::routes::{default_job, job, policy, route};

const SOURCES: [&str; 2] = ["default", "shop"];
const VERDICTS: [Verdict; 4] = [
    Verdict::None,
    Verdict::Verified,
    Verdict::Unverified(Cause::SignatureMissing),
    Verdict::Unverified(Cause::TimestampTooOld),
];
const STATUSES: [Status; 6] = [
    Status::Pending,
    Status::Retrying,
    Status::Completed,
    Status::DeadLettered,
    Status::Filtered,
    Status::Quarantined,
];

/// The number of webhooks that [`mixed`] stores.
const ALL: usize = 48;

fn error_of(number: usize) -> String {
    format!("connection {} refused: 100% 'lost'", number % 2)
}

/// Stores webhooks that differ in all that lists filter by. Both sources have the same keys. Every second webhook with
/// jobs also has one that is held.
async fn mixed<H: Harness>() -> Inbox<H> {
    let inbox = Inbox::<H>::new().await;
    for number in 0..ALL {
        let name = if number / 2 % 2 == 0 { "Ann" } else { "Bob" };
        let payload = format!(r#"{{"id":{},"who":{{"name":"{name}"}}}}"#, number % 5);
        let new = NewWebhook {
            source: source(SOURCES[number % 2]),
            verdict: VERDICTS[number / 3 % 4],
            traceparent: Traceparent::new(1 + (number % 3) as u128, 7, true),
            ..webhook_with(&format!("key {}", number / 2), &payload)
        };
        let status = STATUSES[(number + number / 6) % 6];
        if status == Status::Quarantined {
            quarantined(&inbox, new).await;
            continue;
        }
        let mut jobs = if status == Status::Filtered { Vec::new() } else { default_job() };
        if !jobs.is_empty() && number % 4 < 2 {
            jobs.push(job("held"));
        }
        let id = inbox.accept(new, jobs).await.expect("accepted").webhook.id;
        if [Status::Pending, Status::Filtered].contains(&status) {
            continue;
        }
        for claimed in inbox.claimed(100).await {
            if claimed.lease.job.webhook != id {
                inbox.end(&claimed, Status::Pending).await;
                continue;
            }
            let due = inbox.now() + seconds(3600);
            let ended = inbox.ended(&claimed, status);
            let available_at = if status == Status::Retrying { due } else { ended.available_at };
            let error = (status != Status::Completed).then(|| error_of(number));
            let finish = Finish { available_at, error, ..ended };
            assert!(inbox.finish_one(finish).await.expect("finishes"));
        }
        inbox.advance(milliseconds(300));
    }
    inbox
}

fn body(pointer: &str, equals: &str, contains: &str) -> Option<BodyFilter> {
    BodyFilter::from_fields(pointer, equals, contains).expect("valid")
}

fn trace(number: usize) -> Option<TraceId> {
    Some(TraceId::new(&format!("{number:032x}")).expect("valid"))
}

fn error(text: &str) -> Option<FilterText> {
    Some(FilterText::new("error_contains", text).expect("valid"))
}

/// Every new filter alone, and all of them together, also with statuses, a route and a source.
fn every_query() -> Vec<ListQuery> {
    let verdicts = [
        None,
        Some(VerdictFilter::None),
        Some(VerdictFilter::Unverified),
        Some(VerdictFilter::Because(Cause::TimestampTooOld)),
    ];
    let texts = [None, error("refused: 100% 'lost'"), error("connection 1"), error("REFUSED")];
    let bodies = [None, body("/id", "3.0", ""), body("/who/name", "Bob", "\"id\":")];
    let statuses = [
        BTreeSet::new(),
        BTreeSet::from([Status::DeadLettered, Status::Retrying]),
        BTreeSet::from([Status::Quarantined, Status::Completed]),
        BTreeSet::from([Status::Pending]),
    ];
    let mut queries = Vec::new();
    for verdict in verdicts {
        for (number, error_contains) in texts.iter().enumerate() {
            for body in &bodies {
                for statuses in &statuses {
                    let query = ListQuery {
                        verdict,
                        error_contains: error_contains.clone(),
                        body: body.clone(),
                        statuses: statuses.clone(),
                        limit: 4,
                        ..ListQuery::default()
                    };
                    let of_trace = ListQuery { trace_id: trace(1 + number % 4), ..query.clone() };
                    let of_source = ListQuery { source: Some(source("shop")), ..query.clone() };
                    let of_route = ListQuery { route: Some(route("held")), ..of_source.clone() };
                    let of_key = ListQuery { idempotency_key: Some(key_of("key 7")), ..query.clone() };
                    let of_both = ListQuery { idempotency_key: Some(key_of("key 9")), ..of_source.clone() };
                    queries.extend([query, of_trace, of_source, of_route, of_key, of_both]);
                }
            }
        }
    }
    queries
}

fn matches(query: &ListQuery, webhook: &WebhookDetail) -> bool {
    let status = &webhook.status;
    let is_wanted = |job: &JobStatus| {
        let error = job.last_error.as_deref().unwrap_or_default();
        query.route.as_ref().is_none_or(|route| job.route == *route)
            && query.error_contains.as_ref().is_none_or(|text| error.contains(text.as_str()))
            && (query.statuses.is_empty() || query.statuses.contains(&job.status))
    };
    let needs_job = query.route.is_some() || query.error_contains.is_some();
    let has_status = query.statuses.is_empty() || query.statuses.contains(&status.status());
    let body = query.body.as_ref();
    (status.jobs.iter().any(is_wanted) || status.jobs.is_empty() && has_status && !needs_job)
        && query.source.as_ref().is_none_or(|source| status.source == *source)
        && query.verdict.is_none_or(|filter| filter.numbers().contains(&webhook.verdict.number()))
        && query.idempotency_key.as_ref().is_none_or(|key| status.idempotency_key == *key)
        && query.trace_id.as_ref().is_none_or(|id| id.as_str() == webhook.traceparent.trace_id())
        && body.is_none_or(|filter| {
            webhook.payload.as_ref().is_some_and(|payload| filter.matches(payload, &webhook.content_type))
        })
}

/// All of all webhooks, newest first.
async fn details<H: Harness>(inbox: &Inbox<H>) -> Vec<WebhookDetail> {
    let mut details = Vec::new();
    for webhook in inbox.everything().await {
        details.push(inbox.detail_of(webhook.id).await);
    }
    details
}

pub(crate) async fn every_filter_finds_exactly_what_matches_alone_and_with_others<H: Harness>() {
    let inbox = mixed::<H>().await;
    let all = details(&inbox).await;
    assert_eq!(all.len(), ALL);
    let mut found = 0;
    for query in every_query() {
        let expected = all.iter().filter(|webhook| matches(&query, webhook));
        let expected = expected.map(|webhook| webhook.status.clone()).collect::<Vec<_>>();
        found += usize::from(!expected.is_empty());
        assert_eq!(inbox.listed(&query).await, expected, "{query:?}");
    }
    assert!(found > 150, "only {found} queries find anything");
}

pub(crate) async fn a_key_is_found_in_every_source_and_in_quarantine<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let unverified = |from: &str| NewWebhook { source: source(from), ..webhook("k") };
    let mut expected = vec![inbox.accept_from("shop", "k", default_job()).await];
    inbox.accept_from("shop", "other", default_job()).await;
    for from in ["shop", "mail", "shop"] {
        inbox.advance(seconds(1));
        expected.push(quarantined(&inbox, unverified(from)).await);
    }
    expected.push(inbox.accept_from("a", "k", []).await);
    expected.reverse();
    for limit in [1, 2, 10] {
        let query = ListQuery { idempotency_key: Some(key_of("k")), limit, ..ListQuery::default() };
        assert_eq!(inbox.listed(&query).await, expected, "in pages of {limit}");
        let mail = ListQuery { source: Some(source("mail")), ..query.clone() };
        assert_eq!(inbox.listed(&mail).await, expected[2..3]);
        let after = ListQuery { accepted_after: Some(expected[2].accepted_at), ..query.clone() };
        assert_eq!(inbox.listed(&after).await, expected[..3]);
        let none = ListQuery { idempotency_key: Some(key_of("K")), ..query };
        assert!(inbox.listed(&none).await.is_empty());
    }
}

pub(crate) async fn pages_of_a_search_leave_nothing_out_and_repeat_nothing<H: Harness>() {
    let inbox = mixed::<H>().await;
    let all = details(&inbox).await;
    let search = || ListQuery { body: body("/who/name", "Ann", ""), ..ListQuery::default() };
    let statuses = BTreeSet::from([Status::Retrying, Status::Quarantined, Status::Pending]);
    for query in [
        search(),
        ListQuery { error_contains: error("refused"), ..ListQuery::default() },
        ListQuery { statuses: statuses.clone(), ..ListQuery::default() },
        ListQuery { statuses, ..search() },
    ] {
        let expected = all.iter().filter(|webhook| matches(&query, webhook));
        let expected = expected.map(|webhook| webhook.status.clone()).collect::<Vec<_>>();
        assert!(expected.len() > 3);
        for limit in [1, 2, expected.len() - 1, expected.len(), 500] {
            let query = ListQuery { limit, ..query.clone() };
            assert_eq!(inbox.listed(&query).await, expected, "{query:?}");
        }
    }
}

pub(crate) async fn a_page_says_how_far_it_has_looked<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut all = Vec::new();
    for number in 0..4 {
        all.push(inbox.accept_new(&number.to_string()).await);
        inbox.advance(seconds(1));
    }
    for body in [None, body("/n", "1", "")] {
        let query = ListQuery { limit: 3, body, ..ListQuery::default() };
        let first = inbox.list(query.clone()).await.expect("lists");
        assert_eq!((first.webhooks.len(), first.searched_to()), (3, Some(all[1].accepted_at)));
        let last = inbox.list(ListQuery { before: first.next, ..query }).await.expect("lists");
        assert_eq!((last.webhooks.as_slice(), last.searched_to()), (&all[..1], None));
    }
}

pub(crate) async fn a_payload_that_was_purged_is_not_found<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let old = inbox.ended_webhook("old", Status::Completed).await;
    inbox.advance(seconds(100));
    assert_eq!(purge_all(&inbox).await.payloads, 1);
    let new = inbox.accept_new("new").await;
    for body in [body("/n", "1", ""), body("", "", "n")] {
        let query = ListQuery { body, limit: 10, ..ListQuery::default() };
        assert_eq!(inbox.listed(&query).await, std::slice::from_ref(&new));
    }
    let any = ListQuery { limit: 10, ..ListQuery::default() };
    assert_eq!(inbox.listed(&any).await, [new, old]);
}

/// A webhook with these bytes.
fn webhook_of(key: &str, bytes: Vec<u8>, content_type: &str) -> NewWebhook {
    let content_type = ContentType::of_header(Some(content_type.as_bytes()));
    NewWebhook { payload: Payload::of_bytes(bytes, content_type), ..webhook(key) }
}

pub(crate) async fn hostile_bodies_are_searched_like_others<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let digits = "9".repeat(1024 * 1024);
    let levels = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [
        ("a number of 1 MiB", format!("{{\"n\":{digits},\"m\":7}}").into_bytes()),
        ("a text of 1 MiB", format!("{{\"t\":\"{}\",\"m\":7}}", "x".repeat(1024 * 1024)).into_bytes()),
        ("a large exponent", b"{\"n\":1e99999999999999999999,\"m\":7}".to_vec()),
        ("100,000 levels", format!("{{\"d\":{levels},\"m\":7}}").into_bytes()),
        ("a repeated member", b"{\"m\":1,\"m\":7}".to_vec()),
        ("not UTF-8", b"{\"m\":7,\"t\":\"\xff\xfe\"}".to_vec()),
        ("no JSON", b"{\"m\":7".to_vec()),
        ("a lone surrogate", b"{\"m\":7,\"t\":\"\\ud800\"}".to_vec()),
        ("a NUL", b"\0{\"m\":7}\0".to_vec()),
        ("nothing", Vec::new()),
    ];
    for (key, bytes) in &bodies {
        inbox.submit(webhook_of(key, bytes.clone(), "application/json")).await.expect("accepted");
    }
    let keys = |listed: Vec<WebhookStatus>| {
        let keys = listed.iter().rev().map(|webhook| webhook.idempotency_key.as_str().to_owned());
        keys.collect::<Vec<_>>()
    };
    let search = |filter| ListQuery { body: filter, limit: 3, ..ListQuery::default() };
    let json = ["a number of 1 MiB", "a text of 1 MiB", "a large exponent", "100,000 levels"];
    let found = keys(inbox.listed(&search(body("/m", "7", ""))).await);
    assert_eq!(found, [&json[..], &["a repeated member", "a lone surrogate"]].concat());
    let found = keys(inbox.listed(&search(body("", "", "\"m\":7"))).await);
    assert_eq!(found, bodies[..bodies.len() - 1].iter().map(|(key, _)| *key).collect::<Vec<_>>());
    assert_eq!(keys(inbox.listed(&search(body("", "", "x\",\"m\""))).await), ["a text of 1 MiB"]);
    assert_eq!(keys(inbox.listed(&search(body("", "", "\0"))).await), ["a NUL"]);
    assert_eq!(keys(inbox.listed(&search(body("/t", "\u{fffd}", ""))).await), ["a lone surrogate"]);
    assert_eq!(keys(inbox.listed(&search(body("/d/0/0", "[]", ""))).await), [""; 0]);
}

pub(crate) async fn what_is_hidden_is_not_found_and_fills_no_page<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let of_shop = inbox.accept_from("shop", "visible", [job("default"), job("held")]).await;
    for number in 0..20 {
        inbox.advance(milliseconds(1));
        inbox.accept_from("mail", &format!("hidden {number}"), [job("held")]).await;
        quarantined(&inbox, NewWebhook { source: source("mail"), ..webhook(&number.to_string()) }).await;
    }
    let sources = Seen::default().only_sources(|source| source.as_str() == "shop");
    let routes = Seen::default().only_routes(|route| route.as_str() == "default");
    let both = sources.clone().only_routes(|route| route.as_str() == "default");
    for seen in [sources, routes, both] {
        let any = ListQuery { seen, limit: 1, ..ListQuery::default() };
        let pending = ListQuery { statuses: [Status::Pending].into(), ..any.clone() };
        let search = ListQuery { body: body("/n", "1", "n"), ..any.clone() };
        for query in [any.clone(), pending, search] {
            let page = inbox.list(query.clone()).await.expect("lists");
            assert_eq!(page.webhooks, std::slice::from_ref(&of_shop), "not ended by hidden ones: {query:?}");
            let key = ListQuery { idempotency_key: Some(key_of("hidden 7")), ..query.clone() };
            assert!(inbox.listed(&key).await.is_empty(), "{key:?}");
            let mail = ListQuery { source: Some(source("mail")), ..query };
            assert!(inbox.listed(&mail).await.is_empty(), "{mail:?}");
        }
        let quarantined = ListQuery { statuses: [Status::Quarantined].into(), ..any };
        let page = inbox.list(quarantined).await.expect("lists");
        assert!(page.webhooks.is_empty() && page.next.is_none(), "nothing tells that there are some");
    }
    let held = Seen::default().only_routes(|route| route.as_str() == "held");
    let held = ListQuery { seen: held, route: Some(route("default")), limit: 1, ..ListQuery::default() };
    assert!(inbox.listed(&held).await.is_empty());
}

pub(crate) async fn the_error_of_a_hidden_job_is_not_searched<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("default"), policy("other")]).await;
    let webhook = inbox.accept_for("k", [job("default"), job("other")]).await;
    for claimed in inbox.claimed(2).await {
        let error = Some(format!("secret of {}", claimed.route));
        let finish = Finish { error, ..inbox.ended(&claimed, Status::DeadLettered) };
        assert!(inbox.finish_one(finish).await.expect("finishes"));
    }
    let webhook = inbox.status_of(webhook.id).await;
    for (text, is_found) in [("of default", true), ("secret", true), ("of other", false)] {
        let seen = Seen::default().only_routes(|route| route.as_str() == "default");
        let query = ListQuery { error_contains: error(text), seen, limit: 5, ..ListQuery::default() };
        assert_eq!(inbox.listed(&query).await.contains(&webhook), is_found, "{text}");
    }
}
