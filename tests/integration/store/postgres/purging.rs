//! A purge that runs concurrently with an operator's retry of the same webhook, and one of whose statements fails.

use hookbox::internals::domain::job::Status;
use tokio::task::JoinHandle;

use super::{EmptiedPostgres, PostgresHarness};
use crate::store::behaviours::purging::{RETENTION, purge_all};
use crate::store::inbox::{Inbox, milliseconds, seconds};
use crate::store::routes::{job, policy, route};
use crate::support::postgres::Session;

/// Counts the statements of the store that wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_retried_during_a_purge_keeps_its_payload() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes(["a", "b"].map(policy)).await;
    let id = inbox.accept_for("k", ["a", "b"].map(job)).await.id;
    for (number, claimed) in inbox.claimed(2).await.iter().enumerate() {
        inbox.advance(seconds(100 * number as u64));
        inbox.end(claimed, Status::DeadLettered).await;
    }
    // The payload of a dead letter is kept for 200 s. Only the first one is older.
    inbox.advance(seconds(100));
    assert_eq!(purge_all(&inbox).await.payloads, 0);
    inbox.advance(seconds(100));

    let session = Session::open(&inbox.harness().url()).expect("connects");
    session.ask(&format!("BEGIN; SELECT 1 FROM webhooks WHERE id = '{id}' FOR UPDATE")).expect("locks");
    let store = inbox.shared();
    let purging = tokio::spawn(async move { store.purge(RETENTION).await });
    done_or_waiting(&session, &purging, 1).await;
    let store = inbox.shared();
    let retrying = tokio::spawn(async move { store.retry(id, Some(route("a"))).await });
    done_or_waiting(&session, &retrying, if purging.is_finished() { 1 } else { 2 }).await;
    session.ask("COMMIT").expect("unlocks");

    purging.await.expect("ends").expect("purges");
    retrying.await.expect("ends").expect("is retried");
    assert!(inbox.detail_of(id).await.payload.is_some(), "the retried job still has its payload");
    assert_eq!(inbox.claim_one().await.route, route("a"));
}

#[tokio::test]
async fn a_step_that_fails_delays_no_other_and_is_repeated_with_fewer_webhooks() {
    const COMPLETED: usize = 10;
    let inbox = Inbox::<PostgresHarness>::new().await;
    for number in 0..COMPLETED {
        inbox.ended_webhook(&number.to_string(), Status::Completed).await;
    }
    inbox.ended_webhook("dead", Status::DeadLettered).await;
    inbox.advance(RETENTION.dead_lettered);
    let session = Session::open(&inbox.harness().url()).expect("connects");
    // As if the database were too slow for a statement that changes more completed jobs than this.
    let change_at_most = |most: usize| {
        let function = format!(
            "CREATE OR REPLACE FUNCTION limited() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF (SELECT count(*) FROM changed WHERE status = 3) > {most} THEN RAISE EXCEPTION 'too slow'; END IF;
                 RETURN NULL;
             END $$"
        );
        session.ask(&function).expect("creates");
    };
    change_at_most(0);
    session
        .ask(
            "CREATE TRIGGER limited AFTER UPDATE ON finished_jobs REFERENCING NEW TABLE AS changed
             FOR EACH STATEMENT EXECUTE FUNCTION limited()",
        )
        .expect("creates");

    let mut payloads = 0;
    let purging = async {
        while let Ok(purged) = inbox.purge(RETENTION).await {
            payloads += purged.payloads;
            assert!(purged.more, "completed jobs are left");
        }
    };
    tokio::time::timeout(seconds(30), purging).await.expect("the purge fails once only they are left");
    assert_eq!(payloads, 1, "the payload of the dead letter is removed");
    change_at_most(1);
    assert_eq!(purge_all(&inbox).await.payloads, COMPLETED);
}

/// Waits until the task has ended or `waiting` statements wait for a lock.
pub(super) async fn done_or_waiting<T>(session: &Session, task: &JoinHandle<T>, waiting: usize) {
    let looking = async {
        while !task.is_finished() && session.ask(WAITING).expect("counts") != [waiting.to_string()] {
            tokio::time::sleep(milliseconds(5)).await;
        }
    };
    tokio::time::timeout(seconds(30), looking).await.expect("the task ends or waits for a lock");
}
