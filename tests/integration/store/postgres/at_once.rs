//! Many concurrent operations by several processes: they do not deadlock, and in the end the stored counts and lanes
//! match the rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::clock::Clock as _;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::{Reason, Result, causes};
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::Policies;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::route::NewJob;
use hookbox::internals::store::postgres::PostgresStore;
use hookbox::internals::store::{
    Claim, ClaimedJob, Finish, Inbox as _, JobQueue as _, Operations as _, Store as _, Submission, Wanted,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng};

use super::harness::open_as;
use crate::store::harness::Options;
use crate::store::inbox::webhook;
use crate::store::routes::{concurrent, in_force, job, ordered, policy, route, skipping};
use crate::support::client::within;
use crate::support::inbox_database::inbox_database_for;
use crate::support::postgres::Session;

const PROCESSES: u64 = 3;
const TASKS_OF_EACH: u64 = 4;
const STEPS: usize = 150;

/// The error of an operation that has waited 3 s for a connection.
const NOT_CONNECTED: &str = "no connection was free in time";

/// Less than an operation waits for a connection.
const SOON: Duration = Duration::from_secs(2);

/// Finds inconsistencies in a database. Every row of the result is one fault.
const FAULTS: &str = "
    WITH rows AS (
        SELECT queue, status FROM jobs UNION ALL SELECT queue, status FROM finished_jobs
    ), counted AS (
        SELECT queue, sum(pending) AS s0, sum(processing) AS s1, sum(retrying) AS s2, sum(completed) AS s3,
               sum(dead_lettered) AS s4, sum(cancelled) AS s5, sum(filtered) AS s6, sum(quarantined) AS s7
        FROM status_counts GROUP BY queue
    ), in_lanes AS (
        SELECT lane, count(*) AS jobs, bool_or(status = 1) AS runs, bool_or(status > 2) AS blocks
        FROM (SELECT lane, status FROM jobs UNION ALL SELECT lane, status FROM finished_jobs WHERE blocks) AS j
        WHERE lane IS NOT NULL GROUP BY lane
    )
    SELECT 'count of queue ' || q.id || ', status ' || s.status
    FROM queues q CROSS JOIN generate_series(0, 7) AS s (status) LEFT JOIN counted c ON c.queue = q.id
    WHERE coalesce((ARRAY[s0, s1, s2, s3, s4, s5, s6, s7])[s.status + 1], 0)
          <> (SELECT count(*) FROM rows r WHERE r.queue = q.id AND r.status = s.status)
    UNION ALL
    SELECT 'jobs of lane ' || coalesce(l.lane, i.lane) || ': ' || coalesce(l.jobs, 0) || ', not ' || coalesce(i.jobs, 0)
    FROM lanes l FULL JOIN in_lanes i ON i.lane = l.lane WHERE coalesce(l.jobs, 0) <> coalesce(i.jobs, 0)
    UNION ALL
    SELECT 'state of lane ' || l.lane || ': ' || l.state FROM lanes l JOIN in_lanes i ON i.lane = l.lane
    WHERE l.state <> CASE WHEN i.runs THEN 1 WHEN i.blocks THEN 2 ELSE 0 END
    UNION ALL
    SELECT 'webhook without jobs ' || w.id FROM webhooks w
    WHERE NOT EXISTS (SELECT 1 FROM job_statuses s WHERE s.webhook = w.id)
    UNION ALL
    SELECT 'job without webhook ' || s.webhook FROM job_statuses s
    WHERE NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.id = s.webhook)
    UNION ALL
    SELECT 'webhook ' || w.id || ', quarantined ' || w.quarantined FROM webhooks w
    WHERE w.quarantined <> EXISTS (SELECT 1 FROM job_statuses s WHERE s.webhook = w.id AND s.status = 7)
       OR w.quarantined AND (SELECT count(*) FROM job_statuses s WHERE s.webhook = w.id) <> 1";

/// A task that runs random operations on a few webhooks.
struct Actor {
    store: Arc<PostgresStore>,
    policies: [Arc<Policies>; 2],
    number: u64,
    worker: Arc<str>,
    random: SmallRng,
    /// The webhooks of all actors that were accepted, and those that were quarantined.
    webhooks: Arc<Mutex<Vec<WebhookId>>>,
    quarantined: Arc<Mutex<Vec<WebhookId>>>,
    held: Vec<ClaimedJob>,
}

