//! Listing: newest first, with every filter, page by page.

use std::collections::BTreeSet;
use std::time::Duration;

use hookbox::internals::domain::id::{Position, Sequence};
use hookbox::internals::domain::job::{JobStatus, Status};
use hookbox::internals::domain::webhook::{NewWebhook, WebhookStatus};
use hookbox::internals::store::ListQuery;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, milliseconds, seconds, source, webhook};
use crate::store::routes::{job, route};

const SOURCES: [&str; 2] = ["default", "git-hub"];
const EVENT_TYPES: [&str; 2] = ["paid", "lost"];
const STATUSES: [Status; 7] = [
    Status::Pending,
    Status::Processing,
    Status::Retrying,
    Status::Completed,
    Status::DeadLettered,
    Status::Cancelled,
    Status::Filtered,
];

/// The number of webhooks that [`mixed`] accepts.
const ALL: usize = SOURCES.len() * EVENT_TYPES.len() * STATUSES.len();

/// Accepts webhooks of every source and event type, one per second, with jobs of the default route in every
/// status. Webhooks whose job is running, completed or dead-lettered also have a held job.
async fn mixed<H: Harness>() -> Inbox<H> {
    let inbox = Inbox::<H>::new().await;
    for from in SOURCES {
        for kind in EVENT_TYPES {
            for status in STATUSES {
                let new = NewWebhook {
                    source: source(from),
                    event_type: event_type(kind),
                    ..webhook(&format!("{kind} {status}"))
                };
                let jobs = match status {
                    Status::Filtered => Vec::new(),
                    Status::Processing | Status::Completed | Status::DeadLettered => {
                        vec![job("default"), job("held")]
                    }
                    _ => vec![job("default")],
                };
                let id = inbox.accept(new, jobs).await.expect("accepted").webhook.id;
                match status {
                    Status::Cancelled => drop(inbox.cancel(id, None).await.expect("cancels")),
                    Status::Pending | Status::Filtered => {}
                    _ => {
                        for job in inbox.claimed(100).await {
                            if job.lease.job.webhook != id {
                                inbox.end(&job, Status::Pending).await;
                            } else if status == Status::Retrying {
                                inbox.fail(&job, seconds(3600)).await;
                            } else if status != Status::Processing {
                                inbox.end(&job, status).await;
                            }
                        }
                    }
                }
                inbox.advance(seconds(1));
            }
        }
    }
    inbox
}

fn every_query(all: &[WebhookStatus]) -> Vec<ListQuery> {
    let statuses = Status::ALL.into_iter().map(|status| BTreeSet::from([status])).chain([
        BTreeSet::new(),
        BTreeSet::from([Status::Retrying, Status::DeadLettered]),
        BTreeSet::from([Status::Pending, Status::Completed, Status::Filtered]),
    ]);
    let routes = || ["default", "held"].map(|name| Some(route(name))).into_iter().chain([None]);
    let sources = || SOURCES.map(|name| Some(source(name))).into_iter().chain([None]);
    let types = || EVENT_TYPES.map(|name| Some(event_type(name))).into_iter().chain([None]);
    let times = [(None, None), (Some(20), None), (Some(10), Some(20)), (Some(5), Some(5))];
    let at = |index: Option<usize>| index.map(|index: usize| all[index].accepted_at);
    let mut queries = Vec::new();
    for statuses in statuses {
        // Find nothing, whatever else is asked for.
        for (unknown_route, unknown_source) in [(true, false), (false, true), (true, true)] {
            queries.push(ListQuery {
                statuses: statuses.clone(),
                route: unknown_route.then(|| route("unknown")),
                source: unknown_source.then(|| source("unknown")),
                limit: 7,
                ..ListQuery::default()
            });
        }
        for source in sources() {
            for event_type in types() {
                // Newest first: a later index is an earlier time.
                for ((before, after), route) in
                    times.into_iter().flat_map(|time| routes().map(move |route| (time, route)))
                {
                    queries.push(ListQuery {
                        statuses: statuses.clone(),
                        route,
                        source: source.clone(),
                        event_type: event_type.clone(),
                        accepted_after: at(after),
                        accepted_before: at(before),
                        limit: 7,
                        ..ListQuery::default()
                    });
                }
            }
        }
    }
    queries
}

