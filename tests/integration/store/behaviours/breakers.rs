//! Circuit breakers: while the target of a route is down, its jobs wait without using up attempts.

use std::time::Duration;

use hookbox::internals::domain::breaker::{Health, Trip};
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::{ClaimedJob, Finish, PauseTarget, TrippedBreaker};

use super::announcing::{is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, milliseconds, seconds};
use crate::store::routes::{breaking, job, policy, route};

/// Ends an attempt that found out something about the target. A job that is retried is due at once.
async fn end_with<H: Harness>(inbox: &Inbox<H>, job: &ClaimedJob, next: Status, health: Option<Health>) {
    let finish = Finish { health, ..inbox.ended(job, next) };
    assert!(inbox.finish_one(finish).await.expect("finishes"), "the lease is held");
}

async fn down<H: Harness>(inbox: &Inbox<H>, job: &ClaimedJob) {
    end_with(inbox, job, Status::Retrying, Some(Health::Down)).await;
}

async fn up<H: Harness>(inbox: &Inbox<H>, job: &ClaimedJob) {
    end_with(inbox, job, Status::Completed, Some(Health::Up)).await;
}

/// The breakers that are not closed.
async fn breakers<H: Harness>(inbox: &Inbox<H>) -> Vec<TrippedBreaker> {
    inbox.stats().await.expect("counts").breakers
}

/// What is stored of the breaker of the route `out`, now that it has opened for the given time.
fn opened<H: Harness>(inbox: &Inbox<H>, trips: u32, time: Duration) -> Vec<TrippedBreaker> {
    vec![TrippedBreaker { route: route("out"), trip: Trip { trips, open_until: inbox.now() + time } }]
}

/// An inbox with this number of due jobs of the route `out`, whose breaker has just opened, for 10 s. 3 of the jobs have
/// had an attempt.
async fn open_breaker<H: Harness>(jobs: usize) -> Inbox<H> {
    let inbox = Inbox::<H>::with_routes([breaking("out", 3)]).await;
    inbox.accept_many("k", jobs, &[job("out")]).await;
    for job in inbox.claimed(3).await {
        down(&inbox, &job).await;
    }
    assert_eq!(breakers(&inbox).await, opened(&inbox, 1, seconds(10)));
    inbox
}

pub(crate) async fn a_breaker_opens_after_failures_in_a_row<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([breaking("out", 3)]).await;
    inbox.accept_many("k", 5, &[job("out")]).await;
    let jobs = inbox.claimed(10).await;
    assert_eq!(jobs.len(), 5);
    for job in &jobs[..2] {
        down(&inbox, job).await;
    }
    assert_eq!(breakers(&inbox).await, []);
    // One batch of outcomes: the target answers, and then it is down again.
    let ends = [Health::Up, Health::Down, Health::Down];
    let finishes = ends.iter().zip(&jobs[2..]).map(|(health, job)| {
        inbox.advance(milliseconds(1));
        Finish { health: Some(*health), ..inbox.ended(job, Status::Retrying) }
    });
    let finishes = finishes.collect::<Vec<_>>();
    assert_eq!(inbox.finish("process 1", finishes).await.expect("finishes"), [true; 3]);
    assert_eq!(breakers(&inbox).await, [], "the count began anew");

    let wake = listen(&inbox);
    let job = inbox.claimed(1).await.remove(0);
    end_with(&inbox, &job, Status::DeadLettered, Some(Health::Down)).await;
    assert_eq!(breakers(&inbox).await, opened(&inbox, 1, seconds(10)));
    assert!(is_woken(&wake), "the time of the next start is another");
    let claims = inbox.claims(10).await;
    assert_eq!((claims.jobs.len(), claims.next), (0, Some(inbox.now() + seconds(10))));
}

pub(crate) async fn only_what_was_found_out_about_the_target_counts<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([breaking("out", 2)]).await;
    inbox.accept_many("k", 4, &[job("out")]).await;
    let jobs = inbox.claimed(10).await;
    for job in &jobs[..2] {
        end_with(&inbox, job, Status::Retrying, None).await;
    }
    down(&inbox, &jobs[2]).await;
    let lost = Finish { health: Some(Health::Down), ..inbox.ended(&jobs[2], Status::Retrying) };
    assert!(!inbox.finish_one(lost).await.expect("answers"), "the attempt has ended already");
    assert_eq!(breakers(&inbox).await, []);
    down(&inbox, &jobs[3]).await;
    assert_eq!(breakers(&inbox).await.len(), 1);
}

