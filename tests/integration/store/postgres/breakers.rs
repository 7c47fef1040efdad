//! Breakers of two processes on one database: what one of them has found out holds for the other at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use hookbox::internals::domain::breaker::{Health, Trip};
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::postgres::PostgresStore;
use hookbox::internals::store::{
    Claim, ClaimedJob, Claims, Finish, Inbox as _, JobQueue as _, PauseTarget, Store as _, TrippedBreaker,
    Wanted,
};
use tokio::sync::Notify;

use super::EmptiedPostgres;
use super::harness::open;
use crate::store::harness::Options;
use crate::store::inbox::{Inbox, LEASE, seconds};
use crate::store::routes::{breaking, in_force, job, route};
use crate::support::client::{eventually, within};
use crate::support::postgres::Session;

/// The worker of the other process.
const OTHER: &str = "process-2";

/// Longer than a notification takes, and shorter than the time between two polls.
const NOTIFIED: Duration = Duration::from_secs(4);

/// Two processes with the same clock, and this number of due jobs of the route `out`. Its breaker opens after 3 failures.
async fn two_processes(jobs: usize) -> (Inbox<EmptiedPostgres>, PostgresStore) {
    let inbox = Inbox::<EmptiedPostgres>::with_routes([breaking("out", 3)]).await;
    inbox.accept_many("k", jobs, &[job("out")]).await;
    let options = Options { max_backlog: 1_000, policies: in_force([breaking("out", 3)]), seed: 2 };
    let other = open(&inbox.harness().url(), &options, Arc::clone(&inbox.clock) as _).await.expect("opens");
    (inbox, other)
}

/// A claim by the other process.
async fn claim(other: &PostgresStore, threads: usize) -> Claims {
    let (worker, max_bytes, running) = (OTHER.into(), usize::MAX, HashMap::new());
    let claim = Claim { worker, wanted: Wanted::Run, threads, max_bytes, lease: LEASE, running };
    other.claim(claim).await.expect("claims")
}

fn ended(inbox: &Inbox<EmptiedPostgres>, job: &ClaimedJob, health: Health) -> Finish {
    let next = if health == Health::Up { Status::Completed } else { Status::Retrying };
    Finish { health: Some(health), ..inbox.ended(job, next) }
}

/// Ends attempts of the first process.
async fn end(inbox: &Inbox<EmptiedPostgres>, jobs: &[ClaimedJob], health: Health) {
    let finishes = jobs.iter().map(|job| ended(inbox, job, health)).collect::<Vec<_>>();
    let held = inbox.finish("process 1", finishes).await.expect("ends");
    assert!(held.into_iter().all(|held| held));
}

/// A session in the database of the processes.
fn session(inbox: &Inbox<EmptiedPostgres>) -> Session {
    Session::open(&inbox.harness().url()).expect("connects")
}

/// What is stored of the breaker that has opened so often in a row, now for the given time.
fn opened(inbox: &Inbox<EmptiedPostgres>, trips: u32, time: Duration) -> [TrippedBreaker; 1] {
    [TrippedBreaker { route: route("out"), trip: Trip { trips, open_until: inbox.now() + time } }]
}

#[tokio::test]
async fn a_process_starts_nothing_of_a_route_whose_breaker_another_has_just_opened() {
    let (inbox, other) = two_processes(20).await;
    assert_eq!(claim(&other, 1).await.jobs.len(), 1, "the breaker is closed, as far as the other knows");
    let jobs = inbox.claimed(3).await;
    end(&inbox, &jobs, Health::Down).await;
    let claims = claim(&other, 10).await;
    assert_eq!((claims.jobs.len(), claims.next), (0, Some(inbox.now() + seconds(10))));
    assert_eq!(other.stats().await.expect("counts").breakers, opened(&inbox, 1, seconds(10)));
    other.close().await;
}

#[tokio::test]
async fn of_two_processes_one_starts_the_probe_and_tells_the_other_what_came_of_it() {
    let (inbox, other) = two_processes(20).await;
    let jobs = inbox.claimed(3).await;
    end(&inbox, &jobs, Health::Down).await;
    assert_eq!(claim(&other, 10).await.jobs.len(), 0);
    inbox.advance(seconds(10));
    let (here, there) = join(inbox.claimed(10), claim(&other, 10)).await;
    assert_eq!(here.len() + there.jobs.len(), 1);
    // If one process was claiming at the same time as the other, the other looks again.
    assert_eq!(inbox.claimed(10).await.len() + claim(&other, 10).await.jobs.len(), 0);

    let probes = here.into_iter().chain(there.jobs).collect::<Vec<_>>();
    let finishes = vec![ended(&inbox, &probes[0], Health::Down)];
    let (mine, its) =
        (inbox.finish("process 1", finishes.clone()).await, other.finish(OTHER, finishes).await);
    assert_ne!(mine.expect("answers"), its.expect("answers"), "one of the two holds the lease");
    for jobs in [inbox.claimed(10).await, claim(&other, 10).await.jobs] {
        assert_eq!(jobs.len(), 0);
    }
    assert_eq!(inbox.stats().await.expect("counts").breakers, opened(&inbox, 2, seconds(20)));

    inbox.advance(seconds(20));
    let wake = Arc::new(Notify::new());
    other.on_due(Arc::clone(&wake));
    // If the other process had the last probe, this one learns of its end by a notification.
    let probe = async {
        loop {
            if let Some(probe) = inbox.claimed(1).await.pop() {
                return probe;
            }
            tokio::task::yield_now().await;
        }
    };
    let probe = within(NOTIFIED, probe).await.expect("one job may start");
    assert_eq!(claim(&other, 10).await.jobs.len(), 0, "the probe runs");
    end(&inbox, &[probe], Health::Up).await;
    let all = async {
        let mut started = 0;
        while started < 19 {
            started += claim(&other, 20).await.jobs.len();
            if started < 19 {
                wake.notified().await;
            }
        }
    };
    within(NOTIFIED, all).await.expect("the other process learns that the breaker is closed");
    other.close().await;
}

