//! Batches: the webhooks of one request are stored together, or none of them is.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::join_all;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookStatus};
use hookbox::internals::store::{Accepted, BatchError, Submission};

use super::announcing::{is_asleep, is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, webhook, webhook_with};
use crate::store::routes::{default_job, job, ordered, policy};

/// A webhook for the default route, with this key and payload.
fn submission(key: &str, payload: &str) -> Submission {
    Submission { webhook: webhook_with(key, payload), jobs: default_job() }
}

/// Webhooks with these keys and the same payload, for the default route.
fn batch<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Vec<Submission> {
    let new = |key: K| Submission { webhook: webhook(key.as_ref()), jobs: default_job() };
    keys.into_iter().map(new).collect()
}

/// Stores a batch that refuses conflicts.
async fn accept<H: Harness>(inbox: &Inbox<H>, batch: Vec<Submission>) -> Result<Vec<Accepted>, BatchError> {
    inbox.accept_batch(batch, OnConflict::Reject).await
}

fn keys(accepted: &[Accepted]) -> Vec<&str> {
    accepted.iter().map(|accepted| accepted.webhook.idempotency_key.as_str()).collect()
}

fn duplicates(accepted: &[Accepted]) -> Vec<bool> {
    accepted.iter().map(|accepted| accepted.duplicate).collect()
}

fn ids(accepted: &[Accepted]) -> Vec<WebhookId> {
    accepted.iter().map(|accepted| accepted.webhook.id).collect()
}

fn newest_first(accepted: Vec<Accepted>) -> Vec<WebhookStatus> {
    accepted.into_iter().rev().map(|accepted| accepted.webhook).collect()
}

pub(crate) async fn a_batch_is_stored_and_answered_in_its_order<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    // Not in the order of their keys.
    let accepted = accept(&inbox, batch(["b", "c", "a"])).await.expect("is stored");
    assert_eq!((keys(&accepted), duplicates(&accepted)), (vec!["b", "c", "a"], vec![false; 3]));
    assert!(ids(&accepted).is_sorted(), "the ids have the order of the batch");
    for accepted in &accepted {
        let webhook = &accepted.webhook;
        assert_eq!((webhook.status(), webhook.jobs.len()), (Status::Pending, 1));
        assert_eq!((webhook.accepted_at, webhook.is_quarantined), (inbox.now(), false));
    }
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.everything().await, newest_first(accepted), "a batch survives a crash");
    assert_eq!(inbox.counts().await.of(Status::Pending), 3);
    assert_eq!(inbox.claimed(10).await.len(), 3);
}

pub(crate) async fn a_batch_answers_duplicates_of_stored_webhooks_and_of_its_own<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("stored").await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    let first = inbox.status_of(job.lease.job.webhook).await;

    let accepted = accept(&inbox, batch(["a", "stored", "a", "b", "stored"])).await.expect("is stored");
    assert_eq!(duplicates(&accepted), [false, true, true, false, true]);
    assert_eq!(accepted[2].webhook, accepted[0].webhook);
    assert_eq!((&accepted[1].webhook, &accepted[4].webhook), (&first, &first), "with the current status");
    assert_eq!(inbox.everything().await.len(), 3);
    assert_eq!(inbox.counts().await.of(Status::Pending), 2);

    let again = accept(&inbox, batch(["b", "a"])).await.expect("is answered");
    assert_eq!((keys(&again), duplicates(&again)), (vec!["b", "a"], vec![true; 2]));
    let again = accept(&inbox, batch(["a"])).await.expect("is answered");
    assert_eq!((again[0].duplicate, &again[0].webhook), (true, &accepted[0].webhook));
}

pub(crate) async fn a_conflict_refuses_the_whole_batch_and_names_its_webhook<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let stored = inbox.accept_new("stored").await;
    let mut renamed = batch(["a", "b", "stored"]);
    renamed[2].webhook.event_type = event_type("order.lost");
    for (refused, item, of) in [
        (vec![submission("a", "1"), submission("stored", "2"), submission("b", "3")], 1, Some(stored.id)),
        (vec![submission("stored", "2")], 0, Some(stored.id)),
        (renamed, 2, Some(stored.id)),
        (vec![submission("a", "1"), submission("b", "1"), submission("a", "2")], 2, None),
    ] {
        let BatchError { item: named, error } = accept(&inbox, refused).await.expect_err("is refused");
        assert_eq!((named, error.reason()), (Some(item), Reason::KeyReused), "{error}");
        assert_eq!(error.webhook(), of);
        assert_eq!(inbox.everything().await, std::slice::from_ref(&stored), "nothing is stored");
        assert_eq!(inbox.counts().await.total(), 1);
    }
    inbox.accept_new("a").await;
    inbox.accept_new("b").await;
    assert_eq!(inbox.claimed(10).await.len(), 3);
}

