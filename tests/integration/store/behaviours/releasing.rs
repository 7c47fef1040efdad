//! Quarantined webhooks are released, which gives them their key and jobs, or discarded.

use futures::future::join_all;
use hookbox::internals::domain::conflict::OtherWebhook;
use hookbox::internals::domain::error::{Reason, Result};
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookName};
use hookbox::internals::store::Accepted;
use tokio::task::JoinHandle;

use super::announcing::{is_asleep, is_woken, listen};
use super::purging::RETENTION;
use super::quarantine::{KEPT, quarantined};
use crate::store::harness::Harness;
use crate::store::inbox::{
    Inbox, event_type, key_of, look_alike, refused, seconds, sorted_keys, source, webhook, webhook_with,
};
use crate::store::routes::{default_job, job, ordered, policy};

/// How often a test of concurrent operations is repeated.
const ROUNDS: usize = 16;

async fn is_gone<H: Harness>(inbox: &Inbox<H>, id: WebhookId) -> bool {
    inbox.status(WebhookName::Id(id)).await.is_err_and(|error| error.reason() == Reason::WebhookNotFound)
}

pub(crate) async fn a_released_webhook_gets_jobs_that_run<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes(["a", "b"].map(policy)).await;
    let kept = quarantined(&inbox, webhook("k")).await;
    inbox.advance(seconds(10));
    let newer = inbox.accept_for("newer", []).await;
    let wake = listen(&inbox);

    let released = inbox.release(kept.id, vec![job("a"), job("b")]).await.expect("is released");
    assert!(is_woken(&wake));
    assert!(!released.duplicate);
    let released = released.webhook;
    assert_eq!((released.id, released.accepted_at), (kept.id, kept.accepted_at), "they stay");
    assert_eq!((released.status(), released.is_quarantined), (Status::Pending, false));
    assert_eq!(released.jobs.len(), 2);
    for job in &released.jobs {
        let times = (job.updated_at, job.next_attempt_at);
        assert_eq!((job.attempt_count, times), (0, (inbox.now(), Some(inbox.now()))), "due at once");
    }
    for _ in 0..2 {
        assert_eq!(inbox.status_of(kept.id).await, released);
        let name = WebhookName::Key(source("default"), key_of("k"));
        assert_eq!(inbox.status(name).await.expect("has its key"), released);
        assert_eq!(inbox.everything().await, [newer.clone(), released.clone()], "by the time of acceptance");
        let counts = inbox.counts().await;
        assert_eq!((counts.of(Status::Quarantined), counts.of(Status::Pending), counts.total()), (0, 2, 3));
        inbox.crash_and_reopen().await;
    }
    let jobs = inbox.claimed(10).await;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        assert_eq!((job.payload.as_deref(), job.attempt, job.run), (Some(&br#"{"n":1}"#[..]), 1, 1));
        inbox.end(job, Status::Completed).await;
    }
    assert_eq!(inbox.status_of(kept.id).await.status(), Status::Completed);
}

pub(crate) async fn a_webhook_that_is_released_without_jobs_is_filtered<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let kept = quarantined(&inbox, webhook("k")).await;
    let wake = listen(&inbox);
    let released = inbox.release(kept.id, Vec::new()).await.expect("is released").webhook;
    assert!(is_asleep(&inbox, &wake), "no job is due");
    assert_eq!((released.id, released.status()), (kept.id, Status::Filtered));
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.everything().await, std::slice::from_ref(&released));
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Filtered), counts.total()), (1, 1));
    assert!(inbox.submit(webhook("k")).await.expect("is answered").duplicate);
}

