//! A transfer moves quarantined webhooks, which do not take their key.

use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use hookbox::internals::domain::webhook::{NewWebhook, WebhookName, WebhookStatus};

use super::equal::assert_equal;
use super::moved;
use crate::store::inbox::{Inbox, key_of, source, webhook};
use crate::store::routes::default_job;
use crate::store::sqlite::SqliteHarness;

async fn quarantined(inbox: &Inbox<SqliteHarness>, key: &str) -> WebhookStatus {
    let new = NewWebhook { verdict: Verdict::Unverified(Cause::SignatureMismatch), ..webhook(key) };
    inbox.quarantine(vec![new]).await.expect("is stored").expect("has room").remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantined_webhooks_move_and_can_be_released_and_discarded() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let taken = quarantined(&inbox, "taken").await;
    let (free, other) = (quarantined(&inbox, "free").await, quarantined(&inbox, "free").await);
    let genuine = inbox.accept_new("taken").await;
    let (target, moved_rows) = moved(&mut inbox).await;

    assert_eq!((moved_rows.webhooks, moved_rows.counts.of(Status::Quarantined)), (4, 3));
    assert!(target.status_of(free.id).await.is_quarantined);
    assert_equal(&inbox, &target).await;

    for store in [inbox.shared(), target.shared()] {
        let name = |key| WebhookName::Key(source("default"), key_of(key));
        assert_eq!(store.status(name("taken")).await.expect("is found").id, genuine.id);
        store.status(name("free")).await.expect_err("a quarantined webhook is not found by its key");

        let duplicate = store.release(taken.id, default_job(), None).await.expect("is answered");
        assert_eq!((duplicate.duplicate, duplicate.webhook.id), (true, genuine.id));
        let released = store.release(free.id, default_job(), None).await.expect("is released");
        assert_eq!((released.duplicate, released.webhook.status()), (false, Status::Pending));
        assert_eq!(store.status(name("free")).await.expect("is found"), released.webhook);
        store.discard(other.id).await.expect("is discarded");
    }
    assert_eq!(inbox.counts().await.of(Status::Quarantined), 0);
    assert_equal(&inbox, &target).await;
}
