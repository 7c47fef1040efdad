//! Another session locks a table: all connections that need the table wait, until the pool is exhausted.

use reqwest::StatusCode;

use super::replica;
use crate::replicas::asking::{ANSWERED_WITHIN, Asking, GOES_ON_WITHIN, OF_WEBHOOKS};
use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::support::client::{client, eventually, within};
use crate::support::postgres::{Session, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_refuses_readers_and_writers_until_it_is_released() {
    let database = blocking(|| server().database());
    let (_place, replica) = replica(&database.url()).await;
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    let asking = Asking::start(&replica).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;

    blocking(|| session.ask("BEGIN; LOCK TABLE webhooks IN ACCESS EXCLUSIVE MODE")).expect("locks");
    tokio::join!(load.is_refused(1), asking.are_refused(&OF_WEBHOOKS));
    blocking(|| session.ask("COMMIT")).expect("unlocks");

    let goes_on = async { tokio::join!(load.goes_on("after the lock"), asking.are_answered()) };
    within(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");
    asking.stop().await;
    load.stop_answered().await.reckon(&replica).await;
}

/// Many more than the replica has connections for reads.
const STRANGERS: usize = 20;

/// Reads that wait for the lock. Nothing but metrics reads the table.
const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE relation = 'transfers'::regclass AND NOT granted";

/// With `metrics_open`, clients without a token can ask for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_that_ask_for_metrics_leave_connections_for_other_reads() {
    let database = blocking(|| server().database());
    let (_place, replica) = replica(&database.url()).await;
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    blocking(|| session.ask("BEGIN; LOCK TABLE transfers IN ACCESS EXCLUSIVE MODE")).expect("locks");
    let client = client();
    let strangers = (0..STRANGERS).map(|_| {
        let request = client.get(replica.url("/metrics"));
        tokio::spawn(async move { request.send().await.expect("answers") })
    });
    let strangers = strangers.collect::<Vec<_>>();
    eventually("metrics wait for the lock", async || {
        let waiting = blocking(|| session.ask(WAITING)).expect("counts");
        (waiting != ["0"]).then_some(())
    })
    .await;

    let actions = client.get(replica.url("/v1/actions")).send().await.expect("answers");
    assert_eq!(actions.status(), StatusCode::OK);
    blocking(|| session.ask("COMMIT")).expect("unlocks");
    for stranger in strangers {
        assert_eq!(stranger.await.expect("is answered").status(), StatusCode::OK);
    }
}