pub(crate) async fn a_released_webhook_has_its_key<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = quarantined(&inbox, webhook("k")).await.id;
    let released = inbox.release(id, default_job()).await.expect("is released").webhook;
    let again = inbox.submit(webhook("k")).await.expect("is answered");
    assert_eq!((again.duplicate, &again.webhook), (true, &released));
    assert_eq!(refused(inbox.submit(webhook_with("k", r#"{"n":2}"#)).await), Reason::KeyReused);
    quarantined(&inbox, webhook("k")).await;
    assert_eq!(inbox.counts().await.of(Status::Quarantined), 1);
}

pub(crate) async fn a_webhook_whose_key_is_taken_by_the_same_content_gives_way<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let before = quarantined(&inbox, webhook("k")).await;
    inbox.advance(seconds(1));
    let first = inbox.ended_webhook("k", Status::Completed).await;
    // The same JSON value.
    let after = quarantined(&inbox, webhook_with("k", r#" { "n" : 1 } "#)).await;
    let wake = listen(&inbox);
    for kept in [before, after] {
        let answer = inbox.release(kept.id, default_job()).await.expect("is answered");
        assert_eq!((answer.duplicate, &answer.webhook), (true, &first), "the one that has the key");
        assert!(is_gone(&inbox, kept.id).await);
    }
    assert!(is_asleep(&inbox, &wake), "a duplicate gets no job");
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.everything().await, [first]);
    assert_eq!(inbox.counts().await.total(), 1);
    inbox.claim_nothing().await;
}

pub(crate) async fn a_webhook_whose_key_is_taken_by_another_content_stays_quarantined<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("k").await;
    let renamed = NewWebhook { event_type: event_type("order.lost"), ..webhook("k") };
    for other in [webhook_with("k", r#"{"n":2}"#), renamed] {
        let kept = quarantined(&inbox, other).await;
        for _ in 0..2 {
            let refusal = inbox.release(kept.id, default_job()).await.expect_err("is refused");
            assert_eq!((refusal.reason(), refusal.webhook()), (Reason::KeyReused, Some(first.id)));
            assert_eq!(inbox.status_of(kept.id).await, kept);
            inbox.crash_and_reopen().await;
        }
        inbox.discard(kept.id).await.expect("is discarded");
    }
    assert_eq!(inbox.everything().await, [first]);
    assert_eq!(inbox.counts().await.total(), 1);
}

pub(crate) async fn a_webhook_that_may_be_a_duplicate_of_another_content_gives_way<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("k").await;
    let renamed = NewWebhook { event_type: event_type("order.lost"), ..webhook("k") };
    for (came, is_other) in [(webhook_with("k", r#"{"n":2}"#), true), (renamed, true), (webhook("k"), false)]
    {
        let kept = quarantined(&inbox, came.clone()).await;
        let as_duplicate = Some(OtherWebhook::of(&came));
        let answer = inbox.shared().release(kept.id, default_job(), as_duplicate).await.expect("is answered");
        assert_eq!((answer.duplicate, &answer.webhook), (true, &first), "the one that has the key");
        let other = answer.other.map(|other| (other.event_type, other.payload.as_bytes().to_vec()));
        let expected = (came.event_type.clone(), came.payload.as_bytes().to_vec());
        assert_eq!(other, is_other.then_some(expected));
        assert!(is_gone(&inbox, kept.id).await);
    }
    // A key that is free is taken all the same.
    let came = webhook("free");
    let kept = quarantined(&inbox, came.clone()).await;
    let as_duplicate = Some(OtherWebhook::of(&came));
    let answer = inbox.shared().release(kept.id, default_job(), as_duplicate).await.expect("is released");
    assert_eq!((answer.duplicate, answer.webhook.id, answer.other.is_none()), (false, kept.id, true));
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.everything().await, [answer.webhook, first]);
    assert_eq!(inbox.counts().await.total(), 2);
}

pub(crate) async fn only_quarantined_webhooks_are_released_and_discarded<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let completed = inbox.ended_webhook("completed", Status::Completed).await.id;
    let pending = inbox.accept_new("pending").await.id;
    let filtered = inbox.accept_for("filtered", []).await.id;
    let released = quarantined(&inbox, webhook("released")).await.id;
    inbox.release(released, default_job()).await.expect("is released");
    let kept = quarantined(&inbox, webhook("kept")).await;
    let before = inbox.everything().await;
    for id in [completed, pending, filtered, released] {
        assert_eq!(refused(inbox.release(id, default_job()).await), Reason::WrongStatus);
        assert_eq!(refused(inbox.discard(id).await), Reason::WrongStatus);
    }
    for id in [WebhookId::from_bytes([7; 16]), look_alike(kept.id), look_alike(pending)] {
        assert_eq!(refused(inbox.release(id, default_job()).await), Reason::WebhookNotFound);
        assert_eq!(refused(inbox.discard(id).await), Reason::WebhookNotFound);
    }
    assert_eq!(inbox.everything().await, before);
}

pub(crate) async fn a_discarded_webhook_is_gone<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("k").await;
    let kept = quarantined(&inbox, webhook("k")).await.id;
    inbox.discard(kept).await.expect("is discarded");
    for _ in 0..2 {
        assert!(is_gone(&inbox, kept).await);
        assert_eq!(refused(inbox.discard(kept).await), Reason::WebhookNotFound);
        assert_eq!(refused(inbox.release(kept, default_job()).await), Reason::WebhookNotFound);
        assert_eq!(inbox.everything().await, std::slice::from_ref(&first));
        assert_eq!(inbox.counts().await.total(), 1);
        inbox.crash_and_reopen().await;
    }
    assert_eq!(inbox.submit(webhook("k")).await.expect("is answered").webhook, first);
}

pub(crate) async fn a_full_backlog_refuses_releases<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(1).await;
    let kept = quarantined(&inbox, webhook("a")).await;
    let first = inbox.accept_new("b").await;
    let duplicate = quarantined(&inbox, webhook("b")).await;
    let refusal = inbox.release(kept.id, default_job()).await.expect_err("is refused");
    assert_eq!(refusal.reason(), Reason::BacklogFull);
    assert!(refusal.retry_delay().is_some(), "the error says when to retry");
    assert_eq!(inbox.status_of(kept.id).await, kept);
    let answer = inbox.release(duplicate.id, default_job()).await.expect("duplicates are answered");
    assert_eq!((answer.duplicate, answer.webhook), (true, first));

    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    inbox.release(kept.id, default_job()).await.expect("there is room");
    assert_eq!(refused(inbox.submit(webhook("c")).await), Reason::BacklogFull, "its job counts");
}

pub(crate) async fn a_released_job_starts_before_those_that_came_later<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    let jobs = || vec![ordered("orders", "x")];
    inbox.accept_for("1", jobs()).await;
    let kept = quarantined(&inbox, webhook("2")).await;
    inbox.advance(seconds(1));
    inbox.accept_for("3", jobs()).await;
    let running = inbox.claim_one().await;
    assert_eq!(running.idempotency_key.as_str(), "1");
    inbox.release(kept.id, jobs()).await.expect("is released");
    inbox.claim_nothing().await;
    inbox.end(&running, Status::Completed).await;
    for key in ["2", "3"] {
        let job = inbox.claim_one().await;
        assert_eq!(job.idempotency_key.as_str(), key);
        inbox.end(&job, Status::Completed).await;
    }
    inbox.claim_nothing().await;
}