impl Actor {
    async fn run(mut self) {
        for step in 0..STEPS {
            let mut stepping = std::pin::pin!(self.step(step));
            let soon = within(SOON, stepping.as_mut()).await;
            let is_soon = soon.is_some();
            let done = match soon {
                Some(done) => done,
                None => stepping.await,
            };
            if let Err(error) = done {
                let is_refused = matches!(error.reason(), Reason::WrongStatus | Reason::WebhookNotFound);
                // The machine has paused while the operation waited for others.
                let has_paused = is_soon && causes(&error).contains(NOT_CONNECTED);
                assert!(is_refused || has_paused, "step {step}: {error:?}");
            }
        }
    }

    async fn step(&mut self, step: usize) -> Result<()> {
        let route = *["blocking", "skipping", "limited"].choose(&mut self.random).expect("some");
        let id = self.webhooks.lock().expect("not poisoned").choose(&mut self.random).copied();
        match (self.random.random_range(0..24), id) {
            (0..=3, _) | (_, None) => {
                let jobs = self.jobs();
                let key = format!("{} {step}", self.number);
                let id = self.store.accept(webhook(&key), jobs).await?.webhook.id;
                self.webhooks.lock().expect("not poisoned").push(id);
            }
            (4..=7, _) => {
                let (threads, lease) = (self.random.random_range(1..8), Duration::from_millis(40));
                let claim = claim(&self.worker, threads, lease);
                self.held.extend(self.store.claim(claim).await?.jobs);
            }
            (8..=12, _) => {
                let some = self.random.random_range(0..=self.held.len());
                let ends = self.held.split_off(some);
                let statuses = [Status::Completed, Status::Retrying, Status::Pending, Status::DeadLettered];
                let mut next = || *statuses.choose(&mut self.random).expect("some");
                let ends = ends.iter().map(|job| ended(job, next())).collect();
                let worker = Arc::clone(&self.worker);
                self.store.finish(&worker, ends).await?;
            }
            (13, Some(id)) => drop(self.store.cancel(id, None).await?),
            (14, Some(id)) => drop(self.store.retry(id, None).await?),
            (15, _) => {
                let leases = self.held.iter().map(|job| (job.lease, Duration::from_millis(40))).collect();
                self.store.renew(&self.worker, leases).await?;
            }
            (16, _) => drop(self.store.take_over_expired(Vec::new()).await?),
            (17, _) => {
                let policies = self.policies.choose(&mut self.random).expect("some");
                self.store.set_policies(Arc::clone(policies)).await?;
            }
            (18, _) => match self.random.random_range(0..3) {
                0 => drop(self.store.cancel_jobs(crate::store::routes::route(route)).await?),
                1 => {
                    let (from, to) =
                        (crate::store::routes::route("blocking"), crate::store::routes::route("skipping"));
                    self.store.move_jobs(from, to).await?;
                }
                _ => {
                    let past = SystemClock.now() - Duration::from_secs(10);
                    self.store.give_back_unheld(&self.worker, Vec::new(), past..=SystemClock.now()).await?;
                }
            },
            (19..=20, _) => self.quarantine().await?,
            (21..=22, _) => {
                let many = self.random.random_range(1..8);
                let batch = (0..many).map(|_| self.submission()).collect();
                let stored = self.store.accept_batch(batch, OnConflict::Reject).await;
                let stored = stored.map_err(|refused| refused.error)?;
                let ids = stored.into_iter().map(|accepted| accepted.webhook.id);
                self.webhooks.lock().expect("not poisoned").extend(ids);
            }
            _ => {
                let kept = Duration::from_millis(self.random.random_range(20..200));
                let retention =
                    Retention { completed: kept, dead_lettered: kept, keys: kept * 2, quarantined: kept };
                self.store.purge(retention).await?;
            }
        }
        Ok(())
    }

    /// Quarantines a webhook, or releases or discards one.
    async fn quarantine(&mut self) -> Result<()> {
        let id = self.quarantined.lock().expect("not poisoned").choose(&mut self.random).copied();
        match (self.random.random_range(0..4), id) {
            (0, _) | (_, None) => {
                let Submission { webhook, .. } = self.submission();
                let kept = self.store.quarantine(vec![webhook]).await?.expect("has room");
                self.quarantined.lock().expect("not poisoned").extend(kept.iter().map(|webhook| webhook.id));
            }
            (1, Some(id)) => self.store.discard(id).await?,
            (_, Some(id)) => {
                let jobs = self.jobs();
                self.store.release(id, jobs, None).await?;
            }
        }
        Ok(())
    }

