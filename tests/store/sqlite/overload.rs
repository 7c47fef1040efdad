//! More at once than the store lets wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use hookbox::domain::error::Reason;
use hookbox::domain::job::Status;
use hookbox::store::ListQuery;

use super::SqliteHarness;
use crate::inbox::{Inbox, LEASE, webhook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_more_webhooks_at_once_than_the_writer_lets_wait_each_is_stored_or_told_to_come_again() {
    let inbox = Inbox::<SqliteHarness>::new().await;
    let keys = (0..6_000).map(|number| number.to_string()).collect::<Vec<_>>();
    let answers = join_all(keys.iter().map(|key| inbox.accept(webhook(key)))).await;
    let mut stored = Vec::new();
    for answer in answers {
        match answer {
            Ok(accepted) => stored.push(accepted.webhook),
            Err(error) => {
                assert_eq!(error.reason(), Reason::BacklogFull);
                assert!(error.retry_delay().is_some(), "says when to come again");
            }
        }
    }
    stored.sort_by_key(|webhook| std::cmp::Reverse(webhook.id));
    assert_eq!(inbox.everything().await, stored);
    assert_eq!(inbox.counts().await.of(Status::Pending), stored.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_is_refused_beside_too_many_reads_has_leased_nothing() {
    let inbox = Inbox::<SqliteHarness>::new().await;
    let keys = (0..200).map(|number| number.to_string()).collect::<Vec<_>>();
    join_all(keys.iter().map(|key| inbox.accept_new(key))).await;

    // As many readers as fill the line of waiting reads, and come back at once when refused.
    let over = Arc::new(AtomicBool::new(false));
    let readers = (0..1_200).map(|_| {
        let (store, over) = (inbox.shared(), Arc::clone(&over));
        tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                match store.list(ListQuery { limit: 200, ..ListQuery::default() }).await {
                    Ok(page) => assert_eq!(page.webhooks.len(), 200),
                    Err(error) => assert_eq!(error.reason(), Reason::StoreUnavailable),
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let readers = readers.collect::<Vec<_>>();
    let mut claimed = 0;
    for _ in 0..20 {
        claimed += inbox.claim(1, LEASE).await.map_or(0, |claims| claims.jobs.len() as u64);
    }
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.expect("ran");
    }
    let leased = inbox.counts().await.of(Status::Processing);
    assert_eq!(leased, claimed, "a claim that was refused has changed nothing");
}
