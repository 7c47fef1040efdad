//! Retention continues across a move: payloads and keys are removed on time and only once.

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::Purged;

use super::equal::{assert_equal, assert_go_on_alike};
use super::moved;
use crate::store::behaviours::purging::{RETENTION, purge_all};
use crate::store::inbox::{Inbox, milliseconds, refused, seconds, webhook_with};
use crate::store::postgres::EmptiedPostgres;
use crate::store::routes::{job, policy, route};
use crate::store::sqlite::SqliteHarness;
use crate::support::postgres::Session;

const NOTHING: Purged = Purged { payloads: 0, webhooks: 0, more: false };

/// Purges both stores after each of these delays and compares what was removed.
async fn purge_alike(
    inbox: &Inbox<SqliteHarness>,
    target: &Inbox<EmptiedPostgres>,
    steps: &[u64],
) -> Vec<Purged> {
    let mut all = Vec::new();
    for step in steps {
        for time in [seconds(*step) - milliseconds(1), milliseconds(1)] {
            inbox.advance(time);
            target.advance(time);
            let purged = purge_all(target).await;
            assert_eq!(purge_all(inbox).await, purged);
            assert_equal(inbox, target).await;
            all.push(purged);
        }
    }
    all
}

/// The sorted values of a column of the finished jobs in the database.
fn column_of_finished_jobs(target: &Inbox<EmptiedPostgres>, column: &str) -> Vec<String> {
    let session = Session::open(&target.harness().url()).expect("connects");
    session.ask(&format!("SELECT {column} FROM finished_jobs ORDER BY 1")).expect(column)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_without_its_payload_answers_duplicates_and_is_purged_on_time() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let gone = inbox.ended_webhook("gone", Status::Completed).await;
    let dead = inbox.ended_webhook("dead", Status::DeadLettered).await;
    inbox.advance(RETENTION.dead_lettered);
    assert_eq!(purge_all(&inbox).await.payloads, 2);
    inbox.ended_webhook("kept", Status::Completed).await;
    let (target, _) = moved(&mut inbox).await;

    assert_eq!(target.detail_of(gone.id).await.payload, None);
    assert!(target.submit(webhook_with("gone", r#"{"n":1}"#)).await.expect("answers").duplicate);
    assert_eq!(refused(target.submit(webhook_with("gone", r#"{"n":2}"#)).await), Reason::KeyReused);
    assert_eq!(refused(target.retry(dead.id, None).await), Reason::WrongStatus, "the payload was purged");
    assert_equal(&inbox, &target).await;
    let purged = purge_alike(&inbox, &target, &[100, 200]).await;
    let first = Purged { payloads: 1, webhooks: 2, ..NOTHING };
    assert_eq!(purged, [NOTHING, first, NOTHING, Purged { webhooks: 1, ..NOTHING }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_is_kept_until_the_retention_of_the_last_job_is_over() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["a", "b"].map(policy)).await;
    let webhook = inbox.accept_for("k", [job("a"), job("b")]).await;
    let first = inbox.claimed(1).await;
    inbox.end(&first[0], Status::Completed).await;
    // The retention of the payload and of the key is over for this job, but the other job is unfinished.
    for (retention, mark) in [(RETENTION.completed, "1"), (RETENTION.keys, "2")] {
        inbox.advance(retention);
        assert_eq!(purge_all(&inbox).await, NOTHING);
        let (target, _) = moved(&mut inbox).await;
        assert_eq!(column_of_finished_jobs(&target, "purged"), [mark]);
        assert_eq!(column_of_finished_jobs(&target, "result"), [""; 0], "null");
        assert!(target.detail_of(webhook.id).await.payload.is_some());
        assert_equal(&inbox, &target).await;
    }
    let (target, _) = moved(&mut inbox).await;
    let last = inbox.claim_one().await;
    target.claim_one().await;
    let end = inbox.ended(&last, Status::Completed);
    for finished in [inbox.finish_one(end.clone()).await, target.finish_one(end).await] {
        assert!(finished.expect("finishes"));
    }
    let purged = purge_alike(&inbox, &target, &[100, 200]).await;
    let [payload, webhook] = [Purged { payloads: 1, ..NOTHING }, Purged { webhooks: 1, ..NOTHING }];
    assert_eq!(purged, [NOTHING, payload, NOTHING, webhook]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retention_of_a_retried_job_starts_again() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["a", "b"].map(policy)).await;
    let webhook = inbox.accept_for("k", [job("a"), job("b")]).await;
    inbox.cancel(webhook.id, Some(route("a"))).await.expect("cancels");
    inbox.advance(RETENTION.dead_lettered);
    assert_eq!(purge_all(&inbox).await, NOTHING);
    inbox.retry(webhook.id, Some(route("a"))).await.expect("retries");
    inbox.cancel(webhook.id, None).await.expect("cancels");
    let (target, _) = moved(&mut inbox).await;

    assert_eq!(column_of_finished_jobs(&target, "purged"), ["0", "0"]);
    let purged = purge_alike(&inbox, &target, &[200]).await;
    assert_eq!(purged, [NOTHING, Purged { payloads: 1, ..NOTHING }]);
    assert_go_on_alike(&inbox, &target).await;
}
