//! Two stores that should answer the same.

use hookbox::domain::error::Error;
use hookbox::domain::job::Status;
use hookbox::domain::retention::Retention;
use hookbox::store::{Claims, ListQuery, Purged};

use crate::harness::Harness;
use crate::inbox::{Inbox, LEASE, event_type, seconds, webhook_with};

/// Compares all that both show.
pub(super) async fn assert_equal<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    let all = one.everything().await;
    assert_eq!(all, other.everything().await, "lists");
    for webhook in &all {
        let details = (one.detail_of(webhook.id).await, other.detail_of(webhook.id).await);
        assert_eq!(format!("{:#?}", details.0), format!("{:#?}", details.1));
    }
    for status in Status::ALL {
        let query = ListQuery { status: Some(status), limit: 2, ..ListQuery::default() };
        assert_eq!(one.listed(&query).await, other.listed(&query).await, "{status}");
    }
    let (stats, others) = (one.stats().await.expect("counts"), other.stats().await.expect("counts"));
    assert_eq!((stats.counts, stats.oldest_due), (others.counts, others.oldest_due));
}

/// Asks both for the same, and compares their answers and what they show then.
pub(super) async fn assert_go_on_alike<A: Harness, B: Harness>(one: &Inbox<A>, other: &Inbox<B>) {
    for webhook in one.everything().await {
        let key = webhook.idempotency_key.as_str();
        for payload in [r#"{"n":1}"#, r#"{"n":2}"#] {
            let mut again = webhook_with(key, payload);
            again.source = webhook.source.clone();
            again.event_type = webhook.event_type.clone();
            assert_same(one.accept(again.clone()).await, other.accept(again).await);
        }
        let renamed = hookbox::domain::webhook::NewWebhook {
            source: webhook.source.clone(),
            event_type: event_type("another"),
            ..webhook_with(key, r#"{"n":1}"#)
        };
        assert_same(one.accept(renamed.clone()).await, other.accept(renamed).await);
        assert_same(one.retry(webhook.id, 2).await, other.retry(webhook.id, 2).await);
    }
    for round in 0..4 {
        let claims =
            (one.claim(100, LEASE).await.expect("claims"), other.claim(100, LEASE).await.expect("claims"));
        let (claims, others) = (sorted(claims.0), sorted(claims.1));
        assert_eq!(format!("{claims:#?}"), format!("{others:#?}"));
        for (at, job) in claims.jobs.iter().enumerate() {
            let next = match (at + round) % 3 {
                0 => Status::Completed,
                1 if job.attempt < job.max_attempts => Status::Retrying,
                1 => Status::DeadLettered,
                _ => Status::Pending,
            };
            one.end(job, next).await;
            other.end(job, next).await;
        }
        if let Some(job) = claims.jobs.first() {
            // Cancelled, or refused: the same in both.
            assert_same(one.cancel(job.lease.webhook).await, other.cancel(job.lease.webhook).await);
        }
        one.advance(seconds(10));
        other.advance(seconds(10));
        assert_equal(one, other).await;
    }
    let retention = Retention { completed: seconds(60), dead_lettered: seconds(100), keys: seconds(150) };
    for _ in 0..3 {
        assert_eq!(purge(one, retention).await, purge(other, retention).await);
        assert_equal(one, other).await;
        one.advance(seconds(50));
        other.advance(seconds(50));
    }
}

async fn purge<H: Harness>(inbox: &Inbox<H>, retention: Retention) -> (usize, usize) {
    let mut all = Purged::default();
    loop {
        let step = inbox.purge(retention).await.expect("purges");
        all.payloads += step.payloads;
        all.webhooks += step.webhooks;
        if !step.more {
            return (all.payloads, all.webhooks);
        }
    }
}

/// Of those due at the same time any may come first.
fn sorted(mut claims: Claims) -> Claims {
    claims.jobs.sort_by_key(|job| job.lease.webhook);
    claims
}

fn assert_same<T: std::fmt::Debug>(one: Result<T, Error>, other: Result<T, Error>) {
    let plain = |answer: Result<T, Error>| {
        answer.map(|answer| format!("{answer:#?}")).map_err(|error| (error.reason(), error.to_string()))
    };
    assert_eq!(plain(one), plain(other));
}
