//! Finishing: the end of an attempt and the next status of the job are recorded together.

use hookbox::internals::domain::attempt::{AttemptRecord, AttemptWindow, Outcome};
use hookbox::internals::domain::delivery::{Delivery, SHOWN_DELIVERIES};
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::WebhookName;
use hookbox::internals::store::Finish;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, delivery, key_of, milliseconds, seconds, source, webhook};
use crate::store::routes::{job, policy};

pub(crate) async fn a_completed_attempt_is_recorded_with_status_and_result<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let webhook = inbox.accept_new("k").await;
    inbox.advance(seconds(1));
    let claimed = inbox.claim_one().await;
    inbox.advance(seconds(2));
    let finish = Finish {
        started_at: claimed.claimed_at + milliseconds(5),
        result: Some(r#"{"answer": 42}"#.into()),
        ..inbox.ended(&claimed, Status::Completed)
    };
    assert!(inbox.finish_one(finish.clone()).await.expect("finishes"));

    for after in ["the commit", "a crash"] {
        let (job, detail) = inbox.job_of(webhook.id, "default").await;
        assert_eq!((job.status, job.attempt_count), (Status::Completed, 1), "after {after}");
        assert_eq!((job.updated_at, detail.completed_at), (inbox.now(), Some(inbox.now())));
        assert_eq!(detail.available_at, webhook.accepted_at, "the job was due at its acceptance");
        assert_eq!(detail.result.as_deref(), Some(r#"{"answer": 42}"#));
        let attempt = AttemptRecord {
            number: 1,
            run: 1,
            outcome: Outcome::Completed,
            started_at: finish.started_at,
            finished_at: inbox.now(),
            error: None,
            worker: "process 1".into(),
            delivery: None,
        };
        assert_eq!(detail.attempts, [attempt]);
        inbox.crash_and_reopen().await;
    }
    inbox.claim_nothing().await;
}

pub(crate) async fn a_failed_attempt_is_retried_when_it_is_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;

    let (job, detail) = inbox.job_of(id, "default").await;
    assert_eq!((job.status, detail.completed_at), (Status::Retrying, None));
    assert_eq!(detail.available_at, inbox.now() + seconds(10));
    assert_eq!(detail.attempts[0].outcome, Outcome::Failed);
    assert_eq!(detail.attempts[0].error.as_deref(), Some("failed"));

    inbox.advance(seconds(10));
    let job = inbox.claim_one().await;
    assert_eq!((job.attempt, job.attempt_of_run), (2, 2));
    assert_eq!(job.available_at, inbox.now());
}

pub(crate) async fn a_dead_letter_is_not_claimed_again<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let webhook = inbox.ended_webhook("k", Status::DeadLettered).await;
    let (job, detail) = inbox.job_of(webhook.id, "default").await;
    assert_eq!((job.status, detail.completed_at), (Status::DeadLettered, Some(inbox.now())));
    assert_eq!(detail.result, None);
    inbox.advance(seconds(1_000_000));
    inbox.claim_nothing().await;
}

pub(crate) async fn a_stopped_attempt_is_recorded_and_its_job_due_again<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    for stopped in 1..=3 {
        let job = inbox.claim_one().await;
        inbox.advance(seconds(1));
        inbox.end(&job, Status::Pending).await;

        let (job, detail) = inbox.job_of(id, "default").await;
        assert_eq!((job.status, job.attempt_count), (Status::Pending, stopped));
        assert_eq!((detail.available_at, detail.completed_at), (inbox.now(), None));
        assert_eq!(detail.attempts.len(), stopped as usize);
        assert_eq!(detail.attempts.last().map(|last| last.outcome), Some(Outcome::Interrupted));
    }
}

