//! Notifications: watchers receive changes of jobs, and the dispatcher is woken for due jobs.

use std::sync::Arc;

use futures::FutureExt;
use hookbox::internals::domain::job::{JobId, Status};
use hookbox::internals::store::changes::{Change, Watching};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::TryRecvError;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, seconds};
use crate::store::routes::{job, policy, route};

/// Returns the changes announced so far. A change is announced before its operation returns.
fn announced(changes: &mut Watching) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        match changes.try_recv() {
            Ok(change) => all.push(change),
            Err(TryRecvError::Empty) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn every_change_is_announced_with_a_growing_revision<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut last = inbox.accept_new("k").await;
    let id = last.id;
    let mut changes = inbox.changes().watch(id);

    let mut claims = Vec::new();
    for (step, attempt_count) in [
        ("claim", 1),
        ("stop", 1),
        ("claim", 2),
        ("take over", 2),
        ("claim", 3),
        ("fail", 3),
        ("claim", 4),
        ("dead-letter", 4),
        ("retry", 4),
        ("cancel", 4),
        ("retry", 4),
        ("claim", 5),
        ("dead-letter", 5),
        ("cancel", 5),
        ("retry", 5),
        ("claim", 6),
        ("complete", 6),
    ] {
        let status = match step {
            "claim" => {
                claims.push(inbox.claim_one().await);
                Status::Processing
            }
            "take over" => {
                inbox.advance(LEASE);
                inbox.take_over_expired(Vec::new()).await.expect("takes over");
                Status::Pending
            }
            "retry" => inbox.retry(id, None).await.expect("retries").status(),
            "cancel" => inbox.cancel(id, None).await.expect("cancels").status(),
            end => {
                let next = match end {
                    "stop" => Status::Pending,
                    "fail" => Status::Retrying,
                    "dead-letter" => Status::DeadLettered,
                    _ => Status::Completed,
                };
                inbox.end(claims.last().expect("claimed"), next).await;
                next
            }
        };
        let now = inbox.status_of(id).await;
        assert_eq!((now.status(), now.attempt_count()), (status, attempt_count), "{step}");
        assert!(now.revision() > last.revision(), "{step}");
        let job = &now.jobs[0];
        let error = matches!(step, "fail" | "dead-letter").then_some("failed");
        assert_eq!(job.last_error.as_deref(), error, "{step}");
        let is_due = matches!(step, "stop" | "take over" | "fail" | "retry");
        assert_eq!(job.next_attempt_at, is_due.then(|| inbox.now()), "{step}");
        let change = Change {
            job: JobId { webhook: id, queue: job.queue },
            route: route("default"),
            status,
            attempt_count,
            updated_at: inbox.now(),
            revision: now.revision(),
            last_error: job.last_error.clone(),
            next_attempt_at: job.next_attempt_at,
        };
        assert_eq!(announced(&mut changes), [change], "{step}");
        last = now;
        inbox.advance(seconds(1));
    }
}

pub(crate) async fn a_change_names_the_job_and_its_route<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("a"), policy("b")]).await;
    let id = inbox.accept_for("k", [job("a"), job("b"), job("held")]).await.id;
    let mut changes = inbox.changes().watch(id);
    let mut told = async || {
        let jobs = inbox.status_of(id).await.jobs;
        let mut told = Vec::new();
        for change in announced(&mut changes) {
            let job = jobs.iter().find(|job| job.queue == change.job.queue).expect("is a job of it");
            assert_eq!((change.job.webhook, &change.route), (id, &job.route));
            assert!(change.revision <= job.revision);
            told.push((change.route.to_string(), change.status));
        }
        told.sort();
        told
    };
    let change = |route: &str, status| (route.to_owned(), status);

    let mut jobs = inbox.claimed(10).await;
    jobs.sort_by(|one, other| one.route.cmp(&other.route));
    assert_eq!(told().await, [change("a", Status::Processing), change("b", Status::Processing)]);
    inbox.end(&jobs[0], Status::DeadLettered).await;
    assert_eq!(told().await, [change("a", Status::DeadLettered)]);
    inbox.end(&jobs[1], Status::Retrying).await;
    assert_eq!(told().await, [change("b", Status::Retrying)]);
    inbox.cancel(id, Some(route("held"))).await.expect("cancels");
    assert_eq!(told().await, [change("held", Status::Cancelled)]);
    inbox.retry(id, None).await.expect("retries");
    assert_eq!(told().await, [change("a", Status::Pending), change("held", Status::Pending)]);
    inbox.cancel(id, None).await.expect("cancels");
    let cancelled = ["a", "b", "held"].map(|route| change(route, Status::Cancelled));
    assert_eq!(told().await, cancelled);
}

