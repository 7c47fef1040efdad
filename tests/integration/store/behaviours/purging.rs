//! Purging: the payload is removed first, the key and the rest later. Webhooks with unfinished jobs are kept.

use futures::future::join_all;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookName};
use hookbox::internals::store::{Finish, Purged, StatusCounts};

use crate::store::harness::Harness;
use crate::store::inbox::{
    Inbox, delivery, key_of, milliseconds, refused, seconds, source, webhook, webhook_with,
};
use crate::store::routes::default_job;

pub(crate) const RETENTION: Retention = Retention {
    completed: seconds(100),
    dead_lettered: seconds(200),
    keys: seconds(300),
    quarantined: seconds(150),
};

/// Purges until nothing is left to remove and returns the totals.
pub(crate) async fn purge_all<H: Harness>(inbox: &Inbox<H>) -> Purged {
    let mut all = Purged::default();
    for _ in 0..10_000 {
        let purged = inbox.purge(RETENTION).await.expect("purges");
        all.payloads += purged.payloads;
        all.webhooks += purged.webhooks;
        if !purged.more {
            return all;
        }
    }
    panic!("purging does not end");
}

pub(crate) async fn a_payload_is_purged_after_its_retention_and_the_key_later<H: Harness>() {
    for (status, payload_kept) in
        [(Status::Completed, 100), (Status::DeadLettered, 200), (Status::Cancelled, 200)]
    {
        let mut inbox = Inbox::<H>::new().await;
        let webhook = inbox.ended_webhook("k", status).await;
        let before = inbox.detail_of(webhook.id).await;
        assert!(before.payload.is_some());

        inbox.advance(seconds(payload_kept) - milliseconds(1));
        assert_eq!(purge_all(&inbox).await, Purged::default(), "{status}: the retention is not over yet");
        inbox.advance(milliseconds(1));
        assert_eq!(purge_all(&inbox).await, Purged { payloads: 1, ..Purged::default() }, "{status}");
        inbox.crash_and_reopen().await;

        let after = inbox.detail_of(webhook.id).await;
        assert_eq!((&after.payload, &after.jobs[0].result), (&None, &None));
        assert_eq!(after.status, before.status, "only the payload is removed");
        assert_eq!(after.jobs[0].attempts, before.jobs[0].attempts);
        assert_eq!(purge_all(&inbox).await, Purged::default(), "{status}: the payload is removed only once");

        inbox.advance(seconds(300 - payload_kept) - milliseconds(1));
        assert_eq!(purge_all(&inbox).await, Purged::default(), "{status}: the key is kept longer");
        inbox.advance(milliseconds(1));
        assert_eq!(purge_all(&inbox).await, Purged { webhooks: 1, ..Purged::default() }, "{status}");
        inbox.crash_and_reopen().await;

        assert_eq!(refused(inbox.webhook(webhook.id).await), Reason::WebhookNotFound);
        let name = WebhookName::Key(source("default"), key_of("k"));
        assert_eq!(refused(inbox.status(name).await), Reason::WebhookNotFound);
        assert!(inbox.everything().await.is_empty());
        assert_eq!(inbox.counts().await, StatusCounts::default());
    }
}

pub(crate) async fn what_was_sent_and_answered_is_purged_with_the_payload<H: Harness>() {
    for (status, kept) in [(Status::Completed, 100), (Status::DeadLettered, 200)] {
        let inbox = Inbox::<H>::new().await;
        let id = inbox.accept_new("k").await.id;
        for next in [Status::Retrying, Status::Retrying, status] {
            let job = inbox.claim_one().await;
            let finish = Finish { delivery: Some(delivery(b"personal").into()), ..inbox.ended(&job, next) };
            assert!(inbox.finish_one(finish).await.expect("finishes"));
        }
        inbox.advance(seconds(kept) - milliseconds(1));
        assert_eq!(purge_all(&inbox).await, Purged::default(), "{status}");
        let mut attempts = inbox.job_of(id, "default").await.1.attempts;
        assert!(attempts.iter().all(|attempt| attempt.delivery.is_some()), "{status}: {attempts:?}");

        inbox.advance(milliseconds(1));
        assert_eq!(purge_all(&inbox).await.payloads, 1, "{status}");
        attempts.iter_mut().for_each(|attempt| attempt.delivery = None);
        assert_eq!(inbox.job_of(id, "default").await.1.attempts, attempts, "{status}: the rest is kept");
    }
}

