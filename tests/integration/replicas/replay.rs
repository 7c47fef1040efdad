//! A replay whose replica is killed.

use crate::replicas::blocking;
use crate::replicas::faults::replica;
use crate::support::postgres::server;
use crate::support::replay::{WEBHOOKS, is_under_way, reckon, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_in_another_replica() {
    let database = blocking(|| server().database());
    let url = database.url();
    let (_first_place, first) = replica(&url).await;
    start(&first).await;
    is_under_way(&first, WEBHOOKS / 6).await;
    // From here on, both do its steps.
    let (_second_place, second) = replica(&url).await;
    is_under_way(&second, WEBHOOKS / 3).await;
    first.kill();
    reckon(&second).await;
}
