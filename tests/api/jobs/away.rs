//! A pool whose store goes away and comes back: it waits, takes nothing over from those who could not
//! renew either, and takes nothing more once it is told to stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use hookbox::domain::attempt::Lease;
use hookbox::domain::clock::{Clock as _, ManualClock, Signal};
use hookbox::domain::error::{Error, Result};
use hookbox::domain::id::WebhookId;
use hookbox::domain::retention::Retention;
use hookbox::domain::retry::RetryPolicy;
use hookbox::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use hookbox::store::changes::Changes;
use hookbox::store::{Accepted, Claims, Finish, ListQuery, Page, Probe, Purged, Starter, Store, StoreStats};
use hookbox::telemetry::metrics::Metrics;
use hookbox::worker::handler::{Attempt, Failure, Handler, Registry};
use hookbox::worker::{Options, Pool};
use jiff::{SignedDuration, Timestamp};

const WORKERS: usize = 4;

const LEASE: Duration = Duration::from_secs(30);

/// How long nobody takes over what has expired, after the store was away: a third of a lease, until
/// which everybody has renewed.
const OTHERS_RENEW_SECONDS: usize = 10;

/// How long what must come may take, and how long is waited for what must not.
const SOON: Duration = Duration::from_secs(20);
const NOT_AT_ONCE: Duration = Duration::from_millis(100);
const SETTLES: Duration = Duration::from_secs(1);

/// A store that has nothing, or is away. It tells every claim, and waits until the test has heard it.
#[derive(Debug)]
struct Away {
    claims: mpsc::SyncSender<usize>,
    is_away: AtomicBool,
    take_overs: AtomicUsize,
    due: Mutex<Arc<Signal>>,
    starter: Mutex<Option<Weak<dyn Starter>>>,
    changes: Changes,
}

impl Away {
    fn found<T>(&self, nothing: T) -> Result<T> {
        if self.is_away.load(Ordering::SeqCst) { Self::is_away() } else { Ok(nothing) }
    }

    fn is_away<T>() -> Result<T> {
        Err(Error::store_unavailable("the store is away", "for a test"))
    }

    fn starter(&self) -> Arc<dyn Starter> {
        let starter = self.starter.lock().expect("sound");
        starter.as_ref().and_then(Weak::upgrade).expect("the pool has told of itself")
    }
}

#[async_trait]
impl Store for Away {
    async fn claim(&self, limit: usize, _lease: Duration) -> Result<Claims> {
        let found = self.found(Claims::default());
        // Nobody listens at the end of a test.
        let _ = self.claims.send(limit);
        found
    }

    fn on_due(&self, wake: Arc<Signal>) {
        *self.due.lock().expect("sound") = wake;
    }

    fn on_accept(&self, starter: Weak<dyn Starter>) {
        *self.starter.lock().expect("sound") = Some(starter);
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    async fn accept(&self, _webhook: NewWebhook) -> Result<Accepted> {
        Self::is_away()
    }

    async fn finish(&self, _finish: Finish) -> Result<bool> {
        Self::is_away()
    }

    async fn renew(&self, _leases: Vec<Lease>, _lease: Duration) -> Result<Vec<Lease>> {
        Self::is_away()
    }

    async fn take_over_expired(&self, _held: Vec<Lease>) -> Result<usize> {
        self.take_overs.fetch_add(1, Ordering::SeqCst);
        self.found(0)
    }

    async fn retry(&self, _id: WebhookId, _attempts: u32) -> Result<WebhookStatus> {
        Self::is_away()
    }

    async fn cancel(&self, _id: WebhookId) -> Result<WebhookStatus> {
        Self::is_away()
    }

    async fn status(&self, _name: WebhookName) -> Result<WebhookStatus> {
        Self::is_away()
    }

    async fn webhook(&self, _id: WebhookId) -> Result<WebhookDetail> {
        Self::is_away()
    }

    async fn list(&self, _query: ListQuery) -> Result<Page> {
        Self::is_away()
    }

    async fn stats(&self) -> Result<StoreStats> {
        Self::is_away()
    }

    async fn purge(&self, _retention: Retention) -> Result<Purged> {
        Self::is_away()
    }

    async fn probe(&self) -> Result<Probe> {
        Self::is_away()
    }

    async fn close(&self) {}
}

struct Nothing;

impl Handler for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn handle(&self, _attempt: &Attempt<'_>) -> std::result::Result<serde_json::Value, Failure> {
        Ok(serde_json::Value::Null)
    }
}

