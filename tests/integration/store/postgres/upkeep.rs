//! Maintenance of the tables, and text that PostgreSQL cannot store.

use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::{Finish, Store as _};

use super::EmptiedPostgres;
use super::harness::open;
use crate::store::harness::Options;
use crate::store::inbox::Inbox;
use crate::store::routes::{in_force, policy};
use crate::support::postgres::{Session, server};

/// Half seconds to wait. Covers the interval of the store's check and the delay of the server's statistics.
const PATIENCE: u32 = 60;

#[tokio::test]
async fn an_error_with_a_character_that_postgresql_cannot_keep_is_recorded_without_it() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    let webhook = inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    let finish = Finish { error: Some("a\0b".into()), ..inbox.ended(&job, Status::DeadLettered) };
    assert!(inbox.finish_one(finish).await.expect("is recorded"));
    let (_, detail) = inbox.job_of(webhook.id, "default").await;
    assert_eq!(detail.attempts[0].error.as_deref(), Some("a\u{fffd}b"));
}

#[tokio::test]
async fn dead_rows_of_the_jobs_table_are_vacuumed() {
    let database = server().database();
    let options = Options { max_backlog: 100, policies: in_force([policy("default")]), seed: 1 };
    let store = open(&database.url(), &options, Arc::new(SystemClock)).await.expect("opens");
    let session = Session::open(&database.url()).expect("connects");
    // Autovacuum would vacuum the table eventually.
    session.ask("ALTER TABLE jobs SET (autovacuum_enabled = false)").expect("sets");
    session
        .ask(
            "INSERT INTO jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at, updated_at,
                               revision, lease_token)
             SELECT gen_random_uuid(), 1, 0, 1, 0, 0, 'infinity', now(), 0, 0 FROM generate_series(1, 25000)",
        )
        .expect("inserts");
    session.ask("DELETE FROM jobs").expect("deletes");
    for _ in 0..PATIENCE {
        let vacuumed = session.ask("SELECT vacuum_count > 0 FROM pg_stat_user_tables WHERE relname = 'jobs'");
        if vacuumed.expect("asks") == ["t"] {
            return store.close().await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("the store did not vacuum the table of jobs");
}
