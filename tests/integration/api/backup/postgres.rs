//! PostgreSQL's own backups of an inbox that is served: what was acknowledged before is in them.

use super::{Sender, has_all};
use crate::api::harness::process::Place;
use crate::support::postgres::Cluster;

/// A hookbox on a database. What others have leased is soon taken over.
fn on(url: &str) -> Place {
    Place::new(&[("HOOKBOX_DATABASE_URL", url), ("HOOKBOX_LEASE", "1s")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_has_everything_that_was_acknowledged_before() {
    let cluster = Cluster::start();
    let place = on(&cluster.url("postgres"));
    let process = place.serve().await;
    let sender = Sender::start(&process.rest).await;
    let before = sender.acknowledged();
    let dump = cluster.dump("postgres");
    sender.stop().await;

    cluster.restore(&dump, "restored");
    let restored = on(&cluster.url("restored"));
    let successor = restored.serve().await;
    has_all(&successor, &before).await;
    assert_eq!(successor.terminate().await, Some(0));
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_has_everything_that_was_acknowledged_before() {
    let cluster = Cluster::start();
    let place = on(&cluster.url("postgres"));
    let process = place.serve().await;
    let sender = Sender::start(&process.rest).await;
    let before = sender.acknowledged();
    let copy = cluster.base_backup();
    sender.stop().await;

    let restored = on(&copy.url("postgres"));
    let successor = restored.serve().await;
    has_all(&successor, &before).await;
    assert_eq!(successor.terminate().await, Some(0));
    assert_eq!(process.terminate().await, Some(0));
}