pub(crate) async fn held_jobs_keep_their_attempts_and_start_later<H: Harness>() {
    let inbox = open_breaker::<H>(3).await;
    let until = inbox.now() + seconds(10);
    inbox.advance(milliseconds(1));
    let id = inbox.accept_for("new", [job("out")]).await.id;
    for step in [0, 4_000, 5_998] {
        inbox.advance(milliseconds(step));
        let claims = inbox.claims(10).await;
        assert_eq!((claims.jobs.len(), claims.next), (0, Some(until)));
    }
    assert_eq!(inbox.status_of(id).await.attempt_count(), 0);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.claim_one().await.attempt, 2);
}

pub(crate) async fn a_half_open_breaker_lets_one_job_run_at_a_time<H: Harness>() {
    let inbox = open_breaker::<H>(6).await;
    inbox.advance(seconds(10));
    let probe = inbox.claim_one().await;
    for _ in 0..3 {
        let claims = inbox.claims(10).await;
        assert_eq!((claims.jobs.len(), claims.next), (0, None), "the probe has to end first");
        inbox.advance(seconds(1));
    }
    up(&inbox, &probe).await;
    assert_eq!(inbox.claimed(10).await.len(), 5);
}

pub(crate) async fn concurrent_claims_start_one_probe<H: Harness>() {
    let inbox = open_breaker::<H>(20).await;
    inbox.advance(seconds(10));
    assert_eq!(inbox.claimed_at_once(4).await.len(), 1);
}

pub(crate) async fn a_probe_that_finds_the_target_up_lets_all_jobs_start<H: Harness>() {
    let inbox = open_breaker::<H>(6).await;
    let wake = listen(&inbox);
    inbox.advance(seconds(10));
    let probe = inbox.claim_one().await;
    is_woken(&wake);
    // The target answers, but does not take this webhook.
    end_with(&inbox, &probe, Status::DeadLettered, Some(Health::Up)).await;
    assert!(is_woken(&wake));
    assert_eq!(breakers(&inbox).await, []);
    let jobs = inbox.claimed(10).await;
    assert_eq!(jobs.len(), 5);
    for job in &jobs[..2] {
        down(&inbox, job).await;
    }
    assert_eq!(breakers(&inbox).await, [], "failures count anew");
    down(&inbox, &jobs[2]).await;
    assert_eq!(breakers(&inbox).await, opened(&inbox, 1, seconds(10)), "and so do the times in a row");
}

pub(crate) async fn each_failed_probe_doubles_the_time_up_to_the_cap<H: Harness>() {
    let inbox = open_breaker::<H>(6).await;
    let mut time = 10;
    for (trips, next) in [(2, 20), (3, 40), (4, 40)] {
        inbox.advance(seconds(time));
        let probe = inbox.claim_one().await;
        down(&inbox, &probe).await;
        assert_eq!(breakers(&inbox).await, opened(&inbox, trips, seconds(next)));
        let claims = inbox.claims(10).await;
        assert_eq!((claims.jobs.len(), claims.next), (0, Some(inbox.now() + seconds(next))));
        time = next;
    }
}

pub(crate) async fn a_probe_that_ends_without_a_result_makes_room_for_another<H: Harness>() {
    let inbox = open_breaker::<H>(6).await;
    let wake = listen(&inbox);
    inbox.advance(seconds(10));
    let mut probe = inbox.claim_one().await;
    for end in ["stopped", "given back", "taken over"] {
        inbox.claim_nothing().await;
        is_woken(&wake);
        match end {
            "stopped" => end_with(&inbox, &probe, Status::Pending, None).await,
            "given back" => inbox.give_back(vec![probe.lease]).await.expect("gives back"),
            _ => {
                inbox.advance(LEASE);
                assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
            }
        }
        assert!(is_woken(&wake), "{end}");
        probe = inbox.claim_one().await;
    }
    assert_eq!(breakers(&inbox).await.len(), 1);
}

