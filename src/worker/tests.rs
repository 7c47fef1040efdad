//! A pool one of whose tasks panics.

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
const DEADLINE: Duration = Duration::from_secs(10);

/// Much longer than that, even if time passes a thousand times as fast.
const GRACE: Duration = Duration::from_secs(100_000);

/// A queue with one job. One of its calls panics.
#[derive(Debug)]
struct Faulty {
    call: &'static str,
    job: Mutex<Option<ClaimedJob>>,
}

impl Faulty {
    fn called(&self, call: &str) {
        assert_ne!(call, self.call, "the fault of this test");
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
        Ok(vec![true; finishes.len()])
    }

    async fn renew(&self, _worker: &str, _leases: Vec<Lease>, _lease: Duration) -> Result<Vec<Lease>> {
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

#[tokio::test]
async fn without_one_of_its_tasks_a_pool_claims_no_more_and_its_process_has_to_stop() {
    // The dispatcher, the recorder and the upkeep.
    for call in ["claim", "finish", "follow_clock"] {
        let (clock, metrics) =
            (Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)), Arc::new(Metrics::default()));
        let queue = Arc::new(Faulty { call, job: Mutex::new(Some(job(1, RouteName::DEFAULT))) });
        let policies = Arc::new(Policies::new([Policy::unlimited(RouteName::default())]));
        let options =
            Options { workers: 1, worker: "worker-1".into(), lease: Duration::from_secs(30), seed: 1 };
        let pool = Pool::start(
            queue,
            Registry::default(),
            Arc::new(PoliciesInForce::new(policies)),
            Arc::clone(&clock) as _,
            Arc::clone(&metrics),
            options,
        );
        let pool = pool.expect("starts");
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
