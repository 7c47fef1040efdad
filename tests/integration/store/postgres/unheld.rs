//! Jobs that were leased by a statement whose response was lost, or beside a statement that failed.

use std::sync::Arc;

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::{Claim, Wanted};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{EmptiedPostgres, PostgresHarness};
use crate::store::inbox::{Inbox, LEASE, refused, seconds, sorted_keys};
use crate::store::routes::{job, ordered, pulled, route};
use crate::support::postgres::Session;

const WORKER: &str = "process 1";

#[tokio::test]
async fn an_unheld_job_is_given_back_as_if_it_had_not_been_leased() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    let held = inbox.accept_new("held").await;
    let held_job = inbox.claim_one().await;
    let first = inbox.accept_new("first").await;
    let failed = inbox.claim_one().await;
    inbox.fail(&failed, seconds(0)).await;
    inbox.advance(seconds(1));
    let lost = inbox.claim_one().await;
    assert_eq!((lost.attempt, lost.lease.token), (2, 2));
    let before = inbox.status_of(first.id).await;
    inbox.advance(seconds(1));
    let later = inbox.accept_new("later").await;
    let (due, mut watching) = (Arc::new(Notify::new()), inbox.changes().watch(first.id));
    inbox.on_due(Arc::clone(&due));

    let always = Timestamp::UNIX_EPOCH..=inbox.now();
    let given = inbox.give_back_unheld(WORKER, vec![held_job.lease], always).await;
    assert_eq!(given.expect("looks"), 1);
    let status = inbox.status_of(first.id).await;
    assert_eq!((status.status(), status.attempt_count()), (Status::Pending, 1));
    assert_eq!(status.updated_at(), inbox.now());
    assert!(status.revision() > before.revision());
    tokio::time::timeout(seconds(5), due.notified()).await.expect("the dispatcher is woken");
    let change = watching.try_recv().expect("watchers receive the change");
    assert_eq!((change.status, change.attempt_count), (Status::Pending, 1));
    assert_eq!(
        inbox.job_of(first.id, "default").await.1.attempts.len(),
        1,
        "only the failed attempt is recorded"
    );
    assert_eq!(inbox.counts().await.of(Status::Pending), 2);
    assert_eq!(inbox.counts().await.of(Status::Processing), 1);
    assert_eq!(inbox.status_of(held.id).await.status(), Status::Processing);
    let ended = inbox.finish_one(inbox.ended(&lost, Status::Completed)).await;
    assert!(!ended.expect("answers"), "the lease is lost");

    let next = inbox.claimed(2).await;
    let next = next.iter().map(|job| (job.lease.job.webhook, job.lease.token, job.attempt));
    assert_eq!(next.collect::<Vec<_>>(), [(first.id, 3, 2), (later.id, 1, 1)], "the job keeps its position");
    inbox.end(&held_job, Status::Completed).await;
}

#[tokio::test]
async fn only_jobs_leased_in_the_given_time_are_given_back() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    let leased = inbox.now();
    inbox.advance(seconds(10));
    let after = leased + seconds(1)..=inbox.now();
    assert_eq!(inbox.give_back_unheld(WORKER, vec![], after).await.expect("looks"), 0);
    let before = Timestamp::UNIX_EPOCH..=leased - seconds(1);
    assert_eq!(inbox.give_back_unheld(WORKER, vec![], before).await.expect("looks"), 0);
    // Renewing a lease does not change the time at which it was given.
    assert_eq!(inbox.renew(vec![job.lease], LEASE).await.expect("renews"), []);
    assert_eq!(inbox.give_back_unheld(WORKER, vec![], leased..=leased).await.expect("looks"), 1);
}

#[tokio::test]
async fn jobs_of_another_process_are_not_given_back() {
    let inbox = Inbox::<EmptiedPostgres>::new().await;
    let webhook = inbox.accept_new("k").await;
    inbox.claim_one().await;
    let always = Timestamp::UNIX_EPOCH..=inbox.now();
    assert_eq!(inbox.give_back_unheld("process 2", vec![], always).await.expect("looks"), 0);
    assert_eq!(inbox.status_of(webhook.id).await.status(), Status::Processing);
}

/// A claim leases ordered jobs and other jobs by a statement each, and the server runs both whatever becomes of the other.
#[tokio::test]
async fn jobs_that_a_claim_has_leased_for_a_worker_are_given_back_if_its_other_statement_fails() {
    for failing in ["NOT NULL", "NULL"] {
        let inbox = Inbox::<PostgresHarness>::with_routes(["free", "ordered"].map(pulled)).await;
        let free = inbox.accept_for("free", [job("free")]).await;
        let first = inbox.accept_for("ordered", [ordered("ordered", "x")]).await;
        let (leased, other) = if failing == "NOT NULL" { (free, first) } else { (first, free) };
        let session = Session::open(&inbox.harness().url()).expect("connects");
        let refusing = format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END';
             CREATE TRIGGER refuse BEFORE UPDATE ON jobs FOR EACH ROW
             WHEN (NEW.status = 1 AND NEW.lane IS {failing}) EXECUTE FUNCTION refuse()"
        );
        session.ask(&refusing).expect("creates");

        let wanted = Wanted::Pulled(["free", "ordered"].map(route).into());
        let claim = Claim { worker: "puller-1".into(), wanted, ..inbox.claim_for(10) };
        assert_eq!(refused(inbox.claim(claim.clone()).await), Reason::StoreUnavailable, "{failing}");
        let status = inbox.status_of(leased.id).await;
        assert_eq!((status.status(), status.attempt_count()), (Status::Pending, 0), "{failing}");
        assert_eq!(status.revision(), leased.revision() + 2, "it was leased and given back");
        assert_eq!(inbox.status_of(other.id).await, other, "{failing}");

        session.ask("DROP TRIGGER refuse ON jobs").expect("drops");
        let claims = inbox.claim(claim).await.expect("claims");
        assert_eq!(sorted_keys(&claims.jobs), ["free", "ordered"], "{failing}");
        assert!(claims.jobs.iter().all(|job| job.attempt == 1), "{failing}");
    }
}
