//! Webhooks with several jobs, or none: each job keeps its route, its status and its history.

use hookbox::domain::job::{JobStatus, Status};

use super::equal::{assert_equal, assert_go_on_alike};
use super::{move_into, moved};
use crate::behaviours::purging::{RETENTION, purge_all};
use crate::inbox::{Inbox, seconds};
use crate::postgres::PostgresHarness;
use crate::routes::{job, ordered, policy};
use crate::sqlite::SqliteHarness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_no_route_wanted_move() {
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
    // A route that is new to the database gets a number of its own.
    let new = target.accept_from("shop", "new", ["gone", "new"].map(job)).await;
    let like_it = inbox.accept_from("shop", "new", ["gone", "new"].map(job)).await;
    assert_eq!(new.jobs, like_it.jobs);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_move_to_a_database_whose_own_were_purged() {
    let mut target = Inbox::<PostgresHarness>::with_routes(["orders", "other"].map(policy)).await;
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