pub(crate) async fn a_webhook_without_its_payload_answers_duplicates<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.ended_webhook("k", Status::Completed).await.id;
    inbox.advance(seconds(100));
    assert_eq!(purge_all(&inbox).await.payloads, 1);

    let again = inbox.submit(webhook_with("k", r#" { "n" : 1 } "#)).await.expect("answered");
    assert!(again.duplicate);
    assert_eq!((again.webhook.id, again.webhook.status()), (id, Status::Completed));
    assert_eq!(refused(inbox.submit(webhook_with("k", r#"{"n":2}"#)).await), Reason::KeyReused);
}

pub(crate) async fn a_key_whose_retention_is_over_may_be_used_again<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.ended_webhook("k", Status::Completed).await;
    inbox.advance(seconds(300));
    let purged = purge_all(&inbox).await;
    assert_eq!((purged.payloads, purged.webhooks), (1, 1), "both were due");

    let accepted = inbox.submit(webhook_with("k", r#"{"n":2}"#)).await.expect("accepted");
    assert!(!accepted.duplicate);
    assert!(accepted.webhook.id > first.id);
    let job = inbox.claim_one().await;
    assert_eq!((job.attempt, job.payload.as_deref()), (1, Some(r#"{"n":2}"#.as_bytes())));
    inbox.end(&job, Status::Completed).await;
}

pub(crate) async fn a_job_without_its_payload_cannot_be_retried<H: Harness>() {
    for status in [Status::DeadLettered, Status::Cancelled] {
        let inbox = Inbox::<H>::new().await;
        let id = inbox.ended_webhook("k", status).await.id;
        inbox.advance(seconds(200));
        purge_all(&inbox).await;
        assert_eq!(refused(inbox.retry(id, None).await), Reason::WrongStatus);
        assert_eq!(inbox.status_of(id).await.status(), status);
    }
}

pub(crate) async fn the_retention_of_a_retried_job_starts_when_it_ends_again<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.ended_webhook("k", Status::DeadLettered).await.id;
    inbox.advance(seconds(150));
    inbox.retry(id, None).await.expect("retries");
    inbox.advance(seconds(1000));
    assert_eq!(purge_all(&inbox).await, Purged::default(), "the job waits");
    let job = inbox.claim_one().await;
    assert_eq!(job.payload.as_deref(), Some(r#"{"n":1}"#.as_bytes()));
    inbox.end(&job, Status::DeadLettered).await;
    inbox.advance(seconds(199));
    assert_eq!(purge_all(&inbox).await, Purged::default(), "the job ended again");
    inbox.advance(seconds(1));
    assert_eq!(purge_all(&inbox).await.payloads, 1);
}

pub(crate) async fn unfinished_jobs_are_never_removed<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("processing").await;
    inbox.claim_one().await;
    inbox.accept_new("retrying").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(1)).await;
    inbox.accept_new("pending").await;
    let before = inbox.everything().await;

    inbox.advance(seconds(1_000_000));
    assert_eq!(purge_all(&inbox).await, Purged::default());
    assert_eq!(inbox.everything().await, before);
    assert_eq!(inbox.submit(webhook("pending")).await.expect("answered").webhook, before[0]);
}

pub(crate) async fn a_purge_removes_a_bounded_number_and_reports_if_more_is_left<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_many("k", 1_000, &default_job()).await;
    let jobs = inbox.claimed(1_000).await;
    join_all(jobs.iter().map(|job| inbox.end(job, Status::Completed))).await;
    inbox.advance(seconds(300));

    let first = inbox.purge(RETENTION).await.expect("purges");
    assert!(first.more);
    assert!(
        (1..=1_000).contains(&(first.payloads + first.webhooks)),
        "one call removes a bounded number: {first:?}"
    );
    let rest = purge_all(&inbox).await;
    assert_eq!((first.payloads + rest.payloads, first.webhooks + rest.webhooks), (1_000, 1_000));
    assert_eq!(inbox.counts().await, StatusCounts::default());
}

pub(crate) async fn a_purge_removes_a_bounded_number_of_bytes<H: Harness>() {
    // Few rows, but more bytes than one step of any store removes.
    const WEBHOOKS: usize = 18;
    const BYTES: usize = 4 * 1024 * 1024;
    let payload = Payload::new(format!("\"{}\"", "x".repeat(BYTES))).expect("JSON");
    for is_quarantined in [false, true] {
        let inbox = Inbox::<H>::new().await;
        for number in 0..WEBHOOKS {
            let new = NewWebhook { payload: payload.clone(), ..webhook(&number.to_string()) };
            if is_quarantined {
                inbox.quarantine(vec![new]).await.expect("is stored").expect("has room");
            } else {
                inbox.accept(new, Vec::new()).await.expect("is stored");
            }
        }
        inbox.advance(RETENTION.quarantined);
        let first = inbox.purge(RETENTION).await.expect("purges");
        let removed = first.payloads + first.webhooks;
        assert!(first.more && (1..WEBHOOKS).contains(&removed), "{first:?}");
        let rest = purge_all(&inbox).await;
        assert_eq!(removed + rest.payloads + rest.webhooks, WEBHOOKS);
    }
}

pub(crate) async fn many_payloads_to_remove_do_not_delay_keys<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for status in [Status::Completed, Status::DeadLettered, Status::Cancelled] {
        for number in 0..3 {
            inbox.ended_webhook(&format!("{status} {number}"), status).await;
            inbox.advance(seconds(1));
        }
    }
    let young = inbox.accept_new("young").await;
    let job = inbox.claim_one().await;
    inbox.advance(seconds(291));
    inbox.end(&job, Status::Completed).await;
    let purged = purge_all(&inbox).await;
    // The jobs ended 292 to 300 seconds ago: the retention is over for every payload, but only for one key.
    assert_eq!((purged.payloads, purged.webhooks), (9, 1));
    assert_eq!(inbox.detail_of(young.id).await.payload.as_deref(), Some(r#"{"n":1}"#.as_bytes()));
}
