//! An interrupted transfer resumes where it stopped.

use hookbox::internals::domain::job::Status;
use hookbox::internals::store::transfer::{Begun, Limits, TransferError};
use hookbox::internals::store::{Finish, Inbox as _, Store as _};

use super::{Ends, begin, complete, execute, ready};
use crate::store::inbox::{Inbox, delivery, webhook_with};
use crate::store::postgres::close_connections;
use crate::store::routes::{attempts, default_job};
use crate::store::sqlite::SqliteHarness;
use crate::support::inbox_database::inbox_database_for;

/// The number of webhooks in the database, and the stored position of the transfer.
fn state(ends: &Ends) -> (String, String) {
    let ask = |sql| ends.ask(sql).concat();
    (ask("SELECT count(*) FROM webhooks"), ask("SELECT webhooks FROM transfers"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_process_moves_one_batch_and_none_moves_it_again() {
    let ends = Ends::with(7).await;
    for batch in 0..4 {
        let mut transfer = ends.ready().await;
        assert_eq!((transfer.moved(), transfer.total()), (batch * 2, 7));
        assert!(transfer.step().await.expect("moves"));
        transfer.close().await;
        let moved = (batch * 2 + 2).min(7).to_string();
        assert_eq!(state(&ends), (moved.clone(), moved));
    }
    let mut transfer = ends.ready().await;
    assert!(!transfer.step().await.expect("has nothing to move"));
    transfer.close().await;

    let counts = complete(ends.ready().await).await;
    assert_eq!((counts.webhooks, counts.counts.of(Status::Pending)), (7, 7));
    let Ok(Begun::Finished(mark)) = ends.begin().await else { panic!("it was finished") };
    assert_eq!(mark.finished_at.map(|time| time.as_second()), Some(1_700_000_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_loses_no_webhook() {
    let ends = Ends::with(6).await;
    let mut transfer = ends.ready().await;
    assert!(transfer.step().await.expect("moves"));
    close_connections(&ends.database.url());
    let cut = transfer.step().await.expect_err("the connection is gone");
    assert!(matches!(cut, TransferError::Write { .. }), "{cut:?}");
    transfer.close().await;
    assert_eq!(complete(ends.ready().await).await.webhooks, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_stopped_between_its_two_marks_is_completed() {
    let ends = Ends::with(3).await;
    // The process stopped after it marked the file and before it marked the database.
    ends.ready().await.close().await;
    ends.ask("DELETE FROM transfers");
    complete(ends.ready().await).await;
    // The process stopped after it finished the database and before it finished the file.
    execute(&ends.file(), "UPDATE transfer SET finished_at = NULL");
    assert!(matches!(ends.begin().await, Ok(Begun::Finished(_))));
    let refused = ends.open_file().await.expect_err("is refused");
    assert!(matches!(refused, hookbox::internals::store::sqlite::OpenError::Moved { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_limited_in_bytes_and_a_larger_webhook_moves_alone() {
    let ends = Ends::new();
    let store = ends.open_file().await.expect("opens");
    let payload = |bytes: usize| format!(r#""{}""#, "x".repeat(bytes));
    for (key, bytes) in [("a", 400), ("b", 400), ("c", 400), ("d", 5_000), ("e", 10), ("f", 10)] {
        store.accept(webhook_with(key, &payload(bytes)), default_job()).await.expect("accepted");
    }
    store.close().await;
    let limits = Limits { webhooks: 100, bytes: 1_000 };
    let mut transfer = ready(ends.begin_at(&ends.database.url(), limits).await);
    let mut moved = Vec::new();
    while transfer.step().await.expect("moves") {
        moved.push(transfer.moved());
    }
    assert_eq!(moved, [2, 3, 4, 6]);
    transfer.finish().await.expect("both sides are equal");
    transfer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_count_toward_the_batch_limit_and_are_never_split() {
    let inbox = Inbox::<SqliteHarness>::with_routes([attempts(10)]).await;
    for key in ["a", "b", "c"] {
        inbox.accept_new(key).await;
    }
    for _ in 0..3 {
        for job in inbox.claimed(10).await {
            let error = Some("x".repeat(1_000));
            let failed = Finish { error, ..inbox.ended(&job, Status::Retrying) };
            assert!(inbox.finish_one(failed).await.expect("finishes"));
        }
    }
    inbox.close().await;
    for (bytes, expected) in [(1, vec![1, 2, 3]), (7_000, vec![2, 3]), (1_000_000, vec![3])] {
        assert_eq!(moved_in_batches(&inbox, bytes).await, (expected, 9), "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_and_answered_counts_toward_the_batch_limit() {
    let inbox = Inbox::<SqliteHarness>::with_routes([attempts(10)]).await;
    for key in ["a", "b", "c", "d"] {
        inbox.accept_new(key).await;
    }
    for _ in 0..2 {
        for job in inbox.claimed(10).await {
            let delivery = Some(delivery(&[b'x'; 1_000]).into());
            let failed = Finish { delivery, ..inbox.ended(&job, Status::Retrying) };
            assert!(inbox.finish_one(failed).await.expect("finishes"));
        }
    }
    inbox.close().await;
    for (bytes, expected) in [(1, vec![1, 2, 3, 4]), (6_000, vec![2, 4]), (1_000_000, vec![4])] {
        assert_eq!(moved_in_batches(&inbox, bytes).await, (expected, 8), "{bytes}");
    }
}

/// Moves the file of a closed inbox in batches of at most this many bytes, and makes it as if it had not been moved.
/// Returns how many webhooks had been moved after each batch, and how many attempts were moved.
async fn moved_in_batches(inbox: &Inbox<SqliteHarness>, bytes: usize) -> (Vec<u64>, u64) {
    let file = inbox.harness().path();
    let database = inbox_database_for(1);
    let limits = Limits { webhooks: 100, bytes };
    let mut transfer = ready(begin(&file, &database.url(), limits, &inbox.clock).await);
    let mut moved = Vec::new();
    while transfer.step().await.expect("moves") {
        moved.push(transfer.moved());
    }
    let attempts = transfer.finish().await.expect("both sides are equal").attempts;
    transfer.close().await;
    hookbox::internals::store::transfer::abandon(&file).expect("abandons");
    (moved, attempts)
}
