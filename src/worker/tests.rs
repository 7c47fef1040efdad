//! A pool one of whose tasks panics, or whose store does not answer.

use std::sync::Mutex;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::slots::tests::job;
use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::error::Result;
use crate::domain::policy::{Policies, Policy};
use crate::domain::route::RouteName;
use crate::store::{Claim, ClaimedJob, Claims, Finish, LeasedJob};

/// How long what a test waits for may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Much longer than that, even if time passes a thousand times as fast.
const GRACE: Duration = Duration::from_secs(100_000);

/// What a call of the queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Panics(&'static str),
    /// No outcome is answered.
    TakesNoOutcome,
}

/// A queue with one job and a fault.
#[derive(Debug)]
struct Faulty {
    fault: Fault,
    job: Mutex<Option<ClaimedJob>>,
    /// Notified when it is given outcomes.
    finishing: Notify,
}

impl Faulty {
    fn with(fault: Fault) -> Arc<Self> {
        let job = Mutex::new(Some(job(1, RouteName::DEFAULT)));
        Arc::new(Self { fault, job, finishing: Notify::new() })
    }

    fn called(&self, call: &'static str) {
        assert_ne!(Fault::Panics(call), self.fault, "the fault of this test");
    }
}

#[async_trait]
impl JobQueue for Faulty {
    async fn claim(&self, _claim: Claim) -> Result<Claims> {
        self.called("claim");
        let job = self.job.lock().expect("not poisoned").take();
        Ok(Claims { jobs: job.into_iter().collect(), next: None, held_until: Duration::MAX })
    }

    async fn finish(&self, _worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        self.called("finish");
        self.finishing.notify_one();
        if self.fault == Fault::TakesNoOutcome {
            std::future::pending::<()>().await;
        }
        Ok(vec![true; finishes.len()])
    }

    async fn renew(&self, _worker: &str, _leases: Vec<(Lease, Duration)>) -> Result<Vec<Lease>> {
        Ok(Vec::new())
    }

    async fn leased(&self, _worker: &str, _leases: Vec<Lease>) -> Result<Vec<LeasedJob>> {
        Ok(Vec::new())
    }

    async fn follow_clock(&self) -> Result<()> {
        self.called("follow_clock");
        Ok(())
    }

    async fn take_over_expired(&self, _held: Vec<Lease>) -> Result<usize> {
        Ok(0)
    }

    async fn give_back(&self, _worker: &str, _leases: Vec<Lease>) -> Result<()> {
        Ok(())
    }

    fn on_due(&self, _wake: Arc<Notify>) {}
}

/// Lets seconds pass, one after the other, until `ready` is ready.
async fn while_time_passes(clock: &ManualClock, ready: impl Future<Output = ()>) {
    let mut ready = std::pin::pin!(ready);
    let passing = async {
        while tokio::time::timeout(Duration::from_millis(1), ready.as_mut()).await.is_err() {
            clock.advance(SignedDuration::from_secs(1));
        }
    };
    tokio::time::timeout(DEADLINE, passing).await.expect("it is ready in time");
}

/// A pool with one thread.
fn start(queue: Arc<Faulty>, clock: &Arc<ManualClock>, metrics: &Arc<Metrics>) -> Pool {
    let policies = Arc::new(Policies::new([Policy::unlimited(RouteName::default())]));
    let pool = Pool::start(
        queue,
        Registry::default(),
        Arc::new(PoliciesInForce::new(policies)),
        Arc::clone(clock) as _,
        Arc::clone(metrics),
        Options { workers: 1, worker: "worker-1".into(), lease: Duration::from_secs(30), seed: 1 },
    );
    pool.expect("starts")
}

#[tokio::test]
async fn without_one_of_its_tasks_a_pool_claims_no_more_and_its_process_has_to_stop() {
    // The dispatcher, the recorder and the upkeep.
    for call in ["claim", "finish", "follow_clock"] {
        let (clock, metrics) =
            (Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)), Arc::new(Metrics::default()));
        let pool = start(Faulty::with(Fault::Panics(call)), &clock, &metrics);
        assert_eq!(metrics.workers().total, 1, "{call}");
        while_time_passes(&clock, metrics.vital_tasks().failed()).await;
        assert_eq!(metrics.workers().total, 0, "{call}");
        // Nothing waits for the grace.
        while_time_passes(&clock, async {
            pool.shutdown(GRACE).await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_attempt_whose_outcome_the_store_does_not_take_is_not_left_as_a_running_one() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let queue = Faulty::with(Fault::TakesNoOutcome);
    let pool = start(Arc::clone(&queue), &clock, &Arc::default());
    while_time_passes(&clock, queue.finishing.notified()).await;
    while_time_passes(&clock, async {
        let left = pool.shutdown(Duration::ZERO).await;
        assert_eq!(left, Left { running: 0, unrecorded: 1 });
    })
    .await;
}