pub(crate) async fn a_released_job_does_not_wait_for_a_later_retrying_one<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    let jobs = || vec![ordered("orders", "x")];
    let kept = quarantined(&inbox, webhook("released")).await;
    inbox.accept_for("retrying", jobs()).await;
    let retrying = inbox.claim_one().await;
    inbox.fail(&retrying, seconds(60)).await;
    inbox.claim_nothing().await;
    inbox.release(kept.id, jobs()).await.expect("is released");
    let job = inbox.claim_one().await;
    assert_eq!(job.idempotency_key.as_str(), "released");
    inbox.end(&job, Status::Completed).await;
    inbox.claim_nothing().await;
    inbox.advance(seconds(60));
    assert_eq!(inbox.claim_one().await.idempotency_key.as_str(), "retrying");
}

/// Starts a release in a task of its own.
fn start_release<H: Harness>(inbox: &Inbox<H>, id: WebhookId) -> JoinHandle<Result<Accepted>> {
    let store = inbox.shared();
    tokio::spawn(async move { store.release(id, default_job(), None).await })
}

pub(crate) async fn of_concurrent_releases_of_one_key_only_one_gets_it<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for round in 0..ROUNDS {
        let key = round.to_string();
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(quarantined(&inbox, webhook(&key)).await.id);
        }
        let releases = kept.iter().map(|id| start_release(&inbox, *id)).collect::<Vec<_>>();
        let answers = join_all(releases).await.into_iter();
        let answers = answers.map(|answer| answer.expect("ran").expect("is answered"));
        let (duplicates, new): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.duplicate);
        let [new] = <[_; 1]>::try_from(new).expect("one gets the key");
        assert!(duplicates.iter().all(|duplicate| duplicate.webhook == new.webhook));
        let gone = join_all(kept.iter().map(|id| is_gone(&inbox, *id))).await;
        assert_eq!(gone.into_iter().filter(|is_gone| *is_gone).count(), 2);
    }
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Pending), counts.total()), (ROUNDS as u64, ROUNDS as u64));
    assert_eq!(inbox.claimed(100).await.len(), ROUNDS);
}

