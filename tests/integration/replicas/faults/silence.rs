//! The network silently drops all packets, without closing connections.

use reqwest::{Response, StatusCode};

use super::replica;
use crate::replicas::asking::{ANSWERED_WITHIN, Asking, GOES_ON_WITHIN, METRICS_WITHIN, OF_WEBHOOKS, READY};
use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::replicas::proxy::Proxy;
use crate::support::client::{eventually, post, within};
use crate::support::postgres::{Database, server};

/// A database, and a proxy in front of it that can go silent.
async fn database_behind_a_proxy() -> (Database, Proxy, String) {
    let database = blocking(|| server().database());
    let (proxy, url) = Proxy::before(&database.url()).await;
    (database, proxy, url)
}

/// Runs both scenarios concurrently, because they wait most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_time_out_while_the_network_is_silent_and_succeed_afterwards() {
    tokio::join!(the_network_goes_silent_under_load(), the_network_was_silent_while_connections_were_idle());
}

async fn the_network_goes_silent_under_load() {
    let (_database, proxy, url) = database_behind_a_proxy().await;
    let (_place, replica) = replica(&url).await;
    let asking = Asking::start(&replica).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;

    proxy.silence();
    tokio::join!(load.is_refused(1), asking.are_refused(&OF_WEBHOOKS), asking.are_refused(&[READY]));
    proxy.speak();

    let goes_on = async { tokio::join!(load.goes_on("after the silence"), asking.are_answered()) };
    within(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");
    asking.stop().await;
    load.stop_answered().await.reckon(&replica).await;
}

/// The replica does not notice that its idle connections are dead. It must wait for only one timeout, not for one per
/// connection.
async fn the_network_was_silent_while_connections_were_idle() {
    let (_database, proxy, url) = database_behind_a_proxy().await;
    let (_place, replica) = replica(&url).await;
    // Concurrent requests open several connections, which are idle afterwards.
    let asking = Asking::start(&replica).await;
    asking.are_answered().await;
    asking.stop().await;
    proxy.silence();
    proxy.speak();

    let client = crate::support::client::client_builder().timeout(ANSWERED_WITHIN).build().expect("builds");
    let webhooks = replica.url("/v1/webhooks");
    let submitted =
        eventually("a webhook is accepted", async || is_good(post(&client, &webhooks, "after").await));
    let listed = eventually("a list is answered", async || is_good(client.get(&webhooks).send().await));
    let metered = async {
        let metrics = client.get(replica.url("/metrics")).timeout(METRICS_WITHIN).send().await;
        assert_eq!(metrics.expect("metrics are not delayed").status(), StatusCode::OK);
    };
    let goes_on = async { tokio::join!(submitted, listed, metered) };
    within(ANSWERED_WITHIN, goes_on).await.expect("the replica waits for only one dead connection");
}

/// `Some` if the request succeeded, `None` if it was refused with 503.
fn is_good(answer: reqwest::Result<Response>) -> Option<()> {
    let status = answer.expect("answers").status();
    assert!(status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
    status.is_success().then_some(())
}
