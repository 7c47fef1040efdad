//! Claiming: a claim leases at most one job per thread, those due longest first, and no job twice.

use std::collections::HashSet;

use futures::future::join_all;
use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::webhook::NewWebhook;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, keys, milliseconds, seconds, source, webhook, webhook_with};
use crate::store::routes::{default_job, job, ordered, policy, route};

pub(crate) async fn a_claim_takes_the_jobs_due_longest_up_to_its_threads<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for key in ["a", "b", "c", "d", "e"] {
        inbox.accept_new(key).await;
        inbox.advance(milliseconds(1));
    }
    for (threads, expected) in [(2, ["a", "b"].as_slice()), (0, &[]), (2, &["c", "d"]), (2, &["e"]), (2, &[])]
    {
        assert_eq!(keys(&inbox.claimed(threads).await), expected, "with {threads} threads");
    }
    assert_eq!(inbox.counts().await.of(Status::Processing), 5);
}

pub(crate) async fn jobs_due_longest_come_first_whatever_their_source<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for (from, key) in [("shop", "a"), ("default", "b"), ("shop", "c"), ("git-hub", "d"), ("default", "e")] {
        inbox.accept_from(from, key, [job("default")]).await;
        inbox.advance(milliseconds(1));
    }
    assert_eq!(keys(&inbox.claimed(3).await), ["a", "b", "c"]);
    assert_eq!(keys(&inbox.claimed(3).await), ["d", "e"]);
}

pub(crate) async fn a_retried_job_is_claimed_after_jobs_that_were_due_earlier<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("retried").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(2)).await;
    inbox.advance(seconds(1));
    inbox.accept_new("earlier").await;
    inbox.advance(seconds(2));
    inbox.accept_new("later").await;
    assert_eq!(keys(&inbox.claimed(3).await), ["earlier", "retried", "later"]);
}

pub(crate) async fn concurrent_claims_never_return_the_same_job<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_many("k", 100, &default_job()).await;

    let claimers = (0..16).map(|_| {
        let (store, claim) = (inbox.shared(), inbox.claim_for(9));
        tokio::spawn(async move { store.claim(claim).await.expect("claims").jobs })
    });
    let jobs = join_all(claimers).await.into_iter().flat_map(|jobs| jobs.expect("ran")).collect::<Vec<_>>();
    assert_eq!(jobs.len(), 100, "16 claims for 9 threads lease all 100 jobs");
    assert_eq!(jobs.iter().map(|job| job.lease.job).collect::<HashSet<_>>().len(), 100);
}

pub(crate) async fn a_job_is_not_claimed_before_it_is_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;

    for _ in 0..2 {
        inbox.claim_nothing().await;
        inbox.advance(milliseconds(4_999));
    }
    inbox.advance(milliseconds(1));
    inbox.claim_nothing().await; // One millisecond early.
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.claim_one().await.lease.job, job.lease.job);
}

