//! Policies: the policies in force apply to all jobs, no matter when a job was accepted.

use hookbox::internals::domain::attempt::{Outcome, RunResult};
use hookbox::internals::domain::job::Status;

use super::announcing::{is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, seconds, sorted_keys};
use crate::store::routes::{attempts, concurrent, job, never_twice, policy};

/// Lets the lease of the job expire and takes it over.
async fn expire<H: Harness>(inbox: &Inbox<H>) {
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
}

pub(crate) async fn attempts_are_limited_by_the_policy_in_force<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([attempts(3)]).await;
    let id = inbox.accept_new("k").await.id;
    inbox.claim_one().await;
    expire(&inbox).await;
    assert_eq!(inbox.status_of(id).await.status(), Status::Pending);
    inbox.claim_one().await;
    inbox.reload([attempts(2)]).await;
    expire(&inbox).await;
    assert_eq!(inbox.status_of(id).await.status(), Status::DeadLettered, "2 attempts are allowed now");

    let id = inbox.accept_new("other").await.id;
    for next in [Status::Pending, Status::Pending, Status::Pending, Status::DeadLettered] {
        inbox.claim_one().await;
        inbox.reload([attempts(4)]).await;
        expire(&inbox).await;
        assert_eq!(inbox.status_of(id).await.status(), next, "4 attempts are allowed now");
    }
}

pub(crate) async fn a_restarted_process_applies_its_own_policies<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([attempts(3)]).await;
    let id = inbox.accept_new("k").await.id;
    inbox.claim_one().await;
    inbox.reopen_with([attempts(1)]).await;
    if !H::TAKES_OVER_AT_OPEN {
        expire(&inbox).await;
    }
    assert_eq!(inbox.status_of(id).await.status(), Status::DeadLettered);
}

pub(crate) async fn new_policies_let_jobs_start_and_hold_others<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("old"), policy("kept")]).await;
    let wake = listen(&inbox);
    for key in ["1", "2"] {
        inbox.accept_for(key, ["old", "kept", "new"].map(job)).await;
    }
    is_woken(&wake);
    inbox.reload([concurrent("kept", 1), policy("new")]).await;
    assert!(is_woken(&wake), "jobs of the new route may start");
    let mut routes = inbox.claimed(10).await.into_iter().map(|job| job.route.to_string()).collect::<Vec<_>>();
    routes.sort();
    assert_eq!(routes, ["kept", "new", "new"]);
    inbox.reload([policy("old")]).await;
    assert!(is_woken(&wake), "jobs of the old route may start again");
    assert_eq!(sorted_keys(&inbox.claimed(10).await), ["1", "2"]);
}

pub(crate) async fn an_interrupted_job_that_must_not_start_twice_becomes_a_dead_letter<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([never_twice("once")]).await;
    let id = inbox.accept_for("k", [job("once")]).await.id;
    inbox.claim_one().await;
    expire(&inbox).await;
    let (status, detail) = inbox.job_of(id, "once").await;
    assert_eq!((status.status, detail.completed_at), (Status::DeadLettered, Some(inbox.now())));
    assert_eq!(detail.attempts[0].outcome, Outcome::Interrupted);
    inbox.advance(seconds(3600));
    inbox.claim_nothing().await;

    inbox.retry(id, None).await.expect("an operator may start it again");
    inbox.claim_one().await;
    inbox.crash_and_reopen().await;
    if !H::TAKES_OVER_AT_OPEN {
        expire(&inbox).await;
    }
    assert_eq!(inbox.status_of(id).await.status(), Status::DeadLettered, "the same after a crash");
}

pub(crate) async fn a_stopped_job_that_must_not_start_twice_becomes_a_dead_letter<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([never_twice("once"), policy("again")]).await;
    let id = inbox.accept_for("k", [job("once"), job("again")]).await.id;
    for job in inbox.claimed(2).await {
        let finish = inbox.concluded(&job, RunResult::Stopped);
        assert!(inbox.finish_one(finish).await.expect("finishes"));
    }
    let (once, detail) = inbox.job_of(id, "once").await;
    assert_eq!((once.status, detail.attempts[0].outcome), (Status::DeadLettered, Outcome::Interrupted));
    let (again, detail) = inbox.job_of(id, "again").await;
    assert_eq!((again.status, detail.attempts[0].outcome), (Status::Pending, Outcome::Interrupted));
    assert_eq!(inbox.claim_one().await.route.as_str(), "again");
}

pub(crate) async fn a_failed_job_is_retried_even_if_it_must_not_start_twice<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([never_twice("once")]).await;
    inbox.accept_for("k", [job("once")]).await;
    let first = inbox.claim_one().await;
    let failed = RunResult::Failed { error: "failed".into(), retry_after: None };
    assert!(inbox.finish_one(inbox.concluded(&first, failed)).await.expect("finishes"));
    assert_eq!(inbox.claim_one().await.attempt, 2, "a failed attempt was not interrupted");
}
