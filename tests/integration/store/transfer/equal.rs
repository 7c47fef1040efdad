//! Comparison of two stores that should give the same results.

use std::collections::BTreeMap;
use std::fmt::Debug;

use hookbox::internals::domain::error::{Reason, Result};
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::route::NewJob;
use hookbox::internals::domain::webhook::NewWebhook;
use hookbox::internals::store::{ClaimedJob, ListQuery};
use jiff::Timestamp;

use crate::store::behaviours::purging::purge_all;
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, seconds, webhook_with};

/// The number of jobs in each status and the oldest due time, by route and source.
type Queues = BTreeMap<(String, String), ([u64; Status::ALL.len()], Option<Timestamp>)>;

/// Compares everything that both stores return.
pub(in crate::store) async fn assert_equal<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    assert_alike(one, other).await;
    assert_eq!(queues(one).await, queues(other).await);
}

/// Compares everything that both stores return, except since when the first job of a lane has been due: a store may
/// report the job's own due time or the end of the job before it.
async fn assert_alike<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    let all = one.everything().await;
    assert_eq!(all, other.everything().await, "lists");
    for webhook in &all {
        let details = (one.detail_of(webhook.id).await, other.detail_of(webhook.id).await);
        assert_eq!(format!("{:#?}", details.0), format!("{:#?}", details.1));
    }
    for status in Status::ALL {
        let query = ListQuery { statuses: [status].into(), limit: 2, ..ListQuery::default() };
        assert_eq!(one.listed(&query).await, other.listed(&query).await, "{status}");
    }
    let routes = all.iter().flat_map(|webhook| &webhook.jobs).map(|job| &job.route);
    for route in routes.collect::<std::collections::BTreeSet<_>>() {
        let query = ListQuery { route: Some(route.clone()), limit: 2, ..ListQuery::default() };
        assert_eq!(one.listed(&query).await, other.listed(&query).await, "{route}");
    }
    assert_eq!(counts(one).await, counts(other).await);
    let (stats, others) = (one.stats().await.expect("counts"), other.stats().await.expect("counts"));
    assert_eq!((stats.unrouted, stats.pauses), (others.unrouted, others.pauses));
    assert_eq!(one.pauses().await.expect("looks"), other.pauses().await.expect("looks"));
}

/// The number of jobs in each status by route and source, and whether any job is due.
async fn counts<H: Harness>(inbox: &Inbox<H>) -> Vec<((String, String), [u64; Status::ALL.len()], bool)> {
    let queues = queues(inbox).await.into_iter();
    queues.map(|(name, (counts, due))| (name, counts, due.is_some())).collect()
}

/// The statistics of all queues.
async fn queues<H: Harness>(inbox: &Inbox<H>) -> Queues {
    let queues = inbox.stats().await.expect("counts").queues.into_iter();
    let named = queues.map(|queue| {
        let name = (queue.route.to_string(), queue.source.to_string());
        (name, (Status::ALL.map(|status| queue.counts.of(status)), queue.oldest_due))
    });
    named.collect()
}

/// Runs the same operations on both stores and compares the results.
pub(in crate::store) async fn assert_go_on_alike<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    assert_accept_alike(one, other).await;
    // First with the pauses in force, then without them.
    assert_run_alike(one, other).await;
    for target in one.pauses().await.expect("looks").into_iter().map(|pause| pause.target) {
        assert_same(one.resume(target.clone()).await, other.resume(target).await);
    }
    assert_run_alike(one, other).await;
    assert_operate_alike(one, other).await;
    for _ in 0..4 {
        assert_run_alike(one, other).await;
    }
    for _ in 0..7 {
        assert_eq!(purge_all(one).await, purge_all(other).await);
        assert_alike(one, other).await;
        one.advance(seconds(50));
        other.advance(seconds(50));
    }
}

/// Accepts each webhook again: unchanged, with another payload, and with another event type.
async fn assert_accept_alike<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    for webhook in one.everything().await {
        let again = |payload| NewWebhook {
            source: webhook.source.clone(),
            event_type: webhook.event_type.clone(),
            ..webhook_with(webhook.idempotency_key.as_str(), payload)
        };
        let renamed = NewWebhook { event_type: event_type("another"), ..again(r#"{"n":1}"#) };
        let jobs = webhook.jobs.iter().map(|job| NewJob { route: job.route.clone(), order: None });
        let jobs = jobs.collect::<Vec<_>>();
        for sent in [again(r#"{"n":1}"#), again(r#"{"n":2}"#), renamed] {
            assert_same(one.accept(sent.clone(), jobs.clone()).await, other.accept(sent, jobs.clone()).await);
        }
    }
}

/// Retries the first job of each webhook, then retries or cancels all jobs of alternate webhooks.
async fn assert_operate_alike<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    for (at, webhook) in one.everything().await.iter().enumerate() {
        let id = webhook.id;
        if let Some(route) = webhook.jobs.first().map(|job| job.route.clone()) {
            let route = Some(route);
            assert_same(one.retry(id, route.clone()).await, other.retry(id, route).await);
        }
        match at % 2 {
            0 => assert_same(one.retry(id, None).await, other.retry(id, None).await),
            _ => assert_same(one.cancel(id, None).await, other.cancel(id, None).await),
        }
    }
    assert_alike(one, other).await;
}

/// Runs jobs in both stores, with various outcomes, until none is startable. Then moves both clocks forward.
async fn assert_run_alike<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    for round in 0..20 {
        let (jobs, others) = (sorted(one.claimed(100).await), sorted(other.claimed(100).await));
        assert_eq!(shown(&jobs), shown(&others));
        if jobs.is_empty() {
            break;
        }
        for (at, job) in jobs.iter().enumerate() {
            let next = match (at + round) % 4 {
                0 => Status::Retrying,
                1 => Status::DeadLettered,
                _ => Status::Completed,
            };
            let end = one.ended(job, next);
            assert!(one.finish_one(end.clone()).await.expect("finishes"), "the lease is held");
            assert!(other.finish_one(end).await.expect("finishes"), "the lease is held in the other store");
        }
        assert_alike(one, other).await;
    }
    one.advance(seconds(10));
    other.advance(seconds(10));
    assert_alike(one, other).await;
}

/// Sorts jobs by id, because the order of jobs that are due at the same time is not defined.
fn sorted(mut jobs: Vec<ClaimedJob>) -> Vec<ClaimedJob> {
    jobs.sort_by_key(|job| job.lease.job);
    jobs
}

/// The claimed jobs as text for the comparison, without the due time of ordered jobs.
fn shown(jobs: &[ClaimedJob]) -> String {
    let shown = jobs.iter().cloned().map(|job| match job.order {
        Some(_) => ClaimedJob { available_at: job.claimed_at, ..job },
        None => job,
    });
    format!("{:#?}", shown.collect::<Vec<_>>())
}

fn assert_same<T: Debug>(one: Result<T>, other: Result<T>) {
    let plain = |answer: Result<T>| -> std::result::Result<String, (Reason, String)> {
        answer.map(|answer| format!("{answer:#?}")).map_err(|error| (error.reason(), error.to_string()))
    };
    assert_eq!(plain(one), plain(other));
}
