//! Ordered jobs keep their order after a move, and blocked order values stay blocked.

use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;

use super::equal::assert_equal;
use super::moved;
use crate::store::behaviours::ordering::{claim_next, complete_in_order, with_one_lane};
use crate::store::behaviours::purging::{RETENTION, purge_all};
use crate::store::inbox::{Inbox, keys, milliseconds, seconds, sorted_keys};
use crate::store::postgres::EmptiedPostgres;
use crate::store::routes::{job, ordered, policy, skipping};
use crate::store::sqlite::SqliteHarness;

/// Moves a dead letter and two jobs that it blocks.
async fn moved_with_a_dead_letter() -> (Inbox<EmptiedPostgres>, [WebhookId; 3]) {
    let (mut inbox, ids) = with_one_lane::<SqliteHarness>(&["dead", "behind", "last"]).await;
    let claimed = claim_next(&inbox, "dead").await;
    inbox.end(&claimed, Status::DeadLettered).await;
    let (target, _) = moved(&mut inbox).await;
    assert_equal(&inbox, &target).await;
    (target, ids.try_into().expect("three"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moved_jobs_of_one_value_start_in_order_and_before_new_ones() {
    let (mut inbox, ids) = with_one_lane::<SqliteHarness>(&["1", "2", "3", "4"]).await;
    inbox.cancel(ids[2], None).await.expect("cancels");
    let first = claim_next(&inbox, "1").await;
    inbox.end(&first, Status::Completed).await;
    // As if the clock was set back: later webhooks have earlier times.
    inbox.go_back(seconds(1_000));
    let (target, _) = moved(&mut inbox).await;
    target.accept_for("5", [ordered("orders", "x")]).await;
    target.retry(ids[2], None).await.expect("retries");
    target.advance(seconds(2_000));
    complete_in_order(&target, &["2", "3", "4", "5"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_job_keeps_its_place_for_a_retry() {
    let (mut inbox, ids) = with_one_lane::<SqliteHarness>(&["1", "2"]).await;
    for id in &ids {
        inbox.cancel(*id, None).await.expect("cancels");
    }
    let (target, _) = moved(&mut inbox).await;
    target.accept_for("3", [ordered("orders", "x")]).await;
    for id in ids.iter().rev() {
        target.retry(*id, None).await.expect("retries");
    }
    complete_in_order(&target, &["1", "2", "3"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retrying_job_holds_the_jobs_behind_it_until_it_is_due() {
    let (mut inbox, _) = with_one_lane::<SqliteHarness>(&["1", "2"]).await;
    let first = claim_next(&inbox, "1").await;
    inbox.fail(&first, seconds(10)).await;
    let (target, _) = moved(&mut inbox).await;

    assert_equal(&inbox, &target).await;
    assert_eq!(target.claims(10).await.next, Some(target.now() + seconds(10)));
    target.advance(seconds(10) - milliseconds(1));
    target.claim_nothing().await;
    target.advance(milliseconds(1));
    complete_in_order(&target, &["1", "2"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_value_of_another_route_or_source_is_another_lane() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["orders", "other"].map(policy)).await;
    for (from, key, jobs) in [
        ("default", "x", vec![ordered("orders", "x"), ordered("other", "x")]),
        ("shop", "x", vec![ordered("orders", "x")]),
        ("default", "y:1", vec![ordered("orders", "y:1")]),
        ("default", "empty", vec![ordered("orders", "")]),
        ("default", "none", vec![job("orders")]),
        ("default", "behind", vec![ordered("orders", "x"), ordered("other", "x")]),
    ] {
        inbox.accept_from(from, key, jobs).await;
    }
    let (target, _) = moved(&mut inbox).await;

    assert_equal(&inbox, &target).await;
    let jobs = target.claimed(10).await;
    assert_eq!(sorted_keys(&jobs), ["empty", "none", "x", "x", "x", "y:1"]);
    let order =
        |key: &str| jobs.iter().find(|job| job.idempotency_key.as_str() == key).expect(key).order.clone();
    assert_eq!(order("y:1").expect("is ordered").as_str(), "y:1");
    assert_eq!((order("empty").expect("is ordered").as_str(), order("none")), ("", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waited_for_its_lane_is_due_since_the_lane_was_free() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([policy("orders")]).await;
    for key in ["1", "2"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    let first = claim_next(&inbox, "1").await;
    inbox.advance(seconds(10));
    inbox.accept_for("other", [ordered("orders", "y")]).await;
    inbox.advance(seconds(10));
    inbox.end(&first, Status::Completed).await;
    let freed_at = inbox.now();
    let (target, _) = moved(&mut inbox).await;

    assert_equal(&inbox, &target).await;
    assert_eq!(keys(&target.claimed(1).await), ["other"], "the other job has been due longer");
    let stats = target.stats().await.expect("counts");
    assert_eq!(stats.queues[0].oldest_due, Some(freed_at));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_blocks_the_jobs_behind_it_until_it_is_retried() {
    let (target, [dead, ..]) = moved_with_a_dead_letter().await;
    let claims = target.claims(10).await;
    assert_eq!((claims.jobs.len(), claims.next), (0, None));
    target.accept_for("later", [ordered("orders", "x")]).await;
    target.advance(seconds(3_600));
    target.claim_nothing().await;
    target.retry(dead, None).await.expect("retries");
    complete_in_order(&target, &["dead", "behind", "last", "later"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_blocks_the_jobs_behind_it_until_it_is_cancelled() {
    let (target, [dead, behind, _]) = moved_with_a_dead_letter().await;
    target.cancel(behind, None).await.expect("cancels");
    target.claim_nothing().await;
    target.cancel(dead, None).await.expect("cancels");
    complete_in_order(&target, &["last"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_blocks_the_jobs_behind_it_until_it_is_purged() {
    let (target, _) = moved_with_a_dead_letter().await;
    target.advance(RETENTION.keys - milliseconds(1));
    purge_all(&target).await;
    target.claim_nothing().await;
    target.advance(milliseconds(1));
    assert_eq!(purge_all(&target).await.webhooks, 1);
    complete_in_order(&target, &["behind", "last"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_blocks_the_jobs_behind_it_until_the_policy_skips_it() {
    let (mut target, _) = moved_with_a_dead_letter().await;
    target.reopen_with([policy("orders")]).await;
    target.claim_nothing().await;
    target.reopen_with([skipping("orders")]).await;
    complete_in_order(&target, &["behind", "last"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_dead_letter_blocks_nothing() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([skipping("orders")]).await;
    for key in ["dead", "behind"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    let claimed = claim_next(&inbox, "dead").await;
    inbox.end(&claimed, Status::DeadLettered).await;
    let (mut target, _) = moved(&mut inbox).await;
    // The same if the policy is changed so that dead letters block.
    target.reload([policy("orders")]).await;
    complete_in_order(&target, &["behind"]).await;
}
