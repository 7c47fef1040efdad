//! Another content under a key that is taken, where the first one is kept: it is a duplicate, and is returned with it.

use hookbox::internals::domain::conflict::{OnConflict, OtherWebhook};
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::webhook::NewWebhook;
use hookbox::internals::store::{Accepted, BatchError, Submission};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, webhook, webhook_with};
use crate::store::routes::default_job;

/// Another content than that of `webhook(key)`.
const OTHER: &str = r#"{"n":2}"#;

fn renamed(key: &str) -> NewWebhook {
    NewWebhook { event_type: event_type("order.lost"), ..webhook(key) }
}

/// Stores webhooks as one batch that keeps the first.
async fn keep_first<H: Harness>(inbox: &Inbox<H>, webhooks: Vec<NewWebhook>) -> Vec<Accepted> {
    let submission = |webhook| Submission { webhook, jobs: default_job() };
    let batch = webhooks.into_iter().map(submission).collect();
    inbox.accept_batch(batch, OnConflict::KeepFirst).await.expect("is answered")
}

/// Stores one webhook alone, which must be a duplicate. Returns what is returned with it.
async fn other_of<H: Harness>(inbox: &Inbox<H>, webhook: NewWebhook) -> Option<OtherWebhook> {
    let mut accepted = keep_first(inbox, vec![webhook]).await;
    let Accepted { duplicate, other, .. } = accepted.pop().expect("one result");
    assert!(duplicate);
    other.map(|other| *other)
}

fn body(other: &OtherWebhook) -> &str {
    std::str::from_utf8(other.payload.as_bytes()).expect("a text")
}

/// The body that is returned with each of these, as a text.
fn others(accepted: &[Accepted]) -> Vec<Option<&str>> {
    accepted.iter().map(|accepted| accepted.other.as_deref().map(body)).collect()
}

pub(crate) async fn a_duplicate_comes_with_what_has_another_content<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let stored = inbox.accept_new("a").await;
    assert!(other_of(&inbox, webhook("a")).await.is_none(), "the same content");
    let same_value = webhook_with("a", "{ \"n\": 1 }");
    assert!(other_of(&inbox, same_value).await.is_none(), "the same value, which is how JSON is compared");

    let sent = webhook_with("a", OTHER);
    let other = other_of(&inbox, sent.clone()).await.expect("another payload");
    assert_eq!((other.payload.as_bytes(), &other.event_type), (OTHER.as_bytes(), &sent.event_type));
    assert_eq!(other.traceparent.as_str(), sent.traceparent.as_str());
    let other = other_of(&inbox, renamed("a")).await.expect("another event type");
    assert_eq!(other.event_type, event_type("order.lost"));
    assert_eq!(inbox.everything().await, [stored]);
}

pub(crate) async fn items_of_a_batch_are_compared_with_what_is_stored_under_their_key<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("stored").await;
    let first = r#"{"n":1}"#;
    let items = [
        ("stored", OTHER, Some(OTHER)),
        ("new", OTHER, None),
        // It is the content of the store, though not that of the item before.
        ("stored", first, None),
        ("new", OTHER, None),
        ("new", first, Some(first)),
        // It is the content of an item before, though not that of the store.
        ("stored", OTHER, Some(OTHER)),
    ];
    let sent = items.map(|(key, payload, _)| webhook_with(key, payload));
    let accepted = keep_first(&inbox, sent.into()).await;
    assert_eq!(others(&accepted), items.map(|(_, _, other)| other));
    let duplicates = accepted.iter().map(|accepted| accepted.duplicate).collect::<Vec<_>>();
    assert_eq!(duplicates, [true, false, true, true, true, true]);
    assert_eq!(inbox.everything().await.len(), 2);
}

pub(crate) async fn with_a_full_backlog_another_content_is_a_duplicate_too<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(1).await;
    inbox.accept_new("a").await;
    assert!(other_of(&inbox, webhook_with("a", OTHER)).await.is_some());
    let batch = keep_first(&inbox, vec![webhook("a"), webhook_with("a", OTHER)]).await;
    assert_eq!(others(&batch), [None, Some(OTHER)]);
}

pub(crate) async fn of_two_contents_at_once_one_is_stored_and_the_other_returned<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for key in ["1", "2", "3", "4"] {
        let one = keep_first(&inbox, vec![webhook(key)]);
        let other = keep_first(&inbox, vec![webhook_with(key, OTHER)]);
        let (one, other) = tokio::join!(one, other);
        let [stored, duplicate] = if one[0].duplicate { [&other[0], &one[0]] } else { [&one[0], &other[0]] };
        assert_eq!((stored.duplicate, stored.other.is_some()), (false, false));
        assert_eq!((duplicate.duplicate, duplicate.other.is_some()), (true, true));
        assert_eq!(stored.webhook.id, duplicate.webhook.id);
    }
}

pub(crate) async fn what_is_refused_for_its_content_comes_with_the_error<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let stored = inbox.accept_new("a").await;
    let sent = [webhook("a"), webhook_with("a", OTHER)];
    let sent = sent.map(|webhook| Submission { webhook, jobs: default_job() });
    let refused = inbox.accept_batch(sent.into(), OnConflict::Reject).await.expect_err("is refused");
    let BatchError { item, mut error } = refused;
    assert_eq!((item, error.reason(), error.webhook()), (Some(1), Reason::KeyReused, Some(stored.id)));
    let (first, other) = error.take_refused().expect("the error has it");
    assert_eq!((first, other.payload.as_bytes()), (stored.id, OTHER.as_bytes()));
    assert!(error.take_refused().is_none(), "it is taken");
}
