//! A purge that runs concurrently with an operator's retry of the same webhook.

use hookbox::internals::domain::job::Status;
use tokio::task::JoinHandle;

use super::PostgresHarness;
use crate::store::behaviours::purging::{RETENTION, purge_all};
use crate::store::inbox::{Inbox, milliseconds, seconds};
use crate::store::routes::{job, policy, route};
use crate::support::postgres::Session;

/// Counts the statements of the store that wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_retried_during_a_purge_keeps_its_payload() {
    let inbox = Inbox::<PostgresHarness>::with_routes(["a", "b"].map(policy)).await;
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

/// Waits until the task has ended or `waiting` statements wait for a lock.
pub(super) async fn done_or_waiting<T>(session: &Session, task: &JoinHandle<T>, waiting: usize) {
    let looking = async {
        while !task.is_finished() && session.ask(WAITING).expect("counts") != [waiting.to_string()] {
            tokio::time::sleep(milliseconds(5)).await;
        }
    };
    tokio::time::timeout(seconds(30), looking).await.expect("the task ends or waits for a lock");
}
