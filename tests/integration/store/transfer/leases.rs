//! Jobs that were leased when the process crashed: the policies in force after the move decide their next status.

use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::transfer::{Limits, abandon};

use super::equal::{assert_equal, assert_go_on_alike};
use super::{begin, move_into, moved, ready};
use crate::store::behaviours::ordering::{claim_next, complete_in_order};
use crate::store::inbox::Inbox;
use crate::store::postgres::EmptiedPostgres;
use crate::store::routes::{attempts, job, never_twice, ordered, policy};
use crate::store::sqlite::SqliteHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_job_runs_again() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let leased = inbox.accept_new("leased").await;
    let claimed = inbox.claim_one().await;
    let (target, rows) = moved(&mut inbox).await;

    assert_eq!((rows.counts.of(Status::Processing), rows.attempts), (1, 0));
    let (status, detail) = target.job_of(leased.id, "default").await;
    assert_eq!((status.status, status.attempt_count), (Status::Pending, 1));
    assert_eq!(
        (detail.attempts[0].outcome, &*detail.attempts[0].worker),
        (Outcome::Interrupted, "process 1")
    );
    assert_equal(&inbox, &target).await;
    let again = target.claim_one().await;
    assert!(again.lease.token > claimed.lease.token, "tokens grow");
    assert!(!target.finish_one(target.ended(&claimed, Status::Completed)).await.expect("answers"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_job_that_must_not_start_twice_is_a_dead_letter() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([never_twice("once"), policy("often")]).await;
    let leased = inbox.accept_for("leased", [ordered("once", "x"), job("often")]).await;
    inbox.accept_for("behind", [ordered("once", "x")]).await;
    assert_eq!(inbox.claimed(2).await.len(), 2);
    let (target, _) = moved(&mut inbox).await;

    assert_eq!(target.job_of(leased.id, "once").await.0.status, Status::DeadLettered);
    assert_eq!(target.job_of(leased.id, "often").await.0.status, Status::Pending);
    let again = target.claim_one().await;
    assert_eq!(again.route.as_str(), "often", "the dead letter blocks what is behind it");
    inbox.end(&inbox.claim_one().await, Status::Completed).await;
    target.end(&again, Status::Completed).await;
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_job_without_attempts_left_is_a_dead_letter() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([attempts(1)]).await;
    let leased = inbox.accept_new("leased").await;
    inbox.claim_one().await;
    let (target, _) = moved(&mut inbox).await;

    assert_eq!(target.status_of(leased.id).await.status(), Status::DeadLettered);
    assert_equal(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_behind_an_interrupted_one_wait_until_it_is_taken_over() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([policy("orders")]).await;
    for key in ["1", "2", "3"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    claim_next(&inbox, "1").await;
    let mut target = Inbox::<EmptiedPostgres>::new().await;
    move_into(&mut target, &mut inbox).await;

    target.claim_nothing().await;
    assert_eq!(target.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    complete_in_order(&target, &["1", "2", "3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_abandoned_leaves_leases_to_the_policies_of_the_file() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([never_twice("once")]).await;
    let leased = inbox.accept_for("leased", [job("once")]).await;
    inbox.claim_one().await;
    inbox.close().await;
    let file = inbox.harness().path();
    let target = Inbox::<EmptiedPostgres>::new().await;
    target.close().await;
    let mut transfer = ready(begin(&file, &target.harness().url(), Limits::default(), &inbox.clock).await);
    transfer.step().await.expect("moves");
    transfer.close().await;

    abandon(&file).expect("takes the mark away");
    inbox.close_and_reopen().await;
    assert_eq!(inbox.status_of(leased.id).await.status(), Status::DeadLettered);
}