pub(crate) async fn a_status_has_the_last_error_and_the_next_due_time_of_its_jobs<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("a"), policy("b")]).await;
    let id = inbox.accept_for("k", [job("a"), job("b")]).await.id;
    // Every way to read a status tells the same.
    let shown = async || {
        let status = inbox.status_of(id).await;
        let by_key = inbox.status(WebhookName::Key(source("default"), key_of("k"))).await.expect("found");
        assert_eq!(by_key, status);
        assert_eq!(inbox.everything().await, std::slice::from_ref(&status));
        assert_eq!(inbox.detail_of(id).await.status, status);
        let duplicate = inbox.accept(webhook("k"), vec![job("a"), job("b")]).await.expect("answered");
        assert!(duplicate.duplicate);
        assert_eq!(duplicate.webhook, status);
        (status.last_error().map(str::to_owned), status.next_attempt_at())
    };
    let error = |text: &str| Some(text.to_owned());
    assert_eq!(shown().await, (None, Some(inbox.now())), "both jobs are due");
    inbox.advance(seconds(1));
    let mut jobs = inbox.claimed(2).await;
    jobs.sort_by(|one, other| one.route.cmp(&other.route));
    assert_eq!(shown().await, (None, None), "both jobs are processing");

    let later = inbox.now() + seconds(60);
    let failed = Finish {
        error: error("no such host"),
        available_at: later,
        ..inbox.ended(&jobs[0], Status::Retrying)
    };
    assert!(inbox.finish_one(failed).await.expect("finishes"));
    assert_eq!(shown().await, (error("no such host"), Some(later)));
    let dead = Finish { error: error("gone"), ..inbox.ended(&jobs[1], Status::DeadLettered) };
    assert!(inbox.finish_one(dead).await.expect("finishes"));
    assert_eq!(shown().await, (error("no such host"), Some(later)), "the retrying job comes first");

    inbox.advance_to(later);
    let job = inbox.claim_one().await;
    assert_eq!(shown().await, (error("gone"), None), "of the dead letter");
    inbox.end(&job, Status::Completed).await;
    inbox.retry(id, None).await.expect("retries");
    assert_eq!(shown().await, (None, Some(inbox.now())), "the dead letter is due again");
    inbox.cancel(id, None).await.expect("cancels");
    assert_eq!(shown().await, (None, None));
}

pub(crate) async fn attempts_are_listed_oldest_first_with_their_worker<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    for number in 1..=11 {
        let job = inbox.claim_one().await;
        inbox.advance(seconds(1));
        inbox.end(&job, if number < 11 { Status::Retrying } else { Status::Completed }).await;
        if number == 5 {
            inbox.crash_and_reopen().await;
        }
    }
    let attempts = inbox.job_of(id, "default").await.1.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), Vec::from_iter(1..=11));
    assert!(attempts.is_sorted_by_key(|attempt| attempt.started_at));
    let workers = attempts.iter().map(|attempt| attempt.worker.as_str()).collect::<Vec<_>>();
    assert_eq!(workers[..5], ["process 1"; 5]);
    assert_eq!(workers[5..], ["process 2"; 6]);
    let completed = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Completed);
    assert_eq!(completed.map(|attempt| attempt.number).collect::<Vec<_>>(), [11]);
}

/// The delivery of each attempt of a job.
async fn deliveries<H: Harness>(inbox: &Inbox<H>, id: WebhookId, name: &str) -> Vec<Option<Delivery>> {
    let attempts = inbox.job_of(id, name).await.1.attempts;
    attempts.into_iter().map(|attempt| attempt.delivery).collect()
}

pub(crate) async fn what_was_sent_and_answered_is_kept_with_its_attempt<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
    let answered = |body: &[u8]| Some(delivery(body));
    let unanswered = Delivery { answer: None, connect_time: None, first_byte_time: None, ..delivery(b"") };
    let sent = [answered(b"{\"error\":\"busy\"}\n"), None, Some(unanswered), answered(&every_byte)];
    for (at, delivery) in sent.iter().enumerate() {
        let job = inbox.claim_one().await;
        let next = if at + 1 < sent.len() { Status::Retrying } else { Status::DeadLettered };
        let finish = Finish { delivery: delivery.clone().map(Into::into), ..inbox.ended(&job, next) };
        assert!(inbox.finish_one(finish).await.expect("finishes"));
        inbox.advance(seconds(1));
    }
    assert_eq!(deliveries(&inbox, id, "default").await, sent);
    inbox.crash_and_reopen().await;
    assert_eq!(deliveries(&inbox, id, "default").await, sent, "after a crash");
    inbox.cancel(id, None).await.expect("cancels");
    assert_eq!(deliveries(&inbox, id, "default").await, sent, "of a dead letter that was cancelled");
    inbox.retry(id, None).await.expect("retries");
    let job = inbox.claim_one().await;
    let finish =
        Finish { delivery: answered(b"ok").map(Into::into), ..inbox.ended(&job, Status::DeadLettered) };
    assert!(inbox.finish_one(finish).await.expect("finishes"));
    inbox.retry(id, None).await.expect("retries");
    let all = sent.into_iter().chain([answered(b"ok")]).collect::<Vec<_>>();
    assert_eq!(deliveries(&inbox, id, "default").await, all, "of a dead letter that was retried");
}

