//! Quarantine: webhooks that were not verified are kept without jobs, and do not take their key. `releasing` tests what
//! becomes of them.

use std::time::Duration;

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use hookbox::internals::domain::webhook::{NewWebhook, WebhookName, WebhookStatus};
use hookbox::internals::store::{ListQuery, MAX_QUARANTINED, Purged, StatusCounts};

use super::purging::RETENTION;
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, key_of, milliseconds, refused, seconds, source, webhook, webhook_with};
use crate::store::routes::{default_job, route};

/// How long the tests of purging keep quarantined webhooks. Shorter than everything else.
pub(crate) const KEPT: Duration = seconds(50);

/// How many webhooks come in one request.
const AT_ONCE: usize = 500;

/// Quarantines a webhook.
pub(crate) async fn quarantined<H: Harness>(inbox: &Inbox<H>, new: NewWebhook) -> WebhookStatus {
    inbox.quarantine(vec![new]).await.expect("is stored").expect("has room").remove(0)
}

/// Purges until nothing is left to remove, and returns the totals.
async fn purge_quarantined<H: Harness>(inbox: &Inbox<H>) -> Purged {
    let mut all = Purged::default();
    for _ in 0..1_000 {
        let purged = inbox.purge(Retention { quarantined: KEPT, ..RETENTION }).await.expect("purges");
        all.payloads += purged.payloads;
        all.webhooks += purged.webhooks;
        if !purged.more {
            return all;
        }
    }
    panic!("purging does not end");
}

/// The webhooks in one of these statuses.
async fn listed<H: Harness>(inbox: &Inbox<H>, statuses: &[Status]) -> Vec<WebhookStatus> {
    let statuses = statuses.iter().copied().collect();
    inbox.listed(&ListQuery { statuses, limit: 500, ..ListQuery::default() }).await
}

fn by_key(key: &str) -> WebhookName {
    WebhookName::Key(source("default"), key_of(key))
}