pub(crate) async fn a_claimed_job_has_everything_that_its_handler_needs<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    let sent = NewWebhook {
        source: source("git-hub"),
        event_type: event_type("pushed"),
        ..webhook_with("k", r#"{"z": 1.10}"#)
    };
    let new_job = ordered("orders", "\"ż\"");
    let webhook = inbox.accept(sent.clone(), vec![new_job.clone()]).await.expect("accepted").webhook;
    inbox.advance(seconds(3));
    let job = inbox.claim_one().await;

    assert_eq!(job.lease.job.webhook, webhook.id);
    assert_eq!(job.lease.job.queue, webhook.jobs[0].queue);
    assert_eq!((&job.route, &job.order), (&route("orders"), &new_job.order));
    assert_eq!(job.source, sent.source);
    assert_eq!(job.idempotency_key, sent.idempotency_key);
    assert_eq!(job.event_type, sent.event_type);
    assert_eq!(job.payload.as_deref(), Some(r#"{"z": 1.10}"#.as_bytes()));
    assert_eq!(job.traceparent, sent.traceparent);
    assert_eq!((job.attempt, job.attempt_of_run, job.run), (1, 1, 1));
    assert_eq!((job.available_at, job.claimed_at), (webhook.accepted_at, inbox.now()));

    let status = inbox.status_of(webhook.id).await;
    assert_eq!((status.status(), status.attempt_count()), (Status::Processing, 1));
    assert_eq!(status.updated_at(), inbox.now());
}

pub(crate) async fn attempts_count_up_and_tokens_grow_with_every_claim<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let mut claims = Vec::new();
    for next in [Status::Retrying, Status::DeadLettered, Status::Pending, Status::Retrying, Status::Completed]
    {
        let job = inbox.claim_one().await;
        inbox.end(&job, next).await;
        if next == Status::DeadLettered {
            inbox.retry(id, None).await.expect("retries");
        }
        claims.push((job.attempt, job.attempt_of_run, job.run, job.lease.token));
    }
    let numbers = claims.iter().map(|claim| (claim.0, claim.1, claim.2)).collect::<Vec<_>>();
    // The retry by hand starts a new run. A stopped attempt does not count in its run.
    assert_eq!(numbers, [(1, 1, 1), (2, 2, 1), (3, 1, 2), (4, 1, 2), (5, 2, 2)]);
    assert!(claims.is_sorted_by(|one, next| one.3 < next.3), "tokens grow: {claims:?}");
}

pub(crate) async fn a_stopped_attempt_does_not_count_in_its_run<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    for stopped in 1..=3 {
        let job = inbox.claim_one().await;
        assert_eq!((job.attempt, job.attempt_of_run), (stopped, 1), "stopped attempts do not count");
        inbox.end(&job, Status::Pending).await;
        assert_eq!(inbox.job_of(id, "default").await.1.uncounted_attempts, stopped);
    }
}

pub(crate) async fn a_claim_returns_when_the_next_job_is_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let next = async |threads| inbox.claims(threads).await.next;
    let is_due_now = async |threads| next(threads).await.is_some_and(|next| next <= inbox.now());
    assert_eq!(next(1).await, None, "nothing waits");

    inbox.accept_new("a").await;
    inbox.advance(seconds(1));
    inbox.accept_new("b").await;
    assert!(is_due_now(0).await, "no job was claimed");
    assert!(is_due_now(1).await, "the second job is still due");
    let job = inbox.claim_one().await;
    assert_eq!(next(1).await, None, "a running job is not due");

    inbox.fail(&job, seconds(60)).await;
    assert_eq!(next(1).await, Some(inbox.now() + seconds(60)));
    inbox.cancel(job.lease.job.webhook, None).await.expect("cancels");
    // A claim may return the previous time until that time is reached.
    inbox.advance(seconds(60));
    assert_eq!(next(1).await, None, "a cancelled job is not due");
}

pub(crate) async fn a_claim_returns_a_limited_number_of_bytes_and_the_next_one_the_rest<H: Harness>() {
    const BYTES: usize = 24 * 1024 * 1024;
    let inbox = Inbox::<H>::new().await;
    let payload = vec![b'x'; BYTES];
    for key in ["a", "b", "c", "d"] {
        let payload = Payload::of_bytes(payload.clone(), ContentType::BYTES);
        let webhook = NewWebhook { payload, ..webhook(key) };
        inbox.accept(webhook, vec![job("default")]).await.expect("accepts");
        inbox.advance(milliseconds(1));
    }
    let mut all = Vec::new();
    while all.len() < 4 {
        let jobs = inbox.claimed(10).await;
        assert!((1..4).contains(&jobs.len()), "{} jobs at once", jobs.len());
        for job in &jobs {
            assert_eq!(job.attempt, 1, "a job that was given back was not attempted");
            assert!(job.payload.as_deref() == Some(&payload[..]), "the payload is whole");
        }
        all.extend(jobs);
    }
    assert_eq!(keys(&all), ["a", "b", "c", "d"]);
    assert_eq!(inbox.claimed(10).await.len(), 0);
}
