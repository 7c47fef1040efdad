//! The server is down for some seconds.

use super::replica;
use crate::replicas::asking::{ANSWERED_WITHIN, Asking, GOES_ON_WITHIN, OF_WEBHOOKS, READY};
use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::replicas::proxy::Proxy;
use crate::support::client::within;
use crate::support::postgres::{Cluster, server};

/// The number of refusals to wait for, so that the failure lasts for a while.
const REFUSALS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_ready_while_the_server_is_down_and_ready_again_by_itself() {
    let mut cluster = blocking(Cluster::start);
    let (_place, replica) = replica(&cluster.url("postgres")).await;
    let asking = Asking::start(&replica).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;

    blocking(|| cluster.stop_fast());
    asking.are_refused(&OF_WEBHOOKS).await;
    tokio::join!(load.is_refused(REFUSALS), asking.are_refused(&[READY, "statistics"]));
    blocking(|| cluster.start_again());

    let goes_on = async { tokio::join!(load.goes_on("after the stop"), asking.are_answered()) };
    within(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");
    asking.stop().await;
    load.stop_answered().await.reckon(&replica).await;
    replica.says("notifications of other replicas cannot be received").await;
    replica.says("notifications of other replicas are received again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_can_be_stopped_while_the_server_is_out_of_reach() {
    let database = blocking(|| server().database());
    let (proxy, url) = Proxy::before(&database.url()).await;
    let (_place, replica) = replica(&url).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;
    proxy.cut_off();
    load.is_refused(1).await;
    // The senders have stopped, but some outcomes still cannot be recorded.
    load.abandon();
    assert_eq!(replica.terminate().await.code(), Some(0));
}
