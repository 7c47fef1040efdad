//! A task of hookbox panics: one that it needs, or one that it can do without for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use hookbox::internals::app::RunError;
use hookbox::internals::domain::clock::{Clock, ManualClock, Signal};
use hookbox::internals::keys::Network;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::json;

use crate::api::harness::home::Home;
use crate::api::harness::{Hookbox, Postgres, START, Sqlite, Store, eventually};
use crate::api::work::call;

/// A clock on which the first tasks that sleep for exactly this time panic.
#[derive(Debug)]
struct Faulty {
    clock: Arc<ManualClock>,
    time: Duration,
    panics: AtomicUsize,
    /// How many tasks began to sleep for this time.
    sleeps: AtomicUsize,
}

impl Faulty {
    /// A hookbox that goes by such a clock.
    fn start(
        home: Home,
        settings: &[(&'static str, &str)],
        time: Duration,
        panics: usize,
    ) -> (Hookbox, Arc<Self>) {
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let (panics, sleeps) = (AtomicUsize::new(panics), AtomicUsize::new(0));
        let faulty = Arc::new(Self { clock: Arc::clone(&clock), time, panics, sleeps });
        let its_clock = Arc::clone(&faulty);
        (Hookbox::by(home, clock, its_clock, settings, Network::system()), faulty)
    }
}

impl Clock for Faulty {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wait(&self, signal: &Arc<Signal>, at_most: Duration) {
        self.clock.wait(signal, at_most);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        if time == self.time {
            let panics = self.panics.load(Ordering::SeqCst);
            assert!(self.sleeps.fetch_add(1, Ordering::SeqCst) >= panics, "the fault of this test");
        }
        self.clock.sleep(time)
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        self.clock.sleep_until(moment)
    }
}

#[rstest]
#[tokio::test]
async fn a_hookbox_that_can_renew_no_leases_stops_with_an_error(#[values(Sqlite, Postgres)] store: Store) {
    // Leases are looked at after a third of their time.
    let (mut hookbox, _) =
        Faulty::start(Home::new(store, ""), &[("lease", "1s")], Duration::from_secs(1) / 3, usize::MAX);
    assert!(matches!(hookbox.failed().await, RunError::VitalTask));
}

#[rstest]
#[tokio::test]
async fn a_panic_during_the_stop_ends_the_grace_and_is_an_error(#[values(Sqlite, Postgres)] store: Store) {
    let (look_every, grace) = (Duration::from_secs(1) / 3, Duration::from_secs(7 * 60));
    let settings = [("lease", "1s"), ("shutdown_grace", "7m")];
    let (mut hookbox, faulty) = Faulty::start(Home::new(store, ""), &settings, look_every, 0);
    let _gate = hookbox.handler.will_hold();
    hookbox.rest.accept("evt-001").await;
    hookbox.wait_for_runs(1).await;
    hookbox.begin_to_stop();
    eventually("the grace", || async { (faulty.clock.sleepers_for(grace) == 1).then_some(()) }).await;
    faulty.panics.store(usize::MAX, Ordering::SeqCst);
    hookbox.advance(SignedDuration::from_millis(334));
    assert!(matches!(hookbox.failed().await, RunError::VitalTask));
}

#[tokio::test]
async fn a_hookbox_that_can_lease_no_jobs_to_workers_stops_with_an_error() {
    let routes = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";
    let (mut hookbox, _) = Faulty::start(Home::new(Sqlite, routes), &[], Duration::from_secs(7), usize::MAX);
    let poll = json!({ "routes": ["orders"], "worker": "host-1", "wait": "7s" });
    call(&hookbox.rest, "lease", &poll).await.problem(503, "SHUTTING_DOWN");
    assert!(matches!(hookbox.failed().await, RunError::VitalTask));
}

#[rstest]
#[tokio::test]
async fn the_purge_starts_again_after_a_panic(#[values(Sqlite, Postgres)] store: Store) {
    let interval = Duration::from_secs(7 * 60);
    let (hookbox, clock) = Faulty::start(Home::new(store, ""), &[("purge_interval", "7m")], interval, 1);
    eventually("another purge", || async { (clock.sleeps.load(Ordering::SeqCst) == 2).then_some(()) }).await;
    assert_eq!(hookbox.rest.get("/readyz").await.status, 200);
}
