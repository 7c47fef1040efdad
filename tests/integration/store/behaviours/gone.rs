//! Routes that are gone from the configuration: their jobs are held, and operators can cancel or move them.

use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::Moved;

use super::announcing::{is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, keys, milliseconds, seconds, sorted_keys};
use crate::store::routes::{job, ordered, policy, route};

/// Moves all waiting jobs of `from` to `to` and returns the totals.
async fn move_all<H: Harness>(inbox: &Inbox<H>, from: &str, to: &str) -> Moved {
    let mut all = Moved::default();
    for _ in 0..10_000 {
        let step = inbox.move_jobs(route(from), route(to)).await.expect("moves");
        all.moved += step.moved;
        all.cancelled += step.cancelled;
        if step == Moved::default() {
            return all;
        }
    }
    panic!("moving does not end");
}

/// Cancels all waiting jobs of a route and returns their number.
async fn cancel_all<H: Harness>(inbox: &Inbox<H>, name: &str) -> usize {
    let mut all = 0;
    for _ in 0..10_000 {
        match inbox.cancel_jobs(route(name)).await.expect("cancels") {
            0 => return all,
            some => all += some,
        }
    }
    panic!("cancelling does not end");
}

pub(crate) async fn jobs_of_a_route_that_is_gone_are_held<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("kept"), policy("gone")]).await;
    let wake = listen(&inbox);
    inbox.accept_for("1", [job("kept"), job("gone")]).await;
    inbox.reload([policy("kept")]).await;
    inbox.accept_for("2", [job("gone")]).await;
    let claims = inbox.claims(10).await;
    assert_eq!(claims.jobs.iter().map(|job| job.route.as_str()).collect::<Vec<_>>(), ["kept"]);
    assert_eq!(claims.next, None, "a held job is not due for the claim");
    inbox.crash_and_reopen().await;
    let held = inbox.stats().await.expect("counts").queues;
    let held = held.iter().find(|queue| queue.route == route("gone")).expect("is shown");
    assert_eq!(held.counts.of(Status::Pending), 2);
    inbox.advance(seconds(3600));
    assert!(inbox.claimed(10).await.iter().all(|job| job.route == route("kept")));

    drop(wake);
    let wake = listen(&inbox);
    inbox.reload([policy("kept"), policy("gone")]).await;
    assert!(is_woken(&wake), "the held jobs are startable again");
    assert_eq!(sorted_keys(&inbox.claimed(10).await), ["1", "2"]);
}

/// The policy of the removed route may have forbidden a second start.
pub(crate) async fn an_interrupted_job_of_a_route_that_is_gone_becomes_a_dead_letter<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("gone")]).await;
    let id = inbox.accept_for("k", [ordered("gone", "x")]).await.id;
    let behind = inbox.accept_for("behind", [ordered("gone", "x")]).await.id;
    assert_eq!(inbox.claim_one().await.lease.job.webhook, id);
    inbox.reload([]).await;
    inbox.advance(LEASE);
    if !H::LEFT_TO_OTHERS.is_zero() {
        assert_eq!(
            inbox.take_over_expired(Vec::new()).await.expect("looks"),
            0,
            "another process may have the route"
        );
        inbox.advance(H::LEFT_TO_OTHERS);
    }
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    let (job, detail) = inbox.job_of(id, "gone").await;
    assert_eq!((job.status, detail.uncounted_attempts), (Status::DeadLettered, 0));
    assert_eq!(detail.attempts.last().map(|last| last.outcome), Some(Outcome::Interrupted));
    inbox.reload([policy("gone")]).await;
    inbox.claim_nothing().await;

    inbox.retry(id, None).await.expect("is retried by hand");
    for webhook in [id, behind] {
        let claimed = inbox.claim_one().await;
        assert_eq!(claimed.lease.job.webhook, webhook);
        inbox.end(&claimed, Status::Completed).await;
    }
}

pub(crate) async fn a_job_of_a_dead_process_becomes_a_dead_letter_if_its_route_is_gone<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("gone")]).await;
    let id = inbox.accept_for("k", [job("gone")]).await.id;
    inbox.claim_one().await;
    inbox.reopen_with([]).await;
    if !H::TAKES_OVER_AT_OPEN {
        inbox.advance(LEASE + H::LEFT_TO_OTHERS);
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    }
    assert_eq!(inbox.status_of(id).await.status(), Status::DeadLettered);
}

pub(crate) async fn an_attempt_of_a_route_that_is_gone_can_end<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("gone")]).await;
    for key in ["completes", "fails"] {
        inbox.accept_for(key, [job("gone")]).await;
        inbox.advance(milliseconds(1));
    }
    let jobs = inbox.claimed(2).await;
    inbox.reload([]).await;
    assert_eq!(inbox.renew(vec![jobs[0].lease], LEASE).await.expect("renews"), []);
    inbox.end(&jobs[0], Status::Completed).await;
    inbox.end(&jobs[1], Status::Retrying).await;
    inbox.claim_nothing().await;
    inbox.reload([policy("gone")]).await;
    assert_eq!(keys(&inbox.claimed(10).await), ["fails"]);
}