pub(crate) async fn a_batch_that_keeps_the_first_answers_conflicts_as_duplicates<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let stored = inbox.accept_new("stored").await;
    let sent = vec![
        submission("a", "1"),
        submission("stored", "2"),
        submission("a", "3"),
        Submission {
            webhook: NewWebhook { event_type: event_type("order.lost"), ..webhook("stored") },
            jobs: default_job(),
        },
        submission("b", "1"),
    ];
    let accepted = inbox.accept_batch(sent, OnConflict::KeepFirst).await.expect("is stored");
    assert_eq!(duplicates(&accepted), [false, true, true, true, false]);
    assert_eq!((&accepted[1].webhook, &accepted[3].webhook), (&stored, &stored));
    assert_eq!(accepted[2].webhook, accepted[0].webhook);

    let alone = inbox.accept_batch(vec![submission("stored", "4")], OnConflict::KeepFirst).await;
    let alone = alone.expect("is answered");
    assert_eq!((alone[0].duplicate, &alone[0].webhook), (true, &stored));

    assert_eq!(inbox.detail_of(stored.id).await.payload.as_deref(), Some(&br#"{"n":1}"#[..]));
    assert_eq!(inbox.detail_of(accepted[0].webhook.id).await.payload.as_deref(), Some(&b"1"[..]));
    assert_eq!(inbox.counts().await.of(Status::Pending), 3);
}

pub(crate) async fn an_empty_batch_stores_nothing<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for on_conflict in [OnConflict::Reject, OnConflict::KeepFirst] {
        let accepted = inbox.accept_batch(Vec::new(), on_conflict).await.expect("is answered");
        assert!(accepted.is_empty());
    }
    assert!(inbox.everything().await.is_empty());
}

pub(crate) async fn a_batch_has_webhooks_of_any_number_of_jobs<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["one", "two"].map(policy)).await;
    let mut sent = batch(["none", "one", "both"]);
    sent[0].jobs = Vec::new();
    sent[1].jobs = vec![job("one")];
    sent[2].jobs = vec![job("one"), job("two")];
    let accepted = accept(&inbox, sent).await.expect("is stored");
    let answered = accepted.iter().map(|accepted| (accepted.webhook.status(), accepted.webhook.jobs.len()));
    let expected = [(Status::Filtered, 0), (Status::Pending, 1), (Status::Pending, 2)];
    assert_eq!(answered.collect::<Vec<_>>(), expected);
    assert_eq!(inbox.everything().await, newest_first(accepted));
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Filtered), counts.of(Status::Pending)), (1, 3));
}

pub(crate) async fn ordered_jobs_of_a_batch_start_in_its_order<H: Harness>() {
    const WEBHOOKS: usize = 20;
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    let jobs = || vec![ordered("orders", "x")];
    inbox.accept_for("before", jobs()).await;
    // Neither in the order of their keys nor against it.
    let names = (0..WEBHOOKS).map(|number| (number * 7 % WEBHOOKS).to_string()).collect::<Vec<_>>();
    let mut sent = batch(&names);
    sent.iter_mut().for_each(|submission| submission.jobs = jobs());
    accept(&inbox, sent).await.expect("is stored");
    inbox.accept_for("after", jobs()).await;

    for name in ["before"].into_iter().chain(names.iter().map(String::as_str)).chain(["after"]) {
        let job = inbox.claim_one().await;
        assert_eq!(job.idempotency_key.as_str(), name);
        inbox.claim_nothing().await;
        inbox.end(&job, Status::Completed).await;
    }
    inbox.claim_nothing().await;
}

pub(crate) async fn a_batch_of_4096_webhooks_is_stored_whole<H: Harness>() {
    const WEBHOOKS: usize = 4_096;
    let inbox = Inbox::<H>::new().await;
    let names = (0..WEBHOOKS).map(|number| number.to_string()).collect::<Vec<_>>();
    let accepted = accept(&inbox, batch(&names)).await.expect("is stored");
    assert_eq!(keys(&accepted), names);
    assert!(accepted.iter().all(|accepted| !accepted.duplicate));
    assert_eq!(inbox.counts().await.of(Status::Pending), WEBHOOKS as u64);

    let again = accept(&inbox, batch(&names)).await.expect("is answered");
    assert!(again.iter().all(|accepted| accepted.duplicate));
    assert_eq!(ids(&again), ids(&accepted));
    assert_eq!(inbox.everything().await, newest_first(accepted));
}

