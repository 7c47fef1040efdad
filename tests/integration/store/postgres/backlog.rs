//! The limit of the backlog applies to the database, not to each process.

use std::sync::Arc;

use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::store::{Inbox as _, Store as _};

use super::harness::open;
use crate::store::harness::Options;
use crate::store::inbox::webhook;
use crate::store::routes::{default_job, in_force, policy};
use crate::support::inbox_database::inbox_database_for;

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_together_do_not_exceed_the_backlog_limit() {
    let database = inbox_database_for(2);
    let store = async |number: u64| {
        let options = Options { max_backlog: 10, policies: in_force([policy("default")]), seed: number };
        Arc::new(open(&database.url(), &options, Arc::new(SystemClock)).await.expect("opens"))
    };
    let stores = [store(1).await, store(2).await];
    let accepting = (0..128).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        tokio::spawn(async move { store.accept(webhook(&number.to_string()), default_job()).await })
    });
    let answers = futures::future::join_all(accepting).await.into_iter().map(|answer| answer.expect("ran"));
    let refusals = answers.filter_map(Result::err).map(|error| error.reason()).collect::<Vec<_>>();
    assert_eq!(refusals, [Reason::BacklogFull; 118]);
    for store in stores {
        assert_eq!(store.stats().await.expect("counts").counts().unfinished(), 10);
        store.close().await;
    }
}
