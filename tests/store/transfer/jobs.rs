//! Webhooks with several jobs, or none: each job keeps its route, its status and its history.

use hookbox::domain::job::Status;

use super::moved;
use crate::inbox::{Inbox, seconds};
use crate::routes::{job, policy};
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
}
