//! Several processes on one database: limits, order and pauses apply across all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::clock::Clock as _;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::{Policies, Policy};
use hookbox::internals::domain::route::NewJob;
use hookbox::internals::store::postgres::PostgresStore;
use hookbox::internals::store::{
    Claim, ClaimedJob, Finish, Inbox as _, JobQueue as _, Operations as _, PauseTarget, Store as _, Wanted,
};
use tokio::sync::Notify;

use super::EmptiedPostgres;
use super::harness::open;
use crate::store::harness::Options;
use crate::store::inbox::{Inbox, LEASE, new_pause, webhook};
use crate::store::routes::{concurrent, default_job, in_force, job, ordered, paced, policy, route};
use crate::support::client::within;
use crate::support::inbox_database::inbox_database_for;
use crate::support::postgres::Database;

const PROCESSES: usize = 3;

/// Longer than a notification takes, and shorter than the time between two polls.
const NOTIFIED: Duration = Duration::from_secs(4);

/// The time after which a test is considered to hang.
const LIMIT: Duration = Duration::from_secs(60);

/// Processes that share a database.
struct Processes {
    stores: Vec<Arc<PostgresStore>>,
    policies: Arc<Policies>,
    _database: Database,
}

impl Processes {
    async fn start(policies: impl IntoIterator<Item = Policy>) -> Self {
        let (database, policies) = (inbox_database_for(PROCESSES), in_force(policies));
        let stores = (1..=PROCESSES as u64).map(async |seed| {
            let options = Options { max_backlog: 1_000_000, policies: Arc::clone(&policies), seed };
            Arc::new(open(&database.url(), &options, Arc::new(SystemClock)).await.expect("opens"))
        });
        let stores = join_all(stores).await;
        Self { stores, policies, _database: database }
    }

    async fn accept(&self, process: usize, key: &str, jobs: Vec<NewJob>) {
        let accepted = self.stores[process % PROCESSES].accept(webhook(key), jobs).await;
        assert!(!accepted.expect("is accepted").duplicate);
    }

    /// Lets every process claim and run jobs until the given number has completed.
    async fn run<F: Future<Output = Status> + Send>(
        &self,
        jobs: usize,
        handler: impl Fn(ClaimedJob) -> F + Clone + Send + Sync + 'static,
    ) {
        let completed = Arc::new(AtomicUsize::new(0));
        let running = self.stores.iter().enumerate().map(|(number, store)| {
            let (store, completed, handler) = (Arc::clone(store), Arc::clone(&completed), handler.clone());
            async move {
                while completed.load(Ordering::SeqCst) < jobs {
                    completed.fetch_add(turn(&store, number, &handler).await, Ordering::SeqCst);
                }
            }
        });
        tokio::time::timeout(LIMIT, join_all(running)).await.expect("every job completes");
    }

    async fn close(self) {
        join_all(self.stores.iter().map(|store| store.close())).await;
    }
}

/// Claims once, runs the claimed jobs, and waits until another claim may find jobs. Returns the number of completed
/// jobs.
async fn turn<F: Future<Output = Status>>(
    store: &PostgresStore,
    number: usize,
    handler: impl Fn(ClaimedJob) -> F,
) -> usize {
    let worker: Arc<str> = format!("worker-{number}").into();
    let claim = claim(&worker, 8);
    let claims = store.claim(claim).await.expect("claims");
    let ends = claims.jobs.into_iter().map(async |job| {
        let (mut finish, next) = (ended(&job), handler(job).await);
        finish.next = next;
        let is_held = store.finish(&worker, vec![finish]).await.expect("finishes");
        assert_eq!(is_held, [true]);
        usize::from(next == Status::Completed)
    });
    let completed = join_all(ends).await.into_iter().sum();
    if completed == 0 {
        let pause =
            claims.next.map_or(100, |next| next.duration_since(SystemClock.now()).as_millis().clamp(0, 100));
        tokio::time::sleep(Duration::from_millis(pause.unsigned_abs() as u64)).await;
    }
    completed
}

fn claim(worker: &str, threads: usize) -> Claim {
    let (worker, max_bytes, running) = (worker.into(), usize::MAX, HashMap::new());
    Claim { worker, wanted: Wanted::Run, threads, max_bytes, lease: LEASE, running }
}

fn ended(job: &ClaimedJob) -> Finish {
    let now = SystemClock.now();
    Finish {
        lease: job.lease,
        order: job.order.clone(),
        attempt: job.attempt,
        outcome: Outcome::Completed,
        started_at: job.claimed_at,
        finished_at: now,
        error: None,
        result: None,
        delivery: None,
        health: None,
        next: Status::Completed,
        available_at: now,
        counts: true,
        blocks: false,
    }
}

