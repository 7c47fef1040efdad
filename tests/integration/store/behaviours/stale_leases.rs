//! Stale leases: an attempt that lost its lease cannot change its job, no matter what has happened to the job
//! since.

use std::time::Duration;

use hookbox::internals::domain::attempt::Lease;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::{JobId, QueueId, Status};
use hookbox::internals::store::{ClaimedJob, Finish};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, seconds};

/// Accepts a webhook and claims its job.
async fn claimed<H: Harness>() -> (Inbox<H>, ClaimedJob) {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("k").await;
    let job = inbox.claim_one().await;
    (inbox, job)
}

/// Checks that the old lease can neither be renewed nor end an attempt in any way.
async fn the_old_claim_changes_nothing<H: Harness>(inbox: &Inbox<H>, old: &ClaimedJob) {
    let before = inbox.detail_of(old.lease.job.webhook).await;
    let counts = inbox.counts().await;
    for next in [Status::Completed, Status::Retrying, Status::DeadLettered, Status::Pending] {
        for attempt in [old.attempt, before.status.attempt_count()] {
            let finish = Finish { attempt, ..inbox.ended(old, next) };
            assert!(!inbox.finish_one(finish).await.expect("answered"), "to {next}");
        }
    }
    assert_eq!(inbox.renew(vec![old.lease], LEASE * 100).await.expect("answered"), [old.lease]);
    let after = inbox.detail_of(old.lease.job.webhook).await;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    assert_eq!(inbox.counts().await, counts);
}

/// Checks that the job still runs under the new claim and can complete.
async fn the_new_claim_still_counts<H: Harness>(inbox: &Inbox<H>, new: &ClaimedJob) {
    assert_eq!(inbox.renew(vec![new.lease], LEASE).await.expect("renews"), []);
    inbox.end(new, Status::Completed).await;
}

pub(crate) async fn an_attempt_can_end_only_once<H: Harness>() {
    for next in [Status::Completed, Status::Retrying, Status::DeadLettered, Status::Pending] {
        let (inbox, job) = claimed::<H>().await;
        inbox.end(&job, next).await;
        the_old_claim_changes_nothing(&inbox, &job).await;
    }
}

pub(crate) async fn a_lease_that_was_taken_over_is_lost<H: Harness>() {
    let (inbox, old) = claimed::<H>().await;
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    the_old_claim_changes_nothing(&inbox, &old).await;
    let new = inbox.claim_one().await;
    the_old_claim_changes_nothing(&inbox, &old).await;
    the_new_claim_still_counts(&inbox, &new).await;
    the_old_claim_changes_nothing(&inbox, &old).await;
}

pub(crate) async fn a_lease_that_was_given_back_is_lost<H: Harness>() {
    let (inbox, old) = claimed::<H>().await;
    inbox.give_back(vec![old.lease]).await.expect("gives back");
    the_old_claim_changes_nothing(&inbox, &old).await;
    let new = inbox.claim_one().await;
    the_old_claim_changes_nothing(&inbox, &old).await;
    the_new_claim_still_counts(&inbox, &new).await;
}

pub(crate) async fn a_lease_from_before_the_next_attempt_is_lost<H: Harness>() {
    let (inbox, old) = claimed::<H>().await;
    inbox.fail(&old, Duration::ZERO).await;
    let new = inbox.claim_one().await;
    the_old_claim_changes_nothing(&inbox, &old).await;
    the_new_claim_still_counts(&inbox, &new).await;
}

pub(crate) async fn a_lease_from_before_a_retry_by_hand_is_lost<H: Harness>() {
    let (inbox, old) = claimed::<H>().await;
    inbox.end(&old, Status::DeadLettered).await;
    inbox.retry(old.lease.job.webhook, None).await.expect("retries");
    the_old_claim_changes_nothing(&inbox, &old).await;
    let new = inbox.claim_one().await;
    assert!(new.lease.token > old.lease.token, "every claim has a new token");
    the_old_claim_changes_nothing(&inbox, &old).await;
    the_new_claim_still_counts(&inbox, &new).await;
}

pub(crate) async fn a_lease_from_before_a_cancellation_is_lost<H: Harness>() {
    let (inbox, old) = claimed::<H>().await;
    inbox.fail(&old, seconds(10)).await;
    inbox.cancel(old.lease.job.webhook, None).await.expect("cancels");
    the_old_claim_changes_nothing(&inbox, &old).await;
    inbox.retry(old.lease.job.webhook, None).await.expect("retries");
    the_old_claim_changes_nothing(&inbox, &old).await;
    let new = inbox.claim_one().await;
    the_old_claim_changes_nothing(&inbox, &old).await;
    the_new_claim_still_counts(&inbox, &new).await;
}

pub(crate) async fn a_lease_of_a_process_that_is_gone_is_lost<H: Harness>() {
    let (mut inbox, old) = claimed::<H>().await;
    inbox.crash_and_reopen().await;
    if !H::TAKES_OVER_AT_OPEN {
        inbox.advance(LEASE);
        inbox.take_over_expired(Vec::new()).await.expect("takes over");
    }
    the_old_claim_changes_nothing(&inbox, &old).await;
    let new = inbox.claim_one().await;
    the_old_claim_changes_nothing(&inbox, &old).await;
    the_new_claim_still_counts(&inbox, &new).await;
}

pub(crate) async fn an_unknown_lease_changes_nothing<H: Harness>() {
    let (inbox, job) = claimed::<H>().await;
    for token in [job.lease.token + 1, job.lease.token.wrapping_sub(1), u64::MAX] {
        let forged = ClaimedJob { lease: Lease { token, ..job.lease }, ..job.clone() };
        the_old_claim_changes_nothing(&inbox, &forged).await;
    }
    let JobId { webhook, queue } = job.lease.job;
    for unknown in [
        JobId { webhook: WebhookId::from_bytes([7; 16]), queue },
        JobId { webhook, queue: QueueId(queue.0 + 1) },
        JobId { webhook, queue: QueueId(0) },
    ] {
        let unknown = Lease { job: unknown, ..job.lease };
        let finish = Finish { lease: unknown, ..inbox.ended(&job, Status::Completed) };
        assert!(!inbox.finish_one(finish).await.expect("answered"));
        assert_eq!(inbox.renew(vec![unknown], LEASE).await.expect("answered"), [unknown]);
    }
    the_new_claim_still_counts(&inbox, &job).await;
}
