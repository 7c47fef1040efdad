//! The limits of a route: `concurrency` and `rate`.

use hookbox::internals::domain::job::Status;
use hookbox::internals::store::ClaimedJob;

use super::announcing::{is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, keys, milliseconds, seconds};
use crate::store::routes::{concurrent, job, ordered, paced, policy};

pub(crate) async fn a_route_never_runs_more_jobs_than_its_concurrency<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([concurrent("limited", 3)]).await;
    inbox.accept_many("k", 40, &[job("limited")]).await;
    let mut ended = 0;
    while ended < 40 {
        let jobs = inbox.claimed_at_once(2).await;
        assert_eq!(jobs.len(), 3.min(40 - ended), "8 concurrent claims together keep the concurrency of 3");
        assert_eq!(inbox.counts().await.of(Status::Processing), jobs.len() as u64);
        ended += jobs.len();
        let finishes = jobs.iter().map(|job| inbox.ended(job, Status::Completed)).collect::<Vec<_>>();
        assert!(inbox.finish("process 1", finishes).await.expect("finishes").iter().all(|held| *held));
    }
    inbox.claim_nothing().await;
}

pub(crate) async fn a_full_route_starts_another_job_when_one_ends<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([concurrent("limited", 2)]).await;
    let wake = listen(&inbox);
    inbox.accept_many("limited", 10, &[job("limited")]).await;
    let claims = inbox.claims(10).await;
    assert_eq!(claims.jobs.len(), 2);
    assert_eq!(claims.next, None, "no other job becomes startable by the passing of time");
    is_woken(&wake);

    let mut running = claims.jobs;
    let ends = [Status::Completed, Status::Retrying, Status::DeadLettered, Status::Pending];
    for next in ends {
        inbox.claim_nothing().await;
        inbox.end(&running.remove(0), next).await;
        assert!(is_woken(&wake), "{next}: another job is startable");
        running.push(inbox.claim_one().await);
        assert_eq!(inbox.claims(10).await.next, None);
    }
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 2);
    assert!(is_woken(&wake), "an expired lease lets another job start");
    assert_eq!(inbox.claimed(10).await.len(), 2);
}

pub(crate) async fn a_full_route_leaves_its_threads_to_others<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([concurrent("limited", 2), policy("free")]).await;
    inbox.accept_many("limited", 10, &[job("limited")]).await;
    inbox.advance(seconds(1));
    inbox.accept_many("free", 10, &[job("free")]).await;
    let of = |jobs: &[ClaimedJob], name: &str| jobs.iter().filter(|job| job.route.as_str() == name).count();
    let jobs = inbox.claimed(6).await;
    assert_eq!((of(&jobs, "limited"), of(&jobs, "free")), (2, 4));
    let jobs = inbox.claimed(6).await;
    assert_eq!((of(&jobs, "limited"), of(&jobs, "free")), (0, 6));
    assert_eq!(inbox.claims(6).await.next, None, "jobs of the full route are not startable");
}

pub(crate) async fn concurrency_limits_all_sources_of_a_route_together<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([concurrent("limited", 3)]).await;
    for from in ["shop", "git-hub", "default"] {
        for number in 0..3 {
            inbox.accept_from(from, &number.to_string(), [job("limited")]).await;
        }
    }
    assert_eq!(inbox.claimed(2).await.len(), 2);
    assert_eq!(inbox.claimed(10).await.len(), 1);
    inbox.claim_nothing().await;
}

pub(crate) async fn a_new_concurrency_counts_the_jobs_that_run<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([concurrent("limited", 3)]).await;
    let wake = listen(&inbox);
    inbox.accept_many("limited", 10, &[job("limited")]).await;
    let mut running = inbox.claimed(10).await;
    assert_eq!(running.len(), 3);

    inbox.reload([concurrent("limited", 1)]).await;
    for _ in 0..2 {
        inbox.end(&running.remove(0), Status::Completed).await;
        inbox.claim_nothing().await;
    }
    inbox.end(&running.remove(0), Status::Completed).await;
    running.push(inbox.claim_one().await);
    inbox.claim_nothing().await;

    is_woken(&wake);
    inbox.reload([concurrent("limited", 4)]).await;
    assert!(is_woken(&wake), "a larger limit lets jobs start");
    assert_eq!(inbox.claimed(10).await.len(), 3);
    inbox.reload([policy("limited")]).await;
    assert_eq!(inbox.claimed(10).await.len(), 3, "the rest");
}

pub(crate) async fn jobs_of_a_crashed_process_count_toward_the_concurrency<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([concurrent("limited", 2)]).await;
    inbox.accept_many("k", 5, &[job("limited")]).await;
    assert_eq!(inbox.claimed(10).await.len(), 2);
    inbox.crash_and_reopen().await;
    if !H::TAKES_OVER_AT_OPEN {
        inbox.claim_nothing().await;
        inbox.advance(LEASE);
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 2);
    }
    assert_eq!(inbox.claimed(10).await.len(), 2, "the limit is the same as before");
    inbox.claim_nothing().await;
}