#[tokio::test]
async fn an_expired_lease_is_left_to_a_process_that_has_the_route() {
    let mut inbox = Inbox::<EmptiedPostgres>::with_routes([policy("new")]).await;
    let id = inbox.accept_for("k", [job("new")]).await.id;
    inbox.claim_one().await;
    inbox.reload([]).await;
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    let options = Options { max_backlog: 1_000, policies: in_force([policy("new")]), seed: 2 };
    let other = open(&inbox.harness().url(), &options, Arc::clone(&inbox.clock) as _).await.expect("opens");
    assert_eq!(other.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    assert_eq!(
        inbox.status_of(id).await.status(),
        Status::Pending,
        "the policy of the other process decides"
    );
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_never_runs_more_than_its_limit_in_all_processes_together() {
    let processes = Processes::start([concurrent("limited", 4)]).await;
    for number in 0..90 {
        processes.accept(number, &number.to_string(), vec![job("limited")]).await;
    }
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let handler = move |_| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&seen));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(10)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Status::Completed
        }
    };
    processes.run(90, handler).await;
    assert_eq!(most.load(Ordering::SeqCst), 4);
    processes.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_holds_for_all_processes_together() {
    let processes = Processes::start([paced("slow", 50, Duration::from_secs(1))]).await;
    for number in 0..60 {
        processes.accept(number, &number.to_string(), vec![job("slow")]).await;
    }
    let began = std::sync::Arc::new(Mutex::new(Vec::new()));
    let starts = Arc::clone(&began);
    let handler = move |job: ClaimedJob| {
        starts.lock().expect("not poisoned").push(job.claimed_at);
        async { Status::Completed }
    };
    processes.run(60, handler).await;
    let mut starts = began.lock().expect("not poisoned").clone();
    starts.sort();
    // The starts are 20 ms apart, except that a late claim may catch up.
    let took = starts[59].duration_since(starts[0]).as_millis();
    assert!(took >= 59 * 20 - 100, "took {took} ms");
    processes.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordered_jobs_start_one_at_a_time_in_order_in_all_processes_together() {
    const VALUES: usize = 10;
    const OF_EACH: usize = 15;
    let processes = Processes::start([policy("orders")]).await;
    let running: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let completed: Arc<Mutex<HashMap<String, Vec<usize>>>> = Arc::default();
    let (now_running, done) = (Arc::clone(&running), Arc::clone(&completed));
    let handler = move |job: ClaimedJob| {
        let (running, done) = (Arc::clone(&now_running), Arc::clone(&done));
        async move {
            let value = job.order.expect("is ordered").as_str().to_owned();
            let number = job.idempotency_key.as_str().split('-').nth(1).expect("a number");
            let number = number.parse::<usize>().expect("a number");
            let before =
                std::mem::replace(running.lock().expect("not poisoned").entry(value.clone()).or_default(), 1);
            assert_eq!(before, 0, "one at a time");
            tokio::time::sleep(Duration::from_millis(2)).await;
            running.lock().expect("not poisoned").insert(value.clone(), 0);
            // The first attempt of some jobs fails and is retried at once.
            if job.attempt == 1 && number % 4 == 0 {
                return Status::Retrying;
            }
            done.lock().expect("not poisoned").entry(value).or_default().push(number);
            Status::Completed
        }
    };
    let accepting = (0..VALUES).map(|value| {
        let processes = &processes;
        async move {
            // Each webhook is sent to another process after the previous one was accepted.
            for number in 0..OF_EACH {
                let jobs = vec![ordered("orders", &format!("value {value}"))];
                processes.accept(value + number, &format!("{value}-{number}"), jobs).await;
            }
        }
    });
    futures::future::join(join_all(accepting), processes.run(VALUES * OF_EACH, handler)).await;
    for (value, numbers) in completed.lock().expect("not poisoned").iter() {
        assert_eq!(*numbers, (0..OF_EACH).collect::<Vec<_>>(), "{value}");
    }
    processes.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_starts_a_job_of_a_route_after_its_pause_was_answered() {
    let processes = Processes::start([policy("default"), policy("other")]).await;
    let [one, other, _] = processes.stores.as_slice() else { panic!("three processes") };
    processes.accept(1, "first", default_job()).await;
    assert_eq!(turn(other, 1, async |_| Status::Completed).await, 1);
    for number in 0..20 {
        let key = number.to_string();
        processes.accept(1, &key, default_job()).await;
        let target = PauseTarget::Route(route("default"));
        one.pause(new_pause(target.clone(), None)).await.expect("pauses");
        assert_eq!(turn(other, 1, async |_| Status::Completed).await, 0, "the route is paused");
        assert!(one.resume(target).await.expect("resumes"));
        processes.run(1, async |_| Status::Completed).await;
    }
    processes.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_accepted_by_one_process_wakes_another_process() {
    let processes = Processes::start([policy("new"), concurrent("limited", 1)]).await;
    let [one, other, _] = processes.stores.as_slice() else { panic!("three processes") };
    assert_eq!(processes.policies.iter().count(), 2);
    let wake = Arc::new(Notify::new());
    other.on_due(Arc::clone(&wake));
    // The process may also have been woken by something earlier, before it can start the job.
    let woken_and_completes_one = async |what: &str| {
        let woken = async {
            loop {
                wake.notified().await;
                if turn(other, 1, async |_| Status::Completed).await == 1 {
                    return;
                }
            }
        };
        within(NOTIFIED, woken).await.unwrap_or_else(|| panic!("{what}"));
    };
    // The other process does not know this queue yet.
    processes.accept(0, "1", vec![job("new")]).await;
    woken_and_completes_one("accepted").await;

    // One process uses the only place of the route and then frees it for the other process.
    processes.accept(0, "2", vec![job("limited")]).await;
    processes.accept(0, "3", vec![job("limited")]).await;
    within(NOTIFIED, wake.notified()).await.expect("accepted");
    let [first] =
        <[_; 1]>::try_from(one.claim(claim("one", 1)).await.expect("claims").jobs).expect("one job");
    let _ = tokio::time::timeout(Duration::from_millis(300), wake.notified()).await;
    assert_eq!(turn(other, 1, async |_| Status::Completed).await, 0, "the route is full");
    assert_eq!(one.finish("one", vec![ended(&first)]).await.expect("ends"), [true]);
    woken_and_completes_one("a place is free").await;
    processes.close().await;
}