pub(crate) async fn of_a_concurrent_release_and_acceptance_only_one_gets_the_key<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for round in 0..ROUNDS {
        let key = round.to_string();
        let id = quarantined(&inbox, webhook(&key)).await.id;
        let releasing = start_release(&inbox, id);
        let accepted = inbox.submit(webhook(&key)).await.expect("is answered");
        let released = releasing.await.expect("ran").expect("is answered");
        assert_ne!(accepted.duplicate, released.duplicate, "one is the first");
        assert_eq!(accepted.webhook, released.webhook);
        assert_eq!(accepted.webhook.id == id, accepted.duplicate);
    }
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Pending), counts.total()), (ROUNDS as u64, ROUNDS as u64));
}

pub(crate) async fn of_concurrent_releases_and_discards_of_a_webhook_only_one_succeeds<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let key = round.to_string();
        let id = quarantined(&inbox, webhook(&key)).await.id;
        let releases = [start_release(&inbox, id), start_release(&inbox, id)];
        let discarded = inbox.discard(id).await;
        let mut succeeded = usize::from(discarded.is_ok());
        for answer in join_all(releases).await {
            match answer.expect("ran") {
                Ok(released) => {
                    assert!(!released.duplicate);
                    succeeded += 1;
                    expected.push(key.clone());
                }
                Err(error) if discarded.is_ok() => assert_eq!(error.reason(), Reason::WebhookNotFound),
                Err(error) => assert_eq!(error.reason(), Reason::WrongStatus),
            }
        }
        assert_eq!(succeeded, 1);
        assert_eq!(is_gone(&inbox, id).await, discarded.is_ok());
    }
    expected.sort_unstable();
    assert_eq!(sorted_keys(&inbox.claimed(100).await), expected);
    assert_eq!(inbox.counts().await.total(), expected.len() as u64);
}

pub(crate) async fn a_release_at_the_time_of_a_purge_keeps_the_webhook_or_finds_it_gone<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let retention = Retention { quarantined: KEPT, ..RETENTION };
    let mut released = 0;
    for round in 0..ROUNDS {
        let id = quarantined(&inbox, webhook(&round.to_string())).await.id;
        inbox.advance(KEPT);
        let releasing = start_release(&inbox, id);
        let purged = inbox.purge(retention).await.expect("purges").webhooks;
        match releasing.await.expect("ran") {
            Ok(answer) => {
                assert_eq!((answer.webhook.id, answer.webhook.status(), purged), (id, Status::Pending, 0));
                released += 1;
            }
            Err(error) => assert_eq!((error.reason(), purged), (Reason::WebhookNotFound, 1)),
        }
    }
    assert_eq!(inbox.everything().await.len(), released);
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Pending), counts.total()), (released as u64, released as u64));
}
