//! A transfer keeps all data byte for byte.

use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use hookbox::internals::domain::webhook::NewWebhook;
use hookbox::internals::store::Finish;
use hookbox::internals::store::transfer::RowCounts;

use super::equal::{assert_equal, assert_go_on_alike};
use super::moved;
use crate::store::inbox::{Inbox, delivery, event_type, seconds, source, webhook, webhook_with};
use crate::store::sqlite::SqliteHarness;
use crate::support::postgres::Session;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_in_every_status_move_with_their_whole_history() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let payloads = ["null", "12345678901234567890", "[1.10, -0.0, 1e400]", r#"{"b":1,  "a":"\u0000ż"}"#];
    for (number, payload) in payloads.iter().enumerate() {
        let new = NewWebhook {
            source: source(["default", "git-hub_2"][number % 2]),
            event_type: event_type("zażółć"),
            traceparent: Traceparent::new(number as u128 + 1, 7, number % 2 == 0),
            ..webhook_with(&format!("ключ-{number}"), payload)
        };
        inbox.submit(new).await.expect("accepted");
        let job = inbox.claim_one().await;
        inbox.end(&job, Status::Completed).await;
    }
    // A job that was interrupted, failed and then completed.
    inbox.accept_new("third-time").await;
    inbox.claim_one().await;
    inbox.crash_and_reopen().await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(1)).await;
    inbox.advance(seconds(1));
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    // A job that became a dead letter because of crashes.
    inbox.accept_new("crashes").await;
    for _ in 0..3 {
        inbox.claim_one().await;
        inbox.crash_and_reopen().await;
    }
    // Jobs that became dead letters by a failed attempt, and then were cancelled, completed or failed again.
    let dead = |key: &'static str| inbox.ended_webhook(key, Status::DeadLettered);
    dead("dead").await;
    let (cancelled, completed, failed) = (dead("d-1").await, dead("d-2").await, dead("d-3").await);
    inbox.retry(cancelled.id, None).await.expect("retried");
    inbox.cancel(cancelled.id, None).await.expect("cancelled");
    inbox.retry(completed.id, None).await.expect("retried");
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    inbox.retry(failed.id, None).await.expect("retried");
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(100)).await;
    // Jobs that were cancelled before the first attempt and after it.
    inbox.ended_webhook("cancelled", Status::Cancelled).await;
    let tried = inbox.accept_new("tried").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(100)).await;
    inbox.cancel(tried.id, None).await.expect("cancelled");
    // A job that was given back, and a new job.
    inbox.accept_new("given-back").await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Pending).await;
    inbox.accept_new("waits").await;
    let (target, moved_rows) = moved(&mut inbox).await;

    let of = |status| moved_rows.counts.of(status);
    assert_eq!([Status::Pending, Status::Retrying, Status::Completed].map(of), [2, 1, 6]);
    assert_eq!([Status::DeadLettered, Status::Cancelled].map(of), [2, 3]);
    assert_eq!((moved_rows.webhooks, moved_rows.attempts), (14, 4 + 3 + 3 + 1 + 1 + 2 + 2 + 1 + 1));
    // Each job is in the table in which the store itself would have put it.
    let session = Session::open(&target.harness().url()).expect("connects");
    for misplaced in [
        "SELECT webhook FROM finished_jobs WHERE (status IN (5, 6)) <> (outcome IS NULL)",
        "SELECT webhook FROM finished_jobs f JOIN attempts a USING (webhook, queue) WHERE f.status <> 5 AND a.number = f.attempts",
        "SELECT webhook FROM finished_jobs JOIN jobs USING (webhook, queue)",
    ] {
        assert_eq!(session.ask(misplaced).expect(misplaced), Vec::<String>::new(), "{misplaced}");
    }
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_and_answered_moves_with_its_attempt() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
    let (ended, failed) = (inbox.accept_new("ended").await, inbox.accept_new("failed").await);
    for nexts in [[Status::Retrying; 2], [Status::Completed, Status::Retrying]] {
        for job in inbox.claimed(10).await {
            let next = nexts[usize::from(job.lease.job.webhook == failed.id)];
            let finish = Finish { delivery: Some(delivery(&every_byte).into()), ..inbox.ended(&job, next) };
            assert!(inbox.finish_one(finish).await.expect("finishes"));
        }
    }
    let (target, _) = moved(&mut inbox).await;
    for webhook in [ended, failed] {
        let detail = target.detail_of(webhook.id).await;
        let attempts = &detail.jobs[0].attempts;
        let deliveries = attempts.iter().map(|attempt| attempt.delivery.clone()).collect::<Vec<_>>();
        assert_eq!(deliveries, [Some(delivery(&every_byte)), Some(delivery(&every_byte))]);
    }
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_move_with_their_content_type_headers_and_verdict() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
    let headers: [(&str, &[u8]); 2] = [("x-shop", b"\"7\""), ("x-shop", "ż".as_bytes())];
    let verdicts = [Verdict::None, Verdict::Verified, Verdict::Unverified(Cause::CredentialsWrong)];
    for (number, (body, verdict)) in [&b""[..], b"\0", &every_byte[..]].into_iter().zip(verdicts).enumerate()
    {
        let content_type = ContentType::of_header(Some(b"text/plain; charset=utf-8"));
        let new = NewWebhook {
            payload: Payload::of_bytes(body, content_type),
            headers: KeptHeaders::keep(headers, |_| false),
            verdict,
            ..webhook(&number.to_string())
        };
        inbox.submit(new).await.expect("accepted");
    }
    let (target, _) = moved(&mut inbox).await;
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn characters_that_postgresql_cannot_store_are_replaced_in_errors() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let (ended, failed) = (inbox.accept_new("ended").await, inbox.accept_new("failed").await);
    for job in inbox.claimed(10).await {
        let next = if job.lease.job.webhook == ended.id { Status::DeadLettered } else { Status::Retrying };
        let error = Some("a\0b".to_owned());
        let finish = Finish { error, outcome: Outcome::Failed, ..inbox.ended(&job, next) };
        assert!(inbox.finish_one(finish).await.expect("finishes"));
    }
    let (target, _) = moved(&mut inbox).await;
    for webhook in [ended, failed] {
        assert_eq!(inbox.detail_of(webhook.id).await.jobs[0].attempts[0].error.as_deref(), Some("a\0b"));
        assert_eq!(
            target.detail_of(webhook.id).await.jobs[0].attempts[0].error.as_deref(),
            Some("a\u{fffd}b")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_webhooks_come_after_those_that_were_moved() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let before = inbox.accept_new("before").await;
    // As if the clock was set back.
    inbox.go_back(seconds(1_000));
    let (target, _) = moved(&mut inbox).await;
    let after = target.accept_new("after").await;
    assert!(after.id > before.id);
    assert_eq!(target.everything().await[0].id, after.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_inbox_moves_too() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let (target, moved_rows) = moved(&mut inbox).await;
    assert_eq!(moved_rows, RowCounts::default());
    target.accept_new("first").await;
}
