//! How long a claim takes with many routes, beside a paused route, and beside blocked order values, each
//! against one route alone (`docs/BENCHMARKS.md`). Claims of several stores are taken in turns.
//!
//! ```sh
//! cargo run --release --example claim_times -- sqlite 1000000
//! cargo run --release --example claim_times -- postgres://postgres@127.0.0.1:5432/ 1000000
//! ```
//!
//! The second argument is how many jobs wait in the paused route. With PostgreSQL, the URL ends with `/`;
//! databases `claim_times_0`, `claim_times_1` and so on have to be there, and empty.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::clock::Clock;
use hookbox::internals::domain::handler::HandlerSettings;
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::policy::{Policies, Policy};
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::route::{NewJob, OnDeadLetter, OnInterrupt, OrderValue, RouteName};
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use hookbox::internals::store::postgres::{self, PostgresStore};
use hookbox::internals::store::sqlite::{self, SqliteStore};
use hookbox::internals::store::{Claim, ClaimedJob, Finish, NewPause, PauseTarget, Store, Wanted};
use hookbox::internals::telemetry::metrics::{Metrics, Stopwatch};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Jobs in a claim.
const THREADS: usize = 64;
/// Due jobs that claims may take, besides those that are held up.
const DUE: usize = 20_000;
const CLAIMS: usize = 150;
const ROUTES: usize = 1_000;
const BLOCKED_VALUES: usize = 100_000;
const WORKER: &str = "claim-times";

