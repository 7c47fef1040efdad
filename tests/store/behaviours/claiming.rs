//! Claiming: at most as many as asked for, those due longest first, each to one claimer.

use std::collections::HashSet;

use futures::future::join_all;
use hookbox::domain::job::Status;
use hookbox::domain::webhook::NewWebhook;

use crate::harness::Harness;
use crate::inbox::{Inbox, LEASE, event_type, milliseconds, seconds, source, webhook_with};

pub(crate) async fn a_claim_takes_at_most_its_limit_and_those_due_longest_first<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut ids = Vec::new();
    for key in ["a", "b", "c", "d", "e"] {
        ids.push(inbox.accept_new(key).await.id);
        inbox.advance(milliseconds(1));
    }
    let mut claimed = Vec::new();
    for (limit, taken) in [(2, 2), (0, 0), (2, 2), (2, 1), (2, 0)] {
        let jobs = inbox.claim(limit, LEASE).await.expect("claims").jobs;
        assert_eq!(jobs.len(), taken, "of at most {limit}");
        claimed.extend(jobs.into_iter().map(|job| job.lease.webhook));
    }
    assert_eq!(claimed, ids);
    assert_eq!(inbox.counts().await.of(Status::Processing), 5);
}

pub(crate) async fn a_job_made_due_again_stands_behind_those_that_waited_longer<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let retried = inbox.accept_new("retried").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(2)).await;
    inbox.advance(seconds(1));
    let earlier = inbox.accept_new("earlier").await;
    inbox.advance(seconds(2));
    let later = inbox.accept_new("later").await;

    let jobs = inbox.claim(3, LEASE).await.expect("claims").jobs;
    let ids = jobs.iter().map(|job| job.lease.webhook).collect::<Vec<_>>();
    assert_eq!(ids, [earlier.id, retried.id, later.id]);
}

pub(crate) async fn no_job_is_claimed_twice_by_claimers_at_once<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let keys = (0..100).map(|number| number.to_string()).collect::<Vec<_>>();
    join_all(keys.iter().map(|key| inbox.accept_new(key))).await;

    let claimers = (0..16).map(|_| {
        let store = inbox.shared();
        tokio::spawn(async move { store.claim(9, LEASE).await.expect("claims").jobs })
    });
    let jobs = join_all(claimers).await.into_iter().flat_map(|jobs| jobs.expect("ran")).collect::<Vec<_>>();
    assert_eq!(jobs.len(), 100, "16 times 9 is more than there are");
    assert_eq!(jobs.iter().map(|job| job.lease.webhook).collect::<HashSet<_>>().len(), 100);
}

pub(crate) async fn a_job_is_not_claimed_before_it_is_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;

    for _ in 0..2 {
        assert!(inbox.claim(1, LEASE).await.expect("claims").jobs.is_empty());
        inbox.advance(milliseconds(4_999));
    }
    inbox.advance(milliseconds(1));
    assert!(inbox.claim(1, LEASE).await.expect("claims").jobs.is_empty(), "one millisecond early");
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.claim_one().await.lease.webhook, job.lease.webhook);
}

pub(crate) async fn a_claim_carries_all_that_its_handler_needs<H: Harness>() {
    let inbox = Inbox::<H>::with(100, 7).await;
    let sent = NewWebhook {
        source: source("git-hub"),
        event_type: event_type("pushed"),
        ..webhook_with("k", r#"{"z": 1.10}"#)
    };
    let webhook = inbox.accept(sent.clone()).await.expect("accepted").webhook;
    inbox.advance(seconds(3));
    let job = inbox.claim_one().await;

    assert_eq!(job.lease.webhook, webhook.id);
    assert_eq!(job.source, sent.source);
    assert_eq!(job.idempotency_key, sent.idempotency_key);
    assert_eq!(job.event_type, sent.event_type);
    assert_eq!(job.payload.as_deref(), Some(r#"{"z": 1.10}"#));
    assert_eq!(job.traceparent, sent.traceparent);
    assert_eq!((job.attempt, job.attempt_of_run, job.max_attempts), (1, 1, 7));
    assert_eq!((job.available_at, job.claimed_at), (webhook.accepted_at, inbox.now()));

    let status = inbox.status_of(webhook.id).await;
    assert_eq!((status.status, status.attempt_count), (Status::Processing, 1));
    assert_eq!(status.updated_at, inbox.now());
}

pub(crate) async fn attempts_count_up_and_tokens_grow_with_every_claim<H: Harness>() {
    let inbox = Inbox::<H>::with(100, 2).await;
    let id = inbox.accept_new("k").await.id;
    let mut claims = Vec::new();
    for next in [Status::Retrying, Status::DeadLettered, Status::Pending, Status::Retrying, Status::Completed]
    {
        let job = inbox.claim_one().await;
        inbox.end(&job, next).await;
        if next == Status::DeadLettered {
            inbox.retry(id, 2).await.expect("retries");
        }
        claims.push((job.attempt, job.max_attempts, job.lease.token));
    }
    let numbers = claims.iter().map(|(attempt, max, _)| (*attempt, *max)).collect::<Vec<_>>();
    // The retry by hand allows 2 more, the one given back is not counted against them.
    assert_eq!(numbers, [(1, 2), (2, 2), (3, 4), (4, 5), (5, 5)]);
    assert!(claims.is_sorted_by(|one, next| one.2 < next.2), "tokens grow: {claims:?}");
}

pub(crate) async fn failed_attempts_of_a_run_are_counted_anew_after_a_retry_by_hand<H: Harness>() {
    let inbox = Inbox::<H>::with(100, 2).await;
    let id = inbox.accept_new("k").await.id;
    for (attempt_of_run, next) in [(1, Status::Retrying), (2, Status::DeadLettered)] {
        let job = inbox.claim_one().await;
        assert_eq!(job.attempt_of_run, attempt_of_run);
        inbox.end(&job, next).await;
    }
    inbox.retry(id, 2).await.expect("retries");
    for attempt_of_run in [1, 2] {
        let job = inbox.claim_one().await;
        assert_eq!(job.attempt_of_run, attempt_of_run);
        inbox.end(&job, Status::Retrying).await;
    }
}

pub(crate) async fn an_attempt_that_was_given_back_is_no_failed_one_of_its_run<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("k").await;
    for _ in 0..3 {
        let job = inbox.claim_one().await;
        assert_eq!(job.attempt_of_run, 1, "none has failed, so the delay after this one is the first delay");
        inbox.end(&job, Status::Pending).await;
    }
}

pub(crate) async fn a_claim_tells_when_the_next_job_is_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let next_due = async |limit| inbox.claim(limit, LEASE).await.expect("claims").next_due;
    assert_eq!(next_due(1).await, None, "nothing waits");

    let started = inbox.now();
    inbox.accept_new("a").await;
    inbox.advance(seconds(1));
    inbox.accept_new("b").await;
    assert_eq!(next_due(0).await, Some(started), "the oldest was not claimed");
    assert_eq!(next_due(1).await, Some(inbox.now()), "the other one is still due");
    let job = inbox.claim_one().await;
    assert_eq!(next_due(1).await, None, "what runs does not wait");

    inbox.fail(&job, seconds(60)).await;
    assert_eq!(next_due(1).await, Some(inbox.now() + seconds(60)));
    inbox.cancel(job.lease.webhook).await.expect("cancels");
    assert_eq!(next_due(1).await, None, "what is cancelled does not wait");
}
