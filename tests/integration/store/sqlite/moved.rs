//! The file or its write-ahead log is moved or replaced while a process uses it.

use std::path::Path;

use hookbox::internals::domain::error::{Reason, causes};

use super::SqliteHarness;
use super::harness::with_suffix;
use crate::store::generate::within_limit;
use crate::store::inbox::{Inbox, refused, webhook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_at_its_path_takes_no_writes_until_it_is_back() {
    within_limit(async {
        let mut inbox = Inbox::<SqliteHarness>::new().await;
        let before = inbox.accept_new("before").await;
        let path = inbox.harness().path();
        let away = with_suffix(&path, ".away");
        for is_replaced in [false, true] {
            std::fs::rename(&path, &away).expect("moves");
            if is_replaced {
                std::fs::write(&path, "another file").expect("writes");
            }
            assert_eq!(refused(inbox.submit(webhook("after")).await), Reason::StoreUnavailable);
            let error = inbox.probe().await.expect_err("is not ready");
            assert!(causes(&error).contains("was moved, deleted or replaced"), "{error:?}");
            assert_eq!(inbox.everything().await, std::slice::from_ref(&before), "reads go on");
            assert_eq!(path.exists(), is_replaced, "no new file is made");

            std::fs::rename(&away, &path).expect("moves back");
            inbox.probe().await.expect("is ready");
        }
        inbox.accept_new("after").await;
        inbox.close_and_reopen().await;
        assert_eq!(inbox.everything().await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_copies_the_log_into_a_file_that_was_moved_or_replaced() {
    within_limit(async {
        for is_replaced in [false, true] {
            let mut inbox = Inbox::<SqliteHarness>::new().await;
            let stored = inbox.accept_new("before").await;
            let path = inbox.harness().path();
            let away = with_suffix(&path, ".away");
            assert!(has_log(&path), "the webhook is in the log");
            std::fs::rename(&path, &away).expect("moves");
            if is_replaced {
                std::fs::write(&path, "another file").expect("writes");
            }
            inbox.probe().await.expect_err("is not ready");
            inbox.close().await;
            assert!(!has_log(&path), "no frames are left to be replayed into another file");

            // The moved file alone has all that was acknowledged.
            for suffix in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(with_suffix(&path, suffix));
            }
            std::fs::rename(&away, &path).expect("moves back");
            inbox.close_and_reopen().await;
            assert_eq!(inbox.everything().await, [stored], "is replaced: {is_replaced}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_its_log_takes_no_writes_until_the_log_is_back() {
    within_limit(async {
        let mut inbox = Inbox::<SqliteHarness>::new().await;
        inbox.accept_new("before").await;
        let path = inbox.harness().path();
        let (log, away) = (with_suffix(&path, "-wal"), with_suffix(&path, ".away"));
        for is_replaced in [false, true] {
            std::fs::rename(&log, &away).expect("moves");
            if is_replaced {
                std::fs::write(&log, "").expect("writes");
            }
            assert_eq!(refused(inbox.submit(webhook("after")).await), Reason::StoreUnavailable);
            let error = inbox.probe().await.expect_err("is not ready");
            assert!(causes(&error).contains("-wal was moved, deleted or replaced"), "{error:?}");
            assert!(!causes(&error).contains("send it again"), "a probe is no request: {error}");

            std::fs::rename(&away, &log).expect("moves back");
            inbox.probe().await.expect("is ready");
        }
        inbox.accept_new("after").await;
        inbox.crash_and_reopen().await;
        assert_eq!(inbox.everything().await.len(), 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_copies_a_log_that_was_deleted_into_the_file() {
    within_limit(async {
        let mut inbox = Inbox::<SqliteHarness>::new().await;
        let stored = inbox.accept_new("before").await;
        std::fs::remove_file(with_suffix(&inbox.harness().path(), "-wal")).expect("deletes");
        inbox.probe().await.expect_err("is not ready");
        inbox.close_and_reopen().await;
        assert_eq!(inbox.everything().await, [stored]);
        inbox.probe().await.expect("is ready");
    })
    .await;
}

/// Whether a file has a write-ahead log beside it that is not empty.
fn has_log(path: &Path) -> bool {
    std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_makes_no_new_file_in_place_of_a_deleted_one() {
    within_limit(async {
        let inbox = Inbox::<SqliteHarness>::new().await;
        let path = inbox.harness().path();
        std::fs::remove_file(&path).expect("deletes");
        inbox.probe().await.expect_err("is not ready");
        inbox.close().await;
        assert!(!path.exists());
    })
    .await;
}
