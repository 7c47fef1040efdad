//! Finishing: the end of an attempt and the job's next status, recorded together.

use hookbox::domain::attempt::{AttemptRecord, Outcome};
use hookbox::domain::job::Status;
use hookbox::store::Finish;

use crate::harness::Harness;
use crate::inbox::{Inbox, LEASE, milliseconds, seconds};

pub(crate) async fn a_completed_attempt_is_recorded_with_the_status_and_the_result<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let webhook = inbox.accept_new("k").await;
    inbox.advance(seconds(1));
    let job = inbox.claim_one().await;
    inbox.advance(seconds(2));
    let finish = Finish {
        started_at: job.claimed_at + milliseconds(5),
        result: Some(r#"{"answer": 42}"#.into()),
        ..inbox.ended(&job, Status::Completed)
    };
    assert!(inbox.finish(finish.clone()).await.expect("finishes"));

    for after in ["the commit", "a crash"] {
        let detail = inbox.detail_of(webhook.id).await;
        assert_eq!(
            (detail.status.status, detail.status.attempt_count),
            (Status::Completed, 1),
            "after {after}"
        );
        assert_eq!(detail.completed_at, Some(inbox.now()));
        assert_eq!(detail.status.updated_at, inbox.now());
        assert_eq!(detail.result.as_deref(), Some(r#"{"answer": 42}"#));
        let attempt = AttemptRecord {
            number: 1,
            outcome: Outcome::Completed,
            started_at: finish.started_at,
            finished_at: inbox.now(),
            error: None,
            worker: "worker-1".into(),
        };
        assert_eq!(detail.attempts, [attempt]);
        inbox.crash_and_reopen().await;
    }
    assert!(inbox.claim(1, LEASE).await.expect("claims").jobs.is_empty(), "what is completed stays so");
}

pub(crate) async fn a_failed_attempt_is_tried_again_when_it_was_said_to_be<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;

    let detail = inbox.detail_of(id).await;
    assert_eq!((detail.status.status, detail.completed_at), (Status::Retrying, None));
    assert_eq!(detail.available_at, inbox.now() + seconds(10));
    assert_eq!(detail.attempts[0].outcome, Outcome::Failed);
    assert_eq!(detail.attempts[0].error.as_deref(), Some("failed"));

    inbox.advance(seconds(10));
    let job = inbox.claim_one().await;
    assert_eq!(job.attempt, 2);
    assert_eq!(job.available_at, inbox.now());
}

pub(crate) async fn a_dead_letter_is_not_claimed_again<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let webhook = inbox.ended_webhook("k", Status::DeadLettered).await;
    let detail = inbox.detail_of(webhook.id).await;
    assert_eq!(detail.status.status, Status::DeadLettered);
    assert_eq!(detail.completed_at, Some(inbox.now()));
    assert_eq!(detail.result, None);
    inbox.advance(seconds(1_000_000));
    assert!(inbox.claim(1, LEASE).await.expect("claims").jobs.is_empty());
}

pub(crate) async fn a_job_given_back_is_due_again_and_may_start_as_often_as_before<H: Harness>() {
    let inbox = Inbox::<H>::with(100, 1).await;
    let id = inbox.accept_new("k").await.id;
    for stopped in 1..=3 {
        let job = inbox.claim_one().await;
        assert_eq!((job.attempt, job.max_attempts), (stopped, stopped));
        inbox.end(&job, Status::Pending).await;

        let detail = inbox.detail_of(id).await;
        assert_eq!((detail.status.status, detail.status.attempt_count), (Status::Pending, stopped));
        assert_eq!(detail.max_attempts, stopped + 1);
        assert_eq!(detail.attempts.last().map(|last| last.outcome), Some(Outcome::Interrupted));
    }
}

pub(crate) async fn attempts_are_told_oldest_first_by_whoever_ran_them<H: Harness>() {
    let mut inbox = Inbox::<H>::with(100, 20).await;
    let id = inbox.accept_new("k").await.id;
    for number in 1..=11 {
        let job = inbox.claim_one().await;
        inbox.advance(seconds(1));
        inbox.end(&job, if number < 11 { Status::Retrying } else { Status::Completed }).await;
        if number == 5 {
            inbox.crash_and_reopen().await;
        }
    }
    let attempts = inbox.detail_of(id).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), Vec::from_iter(1..=11));
    assert!(attempts.is_sorted_by_key(|attempt| attempt.started_at));
    let workers = attempts.iter().map(|attempt| attempt.worker.as_str()).collect::<Vec<_>>();
    assert_eq!(workers[..5], ["worker-1"; 5]);
    assert_eq!(workers[5..], ["worker-2"; 6]);
    let completed = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Completed);
    assert_eq!(completed.map(|attempt| attempt.number).collect::<Vec<_>>(), [11]);
}
