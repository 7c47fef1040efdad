//! Opening the file: only one process can own it, and a version that does not know its tables refuses it.

use std::error::Error as _;
use std::path::Path;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use hookbox::internals::domain::clock::ManualClock;
use hookbox::internals::domain::error::causes;
use hookbox::internals::store::sqlite::{self, OpenError, SqliteStore};
use hookbox::internals::store::{Inbox as _, Store as _};
use jiff::Timestamp;

use super::harness;
use crate::store::generate::within_limit;
use crate::store::harness::Options;
use crate::store::inbox::webhook;
use crate::store::routes::{default_job, in_force, policy};

async fn open(path: &Path) -> Result<SqliteStore, OpenError> {
    open_at(path, Timestamp::UNIX_EPOCH).await
}

async fn open_at(path: &Path, now: Timestamp) -> Result<SqliteStore, OpenError> {
    let options = Options { max_backlog: 100, policies: in_force([policy("default")]), seed: 1 };
    harness::open(path, &options, Arc::new(ManualClock::new(now))).await
}

fn execute(path: &Path, statement: &str) {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    connection.batch_execute(statement).expect("executes");
}

/// The contents of the file without its header, which changes whenever the file is opened for writing.
fn pages(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("reads").split_off(100)
}

#[tokio::test]
async fn a_second_process_is_refused_while_the_first_has_the_file() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        let first = open(&path).await.expect("opens");

        let refused = open(&path).await.expect_err("is refused");
        assert!(matches!(&refused, OpenError::Owned(owned) if *owned == path), "{refused:?}");
        assert!(matches!(sqlite::migrate(&path), Err(OpenError::Owned(_))));
        first.probe().await.expect("the first one goes on");

        first.close().await;
        open(&path).await.expect("opens").close().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_of_a_later_version_is_refused_and_left_alone() {
    within_limit(async {
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
    })
    .await;
}

#[tokio::test]
async fn a_probe_reports_that_a_later_version_migrated_the_file() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        let store = open(&path).await.expect("opens");
        execute(&path, "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231235959')");
        assert!(!store.probe().await.expect("writes").migrations_current);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_is_migrated_once() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        assert!(!sqlite::migrate(&path).expect("migrates").is_empty());
        assert!(sqlite::migrate(&path).expect("has nothing to do").is_empty());
        open(&path).await.expect("opens").close().await;
    })
    .await;
}

#[tokio::test]
async fn the_cause_of_a_failed_migration_is_told_once() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        open(&path).await.expect("opens").close().await;
        execute(&path, "DELETE FROM __diesel_schema_migrations");
        let refused = open(&path).await.expect_err("the tables are there");
        assert!(matches!(refused, OpenError::Migrate { .. }), "{refused:?}");
        let (told, cause) = (causes(&refused), refused.source().expect("has a cause").to_string());
        assert_eq!(told.matches(&cause).count(), 1, "{told}");
    })
    .await;
}

#[tokio::test]
async fn due_times_that_cannot_be_moved_are_not_told_as_a_failed_take_over() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        let later = Timestamp::from_second(1_000).expect("in range");
        let first = open_at(&path, later).await.expect("opens");
        first.accept(webhook("k"), default_job()).await.expect("is stored");
        first.close().await;
        let refusal = "CREATE TRIGGER refuse BEFORE UPDATE OF available_at ON jobs
                       BEGIN SELECT RAISE(ABORT, 'refused'); END";
        execute(&path, refusal);
        // The clock was set back, so the job has to be due earlier.
        let refused = open(&path).await.expect_err("is refused");
        assert!(matches!(refused, OpenError::FollowClock(_)), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_folder_is_not_told_as_a_file_in_a_folder_without_rights() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = open(folder.path()).await.expect_err("is refused");
        assert!(refused.to_string().ends_with("is a folder; name a file in it in database_url"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        let text = "not a database ".repeat(1_000);
        std::fs::write(&path, &text).expect("writes");
        let refused = open(&path).await.expect_err("is refused");
        assert!(matches!(&refused, OpenError::NoDatabase(_)), "{refused:?}");
        assert!(refused.to_string().contains("name another file in database_url"), "{refused}");
        assert!(matches!(sqlite::migrate(&path), Err(OpenError::NoDatabase(_))));
        assert!(std::fs::read_to_string(&path).expect("reads") == text, "it is as it was");
    })
    .await;
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_is_told_with_what_to_check() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox.db");
        open(&path).await.expect("opens").close().await;
        std::fs::create_dir(harness::with_suffix(&path, "-wal")).expect("creates");
        let refused = open(&path).await.expect_err("is refused");
        assert!(matches!(&refused, OpenError::Files { .. }), "{refused:?}");
        assert!(refused.to_string().contains("raise the limit on open files"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn a_file_of_another_program_is_refused_and_left_alone() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        for setup in ["CREATE TABLE notes (text TEXT)", "PRAGMA application_id = 1"] {
            let path = folder.path().join("other.db");
            execute(&path, setup);
            let before = std::fs::read(&path).expect("reads");
            let refused = open(&path).await.expect_err("is refused");
            assert!(matches!(&refused, OpenError::Foreign(file) if *file == path), "{refused:?}");
            assert!(matches!(sqlite::migrate(&path), Err(OpenError::Foreign(_))));
            assert!(std::fs::read(&path).expect("reads") == before, "it is as it was");
            let left = std::fs::read_dir(folder.path()).expect("reads").count();
            assert_eq!(left, 1, "no other file is left");
            std::fs::remove_file(&path).expect("removes");
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_opens_a_hard_link_to_the_file_is_refused() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, link) = (folder.path().join("inbox.db"), folder.path().join("link.db"));
        let first = open(&path).await.expect("opens");
        std::fs::hard_link(&path, &link).expect("links");
        assert!(matches!(open(&link).await, Err(OpenError::Owned(_))));
        first.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_in_a_missing_folder_is_refused() {
    within_limit(async {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = open(&folder.path().join("missing").join("inbox.db")).await.expect_err("is refused");
        assert!(matches!(refused, OpenError::File { .. }), "{refused:?}");
    })
    .await;
}
