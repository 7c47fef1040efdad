//! A pool whose store goes away and comes back: it waits, takes nothing over from those who could not
//! renew either, gives back what it may have been leased, and takes nothing more once it is told to
//! stop.

use std::ops::RangeInclusive;
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
use hookbox::domain::trace::Traceparent;
use hookbox::domain::webhook::{
    EventType, IdempotencyKey, NewWebhook, Source, WebhookDetail, WebhookName, WebhookStatus,
};
use hookbox::store::changes::Changes;
use hookbox::store::{
    Accepted, ClaimedJob, Claims, Finish, ListQuery, Page, Probe, Purged, Starter, Store, StoreStats,
};
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

type Unheld = (Vec<Lease>, RangeInclusive<Timestamp>);

/// A store that has nothing, or is away. It tells every claim, and waits until the test has heard it.
#[derive(Debug)]
struct Away {
    claims: mpsc::SyncSender<usize>,
    is_away: AtomicBool,
    take_overs: AtomicUsize,
    /// What was to be given back: what is held, and when the rest was leased. Refused if it fails.
    unheld: mpsc::SyncSender<Unheld>,
    keeps_unheld: AtomicBool,
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

    async fn give_back_unheld(&self, held: Vec<Lease>, leased: RangeInclusive<Timestamp>) -> Result<usize> {
        let keeps = self.keeps_unheld.load(Ordering::SeqCst);
        // Not every test listens.
        let _ = self.unheld.send((held, leased));
        if keeps { Self::is_away() } else { Ok(1) }
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
    let (pool, store, clock, claimed, _) = pool_and_unheld(is_away);
    (pool, store, clock, claimed)
}

/// The same, and what is to be given back.
fn pool_and_unheld(
    is_away: bool,
) -> (Pool, Arc<Away>, Arc<ManualClock>, mpsc::Receiver<usize>, mpsc::Receiver<Unheld>) {
    let (claims, claimed) = mpsc::sync_channel(0);
    let (unheld, to_give_back) = mpsc::sync_channel(16);
    let store = Arc::new(Away {
        claims,
        is_away: AtomicBool::new(is_away),
        take_overs: AtomicUsize::new(0),
        unheld,
        keeps_unheld: AtomicBool::new(false),
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
    (pool.expect("starts"), store, clock, claimed, to_give_back)
}

/// Reserves a thread, once the claim before has found nothing.
fn reserve_one(starter: &Arc<dyn Starter>) -> usize {
    loop {
        match starter.reserve(1) {
            0 => std::thread::yield_now(),
            reserved => return reserved,
        }
    }
}

fn job(now: Timestamp) -> ClaimedJob {
    ClaimedJob {
        lease: Lease { webhook: WebhookId::from_bytes([1; 16]), token: 1 },
        source: Source::default(),
        idempotency_key: IdempotencyKey::new("k").expect("is a key"),
        event_type: EventType::new("t").expect("is a type"),
        payload: Some("1".into()),
        traceparent: Traceparent::new(1, 1, true),
        attempt: 1,
        attempt_of_run: 1,
        max_attempts: 1,
        available_at: now,
        claimed_at: now,
    }
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
fn what_was_leased_without_an_answer_is_given_back_once_nothing_is_being_leased() {
    let (pool, store, clock, claimed, unheld) = pool_and_unheld(false);
    // Each turn of the dispatcher ends with a claim.
    let turn = || claimed.recv_timeout(SOON).map(|_| unheld.try_iter().collect::<Vec<_>>());
    let next_second = || {
        clock.advance(SignedDuration::from_secs(1));
        turn()
    };
    assert_eq!(turn(), Ok(vec![]));
    assert_eq!(next_second(), Ok(vec![]), "every lease was answered");
    let starter = store.starter();
    let (first, second) = (reserve_one(&starter), reserve_one(&starter));
    let (since, until) = (clock.now() - SignedDuration::from_secs(5), clock.now());
    starter.unanswered(since);
    starter.start(first, Vec::new());
    assert_eq!(starter.reserve(1), 0, "no thread is reserved until all is known");
    assert_eq!(next_second(), Ok(vec![]), "another lease may be answered yet");
    starter.start(second, Vec::new());
    store.keeps_unheld.store(true, Ordering::SeqCst);
    assert_eq!(next_second(), Ok(vec![(vec![], since..=until)]), "which fails");
    assert_eq!(starter.reserve(1), 0, "nothing is known yet");
    store.keeps_unheld.store(false, Ordering::SeqCst);
    assert_eq!(next_second(), Ok(vec![(vec![], since..=until)]));
    assert_eq!(next_second(), Ok(vec![]), "now it is known");
    let last = reserve_one(&starter);
    starter.unanswered(clock.now());
    starter.start(last, Vec::new());
    drop(claimed);
    assert_eq!(pool.shutdown(Duration::ZERO), 0);
    let at_the_end = clock.now()..=clock.now();
    assert_eq!(
        unheld.try_iter().collect::<Vec<_>>(),
        [(vec![], at_the_end)],
        "before nobody is left to do it"
    );
}

#[test]
fn what_a_claim_without_an_answer_has_leased_is_given_back_but_not_what_runs() {
    let (pool, store, clock, claimed, unheld) = pool_and_unheld(false);
    assert_eq!(claimed.recv_timeout(SOON), Ok(WORKERS));
    let starter = store.starter();
    let reserved = reserve_one(&starter);
    let job = job(clock.now());
    starter.start(reserved, vec![job.clone()]);
    store.is_away.store(true, Ordering::SeqCst);
    clock.advance(SignedDuration::from_secs(1));
    claimed.recv_timeout(SOON).expect("claims in vain");
    let fault = clock.now();
    store.is_away.store(false, Ordering::SeqCst);
    let given_back = loop {
        clock.advance(SignedDuration::from_secs(1));
        // No turn, if it began to wait only now.
        let _ = claimed.recv_timeout(SETTLES);
        if let Ok(given_back) = unheld.try_recv() {
            break given_back;
        }
        assert!(clock.now().duration_since(fault).as_secs() < 10, "it is given back soon");
    };
    let (held, leased) = given_back;
    assert_eq!(held, [job.lease], "its outcome cannot be recorded in this store");
    assert!(*leased.start() == fault && leased.contains(&fault), "{leased:?}");
    drop(claimed);
    // It gives up the outcome in the end.
    std::thread::scope(|threads| {
        let stopping = threads.spawn(|| pool.shutdown(Duration::ZERO));
        while !stopping.is_finished() {
            clock.advance(SignedDuration::from_secs(1));
            std::thread::yield_now();
        }
    });
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