pub(crate) async fn deliveries_are_read_of_the_last_attempts_of_each_job<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["a", "b"].map(policy)).await;
    let id = inbox.accept_for("k", ["a", "b"].map(job)).await.id;
    let (shown, older) = (usize::from(SHOWN_DELIVERIES), 5);
    for number in 1..=shown + older {
        for job in inbox.claimed(2).await {
            let next = match job.route.as_str() {
                "a" if number < shown + older => Status::Retrying,
                _ => Status::Completed,
            };
            let delivery = Some(delivery(number.to_string().as_bytes()).into());
            let finish = Finish { delivery, ..inbox.ended(&job, next) };
            assert!(inbox.finish_one(finish).await.expect("finishes"));
        }
        inbox.advance(seconds(1));
    }
    let bodies = async |name: &str| {
        let deliveries = deliveries(&inbox, id, name).await;
        deliveries.into_iter().map(|delivery| delivery?.answer.map(|answer| answer.body)).collect::<Vec<_>>()
    };
    let sent = |number: usize| (number > older).then(|| number.to_string().into_bytes());
    assert_eq!(bodies("a").await, (1..=shown + older).map(sent).collect::<Vec<_>>());
    assert_eq!(bodies("b").await, [Some(b"1".to_vec())]);
}

pub(crate) async fn of_many_attempts_those_that_are_asked_for_are_read<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["a", "b"].map(policy)).await;
    let id = inbox.accept_for("k", ["a", "b"].map(job)).await.id;
    for number in 1..=7 {
        for job in inbox.claimed(2).await {
            let is_last = job.route.as_str() == "b" || number == 7;
            inbox.end(&job, if is_last { Status::Completed } else { Status::Retrying }).await;
        }
        inbox.advance(seconds(1));
    }
    let numbers = async |skip: u32, limit: u32| {
        let read = inbox.webhook_with(id, AttemptWindow { skip, limit }).await.expect("is kept");
        let mut jobs = read.status.jobs.iter().zip(&read.jobs).collect::<Vec<_>>();
        jobs.sort_by_key(|(status, _)| status.route.clone());
        assert!(jobs.iter().all(|(_, job)| job.result.is_some()), "whichever attempts are read");
        let numbers = |attempts: &[AttemptRecord]| attempts.iter().map(|one| one.number).collect::<Vec<_>>();
        jobs.into_iter().map(|(_, job)| numbers(&job.attempts)).collect::<Vec<_>>()
    };
    let windows: [(u32, u32, [Vec<u32>; 2]); 7] = [
        (0, 3, [vec![5, 6, 7], vec![1]]),
        (1, 3, [vec![4, 5, 6], vec![]]),
        (6, 3, [vec![1], vec![]]),
        (0, u32::MAX, [(1..=7).collect(), vec![1]]),
        (7, 3, [vec![], vec![]]),
        (u32::MAX, u32::MAX, [vec![], vec![]]),
        (0, 0, [vec![], vec![]]),
    ];
    for (skip, limit, expected) in windows {
        assert_eq!(numbers(skip, limit).await, expected, "{limit} after {skip}");
    }
}

pub(crate) async fn results_of_finish_are_in_the_order_of_its_arguments<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for key in ["a", "b", "c", "d"] {
        inbox.accept_new(key).await;
        inbox.advance(milliseconds(1));
    }
    let jobs = inbox.claimed(4).await;
    inbox.end(&jobs[1], Status::Completed).await;
    let nexts = [Status::Completed, Status::Completed, Status::Retrying, Status::DeadLettered];
    let finishes = jobs.iter().zip(nexts).map(|(job, next)| inbox.ended(job, next)).collect::<Vec<_>>();
    let answers = inbox.finish("process 1", finishes.clone()).await.expect("finishes");
    assert_eq!(answers, [true, false, true, true], "the second attempt had already ended");
    for (job, next) in jobs.iter().zip(nexts) {
        assert_eq!(inbox.status_of(job.lease.job.webhook).await.status(), next);
    }
    assert_eq!(
        inbox.finish("process 1", finishes).await.expect("answers"),
        [false; 4],
        "all attempts have already ended"
    );
    assert_eq!(inbox.finish("process 1", Vec::new()).await.expect("answers"), [false; 0]);
}