pub(crate) async fn a_full_backlog_refuses_a_whole_batch<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(2).await;
    inbox.accept_new("a").await;
    accept(&inbox, batch(["b", "c"])).await.expect("there was room when it began");
    let before = inbox.everything().await;
    assert_eq!(before.len(), 3);

    for full in [&["d", "e"][..], &["a", "d"], &["d"]] {
        let refused = accept(&inbox, batch(full)).await.expect_err("is refused");
        assert_eq!((refused.item, refused.error.reason()), (None, Reason::BacklogFull), "{full:?}");
        assert!(refused.error.retry_delay().is_some(), "the error says when to retry");
    }
    let answered = accept(&inbox, batch(["c", "a", "c"])).await.expect("duplicates are answered");
    assert_eq!(duplicates(&answered), [true; 3]);
    assert_eq!(inbox.everything().await, before);

    let jobs = inbox.claimed(10).await;
    join_all(jobs.iter().map(|job| inbox.end(job, Status::Completed))).await;
    assert_eq!(duplicates(&accept(&inbox, batch(["d", "e"])).await.expect("has room")), [false; 2]);
}

/// `names`, beginning with another one for each of the batches, every second one backwards.
fn shuffled(names: &[String], number: usize) -> Vec<String> {
    let first = number * 13 % names.len();
    let mut names = names.to_vec();
    names.rotate_left(first);
    if number % 2 == 1 {
        names.reverse();
    }
    names
}

pub(crate) async fn concurrent_batches_store_each_key_once<H: Harness>() {
    const BATCHES: usize = 8;
    const KEYS: usize = 100;
    let inbox = Inbox::<H>::new().await;
    let names = (0..KEYS).map(|number| number.to_string()).collect::<Vec<_>>();
    let batches = (0..BATCHES).map(|number| {
        let (store, names) = (inbox.shared(), shuffled(&names, number));
        tokio::spawn(async move { store.accept_batch(batch(names), OnConflict::Reject).await })
    });
    let singles = names.iter().take(10).map(|name| {
        let (store, name) = (inbox.shared(), name.clone());
        tokio::spawn(async move { store.accept(webhook(&name), default_job()).await })
    });
    let (batches, singles) = (batches.collect::<Vec<_>>(), singles.collect::<Vec<_>>());

    let mut answers = Vec::new();
    for batch in join_all(batches).await {
        answers.extend(batch.expect("ran").expect("is stored"));
    }
    for single in join_all(singles).await {
        answers.push(single.expect("ran").expect("is stored"));
    }
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), KEYS);
    let mut firsts = HashMap::new();
    for Accepted { webhook, .. } in &answers {
        let first = *firsts.entry(webhook.idempotency_key.clone()).or_insert(webhook.id);
        assert_eq!(webhook.id, first, "all answers for a key name the same webhook");
    }
    assert_eq!(inbox.everything().await.len(), KEYS);
    assert_eq!(inbox.counts().await.of(Status::Pending), KEYS as u64);
}

pub(crate) async fn concurrent_batches_with_a_conflict_are_stored_whole_or_not_at_all<H: Harness>() {
    const BATCHES: usize = 8;
    const OWN: usize = 10;
    let inbox = Inbox::<H>::new().await;
    let store = inbox.shared();
    let batches = (0..BATCHES).map(|number| {
        let store = Arc::clone(&store);
        let mut sent = batch((0..OWN).map(|own| format!("{number} {own}")));
        // All batches have this key, each with another payload.
        sent.insert(number, submission("shared", &number.to_string()));
        tokio::spawn(async move { (number, store.accept_batch(sent, OnConflict::Reject).await) })
    });
    let mut stored = Vec::new();
    for answer in join_all(batches.collect::<Vec<_>>()).await {
        match answer.expect("ran") {
            (_, Ok(accepted)) => stored.push(accepted),
            (number, Err(refused)) => {
                assert_eq!((refused.item, refused.error.reason()), (Some(number), Reason::KeyReused));
            }
        }
    }
    let [stored] = <[_; 1]>::try_from(stored).expect("one batch is stored");
    assert_eq!(duplicates(&stored), [false; OWN + 1]);
    assert_eq!(inbox.everything().await, newest_first(stored));
    assert_eq!(inbox.counts().await.total(), OWN as u64 + 1);
}

pub(crate) async fn a_batch_wakes_the_dispatcher<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let wake = listen(&inbox);
    accept(&inbox, batch(["a", "b"])).await.expect("is stored");
    assert!(is_woken(&wake));
    assert_eq!(inbox.claimed(10).await.len(), 2);
    accept(&inbox, batch(["a", "b"])).await.expect("is answered");
    assert!(is_asleep(&inbox, &wake), "duplicates make no job due");
}
