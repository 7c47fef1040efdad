//! Shorthand for claiming jobs and ending their attempts.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hookbox::internals::domain::attempt::{Lease, Outcome, RunResult, conclude};
use hookbox::internals::domain::clock::Clock as _;
use hookbox::internals::domain::error::Result;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::WebhookStatus;
use hookbox::internals::store::{Claim, ClaimedJob, Claims, Finish, Store, Wanted};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Inbox, LEASE};
use crate::store::harness::Harness;
use crate::store::routes::policy;

/// The maximum number of bytes of payloads that the pool claims.
const CLAIM_BYTES: usize = 32 * 1024 * 1024;

/// The time within which concurrent claims must agree that no startable job is left.
const DEADLINE: Duration = Duration::from_secs(30);

impl<H: Harness> Inbox<H> {
    /// A claim by this process, which runs no jobs yet.
    pub(crate) fn claim_for(&self, threads: usize) -> Claim {
        Claim {
            worker: Arc::clone(&self.worker),
            wanted: Wanted::Run,
            threads,
            max_bytes: CLAIM_BYTES,
            lease: LEASE,
            running: Default::default(),
        }
    }

    /// Claims jobs for this number of threads.
    pub(crate) async fn claims(&self, threads: usize) -> Claims {
        let claims = self.claim(self.claim_for(threads)).await.expect("claims");
        assert!(claims.jobs.len() <= threads, "no job is claimed without a thread");
        assert_eq!(claims.held_until, self.clock.monotonic() + LEASE, "the worker relies on it");
        claims
    }

    /// Claims jobs for this number of threads and returns only the jobs.
    pub(crate) async fn claimed(&self, threads: usize) -> Vec<ClaimedJob> {
        self.claims(threads).await.jobs
    }

    /// Claims jobs eight times at once, each time for this number of threads, and returns only the jobs.
    pub(crate) async fn claimed_at_once(&self, threads: usize) -> Vec<ClaimedJob> {
        let claimers = (0..8).map(|_| {
            let (store, claim) = (self.shared(), self.claim_for(threads));
            tokio::spawn(tokio::time::timeout(DEADLINE, claim_when_told(store, claim)))
        });
        let claimed = join_all(claimers).await;
        claimed.into_iter().flat_map(|jobs| jobs.expect("ran").expect("ends in time")).collect()
    }

    /// Claims the only startable job.
    pub(crate) async fn claim_one(&self) -> ClaimedJob {
        let [job] = <[_; 1]>::try_from(self.claimed(2).await).expect("one job may start");
        job
    }

    /// Checks that no job is startable.
    pub(crate) async fn claim_nothing(&self) {
        assert_eq!(keys(&self.claimed(10).await), [""; 0], "no job may start");
    }

    /// Extends leases of this process by the same time, and returns those that were lost.
    pub(crate) async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>> {
        let renewals = leases.into_iter().map(|held| (held, lease)).collect();
        self.shared().renew(&self.worker, renewals).await
    }

    /// Gives back jobs that this process has leased.
    pub(crate) async fn give_back(&self, leases: Vec<Lease>) -> Result<()> {
        self.shared().give_back(&self.worker, leases).await
    }

    /// Records the end of one attempt; false if its lease was lost.
    pub(crate) async fn finish_one(&self, finish: Finish) -> Result<bool> {
        let answers = self.finish(&self.worker, vec![finish]).await?;
        let [held] = <[_; 1]>::try_from(answers).expect("one answer");
        Ok(held)
    }

    /// Ends an attempt. Panics if its lease was lost.
    pub(crate) async fn end(&self, job: &ClaimedJob, next: Status) {
        assert!(self.finish_one(self.ended(job, next)).await.expect("finishes"), "the lease is held");
    }

    /// Ends an attempt as failed. The next one is due after `delay`.
    pub(crate) async fn fail(&self, job: &ClaimedJob, delay: Duration) {
        let finish = Finish { available_at: self.now() + delay, ..self.ended(job, Status::Retrying) };
        assert!(self.finish_one(finish).await.expect("finishes"), "the lease is held");
    }

    /// The end of an attempt at the current time, as a worker would report it. `Pending` means that it was stopped.
    pub(crate) fn ended(&self, job: &ClaimedJob, next: Status) -> Finish {
        let (outcome, error, result) = match next {
            Status::Completed => (Outcome::Completed, None, Some(r#"{"done":true}"#.to_owned())),
            Status::Pending => (Outcome::Interrupted, Some("stopped".to_owned()), None),
            _ => (Outcome::Failed, Some("failed".to_owned()), None),
        };
        Finish {
            lease: job.lease,
            order: job.order.clone(),
            attempt: job.attempt,
            outcome,
            started_at: job.claimed_at,
            finished_at: self.now(),
            error,
            result,
            delivery: None,
            health: None,
            next,
            available_at: if next.is_final() { job.available_at } else { self.now() },
            counts: next != Status::Pending,
            blocks: self.policies().get(&job.route).is_some_and(|policy| policy.blocks(next)),
        }
    }

    /// The end of an attempt at the current time, with the next status that the policy in force decides.
    pub(crate) fn concluded(&self, job: &ClaimedJob, ran: RunResult) -> Finish {
        let default = Arc::new(policy(job.route.as_str()));
        let policy = self.policies().get(&job.route).unwrap_or(&default);
        let mut random = SmallRng::seed_from_u64(self.options.seed);
        let concluded = conclude(ran, job.attempt_of_run, policy, self.now(), &mut random);
        Finish {
            outcome: concluded.outcome,
            error: concluded.error,
            result: concluded.result,
            available_at: concluded.due_at.unwrap_or(job.available_at),
            counts: concluded.counts,
            blocks: concluded.blocks,
            ..self.ended(job, concluded.next)
        }
    }

    /// Accepts a webhook for the default route, claims its job and ends it with the status `next`.
    pub(crate) async fn ended_webhook(&self, key: &str, next: Status) -> WebhookStatus {
        let webhook = self.accept_new(key).await;
        if next == Status::Cancelled {
            return self.cancel(webhook.id, None).await.expect("cancels");
        }
        let job = self.claim_one().await;
        assert_eq!(job.lease.job.webhook, webhook.id, "no other job is due");
        self.end(&job, next).await;
        self.status_of(webhook.id).await
    }
}

/// Repeats the claim while it returns no jobs but reports that one is startable now, because a concurrent claim
/// may have interfered.
async fn claim_when_told(store: Arc<dyn Store>, claim: Claim) -> Vec<ClaimedJob> {
    loop {
        let claims = store.claim(claim.clone()).await.expect("claims");
        if !claims.jobs.is_empty() || claims.next.is_none() {
            return claims.jobs;
        }
        tokio::task::yield_now().await;
    }
}

/// The keys of the webhooks of these jobs.
pub(crate) fn keys(jobs: &[ClaimedJob]) -> Vec<&str> {
    jobs.iter().map(|job| job.idempotency_key.as_str()).collect()
}

/// The sorted keys of the webhooks of these jobs, for jobs whose order is not defined.
pub(crate) fn sorted_keys(jobs: &[ClaimedJob]) -> Vec<&str> {
    let mut keys = keys(jobs);
    keys.sort_unstable();
    keys
}