/// A pool over such a store.
fn pool(is_away: bool) -> (Pool, Arc<Away>, Arc<ManualClock>, mpsc::Receiver<usize>) {
    let (claims, claimed) = mpsc::sync_channel(0);
    let store = Arc::new(Away {
        claims,
        is_away: AtomicBool::new(is_away),
        take_overs: AtomicUsize::new(0),
        due: Mutex::default(),
        starter: Mutex::default(),
        changes: Changes::default(),
    });
    let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
    let options = Options {
        workers: WORKERS,
        lease: LEASE,
        retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1),
        seed: 1,
    };
    let registry = Registry::new(Nothing);
    let metrics = Arc::new(Metrics::default());
    let pool = Pool::start(Arc::clone(&store) as _, registry, Arc::clone(&clock) as _, metrics, options);
    (pool.expect("starts"), store, clock, claimed)
}

#[test]
fn a_claim_that_failed_is_tried_again_after_a_second_and_not_before() {
    let (pool, store, clock, claimed) = pool(true);
    assert_eq!(claimed.recv_timeout(SOON), Ok(WORKERS));
    assert!(claimed.recv_timeout(NOT_AT_ONCE).is_err(), "it waits");
    // Neither what becomes due nor a thread that is given back cuts it short.
    store.due.lock().expect("sound").raise();
    let starter = store.starter();
    starter.start(starter.reserve(1), Vec::new());
    assert!(claimed.recv_timeout(NOT_AT_ONCE).is_err(), "it still waits");
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(claimed.recv_timeout(SOON), Ok(WORKERS), "all threads were given back");
    drop(claimed);
    assert_eq!(pool.shutdown(Duration::ZERO), 0);
}

#[test]
fn threads_are_reserved_for_new_webhooks_until_the_pool_is_told_to_stop() {
    let (pool, store, _clock, claimed) = pool(false);
    assert_eq!(store.starter().reserve(1), 0, "what was left from before is claimed first");
    assert_eq!(claimed.recv_timeout(SOON), Ok(WORKERS));
    let starter = store.starter();
    let reserved = loop {
        // Once the claim has found nothing.
        match starter.reserve(WORKERS + 1) {
            0 => std::thread::yield_now(),
            reserved => break reserved,
        }
    };
    assert_eq!(reserved, WORKERS);
    assert!(!starter.has_idle());
    starter.start(reserved, Vec::new());
    assert!(starter.has_idle());
    drop(claimed);
    assert_eq!(pool.shutdown(Duration::ZERO), 0);
    assert_eq!(starter.reserve(1), 0);
}

#[test]
fn nobody_takes_over_before_everybody_could_renew() {
    let (pool, store, clock, claimed) = pool(false);
    // Each turn of the dispatcher ends with a claim.
    let turn = || {
        assert_eq!(claimed.recv_timeout(SOON), Ok(WORKERS));
        store.take_overs.load(Ordering::SeqCst)
    };
    let next_turn = || {
        clock.advance(SignedDuration::from_secs(1));
        turn()
    };
    assert_eq!(turn(), 0);
    for second in 1..OTHERS_RENEW_SECONDS {
        assert_eq!(next_turn(), 0, "{second} s after the start");
    }
    assert_eq!(next_turn(), 1);
    assert_eq!(next_turn(), 2, "each second from then on");

    store.is_away.store(true, Ordering::SeqCst);
    assert_eq!(next_turn(), 3, "which fails");
    store.is_away.store(false, Ordering::SeqCst);
    let fault = clock.now();
    let since = || clock.now().duration_since(fault).as_secs();
    while store.take_overs.load(Ordering::SeqCst) == 3 {
        assert!(since() < 2 * OTHERS_RENEW_SECONDS as i64, "somebody has to, in the end");
        clock.advance(SignedDuration::from_secs(1));
        // No turn, if it began to wait only now.
        let _ = claimed.recv_timeout(SETTLES);
    }
    assert!(since() >= OTHERS_RENEW_SECONDS as i64, "{} s after the fault", since());
    drop(claimed);
    assert_eq!(pool.shutdown(Duration::ZERO), 0);
}
