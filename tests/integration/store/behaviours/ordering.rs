//! Ordering: jobs with the same route, source and order value start one at a time, in order of arrival. Such
//! jobs form a lane.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::ClaimedJob;

use super::announcing::{is_asleep, is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, keys, milliseconds, seconds, sorted_keys};
use crate::store::routes::{job, ordered, policy};

/// Accepts webhooks with these keys, in this order. Their jobs of the route `orders` have the same order value.
pub(crate) async fn with_one_lane<H: Harness>(keys: &[&str]) -> (Inbox<H>, Vec<WebhookId>) {
    let inbox = Inbox::<H>::with_routes([policy("orders"), policy("other")]).await;
    let mut ids = Vec::new();
    for key in keys {
        ids.push(inbox.accept_for(key, [ordered("orders", "x")]).await.id);
        inbox.advance(milliseconds(1));
    }
    (inbox, ids)
}

/// Claims the only startable job, which must belong to the webhook with this key.
pub(crate) async fn claim_next<H: Harness>(inbox: &Inbox<H>, key: &str) -> ClaimedJob {
    let job = inbox.claim_one().await;
    assert_eq!(job.idempotency_key.as_str(), key);
    job
}

/// Checks that the jobs of these keys start one at a time, in this order, and that no other job is left.
pub(crate) async fn complete_in_order<H: Harness>(inbox: &Inbox<H>, keys: &[&str]) {
    for key in keys {
        let job = claim_next(inbox, key).await;
        inbox.claim_nothing().await;
        inbox.end(&job, Status::Completed).await;
    }
    let claims = inbox.claims(10).await;
    assert_eq!((claims.jobs.len(), claims.next), (0, None), "no job is left");
}

