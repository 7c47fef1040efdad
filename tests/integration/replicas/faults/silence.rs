//! A network that swallows everything, and tells nobody.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};

use super::replica;
use crate::replicas::asking::{ANSWERED_WITHIN, Asking, METRICS_WITHIN, OF_WEBHOOKS, READY};
use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::replicas::proxy::Proxy;
use crate::support::client::{eventually, post};
use crate::support::postgres::{Database, server};

/// How soon all goes on when the network is back.
const GOES_ON_WITHIN: Duration = Duration::from_secs(5);

/// A database, and a way to it that can go silent.
async fn database_behind_a_proxy() -> (Database, Proxy, String) {
    let database = blocking(|| server().database());
    let (proxy, url) = Proxy::before(&database.url()).await;
    (database, proxy, url)
}

/// Together, because they wait most of the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_refuses_in_bounded_time_and_all_goes_on_when_it_is_back() {
    tokio::join!(it_falls_silent_under_load(), it_was_silent_while_connections_rested());
}

async fn it_falls_silent_under_load() {
    let (_database, proxy, url) = database_behind_a_proxy().await;
    let (_place, replica) = replica(&url).await;
    let asking = Asking::start(&replica).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;

    proxy.silence();
    tokio::join!(load.is_refused(1), asking.are_refused(&OF_WEBHOOKS), asking.are_refused(&[READY]));
    proxy.speak();

    let goes_on = async { tokio::join!(load.goes_on("after the silence"), asking.are_answered()) };
    tokio::time::timeout(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");
    asking.stop().await;
    load.stop_answered().await.reckon(&replica).await;
}

/// Connections that died unnoticed cost one wait, not one each.
async fn it_was_silent_while_connections_rested() {
    let (_database, proxy, url) = database_behind_a_proxy().await;
    let (_place, replica) = replica(&url).await;
    // Several at once open several connections, which then rest.
    let asking = Asking::start(&replica).await;
    asking.are_answered().await;
    asking.stop().await;
    proxy.silence();
    proxy.speak();

    let client = Client::builder().no_proxy().timeout(ANSWERED_WITHIN).build().expect("builds");
    let webhooks = replica.url("/v1/webhooks");
    let submitted =
        eventually("a webhook is accepted", async || is_good(post(&client, &webhooks, "after").await));
    let listed = eventually("a list is answered", async || is_good(client.get(&webhooks).send().await));
    let metered = async {
        let metrics = client.get(replica.url("/metrics")).timeout(METRICS_WITHIN).send().await;
        assert_eq!(metrics.expect("are not kept back").status(), StatusCode::OK);
    };
    let goes_on = async { tokio::join!(submitted, listed, metered) };
    tokio::time::timeout(ANSWERED_WITHIN, goes_on).await.expect("the others are not waited for");
}

/// Whether it was done; refused otherwise.
fn is_good(answer: reqwest::Result<Response>) -> Option<()> {
    let status = answer.expect("answers").status();
    assert!(status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
    status.is_success().then_some(())
}
