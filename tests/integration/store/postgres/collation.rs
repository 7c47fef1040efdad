//! A database that compares texts by the rules of a language. The keys of lanes are compared by their bytes all the
//! same.

use std::sync::Arc;

use hookbox::internals::clock::SystemClock;
use hookbox::internals::store::{Inbox as _, Store as _};

use super::harness::open;
use super::purging::done_or_waiting;
use crate::store::harness::Options;
use crate::store::inbox::webhook;
use crate::store::routes::{in_force, ordered, policy};
use crate::support::postgres::{Cluster, Session};

/// With so many queues, the lane `10:x` comes before `1:x` by the bytes, and after it by the rules of a language.
const ROUTES: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_webhook_locks_its_lanes_in_the_order_of_their_bytes() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let owner = Session::open(&cluster.url("postgres")).expect("connects");
    let create = "CREATE DATABASE inbox TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    owner.ask(create).expect("creates");
    let url = cluster.url("inbox");
    let names = (1..=ROUTES).map(|number| format!("route-{number}")).collect::<Vec<_>>();
    let policies = in_force(names.iter().map(|name| policy(name)));
    let options = Options { max_backlog: 1_000_000, policies, seed: 1 };
    let store = Arc::new(open(&url, &options, Arc::new(SystemClock)).await.expect("opens"));
    let jobs = || names.iter().map(|name| ordered(name, "x")).collect::<Vec<_>>();
    store.accept(webhook("first"), jobs()).await.expect("accepts");

    let session = Session::open(&url).expect("connects");
    session.ask("BEGIN; SELECT lane FROM lanes WHERE lane = '1:x' FOR UPDATE").expect("locks");
    let (other, later) = (Arc::clone(&store), jobs());
    let accepting = tokio::spawn(async move { other.accept(webhook("second"), later).await });
    done_or_waiting(&session, &accepting, 1).await;
    let free = "SELECT lane FROM lanes WHERE lane = '10:x' FOR UPDATE SKIP LOCKED";
    assert_eq!(session.ask(free).expect("looks"), [""; 0], "it was locked before `1:x`");
    session.ask("COMMIT").expect("unlocks");
    accepting.await.expect("ran").expect("accepts");
    store.close().await;
}