pub(crate) async fn jobs_of_one_value_start_one_at_a_time_in_order<H: Harness>() {
    let (mut inbox, _) = with_one_lane::<H>(&["1", "2", "3", "4"]).await;
    complete_in_order(&inbox, &["1", "2", "3", "4"]).await;
    for key in ["5", "6"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    let job = claim_next(&inbox, "5").await;
    inbox.end(&job, Status::Completed).await;
    inbox.accept_for("7", [ordered("orders", "x")]).await;
    inbox.crash_and_reopen().await;
    complete_in_order(&inbox, &["6", "7"]).await;
}

pub(crate) async fn jobs_accepted_at_the_same_time_start_in_order_of_arrival<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    // The clock does not move.
    let keys = (0..30).map(|number| number.to_string()).collect::<Vec<_>>();
    for key in &keys {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    complete_in_order(&inbox, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

pub(crate) async fn jobs_of_different_values_run_concurrently<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders"), policy("other")]).await;
    for (key, new) in [
        ("x", ordered("orders", "x")),
        ("X", ordered("orders", "X")),
        ("empty", ordered("orders", "")),
        ("other route", ordered("other", "x")),
        ("none", job("orders")),
        ("none too", job("orders")),
        ("behind", ordered("orders", "x")),
    ] {
        inbox.accept_for(key, [new]).await;
    }
    inbox.accept_from("shop", "other source", [ordered("orders", "x")]).await;
    let jobs = inbox.claimed(10).await;
    let all = ["X", "empty", "none", "none too", "other route", "other source", "x"];
    assert_eq!(sorted_keys(&jobs), all);
    inbox.claim_nothing().await;
    for job in jobs {
        inbox.end(&job, Status::Completed).await;
    }
    claim_next(&inbox, "behind").await;
}

pub(crate) async fn a_retrying_job_holds_the_jobs_behind_it<H: Harness>() {
    let (mut inbox, _) = with_one_lane::<H>(&["1", "2"]).await;
    let job = claim_next(&inbox, "1").await;
    inbox.fail(&job, seconds(10)).await;
    assert_eq!(inbox.claims(10).await.next, Some(inbox.now() + seconds(10)));
    inbox.advance(seconds(9));
    inbox.claim_nothing().await;
    inbox.crash_and_reopen().await;
    inbox.claim_nothing().await;
    inbox.advance(seconds(1));
    complete_in_order(&inbox, &["1", "2"]).await;
}

pub(crate) async fn a_stopped_job_starts_again_before_those_behind<H: Harness>() {
    let (inbox, _) = with_one_lane::<H>(&["1", "2"]).await;
    let job = claim_next(&inbox, "1").await;
    inbox.advance(seconds(5));
    inbox.end(&job, Status::Pending).await;
    complete_in_order(&inbox, &["1", "2"]).await;
}

pub(crate) async fn a_take_over_keeps_the_order<H: Harness>() {
    let (mut inbox, _) = with_one_lane::<H>(&["1", "2", "3"]).await;
    claim_next(&inbox, "1").await;
    inbox.advance(LEASE);
    inbox.claim_nothing().await;
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    claim_next(&inbox, "1").await;
    inbox.crash_and_reopen().await;
    if !H::TAKES_OVER_AT_OPEN {
        inbox.claim_nothing().await;
        inbox.advance(LEASE);
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    }
    complete_in_order(&inbox, &["1", "2", "3"]).await;
}

pub(crate) async fn a_cancelled_job_leaves_its_lane<H: Harness>() {
    let (inbox, ids) = with_one_lane::<H>(&["1", "2", "3", "4", "5"]).await;
    inbox.cancel(ids[0], None).await.expect("cancels the first");
    inbox.cancel(ids[2], None).await.expect("cancels one in the middle");
    let job = claim_next(&inbox, "2").await;
    inbox.cancel(ids[4], None).await.expect("cancels the last");
    inbox.claim_nothing().await;
    inbox.end(&job, Status::Completed).await;
    complete_in_order(&inbox, &["4"]).await;

    // All jobs of the lane are cancelled; a new job starts at once.
    let only = inbox.accept_for("only", [ordered("orders", "x")]).await.id;
    inbox.cancel(only, None).await.expect("cancels");
    inbox.accept_for("next", [ordered("orders", "x")]).await;
    complete_in_order(&inbox, &["next"]).await;
}

pub(crate) async fn cancelling_a_retrying_job_lets_the_next_one_start<H: Harness>() {
    let (inbox, ids) = with_one_lane::<H>(&["1", "2"]).await;
    let wake = listen(&inbox);
    let job = claim_next(&inbox, "1").await;
    inbox.fail(&job, seconds(3600)).await;
    is_woken(&wake);
    inbox.cancel(ids[0], None).await.expect("cancels");
    assert!(is_woken(&wake), "the next one may start");
    complete_in_order(&inbox, &["2"]).await;
}

pub(crate) async fn a_finished_job_wakes_the_dispatcher_for_the_next_job_of_its_lane<H: Harness>() {
    let (inbox, _) = with_one_lane::<H>(&["1", "2"]).await;
    let wake = listen(&inbox);
    let job = claim_next(&inbox, "1").await;
    assert!(is_asleep(&inbox, &wake));
    inbox.end(&job, Status::Completed).await;
    assert!(is_woken(&wake));
    let job = claim_next(&inbox, "2").await;
    inbox.end(&job, Status::Completed).await;
    assert!(is_asleep(&inbox, &wake), "the lane is empty");
}

pub(crate) async fn a_retried_job_starts_before_those_that_came_later<H: Harness>() {
    let (inbox, ids) = with_one_lane::<H>(&["1", "2", "3"]).await;
    inbox.cancel(ids[0], None).await.expect("cancels");
    let second = claim_next(&inbox, "2").await;
    inbox.retry(ids[0], None).await.expect("retries");
    inbox.claim_nothing().await;
    inbox.end(&second, Status::Completed).await;
    complete_in_order(&inbox, &["1", "3"]).await;

    // The same for a lane that is empty.
    let last = inbox.accept_for("4", [ordered("orders", "x")]).await.id;
    inbox.cancel(last, None).await.expect("cancels");
    inbox.retry(last, None).await.expect("retries");
    inbox.accept_for("5", [ordered("orders", "x")]).await;
    complete_in_order(&inbox, &["4", "5"]).await;
}

pub(crate) async fn a_retried_job_does_not_wait_for_a_later_retrying_one<H: Harness>() {
    let (inbox, ids) = with_one_lane::<H>(&["1", "2", "3"]).await;
    inbox.cancel(ids[0], None).await.expect("cancels");
    let second = claim_next(&inbox, "2").await;
    inbox.fail(&second, seconds(60)).await;
    inbox.advance(seconds(10));
    let wake = listen(&inbox);
    inbox.retry(ids[0], None).await.expect("retries");
    assert!(is_woken(&wake));
    let first = claim_next(&inbox, "1").await;
    inbox.end(&first, Status::Completed).await;
    // The second job waits until it is due, and the third job waits for the second.
    assert_eq!(inbox.claims(10).await.next, Some(inbox.now() + seconds(50)));
    inbox.advance(seconds(50) - milliseconds(1));
    inbox.claim_nothing().await;
    inbox.advance(milliseconds(1));
    complete_in_order(&inbox, &["2", "3"]).await;
}

pub(crate) async fn a_retried_job_does_not_wait_for_a_later_one_that_runs_and_then_fails<H: Harness>() {
    let (inbox, ids) = with_one_lane::<H>(&["1", "2", "3"]).await;
    inbox.cancel(ids[0], None).await.expect("cancels");
    let second = claim_next(&inbox, "2").await;
    inbox.retry(ids[0], None).await.expect("retries");
    let wake = listen(&inbox);
    inbox.fail(&second, seconds(60)).await;
    assert!(is_woken(&wake), "the first one may start");
    let first = claim_next(&inbox, "1").await;
    inbox.end(&first, Status::Completed).await;
    assert_eq!(inbox.claims(10).await.next, Some(inbox.now() + seconds(60)));
    inbox.advance(seconds(60));
    complete_in_order(&inbox, &["2", "3"]).await;
}

pub(crate) async fn concurrent_claims_never_start_two_jobs_of_one_order_value<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    let values = ["u", "v", "w", "x", "y", "z"];
    for number in 0..5 {
        for value in values {
            inbox.accept_for(&format!("{value} {number}"), [ordered("orders", value)]).await;
        }
    }
    let mut ended: HashMap<String, Vec<String>> = HashMap::new();
    for _ in 0..5 {
        let claimers = (0..8).map(|_| {
            let (store, claim) = (inbox.shared(), inbox.claim_for(3));
            tokio::spawn(async move { store.claim(claim).await.expect("claims").jobs })
        });
        let claimed = join_all(claimers).await.into_iter().flat_map(|jobs| jobs.expect("ran"));
        let jobs = claimed.collect::<Vec<_>>();
        assert_eq!(jobs.len(), values.len(), "one job of each value: {:?}", keys(&jobs));
        for job in &jobs {
            let value = job.order.as_ref().expect("is ordered").as_str().to_owned();
            ended.entry(value).or_default().push(job.idempotency_key.as_str().to_owned());
            inbox.end(job, Status::Completed).await;
        }
    }
    for value in values {
        assert_eq!(ended[value], (0..5).map(|number| format!("{value} {number}")).collect::<Vec<_>>());
    }
}

pub(crate) async fn a_long_lane_does_not_delay_other_jobs_of_its_route<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    inbox.accept_many("held", 300, &[ordered("orders", "held")]).await;
    let head = inbox.claim_one().await;
    inbox.advance(seconds(1));
    inbox.accept_for("free", [ordered("orders", "free")]).await;
    inbox.accept_for("unordered", [job("orders")]).await;
    assert_eq!(sorted_keys(&inbox.claimed(10).await), ["free", "unordered"]);
    inbox.fail(&head, Duration::ZERO).await;
    assert_eq!(inbox.claim_one().await.lease.job, head.lease.job);
}
