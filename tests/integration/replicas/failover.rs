//! Failover: two servers of one database, a primary and its standby.

use serde_json::Value;

use crate::replicas::asking::{ANSWERED_WITHIN, Asking, GOES_ON_WITHIN, READY};
use crate::replicas::blocking;
use crate::replicas::faults::replica;
use crate::replicas::load::{Load, SENDERS};
use crate::replicas::proxy::Proxy;
use crate::support::client::{client, eventually, post, within};
use crate::support::ledger::list;
use crate::support::postgres::{Cluster, server};
use crate::support::server::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_standby_stops_and_then_the_primary_dies() {
    let (mut primary, mut standby) = blocking(|| {
        let primary = Cluster::start();
        let standby = primary.synchronous_standby();
        (primary, standby)
    });
    let url = either(&primary.url("postgres"), &standby.url("postgres"));
    let (_place, replica) = replica(&url).await;
    let asking = Asking::start(&replica).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;

    // Commits wait for the standby, so no webhook is acknowledged.
    blocking(|| standby.stop_fast());
    // Every sender gets a refusal, also those whose requests wait for other requests.
    tokio::join!(load.is_refused(SENDERS), asking.are_refused(&[READY]));
    blocking(|| standby.start_again());
    let goes_on = async { tokio::join!(load.goes_on("with its standby"), asking.are_answered()) };
    within(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");

    blocking(|| primary.kill_hard());
    load.is_refused(1).await;
    blocking(|| standby.promote());
    let goes_on = async { tokio::join!(load.goes_on("on the standby"), asking.are_answered()) };
    within(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");

    asking.stop().await;
    let ledger = load.stop_answered().await;
    ledger.reckon(&replica).await;
    // The webhook that `asking` sent is not in the ledger.
    assert_eq!(list(&replica).await.len(), ledger.len() + 1, "every stored webhook was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_after_a_failover_that_has_lost_their_queue_are_run_and_counted() {
    let mut primary = blocking(Cluster::start);
    let place = Place::new(&[&format!("--database-url={}", primary.url("postgres"))]);
    assert!(place.run("migrate").await.status.success());
    let mut standby = blocking(|| primary.asynchronous_standby());
    let (_place, replica) = replica(&either(&primary.url("postgres"), &standby.url("postgres"))).await;
    let sender = client();
    let send = async |key: &str| {
        eventually("a webhook is acknowledged", async || {
            let answer = post(&sender, &replica.url("/v1/webhooks"), key).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    };

    // The first webhook, and with it the queue, is only on the primary.
    blocking(|| standby.stop_fast());
    send("lost").await;
    blocking(|| primary.kill_hard());
    blocking(|| standby.start_again());
    blocking(|| standby.promote());
    send("kept").await;
    eventually("the webhook is counted as completed", async || {
        let answer = sender.get(replica.url("/v1/stats")).send().await.ok()?;
        let stats = answer.json::<Value>().await.ok()?;
        (stats["counts"]["completed"] == 1).then_some(())
    })
    .await;
    let listed = list(&replica).await;
    assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unresponsive_host_is_skipped() {
    let database = blocking(|| server().database());
    let (proxy, silent) = Proxy::before(&database.url()).await;
    let url = either(&silent, &database.url());
    let (_place, first) = replica(&url).await;
    let asking = Asking::start(&first).await;
    let load = Load::start(&[first.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;

    proxy.cut_off();
    let goes_on = async { tokio::join!(load.goes_on("by the other host"), asking.are_answered()) };
    within(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");
    asking.stop().await;
    load.stop_answered().await.reckon(&first).await;

    let (_place, second) = replica(&format!("{url}&connect_timeout=1")).await;
    eventually("a new replica is ready, too", async || {
        let ready = client().get(second.url("/readyz")).send().await.expect("answers");
        ready.status().is_success().then_some(())
    })
    .await;
}

/// A URL with the hosts of both servers that connects to the writable one.
fn either(one: &str, other: &str) -> String {
    let host = |url: &str| {
        let (_, rest) = url.split_once("://").expect("is a URL");
        let (place, _) = rest.split_once('/').expect("names a database");
        place.rsplit_once('@').map_or(place, |(_, host)| host).to_owned()
    };
    let (one_host, other_host) = (host(one), host(other));
    let url = one.replacen(&one_host, &format!("{one_host},{other_host}"), 1);
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}target_session_attrs=read-write")
}