    /// The jobs of a webhook.
    fn jobs(&mut self) -> Vec<NewJob> {
        let value = format!("v{}", self.random.random_range(0..3));
        let all = [ordered("blocking", &value), ordered("skipping", &value), job("free"), job("limited")];
        let (from, to) = (self.random.random_range(0..3), self.random.random_range(0..5));
        all.into_iter().take(to).skip(from.min(to)).collect()
    }

    /// A webhook with one of few keys, which other actors use as well.
    fn submission(&mut self) -> Submission {
        let key = format!("shared {}", self.random.random_range(0..20));
        Submission { webhook: webhook(&key), jobs: self.jobs() }
    }
}

/// The worker of a process.
fn worker(seed: u64) -> String {
    format!("worker-{seed}")
}

pub(super) fn claim(worker: &str, threads: usize, lease: Duration) -> Claim {
    let (worker, max_bytes, running) = (worker.into(), usize::MAX, HashMap::new());
    Claim { worker, wanted: Wanted::Run, threads, max_bytes, lease, running }
}

/// The end of an attempt under the policies with blocking dead letters.
pub(super) fn ended(job: &ClaimedJob, next: Status) -> Finish {
    let now = SystemClock.now();
    Finish {
        lease: job.lease,
        order: job.order.clone(),
        attempt: job.attempt,
        outcome: if next == Status::Completed { Outcome::Completed } else { Outcome::Failed },
        started_at: job.claimed_at,
        finished_at: now,
        error: None,
        result: None,
        delivery: None,
        health: None,
        next,
        available_at: now,
        counts: next != Status::Pending,
        blocks: next == Status::DeadLettered && job.order.is_some() && job.route == route("blocking"),
    }
}

/// Checks that no job is stuck: every job that waits, runs or is blocked by a dead letter can complete.
async fn complete_all(store: &PostgresStore, policies: &Arc<Policies>) {
    store.set_policies(Arc::clone(policies)).await.expect("takes policies");
    let completing = async {
        while store.stats().await.expect("counts").counts().unfinished() > 0 {
            store.take_over_expired(Vec::new()).await.expect("takes over");
            let claim = claim("last", 50, Duration::from_secs(30));
            let jobs = store.claim(claim).await.expect("claims").jobs;
            let ends = jobs.iter().map(|job| ended(job, Status::Completed)).collect::<Vec<_>>();
            let held = store.finish("last", ends).await.expect("finishes");
            assert!(held.into_iter().all(|held| held));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), completing).await.expect("no job is stuck");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_operations_keep_counts_and_lanes_consistent() {
    let database = inbox_database_for(PROCESSES as usize);
    let policies = [
        in_force([policy("blocking"), skipping("skipping"), concurrent("limited", 2), policy("free")]),
        in_force([skipping("blocking"), skipping("skipping"), concurrent("limited", 2), policy("free")]),
    ];
    let stores = (1..=PROCESSES).map(async |seed| {
        let options = Options { max_backlog: 1_000_000, policies: Arc::clone(&policies[0]), seed };
        let (clock, metrics) = (Arc::new(SystemClock), Arc::default());
        Arc::new(open_as(&worker(seed), &database.url(), &options, clock, metrics).await.expect("opens"))
    });
    let stores = join_all(stores).await;
    let (webhooks, quarantined) = (Arc::default(), Arc::default());
    let tasks = (0..PROCESSES * TASKS_OF_EACH).map(|number| {
        let actor = Actor {
            store: Arc::clone(&stores[(number % PROCESSES) as usize]),
            policies: policies.clone(),
            number,
            worker: worker(number % PROCESSES + 1).into(),
            random: SmallRng::seed_from_u64(number),
            webhooks: Arc::clone(&webhooks),
            quarantined: Arc::clone(&quarantined),
            held: Vec::new(),
        };
        tokio::spawn(actor.run())
    });
    for done in join_all(tasks).await {
        done.expect("no operation fails");
    }
    complete_all(&stores[0], &policies[1]).await;
    let session = Session::open(&database.url()).expect("connects");
    assert_eq!(session.ask(FAULTS).expect("asks"), [""; 0]);
    join_all(stores.iter().map(|store| store.close())).await;
}
