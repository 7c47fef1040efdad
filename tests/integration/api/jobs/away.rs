//! A pool whose store fails and comes back: it waits, takes nothing over from processes that could not
//! renew either, and gives back what it may have been leased.

mod set_back;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hookbox::internals::domain::attempt::Lease;
use hookbox::internals::domain::clock::{Clock as _, ManualClock};
use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::error::{Error, Result};
use hookbox::internals::domain::handler::HandlerSettings;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::{JobId, QueueId};
use hookbox::internals::domain::policy::{Policies, PoliciesInForce, Policy};
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::route::{OnDeadLetter, OnInterrupt, RouteName};
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, Source};
use hookbox::internals::store::{Claim, ClaimedJob, Claims, Finish, JobQueue, LeasedJob};
use hookbox::internals::telemetry::metrics::Metrics;
use hookbox::internals::worker::handler::{Attempt, Failure, Handler, Registry};
use hookbox::internals::worker::{Left, Options, Pool};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const WORKERS: usize = 4;

const LEASE: Duration = Duration::from_secs(30);

/// How long expired leases are left alone after a fault: a third of a lease, until which every
/// process has renewed.
const CALM_SECONDS: i64 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// The deadline of what has to happen, and how long is waited for what must not.
const SOON: Duration = Duration::from_secs(20);
const NOT_AT_ONCE: Duration = Duration::from_millis(100);

/// What the pool asked of the store.
#[derive(Debug, PartialEq)]
enum Asked {
    Claim { threads: usize },
    TakeOver,
    GiveBack(Vec<Lease>),
    GiveBackUnheld { held: Vec<Lease>, leased: RangeInclusive<Timestamp> },
    Finish(Lease),
}

/// A store that tells what it is asked, and answers what the test has prepared; otherwise it has
/// nothing to run.
#[derive(Debug)]
struct Scripted {
    asked: UnboundedSender<Asked>,
    claims: Mutex<VecDeque<Result<Vec<ClaimedJob>>>>,
    /// Until when the leases of claims last.
    held_until: Mutex<Duration>,
    give_backs: Mutex<VecDeque<Result<()>>>,
    unheld: Mutex<VecDeque<Result<usize>>>,
    take_overs: Mutex<VecDeque<Result<usize>>>,
    due: Mutex<Arc<Notify>>,
    /// How often leases were renewed.
    renewals: AtomicUsize,
}

fn away<T>() -> Result<T> {
    Err(Error::store_unavailable("the store is away", "for a test"))
}

#[async_trait]
impl JobQueue for Scripted {
    async fn claim(&self, claim: Claim) -> Result<Claims> {
        let answer = self.claims.lock().unwrap().pop_front().unwrap_or(Ok(Vec::new()));
        let _ = self.asked.send(Asked::Claim { threads: claim.threads });
        Ok(Claims { jobs: answer?, next: None, held_until: *self.held_until.lock().unwrap() })
    }

    async fn finish(&self, _worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        for finish in &finishes {
            let _ = self.asked.send(Asked::Finish(finish.lease));
        }
        Ok(vec![true; finishes.len()])
    }

    async fn renew(&self, _worker: &str, _leases: Vec<(Lease, Duration)>) -> Result<Vec<Lease>> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        Ok(Vec::new())
    }

    async fn follow_clock(&self) -> Result<()> {
        Ok(())
    }

    async fn leased(&self, _worker: &str, _leases: Vec<Lease>) -> Result<Vec<LeasedJob>> {
        Ok(Vec::new())
    }

    async fn take_over_expired(&self, _held: Vec<Lease>) -> Result<usize> {
        let answer = self.take_overs.lock().unwrap().pop_front().unwrap_or(Ok(0));
        let _ = self.asked.send(Asked::TakeOver);
        answer
    }

    async fn give_back(&self, _worker: &str, leases: Vec<Lease>) -> Result<()> {
        let answer = self.give_backs.lock().unwrap().pop_front().unwrap_or(Ok(()));
        let _ = self.asked.send(Asked::GiveBack(leases));
        answer
    }

    async fn give_back_unheld(
        &self,
        _worker: &str,
        held: Vec<Lease>,
        leased: RangeInclusive<Timestamp>,
    ) -> Result<usize> {
        let answer = self.unheld.lock().unwrap().pop_front().unwrap_or(Ok(0));
        let _ = self.asked.send(Asked::GiveBackUnheld { held, leased });
        answer
    }

    fn on_due(&self, wake: Arc<Notify>) {
        *self.due.lock().unwrap() = wake;
    }
}

