//! Another session locks a table: all connections that need the table wait, until the pool is exhausted.

use std::time::Duration;

use super::replica;
use crate::replicas::asking::{ANSWERED_WITHIN, Asking, OF_WEBHOOKS};
use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::support::postgres::{Session, server};

/// The time within which everything works again after the lock is released.
const GOES_ON_WITHIN: Duration = Duration::from_secs(5);

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
    tokio::time::timeout(GOES_ON_WITHIN, goes_on).await.expect("it goes on soon");
    asking.stop().await;
    load.stop_answered().await.reckon(&replica).await;
}
