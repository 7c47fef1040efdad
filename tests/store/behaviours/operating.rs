//! What people ask for: another run, or none.

use hookbox::domain::error::Reason;
use hookbox::domain::id::WebhookId;
use hookbox::domain::job::Status;

use crate::harness::Harness;
use crate::inbox::{Inbox, LEASE, look_alike, refused, seconds};

/// A webhook in the given status.
async fn webhook_in<H: Harness>(inbox: &Inbox<H>, key: &str, status: Status) -> WebhookId {
    match status {
        Status::Pending => inbox.accept_new(key).await.id,
        Status::Processing => {
            let id = inbox.accept_new(key).await.id;
            inbox.claim_one().await;
            id
        }
        Status::Retrying => {
            let id = inbox.accept_new(key).await.id;
            let job = inbox.claim_one().await;
            inbox.fail(&job, seconds(3600)).await;
            id
        }
        ended => inbox.ended_webhook(key, ended).await.id,
    }
}

pub(crate) async fn a_dead_letter_or_a_cancelled_one_runs_again_at_once_when_retried<H: Harness>() {
    for status in [Status::DeadLettered, Status::Cancelled] {
        let mut inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        inbox.advance(seconds(60));
        let answered = inbox.retry(id, 2).await.expect("retries");
        assert_eq!((answered.status, answered.updated_at), (Status::Pending, inbox.now()));
        assert_eq!(inbox.status_of(id).await, answered);

        inbox.crash_and_reopen().await;
        let detail = inbox.detail_of(id).await;
        assert_eq!((detail.completed_at, detail.available_at), (None, inbox.now()));
        assert_eq!(detail.max_attempts, answered.attempt_count + 2, "a fresh budget");
        let job = inbox.claim_one().await;
        assert_eq!((job.attempt, job.attempt_of_run), (answered.attempt_count + 1, 1));
    }
}

pub(crate) async fn a_retry_by_hand_gives_a_fresh_budget_every_time<H: Harness>() {
    let inbox = Inbox::<H>::with(100, 1).await;
    let id = inbox.ended_webhook("k", Status::DeadLettered).await.id;
    for round in 1..=3 {
        inbox.retry(id, 2).await.expect("retries");
        // Two leases expire: the first leaves an attempt, the second none.
        for next in [Status::Pending, Status::DeadLettered] {
            inbox.claim_one().await;
            inbox.advance(LEASE);
            inbox.take_over_expired(Vec::new()).await.expect("takes over");
            assert_eq!(inbox.status_of(id).await.status, next, "round {round}");
        }
    }
    let attempts = inbox.detail_of(id).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
}

pub(crate) async fn nothing_else_can_be_retried<H: Harness>() {
    for status in [Status::Pending, Status::Processing, Status::Retrying, Status::Completed] {
        let inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        let before = inbox.detail_of(id).await;
        assert_eq!(refused(inbox.retry(id, 2).await), Reason::WrongStatus, "{status}");
        assert_eq!(format!("{:?}", inbox.detail_of(id).await), format!("{before:?}"), "{status}");
    }
}

pub(crate) async fn a_waiting_webhook_that_is_cancelled_does_not_start<H: Harness>() {
    for status in [Status::Pending, Status::Retrying] {
        let mut inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        inbox.advance(seconds(60));
        let answered = inbox.cancel(id).await.expect("cancels");
        assert_eq!((answered.status, answered.updated_at), (Status::Cancelled, inbox.now()));
        assert_eq!(inbox.status_of(id).await, answered);
        assert_eq!(inbox.detail_of(id).await.completed_at, Some(inbox.now()));

        inbox.crash_and_reopen().await;
        inbox.advance(seconds(3600));
        assert!(inbox.claim(10, LEASE).await.expect("claims").jobs.is_empty());
    }
}

pub(crate) async fn what_is_cancelled_may_be_cancelled_again_and_stays_as_it_is<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = webhook_in(&inbox, "k", Status::Cancelled).await;
    let before = inbox.detail_of(id).await;
    inbox.advance(seconds(60));
    assert_eq!(inbox.cancel(id).await.expect("answered"), before.status);
    assert_eq!(format!("{:?}", inbox.detail_of(id).await), format!("{before:?}"));
}

pub(crate) async fn nothing_else_can_be_cancelled<H: Harness>() {
    for status in [Status::Processing, Status::Completed, Status::DeadLettered] {
        let inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        let before = inbox.status_of(id).await;
        assert_eq!(refused(inbox.cancel(id).await), Reason::WrongStatus, "{status}");
        assert_eq!(inbox.status_of(id).await, before);
    }
}

pub(crate) async fn what_is_not_there_can_be_neither_retried_nor_cancelled<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let cancelled = webhook_in(&inbox, "cancelled", Status::Cancelled).await;
    let pending = webhook_in(&inbox, "pending", Status::Pending).await;
    let unknown = WebhookId::from_bytes([7; 16]);
    for id in [unknown, look_alike(cancelled), look_alike(pending)] {
        assert_eq!(refused(inbox.retry(id, 2).await), Reason::WebhookNotFound);
        assert_eq!(refused(inbox.cancel(id).await), Reason::WebhookNotFound);
    }
    assert_eq!(inbox.status_of(cancelled).await.status, Status::Cancelled);
    assert_eq!(inbox.status_of(pending).await.status, Status::Pending);
}

pub(crate) async fn a_claim_and_a_cancellation_at_once_do_not_both_win<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for round in 0..32 {
        let id = inbox.accept_new(&round.to_string()).await.id;
        let (store, canceller) = (inbox.shared(), inbox.shared());
        let claim = tokio::spawn(async move { store.claim(1, LEASE).await.expect("claims").jobs.len() });
        let cancel = tokio::spawn(async move { canceller.cancel(id).await.is_ok() });
        let (claimed, cancelled) = (claim.await.expect("ran"), cancel.await.expect("ran"));
        assert_eq!(claimed == 1, !cancelled);
        let expected = if cancelled { Status::Cancelled } else { Status::Processing };
        assert_eq!(inbox.status_of(id).await.status, expected);
    }
}
