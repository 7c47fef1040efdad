//! Blocking: a dead letter blocks later jobs with the same order value, unless the policy skips it.

use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;

use super::announcing::{is_woken, listen};
use super::ordering::{claim_next, complete_in_order};
use super::purging::RETENTION;
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, milliseconds, seconds, sorted_keys};
use crate::store::routes::{attempts, job, ordered, policy, skipping};

/// Accepts two webhooks with the same order value and makes the first one a dead letter.
async fn with_a_dead_letter<H: Harness>() -> (Inbox<H>, [WebhookId; 2]) {
    let (inbox, ids) = super::ordering::with_one_lane::<H>(&["dead", "behind"]).await;
    let job = claim_next(&inbox, "dead").await;
    inbox.end(&job, Status::DeadLettered).await;
    (inbox, [ids[0], ids[1]])
}

pub(crate) async fn a_dead_letter_blocks_the_jobs_behind_it<H: Harness>() {
    let (mut inbox, _) = with_a_dead_letter::<H>().await;
    for _ in 0..2 {
        let claims = inbox.claims(10).await;
        assert_eq!((claims.jobs.len(), claims.next), (0, None), "the value is blocked");
        inbox.advance(seconds(3600));
        inbox.crash_and_reopen().await;
    }
    inbox.accept_for("later", [ordered("orders", "x")]).await;
    inbox.accept_for("other value", [ordered("orders", "y")]).await;
    inbox.accept_for("no value", [job("orders")]).await;
    inbox.accept_from("shop", "other source", [ordered("orders", "x")]).await;
    assert_eq!(sorted_keys(&inbox.claimed(10).await), ["no value", "other source", "other value"]);
}

pub(crate) async fn a_skipped_dead_letter_does_not_block<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([skipping("orders")]).await;
    let wake = listen(&inbox);
    for key in ["dead", "behind", "last"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    let job = claim_next(&inbox, "dead").await;
    is_woken(&wake);
    inbox.end(&job, Status::DeadLettered).await;
    assert!(is_woken(&wake), "the next one may start");
    complete_in_order(&inbox, &["behind", "last"]).await;
}

pub(crate) async fn a_retried_dead_letter_starts_before_those_behind<H: Harness>() {
    let (inbox, [dead, _]) = with_a_dead_letter::<H>().await;
    let wake = listen(&inbox);
    inbox.retry(dead, None).await.expect("retries");
    assert!(is_woken(&wake));
    complete_in_order(&inbox, &["dead", "behind"]).await;
}

pub(crate) async fn a_retried_dead_letter_that_fails_again_blocks_again<H: Harness>() {
    let (inbox, [dead, _]) = with_a_dead_letter::<H>().await;
    for _ in 0..2 {
        inbox.retry(dead, None).await.expect("retries");
        let job = claim_next(&inbox, "dead").await;
        inbox.end(&job, Status::DeadLettered).await;
        inbox.claim_nothing().await;
    }
    inbox.retry(dead, None).await.expect("retries");
    complete_in_order(&inbox, &["dead", "behind"]).await;
}

pub(crate) async fn a_cancelled_dead_letter_frees_the_jobs_behind_it<H: Harness>() {
    let (mut inbox, [dead, _]) = with_a_dead_letter::<H>().await;
    let wake = listen(&inbox);
    let cancelled = inbox.cancel(dead, None).await.expect("cancels");
    assert_eq!(cancelled.status(), Status::Cancelled);
    assert!(is_woken(&wake));
    inbox.cancel(dead, None).await.expect("changes nothing");
    inbox.crash_and_reopen().await;
    complete_in_order(&inbox, &["behind"]).await;
}

pub(crate) async fn a_cancelled_job_behind_a_dead_letter_frees_nothing<H: Harness>() {
    let (inbox, [dead, behind]) = with_a_dead_letter::<H>().await;
    inbox.accept_for("last", [ordered("orders", "x")]).await;
    inbox.cancel(behind, None).await.expect("cancels");
    inbox.claim_nothing().await;
    inbox.retry(behind, None).await.expect("retries");
    inbox.claim_nothing().await;
    inbox.retry(dead, None).await.expect("retries");
    complete_in_order(&inbox, &["dead", "behind", "last"]).await;
}

