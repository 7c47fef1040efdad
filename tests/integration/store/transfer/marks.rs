//! During a transfer, neither the file nor the database can be served. After it, only the database can.

use std::sync::Arc;

use hookbox::internals::domain::job::Status;
use hookbox::internals::store::transfer::{TransferError, abandon};
use hookbox::internals::store::{Inbox as _, Store as _, postgres, sqlite};

use super::{Ends, complete, options, ready, told};
use crate::store::inbox::webhook;
use crate::store::routes::default_job;
use crate::support::inbox_database::inbox_database_for;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_being_moved_is_not_served_nor_is_the_database() {
    let ends = Ends::with(3).await;
    let mut transfer = ends.ready().await;
    transfer.step().await.expect("moves");
    transfer.close().await;

    let refused = ends.open_file().await.expect_err("is refused");
    assert!(matches!(refused, sqlite::OpenError::Moving { .. }), "{refused:?}");
    let told_by_file = told(&refused);
    assert!(told_by_file.contains("are being moved to postgres://"), "{told_by_file}");
    assert!(told_by_file.contains("hookbox transfer --abandon --from sqlite:///"), "{told_by_file}");

    let clock = Arc::clone(&ends.clock) as _;
    let refused = crate::store::postgres::open(&ends.database.url(), &options(), clock).await;
    let refused = refused.expect_err("is refused");
    assert!(matches!(refused, postgres::OpenError::Moving { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_transfer_the_database_is_served_and_the_file_is_not() {
    let ends = Ends::with(3).await;
    complete(ends.ready().await).await;
    let refused = ends.open_file().await.expect_err("is refused");
    assert!(matches!(refused, sqlite::OpenError::Moved { .. }), "{refused:?}");
    let told = told(&refused);
    assert!(told.contains("were moved to postgres://"), "{told}");
    assert!(told.contains("finished at 2023-11-14T22:13:20Z): start hookbox with the URL"), "{told}");

    let clock = Arc::clone(&ends.clock) as _;
    let store = crate::store::postgres::open(&ends.database.url(), &options(), clock).await.expect("opens");
    assert_eq!(store.stats().await.expect("counts").counts().of(Status::Pending), 3);
    store.close().await;
    // The file can still be migrated.
    assert!(sqlite::migrate(&ends.file()).expect("migrates").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_was_abandoned_leaves_the_file_as_it_was() {
    let ends = Ends::with(5).await;
    let before = abandon(&ends.file()).expect("has nothing to do");
    assert_eq!(before, None);
    let mut transfer = ends.ready().await;
    transfer.step().await.expect("moves");
    let mark = transfer.mark().clone();
    let owned = abandon(&ends.file()).expect_err("the transfer is under way");
    assert!(told(&owned).contains("another hookbox process owns"), "{owned:?}");
    transfer.close().await;

    assert_eq!(abandon(&ends.file()).expect("takes the mark away"), Some(mark));
    let store = ends.open_file().await.expect("opens");
    assert_eq!(store.stats().await.expect("counts").counts().of(Status::Pending), 5);
    store.accept(webhook("sixth"), default_job()).await.expect("accepted");
    store.close().await;

    // The moved webhooks belong to the abandoned transfer, so the database is refused.
    let refused = ends.begin().await.expect_err("is refused");
    assert!(matches!(refused, TransferError::Occupied { webhooks: 2, .. }), "{refused:?}");
    let anew = inbox_database_for(1);
    assert_eq!(complete(ready(ends.begin_at(&anew.url(), super::SMALL).await)).await.webhooks, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_transfer_can_be_abandoned_too() {
    let ends = Ends::with(1).await;
    complete(ends.ready().await).await;
    assert!(abandon(&ends.file()).expect("takes the mark away").is_some());
    ends.open_file().await.expect("opens").close().await;
}