#[tokio::test]
async fn a_breaker_that_two_processes_open_at_once_has_opened_once() {
    let (inbox, other) = two_processes(20).await;
    let (here, there) = (inbox.claimed(3).await, claim(&other, 3).await.jobs);
    let finishes = there.iter().map(|job| ended(&inbox, job, Health::Down)).collect::<Vec<_>>();
    let ((), held) = join(end(&inbox, &here, Health::Down), other.finish(OTHER, finishes)).await;
    assert_eq!(held.expect("ends"), [true; 3]);
    assert_eq!(inbox.stats().await.expect("counts").breakers, opened(&inbox, 1, seconds(10)));
    other.close().await;
}

#[tokio::test]
async fn a_breaker_that_could_not_be_written_opens_with_the_next_failure() {
    let (inbox, other) = two_processes(20).await;
    let session = session(&inbox);
    let jobs = inbox.claimed(4).await;
    session.ask("ALTER TABLE breakers RENAME TO away").expect("renames");
    let finishes = jobs[..3].iter().map(|job| ended(&inbox, job, Health::Down)).collect::<Vec<_>>();
    inbox.finish("process 1", finishes.clone()).await.expect_err("the table is gone");
    session.ask("ALTER TABLE away RENAME TO breakers").expect("renames");
    assert_eq!(inbox.finish("process 1", finishes).await.expect("ends"), [true; 3], "nothing was recorded");
    assert_eq!(inbox.stats().await.expect("counts").breakers, opened(&inbox, 1, seconds(10)));
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breakers_are_locked_in_the_order_of_their_routes() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes([breaking("a", 1), breaking("b", 1)]).await;
    for name in ["a", "b"] {
        inbox.accept_many(name, 2, &[job(name)]).await;
    }
    let jobs = inbox.claimed(4).await;
    let of = |name: &str| jobs.iter().filter(|job| job.route == route(name)).cloned().collect::<Vec<_>>();
    let (a, b) = (of("a"), of("b"));
    end(&inbox, &[a[0].clone(), b[0].clone()], Health::Down).await;
    inbox.advance(seconds(10));

    // Both are half-open. One batch opens the first one again, and closes the second one.
    let (holder, other) = (session(&inbox), session(&inbox));
    holder.ask("BEGIN; SELECT route FROM breakers WHERE route = 'a' FOR UPDATE").expect("locks");
    let finishes = vec![ended(&inbox, &a[1], Health::Down), ended(&inbox, &b[1], Health::Up)];
    let store = inbox.shared();
    let finishing = tokio::spawn(async move { store.finish("process 1", finishes).await });
    eventually("the batch waits for the first breaker", async || {
        let waiting = "SELECT 1 FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (other.ask(waiting).expect("asks") == ["1"]).then_some(())
    })
    .await;
    let second = other.ask("SELECT route FROM breakers WHERE route = 'b' FOR UPDATE NOWAIT");
    assert_eq!(second.as_deref(), Ok(&["b".to_owned()][..]), "the batch does not hold the second one yet");
    holder.ask("ROLLBACK").expect("gives it back");
    assert_eq!(finishing.await.expect("runs").expect("ends"), [true, true]);
    let open = inbox.stats().await.expect("counts").breakers;
    let open = open.iter().map(|breaker| (breaker.route.as_str(), breaker.trip.trips)).collect::<Vec<_>>();
    assert_eq!(open, [("a", 2)]);
}

#[tokio::test]
async fn a_route_that_could_not_be_resumed_keeps_its_breaker() {
    let (inbox, other) = two_processes(3).await;
    let jobs = inbox.claimed(3).await;
    end(&inbox, &jobs, Health::Down).await;
    let target = PauseTarget::Route(route("out"));
    inbox.pause(target.clone()).await.expect("pauses");
    let session = session(&inbox);
    session.ask("ALTER TABLE pauses RENAME TO away").expect("renames");
    inbox.resume(target.clone()).await.expect_err("the table is gone");
    session.ask("ALTER TABLE away RENAME TO pauses").expect("renames");
    assert_eq!(inbox.stats().await.expect("counts").breakers, opened(&inbox, 1, seconds(10)));
    assert!(inbox.resume(target).await.expect("resumes"));
    assert_eq!(inbox.stats().await.expect("counts").breakers, []);
    other.close().await;
}
