//! One process owns the file, and only a version that knows its tables opens it.

use std::path::Path;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use hookbox::domain::clock::ManualClock;
use hookbox::store::Store;
use hookbox::store::sqlite::{self, OpenError, SqliteStore};
use jiff::Timestamp;

use super::harness;
use crate::harness::Options;

async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    let options = Options { max_backlog: 100, max_attempts: 3, worker: "worker-1".into(), seed: 1 };
    harness::open(path, &options, Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))).await
}

fn execute(path: &Path, statement: &str) {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    connection.batch_execute(statement).expect("executes");
}

/// What the file holds, without its header, which counts how often it was opened to write.
fn pages(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("reads").split_off(100)
}

#[tokio::test]
async fn a_second_process_is_refused_while_the_first_owns_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let first = open(&path).await.expect("opens");

    let refused = open(&path).await.expect_err("is refused");
    assert!(matches!(&refused, OpenError::Owned(owned) if *owned == path), "{refused:?}");
    assert!(matches!(sqlite::migrate(&path), Err(OpenError::Owned(_))));
    first.probe().await.expect("the first one goes on");

    first.close().await;
    open(&path).await.expect("opens").close().await;
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    open(&path).await.expect("opens").close().await;
    execute(&path, "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231235959')");
    let before = pages(&path);

    let refused = open(&path).await.expect_err("is refused");
    let OpenError::Newer { migration, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(migration, "20991231235959");
    assert!(matches!(sqlite::migrate(&path), Err(OpenError::Newer { .. })));
    assert!(pages(&path) == before, "it is as it was");

    execute(&path, "DELETE FROM __diesel_schema_migrations WHERE version = '20991231235959'");
    open(&path).await.expect("opens").close().await;
}

#[tokio::test]
async fn a_store_that_a_later_version_has_migrated_meanwhile_says_so_when_probed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = open(&path).await.expect("opens");
    execute(&path, "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231235959')");
    assert!(!store.probe().await.expect("writes").migrations_current);
    store.close().await;
}

#[tokio::test]
async fn a_file_is_migrated_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    assert!(!sqlite::migrate(&path).expect("migrates").is_empty());
    assert!(sqlite::migrate(&path).expect("has nothing to do").is_empty());
    open(&path).await.expect("opens").close().await;
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    let text = "not a database ".repeat(1_000);
    std::fs::write(&path, &text).expect("writes");
    let refused = open(&path).await.expect_err("is refused");
    assert!(matches!(refused, OpenError::Connect { .. } | OpenError::Setup { .. }), "{refused:?}");
    assert!(std::fs::read_to_string(&path).expect("reads") == text, "it is as it was");
}

#[tokio::test]
async fn a_file_in_a_folder_that_is_missing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = open(&folder.path().join("missing").join("inbox.db")).await.expect_err("is refused");
    assert!(matches!(refused, OpenError::File { .. }), "{refused:?}");
}