pub(crate) async fn held_jobs_can_be_cancelled<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("gone"), policy("kept")]).await;
    let dead = inbox.accept_for("dead", [job("gone")]).await;
    let claimed = inbox.claim_one().await;
    inbox.end(&claimed, Status::DeadLettered).await;
    inbox.accept_for("runs", [job("gone")]).await;
    let runs = inbox.claim_one().await;
    inbox.accept_for("retrying", [job("gone")]).await;
    let claimed = inbox.claim_one().await;
    inbox.fail(&claimed, seconds(3600)).await;
    inbox.accept_many("k", 1_200, &[job("gone")]).await;
    let several = inbox.accept_for("several", [job("gone"), job("kept")]).await;
    inbox.reload([policy("kept")]).await;

    let one = inbox.cancel(several.id, Some(route("gone"))).await.expect("cancels");
    assert_eq!(one.status(), Status::Pending, "the job of the other route is still pending");
    let first = inbox.cancel_jobs(route("gone")).await.expect("cancels");
    assert!((1..1_201).contains(&first), "a bounded number: {first}");
    assert_eq!(first + cancel_all(&inbox, "gone").await, 1_201, "only waiting jobs are cancelled");
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Cancelled), counts.of(Status::Retrying)), (1_202, 0));
    assert_eq!(inbox.status_of(dead.id).await.status(), Status::DeadLettered);
    inbox.end(&runs, Status::Completed).await;

    inbox.reload([policy("kept"), policy("gone")]).await;
    inbox.advance(seconds(3600));
    assert_eq!(keys(&inbox.claimed(10).await), ["several"]);
    assert_eq!(cancel_all(&inbox, "unknown").await, 0);
}

pub(crate) async fn held_jobs_can_be_moved_to_another_route<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("gone"), policy("kept")]).await;
    let retrying = inbox.accept_for("retrying", [job("gone")]).await.id;
    let claimed = inbox.claim_one().await;
    inbox.fail(&claimed, seconds(60)).await;
    let due = inbox.now() + seconds(60);
    inbox.accept_for("runs", [job("gone")]).await;
    let runs = inbox.claim_one().await;
    inbox.accept_many("k", 1_200, &[job("gone")]).await;
    let both = inbox.accept_for("both", [job("gone"), job("kept")]).await.id;
    inbox.reload([policy("kept")]).await;

    let wake = listen(&inbox);
    let first = inbox.move_jobs(route("gone"), route("kept")).await.expect("moves");
    assert!((1..1_202).contains(&(first.moved + first.cancelled)), "a bounded number: {first:?}");
    assert!(is_woken(&wake), "the moved jobs are startable");
    let rest = move_all(&inbox, "gone", "kept").await;
    assert_eq!((first.moved + rest.moved, first.cancelled + rest.cancelled), (1_201, 1));

    assert_eq!(inbox.job_of(both, "gone").await.0.status, Status::Cancelled);
    assert_eq!(inbox.job_of(both, "kept").await.0.status, Status::Pending);
    let (job, detail) = inbox.job_of(retrying, "kept").await;
    assert_eq!((job.status, job.attempt_count, detail.available_at), (Status::Retrying, 1, due));
    assert_eq!(detail.attempts.len(), 1, "a moved job keeps its attempts");
    assert_eq!(inbox.status_of(retrying).await.jobs.len(), 1);
    let of_runs = inbox.job_of(runs.lease.job.webhook, "gone").await.0.status;
    assert_eq!(of_runs, Status::Processing, "a running job is not moved");
    assert_eq!(runs.route, route("gone"));
    inbox.crash_and_reopen().await;
    let queues = inbox.stats().await.expect("counts").queues;
    let waiting = |name: &str| {
        let queues = queues.iter().filter(|queue| queue.route == route(name));
        queues.map(|queue| queue.counts.of(Status::Pending) + queue.counts.of(Status::Retrying)).sum::<u64>()
    };
    assert_eq!((waiting("gone"), waiting("kept")), (0, 1_202));
    inbox.advance_to(due);
    let jobs = inbox.claimed(2_000).await;
    assert!(jobs.iter().all(|job| job.route == route("kept")));
    assert_eq!(jobs.len(), 1_202);
    let again = jobs.iter().find(|job| job.lease.job.webhook == retrying).expect("is claimed");
    assert_eq!((again.attempt, again.attempt_of_run), (2, 2));
}

pub(crate) async fn moving_or_cancelling_frees_an_order_value<H: Harness>() {
    for cancels in [true, false] {
        let mut inbox = Inbox::<H>::with_routes([policy("gone"), policy("kept")]).await;
        for key in ["1", "2", "3"] {
            inbox.accept_for(key, [ordered("gone", "x")]).await;
            inbox.advance(milliseconds(1));
        }
        inbox.reload([policy("kept")]).await;
        if cancels {
            assert_eq!(cancel_all(&inbox, "gone").await, 3);
        } else {
            assert_eq!(move_all(&inbox, "gone", "kept").await, Moved { moved: 3, cancelled: 0 });
        }
        inbox.reload([policy("gone")]).await;
        inbox.claim_nothing().await;
        inbox.accept_for("4", [ordered("gone", "x")]).await;
        let job = inbox.claim_one().await;
        assert_eq!(job.idempotency_key.as_str(), "4");
        inbox.end(&job, Status::Completed).await;

        inbox.reload([policy("kept")]).await;
        let mut moved = Vec::new();
        for _ in 0..3 {
            for job in inbox.claimed(10).await {
                moved.push(job.idempotency_key.as_str().to_owned());
                inbox.end(&job, Status::Completed).await;
            }
        }
        moved.sort();
        assert_eq!(moved, if cancels { [].as_slice() } else { &["1", "2", "3"] }, "each runs once");
    }
}