pub(crate) async fn an_operation_without_effect_is_not_announced<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::DeadLettered).await;
    inbox.retry(id, None).await.expect("retries");
    inbox.cancel(id, None).await.expect("cancels");

    let mut changes = inbox.changes().watch(id);
    inbox.cancel(id, None).await.expect("answered");
    assert!(!inbox.finish_one(inbox.ended(&job, Status::Completed)).await.expect("answered"));
    inbox.renew(vec![job.lease], LEASE).await.expect("answered");
    inbox.take_over_expired(Vec::new()).await.expect("looks");
    inbox.claim_nothing().await;
    inbox.submit(crate::store::inbox::webhook("k")).await.expect("answered");
    inbox.accept_new("other").await;
    inbox.claim_one().await;
    assert_eq!(announced(&mut changes), []);
}

pub(crate) async fn every_watcher_of_a_webhook_receives_its_changes<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    assert!(!inbox.changes().is_watched());
    let (mut one, mut other) = (inbox.changes().watch(id), inbox.changes().watch(id));
    assert!(inbox.changes().is_watched());
    inbox.cancel(id, None).await.expect("cancels");
    assert_eq!(announced(&mut one).len(), 1);
    drop(one);
    inbox.retry(id, None).await.expect("retries");
    assert_eq!(announced(&mut other).len(), 2);
}

pub(crate) async fn a_webhook_is_watched_until_its_last_watcher_is_gone<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let ids = [inbox.accept_new("one").await.id, inbox.accept_new("other").await.id];
    let [one, other, last] = [ids[0], ids[0], ids[1]].map(|id| inbox.changes().watch(id));
    drop((one, last));
    assert!(inbox.changes().is_watched(), "the first webhook has a watcher left");
    drop(other);
    assert!(!inbox.changes().is_watched());
    let mut again = inbox.changes().watch(ids[0]);
    inbox.cancel(ids[0], None).await.expect("cancels");
    assert_eq!(announced(&mut again).len(), 1);
}

/// Returns a `Notify` that the store notifies when jobs become startable.
pub(crate) fn listen<H: Harness>(inbox: &Inbox<H>) -> Arc<Notify> {
    let wake = Arc::new(Notify::new());
    inbox.on_due(Arc::clone(&wake));
    assert!(is_asleep(inbox, &wake), "no job is due yet");
    wake
}

/// Whether `wake` was notified since the last call. The process that makes a change notifies its own dispatcher
/// before the operation returns.
pub(crate) fn is_woken(wake: &Notify) -> bool {
    wake.notified().now_or_never().is_some()
}

/// Whether `wake` was not notified since the last call. Also true if the store may have notified it by itself.
pub(crate) fn is_asleep<H: Harness>(inbox: &Inbox<H>, wake: &Notify) -> bool {
    !is_woken(wake) || inbox.may_have_woken()
}

pub(crate) async fn the_dispatcher_is_woken_when_a_job_becomes_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let wake = listen(&inbox);

    let id = inbox.accept_new("k").await.id;
    assert!(is_woken(&wake), "accepted");
    let job = inbox.claim_one().await;
    assert!(is_asleep(&inbox, &wake), "a claim makes no job due");
    inbox.end(&job, Status::Pending).await;
    assert!(is_woken(&wake), "stopped");
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(10)).await;
    assert!(is_woken(&wake), "due later");
    inbox.advance(seconds(10));
    inbox.claim_one().await;
    inbox.advance(LEASE);
    inbox.take_over_expired(Vec::new()).await.expect("takes over");
    assert!(is_woken(&wake), "taken over");
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::DeadLettered).await;
    assert!(is_asleep(&inbox, &wake), "a finished job makes no other job due");
    inbox.retry(id, None).await.expect("retries");
    assert!(is_woken(&wake), "a job retried by hand is due");
    inbox.cancel(id, None).await.expect("cancels");
    assert!(is_asleep(&inbox, &wake), "a cancellation makes no job due");
    inbox.accept_for("filtered", []).await;
    assert!(is_asleep(&inbox, &wake), "a filtered webhook has no job");
}
