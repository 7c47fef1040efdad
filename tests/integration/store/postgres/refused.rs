//! Statements that PostgreSQL refuses: one row at fault does not fail the others, and a fault of the database is told as
//! one.

use std::sync::Arc;

use futures::future::join_all;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::postgres::{Options, PostgresStore};
use hookbox::internals::store::{Inbox as _, JobQueue as _, Store as _};
use hookbox::internals::telemetry::metrics::Metrics;

use super::PostgresHarness;
use super::at_once::{claim, ended};
use crate::store::inbox::{Inbox, LEASE, refused, webhook};
use crate::store::routes::{default_job, in_force, policy};
use crate::support::postgres::{Session, server};

/// Has PostgreSQL refuse the rows of a table for which `condition` holds. `state` is an expression for the SQLSTATE, in
/// which `number` is how many rows it has refused, this one included.
pub(super) fn refuse(session: &Session, table: &str, condition: &str, state: &str) {
    // A rollback does not set a sequence back.
    let trigger = format!(
        "CREATE SEQUENCE refusals;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE
             number bigint := nextval('refusals');
         BEGIN
             RAISE EXCEPTION 'refused' USING ERRCODE = {state};
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
    );
    session.ask(&trigger).expect("creates");
}

// The runtime has one thread, so that all webhooks of a test wait before the first one is stored.

#[tokio::test]
async fn a_webhook_that_is_refused_does_not_fail_the_others_of_its_batch() {
    for (state, reason) in [
        ("'22023'", Reason::StoreUnavailable),
        ("'54000'", Reason::StoreUnavailable),
        ("'23514'", Reason::Internal),
        ("'23P01'", Reason::Internal),
    ] {
        let inbox = Inbox::<PostgresHarness>::new().await;
        let session = Session::open(&inbox.harness().url()).expect("connects");
        refuse(&session, "webhooks", "NEW.idempotency_key = '10'", state);
        let accepting = (0..20).map(|number| inbox.submit(webhook(&number.to_string())));
        for (number, accepted) in join_all(accepting).await.into_iter().enumerate() {
            if number == 10 {
                assert_eq!(refused(accepted), reason, "{state}");
            } else {
                assert!(!accepted.expect("is stored").duplicate, "{state}");
            }
        }
        assert_eq!(inbox.counts().await.of(Status::Pending), 19);
        assert_eq!(session.ask("SELECT last_value FROM refusals").expect("asks"), ["2"], "{state}");
    }
}

#[tokio::test]
async fn a_database_that_refuses_all_webhooks_is_not_asked_for_each_of_a_batch() {
    // The batch, and of its webhooks two, or one if its error tells that the database is at fault.
    for (fault, state, asked) in [
        ("a full disk", "'53100'", "3"),
        ("a failover to a standby", "CASE number WHEN 1 THEN '57P01' ELSE '25006' END", "2"),
    ] {
        let inbox = Inbox::<PostgresHarness>::new().await;
        let session = Session::open(&inbox.harness().url()).expect("connects");
        refuse(&session, "webhooks", "true", state);
        let accepting = (0..20).map(|number| inbox.submit(webhook(&number.to_string())));
        for accepted in join_all(accepting).await {
            assert_eq!(refused(accepted), Reason::StoreUnavailable, "{fault}");
        }
        assert_eq!(session.ask("SELECT last_value FROM refusals").expect("asks"), [asked], "{fault}");
    }
}

#[tokio::test]
async fn a_fault_after_a_refused_batch_of_outcomes_is_counted() {
    let database = server().database();
    let metrics = Arc::new(Metrics::default());
    let options = Options {
        target: database.url().parse().expect("a URL"),
        max_backlog: 1_000,
        policies: in_force([policy("default")]),
        worker: "worker-1".to_owned(),
        seed: 1,
    };
    let store = PostgresStore::open(options, Arc::new(SystemClock), Arc::clone(&metrics)).await;
    let store = store.expect("opens");
    for key in ["a", "b"] {
        store.accept(webhook(key), default_job()).await.expect("is stored");
    }
    let jobs = store.claim(claim("worker-1", 2, LEASE)).await.expect("claims").jobs;
    assert_eq!(jobs.len(), 2);

    let session = Session::open(&database.url()).expect("connects");
    refuse(&session, "finished_jobs", "true", "CASE number WHEN 1 THEN '23514' ELSE '53100' END");
    let ends = jobs.iter().map(|job| ended(job, Status::Completed)).collect();
    assert_eq!(refused(store.finish("worker-1", ends).await), Reason::StoreUnavailable);
    let told = metrics.encode().expect("encodes");
    assert!(told.contains("hookbox_commit_failures_total 2\n"), "{told}");
    store.close().await;
}