pub(crate) async fn attempts_that_ran_when_it_opened_close_it_or_change_nothing<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([breaking("out", 1)]).await;
    inbox.accept_many("k", 5, &[job("out")]).await;
    let jobs = inbox.claimed(4).await;
    down(&inbox, &jobs[0]).await;
    let open = opened(&inbox, 1, seconds(10));
    inbox.advance(seconds(9));
    down(&inbox, &jobs[1]).await;
    assert_eq!(breakers(&inbox).await, open);
    // Half-open: the other attempts take the place of a probe.
    inbox.advance(seconds(1));
    inbox.claim_nothing().await;
    down(&inbox, &jobs[2]).await;
    assert_eq!(breakers(&inbox).await, opened(&inbox, 2, seconds(20)));
    inbox.claim_nothing().await;
    up(&inbox, &jobs[3]).await;
    assert_eq!(breakers(&inbox).await, []);
    assert_eq!(inbox.claimed(10).await.len(), 4);
}

pub(crate) async fn an_open_breaker_does_not_affect_other_routes<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([breaking("out", 1), breaking("up", 1), policy("free")]).await;
    for name in ["out", "up", "free"] {
        inbox.accept_many(name, 3, &[job(name)]).await;
        inbox.advance(seconds(1));
    }
    let jobs = inbox.claimed(1).await;
    assert_eq!(jobs[0].route, route("out"));
    down(&inbox, &jobs[0]).await;
    let claims = inbox.claims(10).await;
    assert_eq!(claims.jobs.len(), 6);
    assert!(claims.jobs.iter().all(|job| job.route != route("out")));
    assert_eq!(claims.next, Some(inbox.now() + seconds(10)));
    for job in claims.jobs.iter().filter(|job| job.route == route("free")) {
        // Without a breaker, nothing comes of it.
        down(&inbox, job).await;
    }
    assert_eq!(breakers(&inbox).await.len(), 1);
    assert_eq!(inbox.claimed(10).await.len(), 3);
}

pub(crate) async fn a_breaker_survives_a_restart<H: Harness>() {
    let mut inbox = open_breaker::<H>(6).await;
    let open = breakers(&inbox).await;
    inbox.close_and_reopen().await;
    assert_eq!(breakers(&inbox).await, open);
    inbox.crash_and_reopen().await;
    assert_eq!(breakers(&inbox).await, open);
    let claims = inbox.claims(10).await;
    assert_eq!((claims.jobs.len(), claims.next), (0, Some(open[0].trip.open_until)));
    inbox.advance(seconds(10));
    let probe = inbox.claim_one().await;
    inbox.claim_nothing().await;
    down(&inbox, &probe).await;
    assert_eq!(breakers(&inbox).await, opened(&inbox, 2, seconds(20)));
}

pub(crate) async fn resuming_a_route_closes_its_breaker<H: Harness>() {
    let mut inbox = open_breaker::<H>(6).await;
    let wake = listen(&inbox);
    for other in [PauseTarget::Everything, PauseTarget::Route(route("other"))] {
        assert!(!inbox.resume(other).await.expect("answers"));
    }
    assert_eq!(breakers(&inbox).await.len(), 1);
    assert!(!inbox.resume(PauseTarget::Route(route("out"))).await.expect("answers"), "it was not paused");
    assert_eq!(breakers(&inbox).await, []);
    assert!(is_woken(&wake));
    assert_eq!(inbox.claimed(10).await.len(), 6);
    inbox.close_and_reopen().await;
    assert_eq!(breakers(&inbox).await, []);
}

pub(crate) async fn a_policy_without_a_breaker_lets_jobs_start<H: Harness>() {
    for without in [policy("out"), breaking("out", 0)] {
        let mut inbox = open_breaker::<H>(6).await;
        inbox.reload([without]).await;
        let jobs = inbox.claimed(10).await;
        assert_eq!(jobs.len(), 6);
        down(&inbox, &jobs[0]).await;
        assert_eq!(inbox.claimed(10).await.len(), 1);
        up(&inbox, &jobs[1]).await;
        assert_eq!(breakers(&inbox).await, [], "the target is up");
    }
}

pub(crate) async fn a_breaker_does_not_stay_open_because_the_clock_was_set_back<H: Harness>() {
    let inbox = open_breaker::<H>(6).await;
    inbox.go_back(seconds(3_600));
    // A clock of the database that was set is read twice before it counts.
    for _ in 0..2 {
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
        inbox.advance(seconds(1));
    }
    let probe = inbox.claim_one().await;
    inbox.claim_nothing().await;
    down(&inbox, &probe).await;
    assert_eq!(breakers(&inbox).await, opened(&inbox, 2, seconds(20)));
}
