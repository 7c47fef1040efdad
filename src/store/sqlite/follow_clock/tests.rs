use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::domain::clock::{Clock, ManualClock, Signal};
use crate::domain::handler::HandlerSettings;
use crate::domain::policy::Policy;
use crate::domain::webhook::WebhookName;
use crate::store::sqlite::fixture::{claim, job, open, open_in, policy, webhook};
use crate::store::{Claim, Inbox as _, JobQueue as _, Store as _, Wanted};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range"))
}

/// A clock that goes on by 300 ms each time the monotonic time is read.
#[derive(Debug)]
struct BusyClock(ManualClock);

impl Clock for BusyClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        let shown = self.0.monotonic();
        self.0.advance(SignedDuration::from_millis(300));
        shown
    }

    fn wait(&self, signal: &Arc<Signal>, at_most: Duration) {
        self.0.wait(signal, at_most);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(time)
    }

    fn sleep_until(&self, moment: Timestamp) -> BoxFuture<'static, ()> {
        self.0.sleep_until(moment)
    }
}

#[tokio::test]
async fn a_start_leaves_due_times_to_the_next_calls_after_a_while() {
    let clock = Arc::new(BusyClock(clock()));
    let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
    // One transaction moves the jobs of two of the three webhooks.
    let jobs = (0..600).map(|number| job(&format!("route-{number}"), None)).collect::<Vec<_>>();
    let mut ids = Vec::new();
    for key in ["1", "2", "3"] {
        ids.push(store.accept(webhook(key), jobs.clone()).await.expect("accepted").webhook.id);
    }
    store.close().await;
    drop(store);
    clock.0.set_by(-HOUR);

    let store = open_in(&folder, [policy("orders")], Arc::clone(&clock) as _).await;
    assert!(store.committed.is_moving(), "the oldest webhook is left");
    store.follow_clock().await.expect("follows");
    assert!(!store.committed.is_moving());
    for id in ids {
        let status = store.status(WebhookName::Id(id)).await.expect("is kept");
        assert!(status.jobs.iter().all(|job| job.next_attempt_at <= Some(clock.now())), "all are due");
    }
    store.close().await;
}

#[tokio::test]
async fn a_clock_that_was_not_set_back_needs_no_transaction() {
    let (_folder, store) = open([policy("orders")], Arc::new(clock())).await;
    // From now on, transactions fail.
    store.close().await;
    store.follow_clock().await.expect("has nothing to write");
}

#[tokio::test]
async fn a_step_back_is_logged_once_although_it_cannot_be_stored_at_first() {
    let clock = Arc::new(clock());
    let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
    let log = folder.path().join("log");
    let writer = Mutex::new(File::create(&log).expect("creates"));
    // With one subscriber, tracing drops an event for good if a test without one logs it first.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logs = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(writer).finish());
    let logged = || {
        let text = std::fs::read_to_string(&log).expect("reads");
        text.matches("the time of day was set back").count()
    };
    let path = folder.path().join("inbox.db");
    let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    let refuse =
        "CREATE TRIGGER refuse BEFORE UPDATE ON time_of_day BEGIN SELECT RAISE(ABORT, 'for a test'); END";
    shell.batch_execute(refuse).expect("refuses");

    clock.set_by(-HOUR);
    for _ in 0..2 {
        store.follow_clock().await.expect_err("is refused");
    }
    assert_eq!(logged(), 0);
    shell.batch_execute("DROP TRIGGER refuse").expect("repairs");
    for _ in 0..2 {
        store.follow_clock().await.expect("follows");
    }
    assert_eq!(logged(), 1);
    store.close().await;
}

#[tokio::test]
async fn a_step_forward_that_cannot_be_stored_at_first_moves_leases_once() {
    let clock = Arc::new(clock());
    let pulled = Policy { handler: HandlerSettings::Pull, ..policy("orders") };
    let wanted = Wanted::Pulled([pulled.route.clone()].into());
    let (folder, store) = open([pulled], Arc::clone(&clock) as _).await;
    store.accept(webhook("1"), vec![job("orders", None)]).await.expect("accepted");
    let pulling = Claim { wanted, ..claim(1) };
    let lease = SignedDuration::try_from(pulling.lease).expect("in range");
    assert_eq!(store.claim(pulling).await.expect("claims").jobs.len(), 1);
    let path = folder.path().join("inbox.db");
    let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'for a test'); END";
    shell.batch_execute(refuse).expect("refuses");

    clock.set_by(HOUR);
    for _ in 0..2 {
        store.follow_clock().await.expect_err("is refused");
    }
    shell.batch_execute("DROP TRIGGER refuse").expect("repairs");
    clock.advance(lease - SignedDuration::from_secs(1));
    for _ in 0..2 {
        assert_eq!(store.take_over_expired(Vec::new()).await.expect("looks"), 0, "it is held");
    }
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(store.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    store.close().await;
}
