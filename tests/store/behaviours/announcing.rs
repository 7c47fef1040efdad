//! Announcements: changes of status to watchers, and due jobs to the dispatcher.

use std::sync::Arc;

use hookbox::domain::clock::Signal;
use hookbox::domain::job::Status;
use hookbox::store::changes::Change;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use crate::harness::Harness;
use crate::inbox::{Inbox, LEASE, seconds};

/// What was announced so far. A change is announced before its operation is answered.
fn announced(changes: &mut Receiver<Change>) -> Vec<Change> {
    let mut all = Vec::new();
    loop {
        match changes.try_recv() {
            Ok(change) => all.push(change),
            Err(TryRecvError::Empty) => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn every_change_is_announced_in_order_with_growing_revisions<H: Harness>() {
    let inbox = Inbox::<H>::with(100, 3).await;
    let accepted = inbox.accept_new("k").await;
    let id = accepted.id;
    let mut changes = inbox.changes().watch(id);

    let mut expected = Vec::new();
    let mut last = accepted;
    for (step, attempts) in [
        ("claim", 1),
        ("give back", 1),
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
        ("complete", 5),
    ] {
        let status = match step {
            "claim" => {
                expected.push(inbox.claim_one().await);
                Status::Processing
            }
            "take over" => {
                inbox.advance(LEASE);
                inbox.take_over_expired(Vec::new()).await.expect("takes over");
                Status::Pending
            }
            "retry" => inbox.retry(id, 3).await.expect("retries").status,
            "cancel" => inbox.cancel(id).await.expect("cancels").status,
            end => {
                let next = match end {
                    "give back" => Status::Pending,
                    "fail" => Status::Retrying,
                    "dead-letter" => Status::DeadLettered,
                    _ => Status::Completed,
                };
                inbox.end(expected.last().expect("claimed"), next).await;
                next
            }
        };
        let now = inbox.status_of(id).await;
        assert_eq!((now.status, now.attempt_count), (status, attempts), "{step}");
        assert!(now.revision > last.revision, "{step}");
        let change =
            Change { id, status, attempt_count: attempts, updated_at: inbox.now(), revision: now.revision };
        assert_eq!(announced(&mut changes), [change], "{step}");
        last = now;
        inbox.advance(seconds(1));
    }
}

pub(crate) async fn what_changes_nothing_is_not_announced<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::DeadLettered).await;
    inbox.retry(id, 1).await.expect("retries");
    inbox.cancel(id).await.expect("cancels");

    let mut changes = inbox.changes().watch(id);
    inbox.cancel(id).await.expect("answered");
    assert!(!inbox.finish(inbox.ended(&job, Status::Completed)).await.expect("answered"));
    inbox.renew(vec![job.lease], LEASE).await.expect("answered");
    inbox.take_over_expired(Vec::new()).await.expect("looks");
    inbox.claim(1, LEASE).await.expect("looks");
    inbox.accept(crate::inbox::webhook("k")).await.expect("answered");
    inbox.accept_new("other").await;
    inbox.claim(1, LEASE).await.expect("claims");
    assert_eq!(announced(&mut changes), []);
}

pub(crate) async fn every_watcher_of_a_webhook_is_told<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    assert!(!inbox.changes().is_watched());
    let (mut one, mut other) = (inbox.changes().watch(id), inbox.changes().watch(id));
    assert!(inbox.changes().is_watched());
    inbox.cancel(id).await.expect("cancels");
    assert_eq!(announced(&mut one).len(), 1);
    drop(one);
    inbox.retry(id, 1).await.expect("retries");
    assert_eq!(announced(&mut other).len(), 2);
}

pub(crate) async fn the_dispatcher_is_woken_by_whatever_makes_a_job_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let wake = Arc::new(Signal::default());
    inbox.on_due(Arc::clone(&wake));
    assert!(!wake.take(), "nothing is due");

    let id = inbox.accept_new("k").await.id;
    assert!(wake.take(), "accepted");
    let job = inbox.claim_one().await;
    assert!(!wake.take(), "a claim makes nothing due");
    inbox.end(&job, Status::Pending).await;
    assert!(wake.take(), "given back");
    inbox.claim_one().await;
    inbox.advance(LEASE);
    inbox.take_over_expired(Vec::new()).await.expect("takes over");
    assert!(wake.take(), "taken over");
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::DeadLettered).await;
    assert!(!wake.take(), "an end makes nothing due");
    inbox.retry(id, 1).await.expect("retries");
    assert!(wake.take(), "retried by hand");
    inbox.cancel(id).await.expect("cancels");
    assert!(!wake.take(), "a cancellation makes nothing due");
}
