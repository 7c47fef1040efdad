//! The server closes all connections repeatedly.

use super::replica;
use crate::replicas::asking::{ANSWERED_WITHIN, Asking};
use crate::replicas::blocking;
use crate::replicas::load::Load;
use crate::support::postgres::{Session, server};

const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_all_backends_are_killed_again_and_again() {
    let database = blocking(|| server().database());
    let (_place, replica) = replica(&database.url()).await;
    let session = blocking(|| Session::open(&database.url())).expect("connects");
    let asking = Asking::start(&replica).await;
    let load = Load::start(&[replica.url("/v1/webhooks")], ANSWERED_WITHIN);
    load.goes_on("at first").await;
    for round in 0..ROUNDS {
        let killed = blocking(|| {
            session.ask(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'hookbox %'",
            )
        });
        assert!(killed.expect("are killed").len() > 1, "round {round} closed several connections");
        load.goes_on(&format!("after round {round}")).await;
    }
    asking.are_answered().await;
    asking.stop().await;
    load.stop_answered().await.reckon(&replica).await;
}
