//! The writer: commands share a commit, and a failing command does not fail the others.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use futures::future::join_all;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::Finish;

use super::SqliteHarness;
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, refused, seconds, webhook};
use crate::store::routes::default_job;

/// Recording an attempt with the number of an earlier one violates the primary key of the attempts. Workers do not
/// do that; the test uses it to make a statement fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_command_does_not_fail_the_others_of_its_batch() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let id = inbox.accept_new("bad").await.id;
        let first = inbox.claim_one().await;
        inbox.fail(&first, seconds(0)).await;
        let second = inbox.claim_one().await;
        let before = inbox.detail_of(id).await;

        for round in 0..10 {
            let key = |number| format!("{round} {number}");
            let keys = (0..50).map(key).collect::<Vec<_>>();
            let bad = Finish { attempt: 1, ..inbox.ended(&second, Status::Completed) };
            let (before_it, refusal, after_it) = tokio::join!(
                join_all(keys[..25].iter().map(|key| inbox.submit(webhook(key)))),
                inbox.finish_one(bad),
                join_all(keys[25..].iter().map(|key| inbox.submit(webhook(key)))),
            );
            assert_eq!(refused(refusal), Reason::Internal);
            for neighbour in before_it.into_iter().chain(after_it) {
                assert!(!neighbour.expect("is stored").duplicate);
            }
        }
        assert_eq!(format!("{:?}", inbox.detail_of(id).await), format!("{before:?}"), "it changed nothing");
        assert_eq!(inbox.counts().await.of(Status::Pending), 500);
        assert_eq!(inbox.everything().await.len(), 501);
        assert_eq!(inbox.claimed(1_000).await.len(), 500);
        inbox.end(&second, Status::Completed).await;
    })
    .await;
}

/// Takes five seconds: the time that a connection waits for a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_file_refuses_writes_and_can_be_read() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let first = inbox.accept_new("first").await;
        let path = inbox.harness().path();
        let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
        shell.batch_execute("BEGIN IMMEDIATE").expect("locks");

        let store = inbox.shared();
        let second = tokio::spawn(async move { store.accept(webhook("second"), default_job()).await });
        assert_eq!(inbox.everything().await, std::slice::from_ref(&first), "reads do not wait for it");
        let refusal = second.await.expect("ran").expect_err("is refused");
        assert_eq!(refusal.reason(), Reason::StoreUnavailable);
        assert!(refusal.retry_delay().is_some(), "has the time to try again");

        shell.batch_execute("ROLLBACK").expect("unlocks");
        assert_eq!(inbox.everything().await, [first], "nothing was stored");
        inbox.accept_new("second").await;
        assert_eq!(inbox.counts().await.of(Status::Pending), 2);
    })
    .await;
}
