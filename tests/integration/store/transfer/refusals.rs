//! Transfers that are refused. A refusal changes neither the file nor the database.

use std::sync::Arc;

use hookbox::internals::store::sqlite::OpenError;
use hookbox::internals::store::transfer::{TransferError, abandon};
use hookbox::internals::store::{Inbox as _, Store as _};

use super::{Ends, SMALL, begin, complete, options, ready, told};
use crate::store::inbox::webhook;
use crate::store::routes::default_job;
use crate::support::inbox_database::inbox_database_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_refused_and_not_created() {
    let ends = Ends::new();
    for refused in [ends.begin().await.map(drop), abandon(&ends.file()).map(drop)] {
        assert!(matches!(refused, Err(TransferError::Missing(_))), "{refused:?}");
    }
    assert!(!ends.file().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_served_is_refused() {
    let ends = Ends::with(1).await;
    let store = ends.open_file().await.expect("opens");
    let refused = ends.begin().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::File(OpenError::Owned(_))), "{refused:?}");
    store.probe().await.expect("it goes on");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_is_refused_without_printing_the_password() {
    let ends = Ends::with(1).await;
    let url = "postgres://ann:s3cret@127.0.0.1:1/inbox";
    let refused = ends.begin_at(url, SMALL).await.expect_err("is refused");
    let told = told(&refused);
    assert!(told.contains("cannot connect to postgres://127.0.0.1:1/inbox"), "{told}");
    assert!(!told.contains("s3cret") && !format!("{refused:?}").contains("s3cret"), "{told}");
    ends.open_file().await.expect("the file is as it was").close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_holds_other_webhooks_is_refused() {
    let ends = Ends::with(1).await;
    let clock = Arc::clone(&ends.clock);
    let store = crate::store::postgres::open(&ends.database.url(), &options(), clock).await.expect("opens");
    for key in ["x", "y", "z"] {
        store.accept(webhook(key), default_job()).await.expect("accepted");
    }
    store.close().await;
    let refused = ends.begin().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Occupied { webhooks: 3, .. }), "{refused:?}");
    ends.open_file().await.expect("the file is as it was").close().await;
    let clock = Arc::clone(&ends.clock);
    let store = crate::store::postgres::open(&ends.database.url(), &options(), clock).await;
    store.expect("the database is as it was").close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_refused_while_a_process_serves_it() {
    let ends = Ends::with(1).await;
    let clock = Arc::clone(&ends.clock);
    let store = crate::store::postgres::open(&ends.database.url(), &options(), clock).await.expect("opens");
    let refused = ends.begin().await.expect_err("is refused");
    assert!(told(&refused).contains("(processes: process-1) and would run jobs"), "{refused:?}");
    store.probe().await.expect("it goes on");
    ends.open_file().await.expect("the file is as it was").close().await;
    store.close().await;
    complete(ends.ready().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_custom_application_name_is_also_found() {
    let ends = Ends::with(1).await;
    let (clock, url) = (Arc::clone(&ends.clock), ends.database.url_with("application_name=billing"));
    let store = crate::store::postgres::open(&url, &options(), clock).await.expect("opens");
    let refused = ends.begin().await.expect_err("is refused");
    assert!(told(&refused).contains("(processes: billing)"), "{refused:?}");
    store.close().await;
    complete(ends.ready().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_is_refused_during_and_after_a_transfer() {
    let ends = Ends::with(3).await;
    let mut transfer = ends.ready().await;
    transfer.step().await.expect("moves");
    transfer.close().await;
    let other = inbox_database_for(1);
    let refused = ends.begin_at(&other.url(), SMALL).await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Elsewhere { .. }), "{refused:?}");
    assert!(told(&refused).contains("--abandon"), "{refused:?}");

    complete(ends.ready().await).await;
    let refused = ends.begin_at(&other.url(), SMALL).await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Moved { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_recognised_by_another_host_name() {
    let ends = Ends::with(3).await;
    let mut transfer = ends.ready().await;
    transfer.step().await.expect("moves");
    transfer.close().await;
    let url = ends.database.url();
    let renamed = if url.contains("127.0.0.1") {
        url.replacen("127.0.0.1", "localhost", 1)
    } else {
        url.replacen("localhost", "127.0.0.1", 1)
    };
    let transfer = ready(ends.begin_at(&renamed, SMALL).await);
    assert_eq!(transfer.moved(), 2);
    complete(transfer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_files_for_the_same_database_is_refused() {
    let (ends, other) = (Ends::with(3).await, Ends::with(3).await);
    let url = ends.database.url();
    let mut first = ends.ready().await;
    // The first transfer has moved nothing yet, so the second one replaces it and the first one fails.
    let mut second = ready(begin(&other.file(), &url, SMALL, &other.clock).await);
    let refused = first.step().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Overtaken { .. }), "{refused:?}");
    first.close().await;
    second.step().await.expect("moves");
    let refused = ends.begin().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Occupied { .. }), "{refused:?}");
    complete(second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_one_of_two_copies_of_a_file_can_continue() {
    let ends = Ends::with(6).await;
    ends.ready().await.close().await;
    let copy = ends.folder.path().join("copy.db");
    std::fs::copy(ends.file(), &copy).expect("copies");
    let mut first = ends.ready().await;
    let mut second = ready(begin(&copy, &ends.database.url(), SMALL, &ends.clock).await);
    first.step().await.expect("moves");
    let refused = second.step().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Overtaken { .. }), "{refused:?}");
    second.close().await;
    assert_eq!(complete(first).await.webhooks, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_added_to_the_database_meanwhile_is_reported() {
    let ends = Ends::with(4).await;
    let mut transfer = ends.ready().await;
    transfer.step().await.expect("moves");
    ends.ask(
        "INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, payload_digest,
                               traceparent, accepted_at)
         VALUES ('00000000-0000-0000-0000-000000000001', 'default', '3', 'e', '', 0, '', '', now())",
    );
    let refused = transfer.step().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Collided { .. }), "{refused:?}");
    assert!(told(&refused).contains("(default, 3)"), "{refused:?}");
    transfer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_with_different_counts_is_not_finished_and_reports_them() {
    for (tampering, expected) in [
        (
            "DELETE FROM jobs WHERE webhook = (SELECT max(webhook::text)::uuid FROM jobs)",
            "pending: 3 in the file, 2 in the database",
        ),
        (
            "INSERT INTO attempts (webhook, queue, number, run, outcome, started_at, finished_at, worker)
             SELECT webhook, queue, 1, 1, 1, now(), now(), 'w' FROM jobs LIMIT 1",
            "attempts: 0 in the file, 1 in the database",
        ),
        (
            "UPDATE status_counts SET retrying = 7",
            "retrying in status_counts: 0 in the file, 7 in the database",
        ),
        ("DELETE FROM webhooks", "webhooks: 3 in the file, 0 in the database"),
    ] {
        let ends = Ends::with(3).await;
        let mut transfer = ends.ready().await;
        while transfer.step().await.expect("moves") {}
        ends.ask(tampering);
        let refused = transfer.finish().await.expect_err(tampering);
        assert!(matches!(refused, TransferError::Different { .. }), "{refused:?}");
        assert!(told(&refused).contains(expected), "{refused:?}");
        transfer.close().await;
        let refused = ends.open_file().await.expect_err("is still being moved");
        assert!(matches!(refused, OpenError::Moving { .. }), "{refused:?}");
        assert_eq!(ends.ask("SELECT count(finished_at) FROM transfers"), ["0"]);
    }
}
