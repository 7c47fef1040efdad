//! Following what comes in: ids in their order, the status of each, and a notification after the commit.

use std::time::Duration;

use hookbox::internals::domain::id::WebhookId;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, look_alike, milliseconds, webhook};
use crate::store::routes::{default_job, job};

pub(crate) async fn ids_are_returned_in_their_order_after_a_place<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    assert_eq!(inbox.newest().await.expect("reads"), None);
    assert!(inbox.ids_after(WebhookId::FIRST, 10).await.expect("reads").is_empty());
    let mut ids = Vec::new();
    for number in 0..5 {
        // One of them has no jobs.
        let jobs = if number == 2 { Vec::new() } else { default_job() };
        ids.push(inbox.accept_for(&number.to_string(), jobs).await.id);
        inbox.advance(milliseconds(number % 2));
    }
    let after = async |place: WebhookId, limit: usize| inbox.ids_after(place, limit).await.expect("reads");
    assert_eq!(after(WebhookId::FIRST, 10).await, ids);
    assert_eq!(after(WebhookId::FIRST, 2).await, ids[..2]);
    assert_eq!(after(ids[1], 10).await, ids[2..]);
    assert!(after(ids[4], 10).await.is_empty());
    assert_eq!(after(ids[4].earlier(Duration::from_secs(60)), 10).await, ids);
    let place = WebhookId::before_all(ids[2].time());
    assert_eq!(after(place, 10).await, ids[2..], "the first id of its millisecond comes after it");
    assert_eq!(inbox.newest().await.expect("reads"), Some(ids[4]));
    inbox.advance(milliseconds(1));
    let place = WebhookId::before_all(inbox.time_of_ids());
    let next = inbox.accept_for("next", default_job()).await.id;
    assert!(ids[4] < place && place < next, "the time alone is a place between them");
}

pub(crate) async fn the_statuses_of_webhooks_are_returned_by_id_without_those_that_are_gone<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.accept_for("first", [job("default"), job("other")]).await;
    let second = inbox.accept_for("second", []).await;
    let ids = vec![second.id, look_alike(first.id), first.id];
    let statuses = inbox.statuses(ids).await.expect("reads");
    assert_eq!(statuses, [inbox.status_of(first.id).await, inbox.status_of(second.id).await]);
    assert_eq!((statuses[0].jobs.len(), statuses[1].jobs.len()), (2, 0));
    assert!(inbox.statuses(Vec::new()).await.expect("reads").is_empty());
}

pub(crate) async fn followers_are_notified_of_new_webhooks_and_not_of_duplicates<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut arrivals = inbox.changes().arrivals();
    for jobs in [default_job(), Vec::new()] {
        let key = format!("{} jobs", jobs.len());
        let id = inbox.accept_for(&key, jobs).await.id;
        arrivals.changed().await.expect("the store is open");
        assert_eq!(inbox.newest().await.expect("reads"), Some(id), "it is there once it is told");
    }
    assert!(!arrivals.has_changed().expect("the store is open"));
    assert!(inbox.submit(webhook("1 jobs")).await.expect("accepted").duplicate);
    assert!(!arrivals.has_changed().expect("the store is open"));
}