fn matches(query: &ListQuery, webhook: &WebhookStatus) -> bool {
    let of_route = |job: &JobStatus| query.route.as_ref().is_none_or(|route| job.route == *route);
    let jobs = webhook.jobs.iter().filter(|job| of_route(job)).map(|job| job.status).collect::<Vec<_>>();
    let is_filtered = webhook.jobs.is_empty() && query.route.is_none();
    let is_wanted = if query.statuses.is_empty() {
        query.route.is_none() || !jobs.is_empty()
    } else {
        jobs.iter().any(|status| query.statuses.contains(status))
            || is_filtered && query.statuses.contains(&Status::Filtered)
    };
    is_wanted
        && query.source.as_ref().is_none_or(|source| webhook.source == *source)
        && query.event_type.as_ref().is_none_or(|event_type| webhook.event_type == *event_type)
        && query.accepted_after.is_none_or(|after| webhook.accepted_at >= after)
        && query.accepted_before.is_none_or(|before| webhook.accepted_at < before)
}

pub(crate) async fn every_filter_finds_exactly_the_webhooks_that_match<H: Harness>() {
    let inbox = mixed::<H>().await;
    let all = inbox.everything().await;
    assert_eq!(all.len(), ALL);
    assert!(all.is_sorted_by(|one, next| one.id > next.id), "newest first");
    for query in every_query(&all) {
        let expected = all.iter().filter(|webhook| matches(&query, webhook)).cloned().collect::<Vec<_>>();
        assert_eq!(inbox.listed(&query).await, expected, "{query:?}");
    }
}

pub(crate) async fn a_list_shows_the_current_status<H: Harness>() {
    let inbox = mixed::<H>().await;
    for webhook in inbox.everything().await {
        assert_eq!(webhook, inbox.status_of(webhook.id).await);
    }
}

pub(crate) async fn pages_of_any_size_leave_nothing_out_and_repeat_nothing<H: Harness>() {
    let inbox = mixed::<H>().await;
    let all = inbox.everything().await;
    for limit in [1, 2, 5, 12, ALL - 1, ALL, ALL + 1, 1000] {
        for statuses in [
            BTreeSet::new(),
            BTreeSet::from([Status::Completed]),
            BTreeSet::from([Status::DeadLettered, Status::Retrying, Status::Filtered]),
        ] {
            let query = ListQuery { statuses, limit, ..ListQuery::default() };
            let expected = all.iter().filter(|webhook| matches(&query, webhook)).cloned().collect::<Vec<_>>();
            assert_eq!(inbox.listed(&query).await, expected, "{query:?}");
        }
    }
}

pub(crate) async fn a_webhook_accepted_between_pages_does_not_shift_them<H: Harness>() {
    let inbox = mixed::<H>().await;
    let all = inbox.everything().await;
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let first = inbox.list(query.clone()).await.expect("lists");
    inbox.accept_new("between").await;
    let second = inbox.list(ListQuery { before: first.next, ..query }).await.expect("lists");
    assert_eq!(second.webhooks, all[10..20]);
}

pub(crate) async fn an_empty_store_lists_one_empty_page<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let page = inbox.list(ListQuery { limit: 10, ..ListQuery::default() }).await.expect("lists");
    assert!(page.webhooks.is_empty());
    assert_eq!(page.next, None);
    let before = Some(Position::before_all(Sequence::from_i64(0)));
    let page = inbox.list(ListQuery { limit: 10, before, ..ListQuery::default() }).await.expect("lists");
    assert_eq!((page.webhooks.len(), page.next), (0, None));
}

pub(crate) async fn acceptance_times_do_not_decrease_when_the_clock_is_set_back<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("first").await;
    inbox.go_back(seconds(3600));
    let second = inbox.accept_new("second").await;
    assert!(second.accepted_at >= first.accepted_at);

    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let before = ListQuery { accepted_before: Some(second.accepted_at + milliseconds(1)), ..query.clone() };
    assert_eq!(inbox.listed(&before).await, [second.clone(), first.clone()]);
    let after = ListQuery { accepted_after: Some(first.accepted_at), ..query };
    assert_eq!(inbox.listed(&after).await, [second, first]);
}

pub(crate) async fn a_time_within_a_millisecond_limits_a_list<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let webhook = inbox.accept_new("k").await;
    let within = webhook.accepted_at + Duration::from_micros(100);
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let before = ListQuery { accepted_before: Some(within), ..query.clone() };
    assert_eq!(inbox.listed(&before).await, [webhook]);
    let after = ListQuery { accepted_after: Some(within), ..query };
    assert!(inbox.listed(&after).await.is_empty());
}