/// Runs until it is stopped, and counts how often it has started.
struct UntilStopped(Arc<AtomicUsize>);

impl Handler for UntilStopped {
    fn handle(&self, attempt: &Attempt<'_>) -> std::result::Result<serde_json::Value, Failure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        attempt.sleep(Duration::from_secs(1_000_000_000))?;
        Ok(serde_json::Value::Null)
    }
}

/// A pool over such a store, and what the store is asked.
struct Setup {
    pool: Pool,
    store: Arc<Scripted>,
    clock: Arc<ManualClock>,
    asked: UnboundedReceiver<Asked>,
    /// How many handlers have started.
    started: Arc<AtomicUsize>,
    policies: Arc<PoliciesInForce>,
}

impl Setup {
    fn with_claims(claims: impl IntoIterator<Item = Result<Vec<ClaimedJob>>>) -> Self {
        let (asks, asked) = unbounded_channel();
        let store = Arc::new(Scripted {
            asked: asks,
            claims: Mutex::new(claims.into_iter().collect()),
            held_until: Mutex::new(Duration::MAX),
            give_backs: Mutex::default(),
            unheld: Mutex::default(),
            take_overs: Mutex::default(),
            due: Mutex::default(),
            renewals: AtomicUsize::new(0),
        });
        let clock = Arc::new(ManualClock::new(now()));
        let policies = policies(HandlerSettings::Named("until-stopped".into()));
        let policies = Arc::new(PoliciesInForce::new(policies));
        let started = Arc::default();
        let options = Options { workers: WORKERS, worker: "test".into(), lease: LEASE, seed: 1 };
        let pool = Pool::start(
            Arc::clone(&store) as _,
            Registry::default().with("until-stopped", UntilStopped(Arc::clone(&started))),
            Arc::clone(&policies),
            Arc::clone(&clock) as _,
            Arc::new(Metrics::default()),
            options,
        );
        Self { pool: pool.unwrap(), store, clock, asked, started, policies }
    }

    /// The next thing that the store is asked.
    async fn asks(&mut self) -> Asked {
        tokio::time::timeout(SOON, self.asked.recv()).await.expect("it asks").expect("it is there")
    }

    /// The next thing that it is asked as seconds pass. Only the upkeep works: each second passes once it has done all
    /// of the one before.
    async fn asks_as_seconds_pass(&mut self) -> Asked {
        for _ in 0..60 {
            wait_for_sleepers(&self.clock, 1, SECOND).await;
            if let Ok(asked) = self.asked.try_recv() {
                return asked;
            }
            self.clock.advance(SignedDuration::from_secs(1));
        }
        panic!("it asks in the end");
    }

    /// Waits until both the upkeep and what the store has failed sleep for a second.
    async fn sleeps_after_the_fault(&self) {
        wait_for_sleepers(&self.clock, 2, SECOND).await;
    }

