//! Releases that meet another transaction at the same key or the same webhook.

use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::store::Purged;

use super::EmptiedPostgres;
use super::purging::done_or_waiting;
use crate::store::behaviours::purging::RETENTION;
use crate::store::behaviours::quarantine::{KEPT, quarantined};
use crate::store::inbox::{Inbox, webhook};
use crate::store::routes::default_job;
use crate::support::postgres::Session;

/// Stores a webhook with the content of a quarantined one, as another process does that has not committed yet.
fn take_key(session: &Session, id: WebhookId) {
    let storing = format!(
        "BEGIN; INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, payload,
                                      payload_digest, traceparent, accepted_at)
         SELECT gen_random_uuid(), source, idempotency_key, event_type, content_type, verdict, payload, payload_digest,
                traceparent, accepted_at FROM webhooks WHERE id = '{id}'"
    );
    session.ask(&storing).expect("stores");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_waits_for_a_transaction_that_takes_its_key() {
    for (end, is_taken) in [("COMMIT", true), ("ROLLBACK", false)] {
        let inbox = Inbox::<EmptiedPostgres>::new().await;
        let id = quarantined(&inbox, webhook("k")).await.id;
        let session = Session::open(&inbox.harness().url()).expect("connects");
        take_key(&session, id);
        let store = inbox.shared();
        let releasing = tokio::spawn(async move { store.release(id, default_job(), None).await });
        done_or_waiting(&session, &releasing, 1).await;
        assert!(!releasing.is_finished(), "it is not decided yet who gets the key");
        session.ask(end).expect("ends");

        let released = releasing.await.expect("ran").expect("is answered");
        assert_eq!((released.duplicate, released.webhook.id != id), (is_taken, is_taken), "{end}");
        let counts = inbox.counts().await;
        let pending = u64::from(!is_taken);
        assert_eq!((counts.of(Status::Quarantined), counts.of(Status::Pending)), (0, pending), "{end}");
        assert_eq!(inbox.claimed(10).await.len() as u64, pending, "{end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_a_webhook_alone_that_is_being_released() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    let id = quarantined(&inbox, webhook("k")).await.id;
    inbox.advance(KEPT);
    let session = Session::open(&inbox.harness().url()).expect("connects");
    // The release locks the webhook, and then waits to remove its row of `finished_jobs`.
    session.ask("BEGIN; LOCK TABLE finished_jobs IN SHARE MODE").expect("locks");
    let store = inbox.shared();
    let releasing = tokio::spawn(async move { store.release(id, default_job(), None).await });
    done_or_waiting(&session, &releasing, 1).await;
    assert!(!releasing.is_finished(), "it waits");

    let purged = inbox.purge(Retention { quarantined: KEPT, ..RETENTION }).await.expect("purges");
    assert_eq!(purged, Purged::default());
    session.ask("COMMIT").expect("unlocks");
    releasing.await.expect("ran").expect("is released");
    assert_eq!(inbox.status_of(id).await.status(), Status::Pending);
    assert_eq!(inbox.claim_one().await.lease.job.webhook, id);
}
