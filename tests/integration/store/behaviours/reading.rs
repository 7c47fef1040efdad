//! Reading one webhook by id or by key.

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookName};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, key_of, look_alike, refused, source, webhook_with};
use crate::store::routes::default_job;

pub(crate) async fn a_status_is_found_by_id_and_by_key<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let webhook = inbox.accept_new("k").await;
    inbox.accept_new("other").await;
    for _ in 0..2 {
        let by_key = inbox.status(WebhookName::Key(source("default"), key_of("k"))).await.expect("found");
        assert_eq!(by_key, webhook);
        assert_eq!(inbox.status(WebhookName::Id(webhook.id)).await.expect("found"), webhook);
        inbox.crash_and_reopen().await;
    }
}

pub(crate) async fn an_unknown_webhook_is_not_found<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("k").await;
    let unknown = WebhookId::from_bytes([7; 16]);
    assert_eq!(refused(inbox.status(WebhookName::Id(unknown)).await), Reason::WebhookNotFound);
    assert_eq!(refused(inbox.webhook(unknown).await), Reason::WebhookNotFound);
    for (from, key) in [("default", "K"), ("default", "k "), ("other", "k")] {
        let name = WebhookName::Key(source(from), key_of(key));
        assert_eq!(refused(inbox.status(name).await), Reason::WebhookNotFound, "{from} {key:?}");
    }
}

pub(crate) async fn an_id_that_differs_only_after_its_first_60_bits_is_not_found<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let other = look_alike(inbox.accept_new("k").await.id);
    assert_eq!(refused(inbox.status(WebhookName::Id(other)).await), Reason::WebhookNotFound);
    assert_eq!(refused(inbox.webhook(other).await), Reason::WebhookNotFound);
}

pub(crate) async fn the_details_of_a_webhook_include_all_that_was_sent<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let sent = NewWebhook {
        source: source("git-hub"),
        event_type: event_type("zażółć"),
        ..webhook_with("k", r#"{"z": 12345678901234567890, "a": 1.10}"#)
    };
    let webhook = inbox.accept(sent.clone(), default_job()).await.expect("accepted").webhook;

    let detail = inbox.detail_of(webhook.id).await;
    assert_eq!(detail.status, webhook);
    assert_eq!(detail.status.source, sent.source);
    assert_eq!(detail.status.event_type, sent.event_type);
    assert_eq!(detail.payload.as_deref(), Some(sent.payload.as_bytes()));
    assert_eq!(detail.traceparent, sent.traceparent);
    let [job] = detail.jobs.as_slice() else { panic!("one job: {detail:?}") };
    assert_eq!((job.run, job.uncounted_attempts, job.available_at), (1, 0, webhook.accepted_at));
    assert_eq!((&job.result, job.completed_at), (&None, None));
    assert!(job.attempts.is_empty(), "no attempt has ended");
}