/// A store with jobs, and how long its claims took.
struct Scenario {
    name: String,
    store: Arc<dyn Store>,
    claims: Vec<Duration>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().ok_or("say where: sqlite, or a URL")?;
    let paused = arguments.next().map_or(Ok(100_000), |number| number.parse())?;
    let folder = std::env::temp_dir().join(format!("claim-times-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let names = (0..ROUTES).map(|number| format!("route-{number}")).collect::<Vec<_>>();
    let mut scenarios = Vec::new();
    for (at, name) in
        ["one route", "1,000 routes", "a paused route", "blocked values"].into_iter().enumerate()
    {
        let began = Stopwatch::start();
        let store = open(&place, &folder, at, &names).await?;
        let mut sender = Sender { store: Arc::clone(&store), sent: 0 };
        match at {
            0 => sender.send(DUE, |_| job("route-0")).await,
            1 => sender.send(DUE, |number| job(&names[number % ROUTES])).await,
            2 => {
                sender.send(paused, |_| job("route-1")).await;
                let target = PauseTarget::Route(RouteName::new("route-1")?);
                store.pause(NewPause { target, actor: WORKER.to_owned(), reason: None }).await?;
                sender.send(DUE, |_| job("route-0")).await;
            }
            _ => {
                block(&mut sender).await?;
                sender.send(DUE, |_| job("route-0")).await;
            }
        }
        println!("{name}: filled in {:.0?}", began.elapsed());
        scenarios.push(Scenario { name: name.to_owned(), store, claims: Vec::new() });
    }
    for _ in 0..CLAIMS {
        for scenario in &mut scenarios {
            scenario.claims.push(claim(&scenario.store).await?);
        }
    }
    let one = median(&mut scenarios[0].claims);
    for Scenario { name, store, claims } in &mut scenarios {
        let median = median(claims);
        println!(
            "{name}: {} us for {THREADS} jobs, {:.2} of one route",
            median.as_micros(),
            median.as_secs_f64() / one.as_secs_f64()
        );
        store.close().await;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

async fn open(place: &str, folder: &std::path::Path, at: usize, names: &[String]) -> Result<Arc<dyn Store>> {
    let policies = Arc::new(Policies::new(names.iter().map(|name| policy(name))));
    let (clock, metrics): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Arc::new(Metrics::default()));
    let (max_backlog, seed) = (1_000_000_000, at as u64);
    if place == "sqlite" {
        let path = folder.join(format!("{at}.db"));
        let options = sqlite::Options { path, max_backlog, policies, seed };
        return Ok(Arc::new(SqliteStore::open(options, clock, metrics).await?));
    }
    let target = format!("{place}claim_times_{at}?sslmode=disable").parse()?;
    let options = postgres::Options { target, max_backlog, policies, worker: WORKER.to_owned(), seed };
    Ok(Arc::new(PostgresStore::open(options, clock, metrics).await?))
}

fn policy(name: &str) -> Policy {
    Policy {
        route: RouteName::new(name).unwrap_or_default(),
        handler: HandlerSettings::default(),
        timeout: None,
        concurrency: None,
        rate: None,
        retry: RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(1), 3),
        on_dead_letter: OnDeadLetter::Block,
        on_interrupt: OnInterrupt::Retry,
    }
}

fn job(route: &str) -> NewJob {
    NewJob { route: RouteName::new(route).unwrap_or_default(), order: None }
}

/// Two webhooks of each value, of which the first becomes a dead letter.
async fn block(sender: &mut Sender) -> Result<()> {
    let ordered =
        |number: usize| NewJob { order: Some(OrderValue::new(number.to_string())), ..job("route-1") };
    sender.send(BLOCKED_VALUES, ordered).await;
    loop {
        let jobs = claim_jobs(&sender.store, 1_000).await?;
        if jobs.is_empty() {
            break;
        }
        end(&sender.store, &jobs, Status::DeadLettered).await?;
    }
    sender.send(BLOCKED_VALUES, ordered).await;
    Ok(())
}

struct Sender {
    store: Arc<dyn Store>,
    sent: usize,
}

impl Sender {
    /// Sends webhooks, many at once, that have the job of their number.
    async fn send(&mut self, webhooks: usize, job: impl Fn(usize) -> NewJob) {
        let accepting = (0..webhooks).map(|number| {
            let webhook = webhook(self.sent + number);
            let (store, jobs) = (Arc::clone(&self.store), vec![job(number)]);
            async move { store.accept(webhook, jobs).await.map(drop) }
        });
        let accepted = futures::stream::iter(accepting).buffer_unordered(1_000);
        accepted
            .for_each(async |accepted| accepted.unwrap_or_else(|error| panic!("not accepted: {error}")))
            .await;
        self.sent += webhooks;
    }
}

fn webhook(number: usize) -> NewWebhook {
    let made = || {
        Ok::<_, hookbox::internals::domain::error::Error>(NewWebhook {
            source: Source::default(),
            idempotency_key: IdempotencyKey::new(format!("{number:032x}"))?,
            event_type: EventType::new("order.paid")?,
            payload: Payload::new("{\"order\":1,\"customer\":\"customer-000001\",\"total\":129.9}")?,
            headers: KeptHeaders::default(),
            verdict: Verdict::None,
            traceparent: Traceparent::new(1, 1, false),
        })
    };
    made().unwrap_or_else(|error| panic!("not a webhook: {error}"))
}

/// Claims as an idle pool does, and answers how long that took; the jobs complete.
async fn claim(store: &Arc<dyn Store>) -> Result<Duration> {
    let began = Stopwatch::start();
    let jobs = claim_jobs(store, THREADS).await?;
    let took = began.elapsed();
    if jobs.len() != THREADS {
        return Err(format!("a claim found {} jobs of {THREADS}", jobs.len()).into());
    }
    end(store, &jobs, Status::Completed).await?;
    Ok(took)
}

async fn claim_jobs(store: &Arc<dyn Store>, threads: usize) -> Result<Vec<ClaimedJob>> {
    let claim = Claim {
        worker: WORKER.into(),
        wanted: Wanted::Run,
        threads,
        max_bytes: usize::MAX,
        lease: Duration::from_secs(600),
        running: HashMap::new(),
    };
    Ok(store.claim(claim).await?.jobs)
}

async fn end(store: &Arc<dyn Store>, jobs: &[ClaimedJob], next: Status) -> Result<()> {
    let now = SystemClock.now();
    let finishes = jobs.iter().map(|job| Finish {
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
        available_at: job.available_at,
        counts: true,
        blocks: next == Status::DeadLettered,
    });
    store.finish(WORKER, finishes.collect()).await?;
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
