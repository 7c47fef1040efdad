//! Jobs that are leased to a process that does not know of it: the answer was lost.

use std::sync::Arc;

use hookbox::domain::clock::Signal;
use hookbox::domain::job::Status;
use jiff::Timestamp;

use super::PostgresHarness;
use crate::inbox::{Inbox, LEASE, seconds};

#[tokio::test]
async fn they_are_given_back_as_if_they_had_not_been_leased() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let held = inbox.accept_new("held").await;
    let held_job = inbox.claim_one().await;
    let first = inbox.accept_new("first").await;
    let failed = inbox.claim_one().await;
    inbox.fail(&failed, seconds(0)).await;
    inbox.advance(seconds(1));
    let lost = inbox.claim_one().await;
    assert_eq!((lost.attempt, lost.lease.token), (2, 2));
    let before = inbox.status_of(first.id).await;
    inbox.advance(seconds(1));
    let later = inbox.accept_new("later").await;
    let (due, mut watching) = (Arc::new(Signal::default()), inbox.changes().watch(first.id));
    inbox.on_due(Arc::clone(&due));

    let always = Timestamp::UNIX_EPOCH..=inbox.now();
    assert_eq!(inbox.give_back_unheld(vec![held_job.lease], always).await.expect("looks"), 1);
    let status = inbox.status_of(first.id).await;
    assert_eq!((status.status, status.attempt_count), (Status::Pending, 1));
    assert_eq!(status.updated_at, inbox.now());
    assert!(status.revision > before.revision);
    assert!(due.is_raised(), "somebody can claim it");
    let change = watching.try_recv().expect("who watches it is told");
    assert_eq!((change.status, change.attempt_count), (Status::Pending, 1));
    assert_eq!(inbox.detail_of(first.id).await.attempts.len(), 1, "the one that failed");
    assert_eq!(inbox.counts().await.of(Status::Pending), 2);
    assert_eq!(inbox.counts().await.of(Status::Processing), 1);
    assert_eq!(inbox.status_of(held.id).await.status, Status::Processing);
    assert!(!inbox.finish(inbox.ended(&lost, Status::Completed)).await.expect("answers"), "nobody holds it");

    let next = inbox.claim(2, LEASE).await.expect("claims").jobs;
    let next = next.iter().map(|job| (job.lease.webhook, job.lease.token, job.attempt)).collect::<Vec<_>>();
    assert_eq!(next, [(first.id, 3, 2), (later.id, 1, 1)], "it keeps its place, and the token grows");
    inbox.end(&held_job, Status::Completed).await;
}

#[tokio::test]
async fn those_that_were_leased_before_or_after_that_time_are_left_alone() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    let leased = inbox.now();
    inbox.advance(seconds(10));
    let after = leased + seconds(1)..=inbox.now();
    assert_eq!(inbox.give_back_unheld(vec![], after).await.expect("looks"), 0);
    let before = Timestamp::UNIX_EPOCH..=leased - seconds(1);
    assert_eq!(inbox.give_back_unheld(vec![], before).await.expect("looks"), 0);
    // Renewing it does not make it another lease.
    assert_eq!(inbox.renew(vec![job.lease], LEASE).await.expect("renews"), []);
    assert_eq!(inbox.give_back_unheld(vec![], leased..=leased).await.expect("looks"), 1);
}

#[tokio::test]
async fn those_of_another_process_are_left_alone() {
    let mut inbox = Inbox::<PostgresHarness>::new().await;
    let webhook = inbox.accept_new("k").await;
    inbox.claim_one().await;
    inbox.crash_and_reopen().await;
    let always = Timestamp::UNIX_EPOCH..=inbox.now();
    assert_eq!(inbox.give_back_unheld(vec![], always).await.expect("looks"), 0);
    assert_eq!(inbox.status_of(webhook.id).await.status, Status::Processing);
}