pub(crate) async fn a_process_that_finds_a_route_full_starts_a_job_of_another_in_the_same_claim<
    H: Harness,
>() {
    let mut inbox = Inbox::<H>::with_routes([concurrent("limited", 2), policy("free")]).await;
    inbox.accept_many("limited", 5, &[job("limited")]).await;
    assert_eq!(inbox.claimed(2).await.len(), 2);
    inbox.advance(seconds(1));
    inbox.accept_many("free", 1, &[job("free")]).await;
    // The next process does not know that the route is full.
    inbox.crash_and_reopen().await;
    let jobs = inbox.claimed(1).await;
    let expected = if H::TAKES_OVER_AT_OPEN { "limited" } else { "free" };
    assert_eq!(jobs.iter().map(|job| job.route.as_str()).collect::<Vec<_>>(), [expected]);
}

pub(crate) async fn order_and_concurrency_are_both_kept<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([concurrent("orders", 2)]).await;
    for key in ["1", "2"] {
        for value in ["x", "y", "z"] {
            inbox.accept_for(&format!("{value} {key}"), [ordered("orders", value)]).await;
            inbox.advance(milliseconds(1));
        }
    }
    let mut started = Vec::new();
    for expected in [["x 1", "y 1"], ["z 1", "x 2"], ["y 2", "z 2"]] {
        let jobs = inbox.claimed(10).await;
        started.extend(keys(&jobs).iter().map(ToString::to_string));
        assert_eq!(keys(&jobs), expected);
        for job in jobs {
            inbox.end(&job, Status::Completed).await;
            inbox.advance(milliseconds(1));
        }
    }
    assert_eq!(started.len(), 6);
}

pub(crate) async fn starts_of_a_route_are_spread_at_its_rate<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([paced("paced", 20, seconds(1))]).await;
    inbox.accept_many("k", 60, &[job("paced")]).await;
    let mut starts = Vec::new();
    while starts.len() < 60 {
        let claims = inbox.claims(100).await;
        assert!(!claims.jobs.is_empty(), "a claim at the returned time finds a job");
        starts.extend(claims.jobs.iter().map(|_| inbox.now()));
        if starts.len() < 60 {
            let next = claims.next.expect("the rate alone holds the others");
            assert!(next > inbox.now(), "the returned time is in the future");
            inbox.advance_to(next);
        }
    }
    // 20 starts per second, plus one that a late claim may catch up on.
    let window = |first: usize| starts[first + 21].duration_since(starts[first]).unsigned_abs();
    assert!((0..starts.len() - 21).all(|first| window(first) >= milliseconds(1_000)), "{starts:?}");
    let all = starts[59].duration_since(starts[0]).unsigned_abs();
    assert!(all <= milliseconds(3_000), "60 starts take no longer than the rate requires: {all:?}");
    assert_eq!(inbox.claims(100).await.next, None, "none is left");
}

pub(crate) async fn claims_made_too_early_do_not_exceed_the_rate<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([paced("paced", 1, seconds(10)), policy("free")]).await;
    inbox.accept_many("k", 5, &[job("paced")]).await;
    assert_eq!(inbox.claim_one().await.route.as_str(), "paced");
    let next = inbox.claims(10).await.next.expect("more are due");
    for _ in 0..3 {
        inbox.advance(seconds(1));
        assert_eq!(
            inbox.claims(10).await.next,
            Some(next),
            "an early claim does not change the returned time"
        );
    }
    inbox.accept_for("free", [job("free")]).await;
    assert_eq!(keys(&inbox.claimed(10).await), ["free"], "the rate does not limit other routes");

    inbox.close_and_reopen().await;
    inbox.advance_to(next - milliseconds(1));
    let jobs = inbox.claimed(10).await;
    assert!(jobs.iter().all(|job| job.route.as_str() == "free"), "the rate is kept across a restart");
    inbox.advance_to(next);
    assert_eq!(inbox.claimed(10).await.len(), 1);
}

pub(crate) async fn a_higher_rate_takes_effect_at_once<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([paced("paced", 1, seconds(3600))]).await;
    inbox.accept_many("k", 5, &[job("paced")]).await;
    inbox.claim_one().await;
    assert!(inbox.claims(10).await.next.is_some_and(|next| next > inbox.now() + seconds(3000)));
    inbox.reload([paced("paced", 1, seconds(10))]).await;
    inbox.claim_one().await;
    let next = inbox.claims(10).await.next.expect("more are due");
    assert!(next > inbox.now() && next <= inbox.now() + seconds(10), "{next}");
    inbox.advance_to(next);
    inbox.claim_one().await;
    inbox.reload([policy("paced")]).await;
    assert_eq!(inbox.claimed(10).await.len(), 2, "the route has no rate");
}