    /// Waits until a handler has started.
    async fn starts(&self) {
        let started = async {
            while self.started.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(SOON, started).await.expect("it starts");
    }

    async fn asks_nothing(&mut self) {
        let asked = tokio::time::timeout(NOT_AT_ONCE, self.asked.recv()).await;
        assert!(asked.is_err(), "{asked:?}");
    }

    fn becomes_due(&self) {
        self.store.due.lock().unwrap().notify_one();
    }

    /// Stops the pool, and returns what it asks until then.
    async fn stop(self) -> UnboundedReceiver<Asked> {
        let left = tokio::time::timeout(SOON, self.pool.shutdown(Duration::ZERO)).await.expect("stops");
        assert_eq!(left, Left { running: 0, unrecorded: 0 });
        self.asked
    }
}

/// Waits until this many sleep, each for this long from now on.
async fn wait_for_sleepers(clock: &ManualClock, sleepers: usize, time: Duration) {
    let asleep = async {
        while clock.sleepers_for(time) < sleepers {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, asleep).await.expect("they sleep");
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// The policies of the default route with this handler.
fn policies(handler: HandlerSettings) -> Arc<Policies> {
    Arc::new(Policies::new([Policy {
        route: RouteName::default(),
        handler,
        timeout: None,
        concurrency: None,
        rate: None,
        retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1),
        on_dead_letter: OnDeadLetter::Block,
        on_interrupt: OnInterrupt::Retry,
    }]))
}

fn job() -> ClaimedJob {
    ClaimedJob {
        lease: Lease { job: JobId { webhook: WebhookId::from_bytes([1; 16]), queue: QueueId(1) }, token: 1 },
        route: RouteName::default(),
        order: None,
        source: Source::default(),
        idempotency_key: IdempotencyKey::new("k").unwrap(),
        event_type: EventType::new("t").unwrap(),
        payload: Some("1".into()),
        content_type: ContentType::JSON,
        traceparent: Traceparent::new(1, 1, true),
        attempt: 1,
        attempt_of_run: 1,
        run: 1,
        available_at: now(),
        claimed_at: now(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_claim_is_tried_again_after_a_second() {
    let mut setup = Setup::with_claims([away()]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.becomes_due();
    setup.asks_nothing().await;
    setup.sleeps_after_the_fault().await;
    setup.clock.advance(SignedDuration::from_secs(1));
    // Some may have been leased by the claim whose answer was lost.
    assert!(matches!(setup.asks().await, Asked::GiveBackUnheld { .. }));
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_pool_claims_only_when_it_is_notified() {
    let mut setup = Setup::with_claims([]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    for _ in 0..3 {
        assert_eq!(setup.asks_as_seconds_pass().await, Asked::TakeOver);
    }
    setup.becomes_due();
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.asks_nothing().await;
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_lost_answer_are_given_back_but_not_running_ones() {
    let mut setup = Setup::with_claims([Ok(vec![job()]), away()]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.starts().await;
    setup.becomes_due();
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS - 1 });
    setup.store.unheld.lock().unwrap().push_back(away());
    let expected = || Asked::GiveBackUnheld { held: vec![job().lease], leased: now()..=now() };
    setup.sleeps_after_the_fault().await;
    setup.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(setup.asks().await, expected(), "this one fails");
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS - 1 });
    setup.becomes_due();
    assert_eq!(setup.asks().await, expected(), "so it is tried again");
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS - 1 });
    setup.becomes_due();
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS - 1 }, "every lease is known");
    let mut asked = setup.stop().await;
    assert_eq!(asked.recv().await, Some(Asked::Finish(job().lease)), "its attempt was stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_with_an_expired_lease_is_given_back_and_its_handler_is_not_started() {
    let mut setup = Setup::with_claims([]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    *setup.store.held_until.lock().unwrap() = setup.clock.monotonic();
    setup.store.claims.lock().unwrap().push_back(Ok(vec![job()]));
    setup.store.give_backs.lock().unwrap().push_back(away());
    setup.becomes_due();
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    assert_eq!(setup.asks().await, Asked::GiveBack(vec![job().lease]), "this one fails");
    setup.sleeps_after_the_fault().await;
    setup.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(setup.asks().await, Asked::GiveBack(vec![job().lease]), "so it is tried again");
    setup.becomes_due();
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS }, "its thread is idle");
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claimed_job_of_a_route_that_is_pulled_now_is_given_back() {
    let mut setup = Setup::with_claims([]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    setup.policies.set(policies(HandlerSettings::Pull));
    setup.store.claims.lock().unwrap().push_back(Ok(vec![job()]));
    setup.becomes_due();
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    assert_eq!(setup.asks().await, Asked::GiveBack(vec![job().lease]));
    assert_eq!(setup.started.load(Ordering::SeqCst), 0, "its handler was not started");
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_right_before_the_stop_is_given_back_too() {
    let mut setup = Setup::with_claims([away()]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    let mut asked = setup.stop().await;
    let given_back = std::iter::from_fn(|| asked.try_recv().ok())
        .any(|asked| matches!(asked, Asked::GiveBackUnheld { ref held, .. } if held.is_empty()));
    assert!(given_back);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_leases_are_taken_over_after_every_process_could_renew() {
    let mut setup = Setup::with_claims([]);
    assert_eq!(setup.asks().await, Asked::Claim { threads: WORKERS });
    let seconds_since = |setup: &Setup, then: Timestamp| setup.clock.now().duration_since(then).as_secs();
    assert_eq!(setup.asks_as_seconds_pass().await, Asked::TakeOver);
    assert!(seconds_since(&setup, now()) >= CALM_SECONDS);

    setup.store.take_overs.lock().unwrap().push_back(away());
    assert_eq!(setup.asks_as_seconds_pass().await, Asked::TakeOver, "this one fails");
    let fault = setup.clock.now();
    assert_eq!(setup.asks_as_seconds_pass().await, Asked::TakeOver);
    assert!(seconds_since(&setup, fault) >= CALM_SECONDS - 1, "{} s", seconds_since(&setup, fault));
    setup.stop().await;
}