pub(crate) async fn an_interrupted_job_without_attempts_left_blocks<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([attempts(1)]).await;
    let dead = inbox.accept_for("dead", [ordered("default", "x")]).await.id;
    inbox.accept_for("behind", [ordered("default", "x")]).await;
    claim_next(&inbox, "dead").await;
    inbox.advance(LEASE);
    inbox.take_over_expired(Vec::new()).await.expect("takes over");
    assert_eq!(inbox.status_of(dead).await.status(), Status::DeadLettered);
    inbox.claim_nothing().await;
    inbox.retry(dead, None).await.expect("retries");
    claim_next(&inbox, "dead").await;
    inbox.crash_and_reopen().await;
    if !H::TAKES_OVER_AT_OPEN {
        inbox.advance(LEASE);
        inbox.take_over_expired(Vec::new()).await.expect("takes over");
    }
    inbox.claim_nothing().await;
    inbox.cancel(dead, None).await.expect("cancels");
    complete_in_order(&inbox, &["behind"]).await;
}

pub(crate) async fn a_policy_that_skips_frees_blocked_values<H: Harness>() {
    let (mut inbox, [dead, _]) = with_a_dead_letter::<H>().await;
    let wake = listen(&inbox);
    inbox.reload([policy("orders")]).await;
    inbox.claim_nothing().await;
    is_woken(&wake);
    inbox.reload([skipping("orders")]).await;
    assert!(is_woken(&wake), "the next one may start");
    assert_eq!(
        inbox.status_of(dead).await.status(),
        Status::DeadLettered,
        "the first job is still a dead letter"
    );
    let job = claim_next(&inbox, "behind").await;

    // The skipped dead letter no longer blocks other jobs, so cancelling it unblocks none.
    inbox.reload([policy("orders")]).await;
    inbox.accept_for("later", [ordered("orders", "x")]).await;
    inbox.cancel(dead, None).await.expect("cancels");
    inbox.claim_nothing().await;
    inbox.retry(dead, None).await.expect("retries");
    inbox.claim_nothing().await;
    inbox.end(&job, Status::Completed).await;
    complete_in_order(&inbox, &["dead", "later"]).await;
}

pub(crate) async fn a_process_whose_policy_skips_frees_blocked_values<H: Harness>() {
    let (mut inbox, _) = with_a_dead_letter::<H>().await;
    inbox.reopen_with([skipping("orders")]).await;
    complete_in_order(&inbox, &["behind"]).await;
}

pub(crate) async fn a_blocked_value_of_a_route_that_is_gone_stays_blocked<H: Harness>() {
    let (mut inbox, [dead, _]) = with_a_dead_letter::<H>().await;
    inbox.reload([policy("other")]).await;
    inbox.claim_nothing().await;
    inbox.reload([policy("orders")]).await;
    inbox.claim_nothing().await;
    inbox.cancel(dead, None).await.expect("cancels");
    complete_in_order(&inbox, &["behind"]).await;
}

pub(crate) async fn purging_a_dead_letter_frees_the_jobs_behind_it<H: Harness>() {
    let (inbox, [dead, _]) = with_a_dead_letter::<H>().await;
    inbox.advance(RETENTION.keys - milliseconds(1));
    while inbox.purge(RETENTION).await.expect("purges").more {}
    inbox.claim_nothing().await;
    assert!(inbox.detail_of(dead).await.payload.is_none(), "a job without its payload cannot be retried");

    inbox.advance(milliseconds(1));
    let wake = listen(&inbox);
    while inbox.purge(RETENTION).await.expect("purges").more {}
    assert!(is_woken(&wake), "the next one may start");
    complete_in_order(&inbox, &["behind"]).await;
}
