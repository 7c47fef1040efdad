//! Overload: more concurrent requests than the queues of the store allow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::ListQuery;
use tokio::task::JoinSet;

use super::SqliteHarness;
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, milliseconds, webhook};
use crate::store::routes::default_job;

/// The number of webhooks sent concurrently.
const SENT: usize = 6_000;

/// The maximum number of accepted webhooks: the queue of the writer plus the batch that it may already have taken.
const WAITING: usize = 4_096 + 1_024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_beyond_the_queue_of_the_writer_are_refused() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let path = inbox.harness().path();
        let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
        // The writer waits for this lock, and the webhooks wait for the writer.
        shell.batch_execute("BEGIN IMMEDIATE").expect("locks");
        let mut answers = JoinSet::new();
        for number in 0..SENT {
            let store = inbox.shared();
            answers.spawn(async move { store.accept(webhook(&number.to_string()), default_job()).await });
        }
        for _ in 0..SENT - WAITING {
            let answer = answers.join_next().await.expect("more were sent").expect("ran");
            let refusal = answer.expect_err("nothing can be stored yet");
            assert_eq!(refusal.reason(), Reason::BacklogFull);
            assert!(refusal.retry_delay().is_some(), "the error says when to retry");
        }
        shell.batch_execute("ROLLBACK").expect("unlocks");

        let mut stored = Vec::new();
        while let Some(answer) = answers.join_next().await {
            match answer.expect("ran") {
                Ok(accepted) => stored.push(accepted.webhook),
                Err(refusal) => assert_eq!(refusal.reason(), Reason::BacklogFull),
            }
        }
        assert!((4_096..=WAITING).contains(&stored.len()), "as many as the queue allows: {}", stored.len());
        stored.sort_by_key(|webhook| std::cmp::Reverse(webhook.id));
        assert_eq!(inbox.everything().await, stored);
        assert_eq!(inbox.counts().await.of(Status::Pending), stored.len() as u64);
    })
    .await;
}

/// Lists webhooks until stopped, and counts the refused calls.
async fn keep_listing(
    store: Arc<dyn hookbox::internals::store::Store>,
    over: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
) {
    while !over.load(Ordering::SeqCst) {
        match store.list(ListQuery { limit: 1, ..ListQuery::default() }).await {
            Ok(page) => assert_eq!(page.webhooks.len(), 1),
            Err(error) => {
                assert_eq!(error.reason(), Reason::StoreUnavailable);
                assert!(error.retry_delay().is_some(), "the error says when to retry");
                refused.fetch_add(1, Ordering::SeqCst);
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_succeed_while_reads_beyond_the_limit_are_refused() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        inbox.accept_many("k", 200, &default_job()).await;
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        // 1,024 reads may wait in addition to the four that run.
        let mut readers = JoinSet::new();
        for _ in 0..1_200 {
            readers.spawn(keep_listing(inbox.shared(), Arc::clone(&over), Arc::clone(&refused)));
        }
        while refused.load(Ordering::SeqCst) < 100 {
            tokio::time::sleep(milliseconds(1)).await;
        }
        for claimed in 1..=20 {
            assert_eq!(inbox.claimed(1).await.len(), 1, "a claim beside too many reads");
            // The read of the counts may be refused, too.
            if let Ok(stats) = inbox.stats().await {
                assert_eq!(stats.counts().of(Status::Processing), claimed);
            }
        }
        over.store(true, Ordering::SeqCst);
        while let Some(reader) = readers.join_next().await {
            reader.expect("ran");
        }
        assert_eq!(inbox.counts().await.of(Status::Processing), 20);
    })
    .await;
}
