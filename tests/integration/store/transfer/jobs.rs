//! Moving webhooks with several jobs or none: each job keeps its route, its status and its attempts.

use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::{JobStatus, Status};
use hookbox::internals::store::PauseTarget;

use super::equal::{assert_equal, assert_go_on_alike};
use super::{move_into, moved};
use crate::store::behaviours::announcing::{is_woken, listen};
use crate::store::behaviours::purging::{RETENTION, purge_all};
use crate::store::inbox::{Inbox, refused, seconds, webhook};
use crate::store::postgres::EmptiedPostgres;
use crate::store::routes::{job, ordered, policy, route};
use crate::store::sqlite::SqliteHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filtered_webhooks_are_moved() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([policy("orders")]).await;
    inbox.accept_for("wanted", [job("orders")]).await;
    let filtered = inbox.accept_for("filtered", []).await;
    inbox.advance(seconds(1));
    inbox.accept_from("shop", "filtered", []).await;
    let (target, rows) = moved(&mut inbox).await;

    assert_eq!((rows.webhooks, rows.counts.of(Status::Filtered), rows.counts.of(Status::Pending)), (3, 2, 1));
    assert_eq!(target.status_of(filtered.id).await.status(), Status::Filtered);
    assert_eq!(target.stats().await.expect("counts").unrouted.of(Status::Filtered), 2);
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_webhook_stay_in_their_order() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["zebra", "mule", "ant"].map(policy)).await;
    inbox.accept_from("shop", "first", [job("zebra")]).await;
    let several = inbox.accept_from("shop", "several", ["mule", "ant", "zebra"].map(job)).await;
    let (target, _) = moved(&mut inbox).await;

    let routes = |jobs: &[JobStatus]| jobs.iter().map(|job| job.route.to_string()).collect::<Vec<_>>();
    assert_eq!(routes(&target.status_of(several.id).await.jobs), ["zebra", "mule", "ant"]);
    assert_equal(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_and_sources_whose_webhooks_are_gone_are_still_shown() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["gone", "kept", "new"].map(policy)).await;
    inbox.accept_from("shop", "gone", [job("gone")]).await;
    let claimed = inbox.claim_one().await;
    inbox.end(&claimed, Status::Completed).await;
    inbox.advance(RETENTION.keys);
    assert_eq!(purge_all(&inbox).await.webhooks, 1);
    inbox.accept_for("kept", [job("kept")]).await;
    let (target, rows) = moved(&mut inbox).await;

    assert_eq!(rows.webhooks, 1);
    assert_equal(&inbox, &target).await;
    // A new route of the database gets a number that is not in use.
    let new = target.accept_from("shop", "new", ["gone", "new"].map(job)).await;
    let like_it = inbox.accept_from("shop", "new", ["gone", "new"].map(job)).await;
    assert_eq!(new.jobs, like_it.jobs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_move_to_a_database_whose_own_were_purged() {
    let mut target = Inbox::<EmptiedPostgres>::with_routes(["orders", "other"].map(policy)).await;
    for (key, jobs) in [("a", vec![ordered("other", "x")]), ("b", vec![ordered("orders", "x"), job("other")])]
    {
        let own = target.accept_for(key, jobs).await;
        target.cancel(own.id, None).await.expect("cancels");
    }
    target.advance(RETENTION.keys);
    assert_eq!(target.purge(RETENTION).await.expect("purges").webhooks, 2);
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["orders", "other"].map(policy)).await;
    for key in ["1", "2"] {
        inbox.accept_for(key, [ordered("orders", "x"), job("other")]).await;
    }
    inbox.advance_to(target.now());
    move_into(&mut target, &mut inbox).await;
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_of_a_webhook_keeps_its_status_its_runs_and_its_attempts() {
    let names = ["cancelled", "completed", "dead", "retrying", "waiting"];
    let mut inbox = Inbox::<SqliteHarness>::with_routes(names.map(policy)).await;
    inbox.pause(PauseTarget::Route(route("waiting"))).await.expect("pauses");
    let id = inbox.accept_from("shop", "several", names.map(job)).await.id;
    for claimed in inbox.claimed(10).await {
        match claimed.route.as_str() {
            "retrying" => inbox.fail(&claimed, seconds(3_600)).await,
            _ => inbox.end(&claimed, Status::DeadLettered).await,
        }
    }
    // Three of the jobs start their second run.
    inbox.retry(id, None).await.expect("retries");
    inbox.advance(seconds(1));
    for claimed in inbox.claimed(10).await {
        match claimed.route.as_str() {
            "completed" => inbox.end(&claimed, Status::Pending).await,
            "dead" => inbox.end(&claimed, Status::DeadLettered).await,
            _ => inbox.fail(&claimed, seconds(3_600)).await,
        }
    }
    inbox.end(&inbox.claim_one().await, Status::Completed).await;
    inbox.cancel(id, Some(route("cancelled"))).await.expect("cancels");
    let (target, rows) = moved(&mut inbox).await;

    let by_status =
        [Status::Pending, Status::Retrying, Status::Completed, Status::DeadLettered, Status::Cancelled];
    assert_eq!(by_status.map(|status| rows.counts.of(status)), [1; 5]);
    assert_eq!((rows.webhooks, rows.attempts), (1, 8));
    let failed = |run: u32| (Outcome::Failed, run);
    // The outcome and the run of each attempt.
    for (name, status, run, uncounted, attempts) in [
        ("cancelled", Status::Cancelled, 2, 1, vec![failed(1), failed(2)]),
        (
            "completed",
            Status::Completed,
            2,
            2,
            vec![failed(1), (Outcome::Interrupted, 2), (Outcome::Completed, 2)],
        ),
        ("dead", Status::DeadLettered, 2, 1, vec![failed(1), failed(2)]),
        ("retrying", Status::Retrying, 1, 0, vec![failed(1)]),
        ("waiting", Status::Pending, 1, 0, vec![]),
    ] {
        let (job, detail) = target.job_of(id, name).await;
        assert_eq!((job.status, job.attempt_count as usize), (status, attempts.len()), "{name}");
        assert_eq!((detail.run, detail.uncounted_attempts), (run, uncounted), "{name}");
        let moved = detail.attempts.iter().map(|attempt| (attempt.outcome, attempt.run));
        assert_eq!(moved.collect::<Vec<_>>(), attempts, "{name}");
        let result = (name == "completed").then_some(r#"{"done":true}"#);
        assert_eq!(detail.result.as_deref(), result, "{name}");
    }
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_counted_by_route_and_source() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["a", "b"].map(policy)).await;
    for (from, key, jobs) in [
        ("shop", "1", vec!["a"]),
        ("shop", "2", vec!["a", "b"]),
        ("hub", "3", vec!["b"]),
        ("hub", "4", vec![]),
    ] {
        inbox.accept_from(from, key, jobs.into_iter().map(job)).await;
        inbox.advance(seconds(1));
    }
    inbox.end(&inbox.claimed(1).await[0], Status::Completed).await;
    let (target, _) = moved(&mut inbox).await;

    let stats = target.stats().await.expect("counts");
    let counts = stats.queues.iter().map(|queue| {
        let of = |status| queue.counts.of(status);
        (
            queue.route.as_str(),
            queue.source.as_str(),
            of(Status::Pending),
            of(Status::Completed),
            queue.counts.total(),
        )
    });
    let mut counts = counts.collect::<Vec<_>>();
    counts.sort_unstable();
    assert_eq!(counts, [("a", "shop", 1, 1, 2), ("b", "hub", 1, 0, 1), ("b", "shop", 1, 0, 1)]);
    assert_eq!((stats.unrouted.of(Status::Filtered), stats.unrouted.total()), (1, 1));
    assert_equal(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backlog_counts_the_jobs_that_were_moved() {
    let mut inbox = Inbox::<SqliteHarness>::with_backlog(3).await;
    inbox.ended_webhook("completed", Status::Completed).await;
    inbox.accept_new("first").await;
    inbox.accept_new("second").await;
    let (target, _) = moved(&mut inbox).await;

    target.accept_new("third").await;
    assert_eq!(refused(target.submit(webhook("fourth")).await), Reason::BacklogFull);
    let first = target.submit(webhook("first")).await.expect("answered");
    assert!(first.duplicate);
    target.cancel(first.webhook.id, None).await.expect("cancels");
    target.accept_new("fourth").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_moved_jobs_are_announced_with_their_routes() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["a", "b"].map(policy)).await;
    let webhook = inbox.accept_from("shop", "k", ["a", "b"].map(job)).await;
    inbox.cancel(webhook.id, Some(route("b"))).await.expect("cancels");
    let (target, _) = moved(&mut inbox).await;
    let wake = listen(&target);
    let mut changes = target.changes().watch(webhook.id);

    target.retry(webhook.id, None).await.expect("retries");
    assert!(is_woken(&wake));
    target.cancel(webhook.id, Some(route("a"))).await.expect("cancels");
    let before = webhook.revision();
    for (name, status) in [("b", Status::Pending), ("a", Status::Cancelled)] {
        let change = changes.try_recv().expect("is announced");
        assert_eq!((change.route, change.status), (route(name), status));
        assert!(change.job.webhook == webhook.id && change.revision > before);
    }
}
