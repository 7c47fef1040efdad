//! A panic while webhooks are stored: their senders get an error, and others are stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::clock::{Clock, Signal};
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::{Error, Reason};
use hookbox::internals::store::postgres::{self, PostgresStore};
use hookbox::internals::store::{Inbox as _, Store as _, Submission};
use hookbox::internals::telemetry::metrics::Metrics;
use jiff::Timestamp;

use crate::store::generate::within_limit;
use crate::store::inbox::webhook;
use crate::store::routes::{default_job, in_force, policy};
use crate::support::client::eventually;
use crate::support::inbox_database::inbox_database_for;

/// How often a batch is sent until it is the one that meets the panic.
const TRIES: usize = 20;

/// The clock of the system. Once it is faulty, the next look at the monotonic time panics.
#[derive(Debug, Default)]
struct Faulty(AtomicBool);

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn monotonic(&self) -> Duration {
        assert!(!self.0.swap(false, Ordering::SeqCst), "the fault of this test");
        SystemClock.monotonic()
    }

    fn wait(&self, signal: &Arc<Signal>, at_most: Duration) {
        SystemClock.wait(signal, at_most);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(time)
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(moment)
    }
}

/// A batch of one request with so many webhooks.
async fn send(store: &PostgresStore, name: &str, webhooks: usize) -> Result<(), Error> {
    let submission =
        |number: usize| Submission { webhook: webhook(&format!("{name} {number}")), jobs: default_job() };
    let batch = (0..webhooks).map(submission).collect();
    store.accept_batch(batch, OnConflict::Reject).await.map(drop).map_err(|refused| refused.error)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_one_batch_as_a_fault_of_hookbox_and_is_counted() {
    within_limit(async {
        let (database, clock, metrics) =
            (inbox_database_for(1), Arc::new(Faulty::default()), Arc::new(Metrics::default()));
        let options = postgres::Options {
            target: database.url().parse().expect("a URL"),
            max_backlog: 1_000,
            policies: in_force([policy("default")]),
            worker: "process-1".to_owned(),
            seed: 1,
        };
        let store = PostgresStore::open(options, Arc::clone(&clock) as _, Arc::clone(&metrics)).await;
        let store = store.expect("opens");
        // One webhook goes through the committer, several through the batches of requests.
        for (failures, webhooks) in [(1, 1), (2, 2)] {
            let mut refusal = None;
            // A task in the background can look at the time before, and then starts again.
            for round in 0..TRIES {
                clock.0.store(true, Ordering::SeqCst);
                refusal = send(&store, &format!("{webhooks} {round}"), webhooks).await.err();
                if refusal.is_some() {
                    break;
                }
            }
            assert_eq!(refusal.map(|error| error.reason()), Some(Reason::Internal), "{webhooks}");
            // The sender is answered first.
            let line = format!("hookbox_commit_failures_total {failures}");
            let is_counted = async || metrics.encode().expect("encodes").lines().any(|found| found == line);
            eventually(&line, async || is_counted().await.then_some(())).await;
            send(&store, &format!("{webhooks} after"), webhooks).await.expect("the next one is stored");
        }
        store.close().await;
    })
    .await;
}
