//! What is kept: all of it, byte for byte.

use hookbox::domain::attempt::Outcome;
use hookbox::domain::job::Status;
use hookbox::domain::retention::Retention;
use hookbox::domain::trace::Traceparent;
use hookbox::domain::webhook::NewWebhook;
use hookbox::store::Finish;
use hookbox::store::transfer::{Census, Limits};

use super::equal::{assert_equal, assert_go_on_alike};
use super::{begin, complete, ready};
use crate::inbox::{Inbox, LEASE, event_type, seconds, source, webhook_with};
use crate::postgres::PostgresHarness;
use crate::sqlite::SqliteHarness;
use crate::support::Session;

/// Moves all that `inbox` holds, and answers it as the database has it; `inbox` goes on in a copy.
async fn moved(inbox: &mut Inbox<SqliteHarness>) -> (Inbox<PostgresHarness>, Census) {
    let mut target = Inbox::<PostgresHarness>::new().await;
    target.close().await;
    let file = inbox.harness().path();
    inbox.crash_and_reopen().await;
    let begun = begin(&file, &target.harness().url(), Limits::default(), &inbox.clock).await;
    let census = complete(ready(begun)).await;
    target.reopen_like(inbox).await;
    (target, census)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_in_every_status_with_their_whole_history() {
    let mut inbox = Inbox::<SqliteHarness>::with(1_000, 3).await;
    let payloads = ["null", "12345678901234567890", "[1.10, -0.0, 1e400]", r#"{"b":1,  "a":"\u0000ż"}"#];
    for (number, payload) in payloads.iter().enumerate() {
        let new = NewWebhook {
            source: source(["default", "git-hub_2"][number % 2]),
            event_type: event_type("zażółć"),
            traceparent: Traceparent::new(number as u128 + 1, 7, number % 2 == 0),
            ..webhook_with(&format!("ключ-{number}"), payload)
        };
        inbox.accept(new).await.expect("accepted");
        let job = inbox.claim_one().await;
        inbox.end(&job, Status::Completed).await;
    }
    // Interrupted, failed, and then completed.
    inbox.accept_new("third-time").await;
    inbox.claim_one().await;
    inbox.crash_and_reopen().await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(1)).await;
    inbox.advance(seconds(1));
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    // Dead-lettered by crashes.
    inbox.accept_new("crashes").await;
    for _ in 0..3 {
        inbox.claim_one().await;
        inbox.crash_and_reopen().await;
    }
    // Dead-lettered by an attempt; and after that cancelled, completed, or failed again.
    let dead = |key: &'static str| inbox.ended_webhook(key, Status::DeadLettered);
    dead("dead").await;
    let (cancelled, completed, failed) = (dead("d-1").await, dead("d-2").await, dead("d-3").await);
    inbox.retry(cancelled.id, 2).await.expect("retried");
    inbox.cancel(cancelled.id).await.expect("cancelled");
    inbox.retry(completed.id, 2).await.expect("retried");
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    inbox.retry(failed.id, 2).await.expect("retried");
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(100)).await;
    // Cancelled before the first attempt, and after one.
    inbox.ended_webhook("cancelled", Status::Cancelled).await;
    let tried = inbox.accept_new("tried").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(100)).await;
    inbox.cancel(tried.id).await.expect("cancelled");
    // Given back, and new.
    inbox.accept_new("given-back").await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Pending).await;
    inbox.accept_new("waits").await;
    let (target, census) = moved(&mut inbox).await;

    let of = |status| census.counts.of(status);
    assert_eq!([Status::Pending, Status::Retrying, Status::Completed].map(of), [2, 1, 6]);
    assert_eq!([Status::DeadLettered, Status::Cancelled].map(of), [2, 3]);
    assert_eq!((census.webhooks, census.attempts), (14, 4 + 3 + 3 + 1 + 1 + 2 + 2 + 1 + 1));
    // Each is where the store itself would have put it.
    let session = Session::open(&target.harness().url()).expect("connects");
    for misplaced in [
        "SELECT webhook FROM finished_jobs WHERE (status = 5) <> (outcome IS NULL)",
        "SELECT webhook FROM finished_jobs f JOIN attempts a USING (webhook) WHERE f.status <> 5 AND a.number = f.attempts",
        "SELECT webhook FROM finished_jobs JOIN jobs USING (webhook)",
    ] {
        assert_eq!(session.ask(misplaced).expect(misplaced), Vec::<String>::new(), "{misplaced}");
    }
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_whose_payload_is_gone_still_answers_its_duplicates_and_goes_on_time() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let gone = inbox.ended_webhook("gone", Status::Completed).await;
    let dead = inbox.ended_webhook("dead", Status::DeadLettered).await;
    inbox.advance(seconds(100));
    let retention = Retention { completed: seconds(50), dead_lettered: seconds(50), keys: seconds(200) };
    while inbox.purge(retention).await.expect("purges").more {}
    inbox.ended_webhook("kept", Status::Completed).await;
    let (target, _) = moved(&mut inbox).await;

    assert_eq!(target.detail_of(gone.id).await.payload, None);
    assert!(target.accept(webhook_with("gone", r#"{"n":1}"#)).await.expect("answers").duplicate);
    assert!(target.retry(dead.id, 1).await.is_err(), "it has no payload");
    assert_equal(&inbox, &target).await;
    for time in [49, 1, 50, 100].map(seconds) {
        inbox.advance(time);
        target.advance(time);
        while inbox.purge(retention).await.expect("purges").more {}
        while target.purge(retention).await.expect("purges").more {}
        assert_equal(&inbox, &target).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgresql_cannot_keep_of_an_error_is_replaced() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let (ended, failed) = (inbox.accept_new("ended").await, inbox.accept_new("failed").await);
    for job in inbox.claim(10, LEASE).await.expect("claims").jobs {
        let next = if job.lease.webhook == ended.id { Status::DeadLettered } else { Status::Retrying };
        let error = Some("a\0b".to_owned());
        let finish = Finish { error, outcome: Outcome::Failed, ..inbox.ended(&job, next) };
        assert!(inbox.finish(finish).await.expect("finishes"));
    }
    let (target, _) = moved(&mut inbox).await;
    for webhook in [ended, failed] {
        assert_eq!(inbox.detail_of(webhook.id).await.attempts[0].error.as_deref(), Some("a\0b"));
        assert_eq!(target.detail_of(webhook.id).await.attempts[0].error.as_deref(), Some("a\u{fffd}b"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_webhooks_come_after_those_that_were_moved() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let before = inbox.accept_new("before").await;
    // As after a clock that went ahead.
    inbox.go_back(seconds(1_000));
    let (target, _) = moved(&mut inbox).await;
    let after = target.accept_new("after").await;
    assert!(after.id > before.id);
    assert_eq!(target.everything().await[0].id, after.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_inbox_is_moved_too() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let (target, census) = moved(&mut inbox).await;
    assert_eq!(census, Census::default());
    target.accept_new("first").await;
}