pub(crate) async fn a_quarantined_webhook_is_kept_without_jobs<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    inbox.accept_for("filtered", []).await;
    inbox.advance(seconds(1));
    let headers: [(&str, &[u8]); 1] = [("x-shop", b"7")];
    let new = NewWebhook {
        source: source("shop"),
        headers: KeptHeaders::keep(headers, |_| false),
        verdict: Verdict::Unverified(Cause::SignatureMismatch),
        ..webhook_with("k", r#"{"n": 2}"#)
    };
    let kept = quarantined(&inbox, new.clone()).await;
    assert_eq!((kept.status(), kept.is_quarantined, kept.jobs.len()), (Status::Quarantined, true, 0));
    assert_eq!((&kept.source, &kept.idempotency_key), (&new.source, &new.idempotency_key));
    assert_eq!((&kept.event_type, kept.accepted_at), (&new.event_type, inbox.now()));
    inbox.advance(seconds(1));
    let newest = inbox.ended_webhook("newest", Status::Completed).await;

    for _ in 0..2 {
        assert_eq!(inbox.status_of(kept.id).await, kept);
        let detail = inbox.detail_of(kept.id).await;
        assert_eq!((&detail.status, detail.jobs.len()), (&kept, 0));
        assert_eq!(detail.payload.as_deref(), Some(&br#"{"n": 2}"#[..]));
        assert_eq!(detail.headers, [("x-shop".to_owned(), "7".to_owned())]);
        assert_eq!((detail.verdict, detail.traceparent), (new.verdict, new.traceparent.clone()));

        assert_eq!(listed(&inbox, &[Status::Quarantined]).await, std::slice::from_ref(&kept));
        let all = inbox.everything().await;
        assert_eq!(all[..2], [newest.clone(), kept.clone()]);
        assert_eq!(listed(&inbox, &[Status::Filtered]).await, all[2..]);
        let both = listed(&inbox, &[Status::Filtered, Status::Quarantined]).await;
        assert_eq!(both, all[1..]);
        let of_route = ListQuery { route: Some(route("default")), limit: 10, ..ListQuery::default() };
        assert_eq!(inbox.listed(&of_route).await, all[..1]);

        let stats = inbox.stats().await.expect("counts");
        let unrouted = [Status::Quarantined, Status::Filtered].map(|status| stats.unrouted.of(status));
        assert_eq!((unrouted, stats.counts().total()), ([1, 1], 3));
        inbox.claim_nothing().await;
        inbox.crash_and_reopen().await;
    }
}

pub(crate) async fn a_quarantined_webhook_does_not_take_its_key<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let genuine = inbox.accept_new("before").await;
    for payload in [r#"{"n":1}"#, r#"{"n":2}"#] {
        quarantined(&inbox, webhook_with("before", payload)).await;
        // Two with the same key.
        quarantined(&inbox, webhook_with("after", payload)).await;
    }
    assert_eq!(refused(inbox.status(by_key("after")).await), Reason::WebhookNotFound);
    inbox.crash_and_reopen().await;

    let later = inbox.submit(webhook_with("after", r#"{"n":3}"#)).await.expect("is accepted");
    assert!(!later.duplicate, "a quarantined webhook has the key");
    for (key, payload, expected) in
        [("before", r#"{"n":1}"#, &genuine), ("after", r#"{"n":3}"#, &later.webhook)]
    {
        let again = inbox.submit(webhook_with(key, payload)).await.expect("is answered");
        assert_eq!((again.duplicate, &again.webhook), (true, expected), "{key}");
        assert_eq!(&inbox.status(by_key(key)).await.expect("is found"), expected, "{key}");
        assert_eq!(refused(inbox.submit(webhook_with(key, r#"{"n":2}"#)).await), Reason::KeyReused);
    }
    assert_eq!(inbox.counts().await.of(Status::Quarantined), 4);
    assert_eq!(inbox.claimed(10).await.len(), 2);
}

pub(crate) async fn the_webhooks_of_a_request_are_quarantined_in_their_order<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let new = ["b", "a", "c", "a"].map(webhook).to_vec();
    let kept = inbox.quarantine(new).await.expect("is stored").expect("has room");
    assert_eq!(
        kept.iter().map(|webhook| webhook.idempotency_key.as_str()).collect::<Vec<_>>(),
        ["b", "a", "c", "a"]
    );
    assert!(kept.is_sorted_by_key(|webhook| webhook.id), "{kept:?}");
    for webhook in &kept {
        assert_eq!(&inbox.status_of(webhook.id).await, webhook);
    }
    assert_eq!(inbox.counts().await.of(Status::Quarantined), 4);
    assert_eq!(inbox.quarantine(Vec::new()).await.expect("is answered"), Some(Vec::new()));
}

pub(crate) async fn a_source_has_room_for_a_limited_number_of_quarantined_webhooks<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = quarantined(&inbox, webhook("0")).await;
    let keys = (1..MAX_QUARANTINED).map(|number| number.to_string()).collect::<Vec<_>>();
    for keys in keys.chunks(AT_ONCE) {
        let webhooks = keys.iter().map(|key| webhook(key)).collect();
        inbox.quarantine(webhooks).await.expect("is stored").expect("has room");
    }
    let one_more = async || inbox.quarantine(vec![webhook("one more")]).await.expect("is answered");
    assert_eq!((one_more().await, one_more().await), (None, None));
    assert_eq!(inbox.counts().await.of(Status::Quarantined), MAX_QUARANTINED as u64);

    let of_another = NewWebhook { source: source("shop"), ..webhook("0") };
    quarantined(&inbox, of_another).await;
    inbox.accept_new("0").await;
    inbox.discard(first.id).await.expect("is discarded");
    let two = ["1", "2"].map(webhook).to_vec();
    assert_eq!(inbox.quarantine(two).await.expect("is answered"), None, "all of them or none");
    assert!(one_more().await.is_some(), "the quarantine has room again");
    assert_eq!(one_more().await, None);
}

pub(crate) async fn a_quarantined_webhook_is_neither_retried_nor_cancelled<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let kept = quarantined(&inbox, webhook("k")).await;
    for named in [None, Some(route("default"))] {
        assert_eq!(refused(inbox.retry(kept.id, named.clone()).await), Reason::WrongStatus);
        assert_eq!(refused(inbox.cancel(kept.id, named).await), Reason::WrongStatus);
    }
    assert_eq!(inbox.status_of(kept.id).await, kept);
}

pub(crate) async fn a_quarantined_webhook_is_purged_whole_after_its_retention<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let id = quarantined(&inbox, webhook("k")).await.id;
    inbox.accept_new("k").await;
    inbox.advance(KEPT - milliseconds(1));
    assert_eq!(purge_quarantined(&inbox).await, Purged::default());
    assert!(inbox.detail_of(id).await.payload.is_some());
    inbox.crash_and_reopen().await;
    let young = quarantined(&inbox, webhook("k")).await;
    inbox.advance(milliseconds(1));
    assert_eq!(purge_quarantined(&inbox).await, Purged { webhooks: 1, ..Purged::default() });
    inbox.crash_and_reopen().await;

    assert_eq!(refused(inbox.webhook(id).await), Reason::WebhookNotFound);
    assert_eq!(listed(&inbox, &[Status::Quarantined]).await, std::slice::from_ref(&young));
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Quarantined), counts.of(Status::Pending)), (1, 1));
    assert!(inbox.submit(webhook("k")).await.expect("is answered").duplicate, "the key is still taken");
    inbox.advance(KEPT);
    assert_eq!(purge_quarantined(&inbox).await.webhooks, 1);
    assert_eq!(inbox.counts().await.total(), 1);
}

pub(crate) async fn a_released_webhook_is_kept_as_long_as_any_other<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let running = quarantined(&inbox, webhook("running")).await.id;
    let filtered = quarantined(&inbox, webhook("filtered")).await.id;
    inbox.advance(KEPT);
    inbox.release(running, default_job()).await.expect("is released");
    inbox.release(filtered, Vec::new()).await.expect("is released");
    inbox.advance(RETENTION.completed - milliseconds(1));
    assert_eq!(purge_quarantined(&inbox).await, Purged::default());
    inbox.advance(milliseconds(1));
    assert_eq!(purge_quarantined(&inbox).await, Purged { payloads: 1, ..Purged::default() });
    assert_eq!(inbox.detail_of(filtered).await.payload, None, "filtered since the release");

    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    inbox.advance(RETENTION.keys - milliseconds(1));
    assert_eq!(purge_quarantined(&inbox).await, Purged { payloads: 1, webhooks: 1, more: false });
    inbox.advance(milliseconds(1));
    assert_eq!(purge_quarantined(&inbox).await, Purged { webhooks: 1, ..Purged::default() });
    assert_eq!(inbox.counts().await, StatusCounts::default());
}

pub(crate) async fn a_purge_removes_a_bounded_number_of_quarantined_webhooks<H: Harness>() {
    const WEBHOOKS: usize = 700;
    let inbox = Inbox::<H>::new().await;
    let keys = (0..WEBHOOKS).map(|number| number.to_string()).collect::<Vec<_>>();
    for keys in keys.chunks(AT_ONCE) {
        let webhooks = keys.iter().map(|key| webhook(key)).collect();
        inbox.quarantine(webhooks).await.expect("is stored").expect("has room");
    }
    inbox.advance(KEPT);
    let first = inbox.purge(Retention { quarantined: KEPT, ..RETENTION }).await.expect("purges");
    assert!(first.more && (1..WEBHOOKS).contains(&first.webhooks), "{first:?}");
    assert_eq!(inbox.counts().await.total(), (WEBHOOKS - first.webhooks) as u64);
    assert_eq!(first.webhooks + purge_quarantined(&inbox).await.webhooks, WEBHOOKS);
    assert!(inbox.everything().await.is_empty());
    assert_eq!(inbox.counts().await, StatusCounts::default());
}

pub(crate) async fn a_closed_store_neither_quarantines_nor_releases<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = quarantined(&inbox, webhook("k")).await.id;
    inbox.close().await;
    assert_eq!(refused(inbox.quarantine(vec![webhook("other")]).await), Reason::ShuttingDown);
    assert_eq!(refused(inbox.release(id, default_job()).await), Reason::ShuttingDown);
    assert_eq!(refused(inbox.discard(id).await), Reason::ShuttingDown);
}
