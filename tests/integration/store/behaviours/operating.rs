//! Operators' requests: retry and cancel.

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, look_alike, refused, seconds};
use crate::store::routes::attempts;

/// Accepts a webhook and brings its job into the given status.
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
        Status::Filtered => inbox.accept_for(key, []).await.id,
        ended => inbox.ended_webhook(key, ended).await.id,
    }
}

pub(crate) async fn a_retried_dead_letter_or_cancelled_job_is_due_at_once<H: Harness>() {
    for status in [Status::DeadLettered, Status::Cancelled] {
        let mut inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        inbox.advance(seconds(60));
        let answered = inbox.retry(id, None).await.expect("retries");
        assert_eq!((answered.status(), answered.updated_at()), (Status::Pending, inbox.now()));
        assert_eq!(inbox.status_of(id).await, answered);

        inbox.crash_and_reopen().await;
        let (_, detail) = inbox.job_of(id, "default").await;
        assert_eq!((detail.completed_at, detail.available_at), (None, inbox.now()));
        assert_eq!((detail.run, detail.uncounted_attempts), (2, answered.attempt_count()));
        let job = inbox.claim_one().await;
        assert_eq!((job.attempt, job.attempt_of_run, job.run), (answered.attempt_count() + 1, 1, 2));
    }
}

pub(crate) async fn every_retry_by_hand_gives_all_attempts_again<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([attempts(2)]).await;
    let id = inbox.ended_webhook("k", Status::DeadLettered).await.id;
    for run in 2..=4 {
        inbox.retry(id, None).await.expect("retries");
        // Two leases expire. After the first, one attempt is left; after the second, none.
        for next in [Status::Pending, Status::DeadLettered] {
            assert_eq!(inbox.claim_one().await.run, run);
            inbox.advance(LEASE);
            inbox.take_over_expired(Vec::new()).await.expect("takes over");
            assert_eq!(inbox.status_of(id).await.status(), next, "run {run}");
        }
    }
    let attempts = inbox.job_of(id, "default").await.1.attempts;
    let runs = [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)];
    assert_eq!(attempts.iter().map(|attempt| (attempt.number, attempt.run)).collect::<Vec<_>>(), runs);
}

pub(crate) async fn only_dead_letters_and_cancelled_jobs_are_retried<H: Harness>() {
    for status in [Status::Pending, Status::Processing, Status::Retrying, Status::Completed, Status::Filtered]
    {
        let inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        let before = inbox.detail_of(id).await;
        assert_eq!(refused(inbox.retry(id, None).await), Reason::WrongStatus, "{status}");
        assert_eq!(format!("{:?}", inbox.detail_of(id).await), format!("{before:?}"), "{status}");
    }
}

pub(crate) async fn a_cancelled_job_does_not_start<H: Harness>() {
    for status in [Status::Pending, Status::Retrying] {
        let mut inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        inbox.advance(seconds(60));
        let answered = inbox.cancel(id, None).await.expect("cancels");
        assert_eq!((answered.status(), answered.updated_at()), (Status::Cancelled, inbox.now()));
        assert_eq!(inbox.status_of(id).await, answered);
        assert_eq!(inbox.job_of(id, "default").await.1.completed_at, Some(inbox.now()));

        inbox.crash_and_reopen().await;
        inbox.advance(seconds(3600));
        inbox.claim_nothing().await;
    }
}

pub(crate) async fn a_cancelled_dead_letter_keeps_its_attempts_and_can_be_retried<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let id = webhook_in(&inbox, "k", Status::DeadLettered).await;
    let attempts = inbox.job_of(id, "default").await.1.attempts;
    inbox.advance(seconds(60));
    let answered = inbox.cancel(id, None).await.expect("cancels");
    assert_eq!((answered.status(), answered.updated_at()), (Status::Cancelled, inbox.now()));

    inbox.crash_and_reopen().await;
    assert_eq!(inbox.status_of(id).await, answered);
    let (_, detail) = inbox.job_of(id, "default").await;
    assert_eq!((detail.completed_at, &detail.attempts), (Some(inbox.now()), &attempts));
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Cancelled), counts.total()), (1, 1));
    inbox.retry(id, None).await.expect("may still be retried");
    assert_eq!(inbox.claim_one().await.run, 2);
}

pub(crate) async fn cancelling_again_changes_nothing<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = webhook_in(&inbox, "k", Status::Cancelled).await;
    let before = inbox.detail_of(id).await;
    inbox.advance(seconds(60));
    assert_eq!(inbox.cancel(id, None).await.expect("answered"), before.status);
    assert_eq!(format!("{:?}", inbox.detail_of(id).await), format!("{before:?}"));
}

pub(crate) async fn a_running_or_completed_job_cannot_be_cancelled<H: Harness>() {
    for status in [Status::Processing, Status::Completed, Status::Filtered] {
        let inbox = Inbox::<H>::new().await;
        let id = webhook_in(&inbox, "k", status).await;
        let before = inbox.status_of(id).await;
        assert_eq!(refused(inbox.cancel(id, None).await), Reason::WrongStatus, "{status}");
        assert_eq!(inbox.status_of(id).await, before);
    }
}

pub(crate) async fn an_unknown_webhook_cannot_be_retried_or_cancelled<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let cancelled = webhook_in(&inbox, "cancelled", Status::Cancelled).await;
    let pending = webhook_in(&inbox, "pending", Status::Pending).await;
    let unknown = WebhookId::from_bytes([7; 16]);
    for id in [unknown, look_alike(cancelled), look_alike(pending)] {
        for route in [None, Some(crate::store::routes::route("default"))] {
            assert_eq!(refused(inbox.retry(id, route.clone()).await), Reason::WebhookNotFound);
            assert_eq!(refused(inbox.cancel(id, route).await), Reason::WebhookNotFound);
        }
    }
    assert_eq!(inbox.status_of(cancelled).await.status(), Status::Cancelled);
    assert_eq!(inbox.status_of(pending).await.status(), Status::Pending);
}

pub(crate) async fn of_a_concurrent_claim_and_cancellation_only_one_succeeds<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for round in 0..32 {
        let id = inbox.accept_new(&round.to_string()).await.id;
        let (store, canceller) = (inbox.shared(), inbox.shared());
        let claim = inbox.claim_for(1);
        let claim = tokio::spawn(async move { store.claim(claim).await.expect("claims").jobs.len() });
        let cancel = tokio::spawn(async move { canceller.cancel(id, None).await.is_ok() });
        let (claimed, cancelled) = (claim.await.expect("ran"), cancel.await.expect("ran"));
        assert_eq!(claimed == 1, !cancelled);
        let expected = if cancelled { Status::Cancelled } else { Status::Processing };
        assert_eq!(inbox.status_of(id).await.status(), expected);
    }
}
