//! Pulled routes: workers elsewhere lease their jobs, and the pool does not.

use hookbox::internals::domain::attempt::{Lease, Outcome};
use hookbox::internals::domain::clock::Clock as _;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::handler::HandlerSettings;
use hookbox::internals::domain::job::{JobId, Status};
use hookbox::internals::domain::policy::Policy;
use hookbox::internals::domain::webhook::NewWebhook;
use hookbox::internals::store::{Claim, ClaimedJob, Claims, LeasedJob, PauseTarget, Wanted};
use jiff::SignedDuration;

use super::announcing::{is_asleep, is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{
    Inbox, LEASE, event_type, keys, look_alike, milliseconds, seconds, source, webhook_with,
};
use crate::store::routes::{concurrent, job, ordered, paced, policy, pulled, route};

const WORKER: &str = "puller-1";

/// A claim by [`WORKER`] for jobs of these routes.
fn claim_for<H: Harness>(inbox: &Inbox<H>, threads: usize, routes: &[&str]) -> Claim {
    let wanted = Wanted::Pulled(routes.iter().map(|name| route(name)).collect());
    Claim { worker: WORKER.into(), wanted, ..inbox.claim_for(threads) }
}

async fn pull<H: Harness>(inbox: &Inbox<H>, threads: usize, routes: &[&str]) -> Claims {
    let claims = inbox.claim(claim_for(inbox, threads, routes)).await.expect("claims");
    assert!(claims.jobs.len() <= threads, "no more jobs are claimed than were asked for");
    claims
}

/// Claims the only startable job of a pulled route.
async fn pull_one<H: Harness>(inbox: &Inbox<H>, name: &str) -> ClaimedJob {
    let [job] = <[_; 1]>::try_from(pull(inbox, 2, &[name]).await.jobs).expect("one job may start");
    job
}

/// Ends an attempt of [`WORKER`]. Panics if its lease was lost.
async fn end<H: Harness>(inbox: &Inbox<H>, job: &ClaimedJob, next: Status) {
    let held = inbox.finish(WORKER, vec![inbox.ended(job, next)]).await.expect("finishes");
    assert_eq!(held, [true], "the lease is held");
}

/// Renews a lease of `worker`, and returns it if it was lost.
async fn renew<H: Harness>(inbox: &Inbox<H>, worker: &str, lease: Lease) -> Vec<Lease> {
    inbox.shared().renew(worker, vec![(lease, LEASE)]).await.expect("renews")
}

/// The sorted routes of these jobs.
fn routes_of(jobs: &[ClaimedJob]) -> Vec<&str> {
    let mut routes = jobs.iter().map(|job| job.route.as_str()).collect::<Vec<_>>();
    routes.sort_unstable();
    routes
}

pub(crate) async fn the_pool_leases_no_jobs_of_pulled_routes<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([pulled("pulled"), policy("run")]).await;
    inbox.accept_for("1", [job("pulled"), job("run")]).await;
    let claims = inbox.claims(10).await;
    assert_eq!((routes_of(&claims.jobs), claims.next), (vec!["run"], None));
    inbox.accept_for("2", [job("pulled")]).await;
    inbox.advance(seconds(60));
    let claims = inbox.claims(10).await;
    assert_eq!((routes_of(&claims.jobs), claims.next), (vec![], None));

    inbox.reload([policy("pulled"), policy("run")]).await;
    assert_eq!(routes_of(&inbox.claimed(10).await), ["pulled", "pulled"], "the pool runs them now");
}

pub(crate) async fn a_pulled_claim_leases_only_jobs_of_the_pulled_routes_that_it_names<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("a"), pulled("b"), policy("run")]).await;
    let id = inbox.accept_for("k", [job("a"), job("b"), job("run"), job("gone")]).await.id;
    let claims = pull(&inbox, 10, &["a", "run", "gone", "unknown"]).await;
    assert_eq!((routes_of(&claims.jobs), claims.next), (vec!["a"], None));
    assert_eq!(claims.held_until, inbox.clock.monotonic() + LEASE);
    end(&inbox, &claims.jobs[0], Status::Completed).await;
    let (status, detail) = inbox.job_of(id, "a").await;
    assert_eq!((status.status, detail.attempts[0].worker.as_str()), (Status::Completed, WORKER));

    assert_eq!(routes_of(&pull(&inbox, 10, &[]).await.jobs), [""; 0]);
    assert_eq!(routes_of(&pull(&inbox, 10, &["a", "b"]).await.jobs), ["b"]);
    assert_eq!(routes_of(&inbox.claimed(10).await), ["run"]);
}

pub(crate) async fn pulled_jobs_keep_the_concurrency_and_the_rate_of_their_route<H: Harness>() {
    let limited = Policy { handler: HandlerSettings::Pull, ..concurrent("limited", 2) };
    let slow = Policy { handler: HandlerSettings::Pull, ..paced("slow", 1, seconds(10)) };
    let inbox = Inbox::<H>::with_routes([limited, slow]).await;
    inbox.accept_many("limited", 5, &[job("limited")]).await;
    let claims = pull(&inbox, 10, &["limited"]).await;
    assert_eq!((claims.jobs.len(), claims.next), (2, None));
    assert_eq!(pull(&inbox, 10, &["limited"]).await.jobs.len(), 0, "the route is full");
    end(&inbox, &claims.jobs[0], Status::Completed).await;
    assert_eq!(pull(&inbox, 10, &["limited"]).await.jobs.len(), 1);

    inbox.accept_many("slow", 3, &[job("slow")]).await;
    let claims = pull(&inbox, 10, &["slow"]).await;
    let next = claims.next.expect("more are due");
    assert!(claims.jobs.len() == 1 && next > inbox.now(), "{next}");
    inbox.advance_to(next);
    assert_eq!(pull(&inbox, 10, &["slow"]).await.jobs.len(), 1);
}

pub(crate) async fn pulled_jobs_keep_their_order_and_are_paused<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("orders")]).await;
    for key in ["1", "2"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    let first = pull_one(&inbox, "orders").await;
    assert_eq!(pull(&inbox, 10, &["orders"]).await.jobs.len(), 0, "one at a time");
    let target = PauseTarget::Route(route("orders"));
    inbox.pause(target.clone()).await.expect("pauses");
    end(&inbox, &first, Status::Completed).await;
    let claims = pull(&inbox, 10, &["orders"]).await;
    assert_eq!((claims.jobs.len(), claims.next), (0, None), "the route is paused");
    assert!(inbox.resume(target).await.expect("resumes"));
    assert_eq!(pull_one(&inbox, "orders").await.idempotency_key.as_str(), "2");
}

pub(crate) async fn a_pulled_claim_returns_as_many_bytes_as_it_asks_for_or_one_job<H: Harness>() {
    for bytes in [1_000, 100 * 1024] {
        let inbox = Inbox::<H>::with_routes([pulled("pulled")]).await;
        let payload = format!("\"{}\"", "x".repeat(bytes - 2));
        for key in ["a", "b", "c", "d", "e", "f"] {
            inbox.accept(webhook_with(key, &payload), vec![job("pulled")]).await.expect("accepts");
            inbox.advance(milliseconds(1));
        }
        for (max_bytes, expected) in [(2 * bytes, &["a", "b"][..]), (2 * bytes - 1, &["c"]), (1, &["d"])] {
            let claim = Claim { max_bytes, ..claim_for(&inbox, 10, &["pulled"]) };
            let jobs = inbox.claim(claim).await.expect("claims").jobs;
            assert_eq!(keys(&jobs), expected, "{max_bytes} bytes");
            assert!(jobs.iter().all(|job| job.payload.as_deref() == Some(payload.as_bytes())));
        }
        let rest = pull(&inbox, 10, &["pulled"]).await.jobs;
        assert_eq!(keys(&rest), ["e", "f"]);
        assert!(rest.iter().all(|job| job.attempt == 1), "a job that was given back was not attempted");
    }
}

pub(crate) async fn jobs_that_a_pulled_claim_has_no_bytes_for_do_not_use_up_the_rate<H: Harness>() {
    // A claim can start 6 jobs at once.
    let route = Policy { handler: HandlerSettings::Pull, ..paced("slow", 100, seconds(1)) };
    let inbox = Inbox::<H>::with_routes([route]).await;
    inbox.accept_many("k", 8, &[job("slow")]).await;
    for expected in [1, 1, 1, 1, 1, 1, 0] {
        let claim = Claim { max_bytes: 1, ..claim_for(&inbox, 10, &["slow"]) };
        assert_eq!(inbox.claim(claim).await.expect("claims").jobs.len(), expected);
    }
    inbox.advance(milliseconds(10));
    assert_eq!(pull(&inbox, 10, &["slow"]).await.jobs.len(), 1);
}

pub(crate) async fn everything_that_was_registered_is_woken<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("pulled"), policy("run")]).await;
    let (one, other) = (listen(&inbox), listen(&inbox));
    for name in ["pulled", "run"] {
        inbox.accept_for(name, [job(name)]).await;
        assert!(is_woken(&one) && is_woken(&other), "{name}");
    }
    assert!(is_asleep(&inbox, &one) && is_asleep(&inbox, &other));
}

pub(crate) async fn held_leases_are_returned_with_what_ends_their_attempts<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("orders"), pulled("others")]).await;
    let sent = NewWebhook {
        source: source("git-hub"),
        event_type: event_type("pushed"),
        ..webhook_with("k", r#"{"z":1}"#)
    };
    let ordered = ordered("orders", "\"ż\"");
    let jobs = vec![ordered.clone(), job("others")];
    inbox.accept(sent.clone(), jobs).await.expect("accepted");
    let claimed = pull_one(&inbox, "orders").await;
    end(&inbox, &claimed, Status::Pending).await;
    let claimed = pull_one(&inbox, "orders").await;
    end(&inbox, &claimed, Status::Retrying).await;
    let claimed = pull_one(&inbox, "orders").await;
    let other = pull_one(&inbox, "others").await;
    inbox.advance(seconds(5));

    let mut found = inbox.leased(WORKER, vec![other.lease, claimed.lease]).await.expect("looks");
    found.sort_by(|one, next| one.route.cmp(&next.route));
    let expected = LeasedJob {
        lease: claimed.lease,
        route: route("orders"),
        order: ordered.order,
        source: sent.source,
        event_type: sent.event_type,
        traceparent: sent.traceparent,
        attempt: 3,
        attempt_of_run: 2,
        available_at: claimed.available_at,
        held_for: seconds(5),
    };
    assert_eq!((found.len(), &found[0]), (2, &expected));
    assert_eq!((found[1].lease, &found[1].order), (other.lease, &None));
    assert_eq!(renew(&inbox, WORKER, claimed.lease).await, []);
    let found = inbox.leased(WORKER, vec![claimed.lease]).await.expect("looks");
    assert_eq!(found, [expected], "a renewal does not change when the lease began");
}

pub(crate) async fn lost_leases_and_those_of_other_workers_are_left_out<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("pulled")]).await;
    let mut leases = Vec::new();
    for next in [None, Some(Status::Completed), Some(Status::Retrying)] {
        inbox.accept_for(&leases.len().to_string(), [job("pulled")]).await;
        let claimed = pull_one(&inbox, "pulled").await;
        if let Some(next) = next {
            end(&inbox, &claimed, next).await;
        }
        leases.push(claimed.lease);
    }
    let again = pull_one(&inbox, "pulled").await.lease;
    assert!(again.job == leases[2].job && again.token > leases[2].token);
    inbox.accept_for("other", [job("pulled")]).await;
    let claim = Claim { worker: "puller-2".into(), ..claim_for(&inbox, 10, &["pulled"]) };
    let other = inbox.claim(claim).await.expect("claims").jobs[0].lease;
    let held = leases[0];
    let webhook = look_alike(held.job.webhook);
    let unknown = [
        Lease { token: held.token + 1, ..held },
        Lease { token: u64::MAX, ..held },
        Lease { job: JobId { webhook, ..held.job }, ..held },
    ];
    leases.extend(unknown.into_iter().chain([again, other]));

    let held_by = async |worker: &str| {
        let found = inbox.leased(worker, leases.clone()).await.expect("looks");
        let mut found = found.into_iter().map(|job| job.lease).collect::<Vec<_>>();
        found.sort_by_key(|lease| lease.job);
        found
    };
    assert_eq!(held_by(WORKER).await, [held, again]);
    assert_eq!(held_by("puller-2").await, [other]);
    assert_eq!(held_by("process 1").await, []);
    assert_eq!(inbox.leased(WORKER, Vec::new()).await.expect("looks"), []);
}

pub(crate) async fn a_lease_is_renewed_and_given_back_only_by_its_worker<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("pulled")]).await;
    let id = inbox.accept_for("k", [job("pulled")]).await.id;
    let lease = pull_one(&inbox, "pulled").await.lease;
    inbox.advance(LEASE - seconds(1));
    assert_eq!(renew(&inbox, "puller-2", lease).await, [lease]);
    inbox.shared().give_back("puller-2", vec![lease]).await.expect("answers");
    assert_eq!(inbox.status_of(id).await.status(), Status::Processing);
    assert_eq!(renew(&inbox, WORKER, lease).await, []);
    inbox.advance(LEASE - seconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0, "it was renewed");

    inbox.shared().give_back(WORKER, vec![lease]).await.expect("gives back");
    let status = inbox.status_of(id).await;
    assert_eq!((status.status(), status.attempt_count()), (Status::Pending, 0));
    assert_eq!(pull_one(&inbox, "pulled").await.attempt, 1);
}

pub(crate) async fn an_expired_pulled_lease_is_taken_over_and_the_history_names_its_worker<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([pulled("pulled")]).await;
    let id = inbox.accept_for("k", [job("pulled")]).await.id;
    let claimed = pull_one(&inbox, "pulled").await;
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    let held = inbox.finish(WORKER, vec![inbox.ended(&claimed, Status::Completed)]).await;
    assert_eq!(held.expect("answers"), [false], "the lease is lost");
    let (status, detail) = inbox.job_of(id, "pulled").await;
    assert_eq!(status.status, Status::Pending);
    let [attempt] = detail.attempts.as_slice() else { panic!("one attempt: {detail:?}") };
    assert_eq!((attempt.outcome, attempt.worker.as_str()), (Outcome::Interrupted, WORKER));
    let error = "the worker did not report an outcome before its lease expired";
    assert_eq!(attempt.error.as_deref(), Some(error));
    assert_eq!(pull_one(&inbox, "pulled").await.attempt, 2);
}

pub(crate) async fn pulled_leases_survive_a_restart<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([pulled("pulled"), policy("run")]).await;
    let id = inbox.accept_for("finished", [job("pulled"), job("run")]).await.id;
    let finished = pull_one(&inbox, "pulled").await;
    inbox.accept_for("abandoned", [job("pulled")]).await;
    let abandoned = pull_one(&inbox, "pulled").await;
    inbox.claim_one().await;

    inbox.crash_and_reopen().await;
    let of_run = if H::TAKES_OVER_AT_OPEN { Status::Pending } else { Status::Processing };
    assert_eq!(inbox.job_of(id, "run").await.0.status, of_run);
    assert_eq!(inbox.job_of(id, "pulled").await.0.status, Status::Processing);
    let leases = vec![finished.lease, abandoned.lease];
    assert_eq!(inbox.leased(WORKER, leases).await.expect("looks").len(), 2);
    assert_eq!(renew(&inbox, WORKER, finished.lease).await, []);
    end(&inbox, &finished, Status::Completed).await;
    assert_eq!(inbox.job_of(id, "pulled").await.0.status, Status::Completed);

    inbox.advance(LEASE);
    let taken = if H::TAKES_OVER_AT_OPEN { 1 } else { 2 };
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), taken);
    assert_eq!(pull_one(&inbox, "pulled").await.lease.job, abandoned.lease.job);
}

pub(crate) async fn pulled_leases_survive_a_restart_after_which_their_route_is_not_pulled<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([pulled("changed"), pulled("gone")]).await;
    inbox.accept_for("k", [job("changed"), job("gone")]).await;
    let changed = pull_one(&inbox, "changed").await;
    let gone = pull_one(&inbox, "gone").await;
    inbox.reopen_with([policy("changed")]).await;
    inbox.claim_nothing().await;
    for lease in [changed.lease, gone.lease] {
        assert_eq!(renew(&inbox, WORKER, lease).await, []);
    }
    end(&inbox, &gone, Status::Completed).await;

    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    let again = inbox.claim_one().await;
    assert_eq!((again.lease.job, again.attempt), (changed.lease.job, 2));
}

pub(crate) async fn a_lease_of_a_dead_process_is_taken_over_although_its_route_is_pulled_now<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("changed")]).await;
    inbox.accept_for("k", [job("changed")]).await;
    let claimed = inbox.claim_one().await;
    inbox.reopen_with([pulled("changed")]).await;
    if !H::TAKES_OVER_AT_OPEN {
        inbox.advance(LEASE);
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    }
    let again = pull_one(&inbox, "changed").await;
    assert_eq!((again.lease.job, again.attempt), (claimed.lease.job, 2));
}

pub(crate) async fn a_pulled_lease_lasts_as_long_as_it_was_asked_for_after_the_clock_was_set_back<
    H: Harness,
>() {
    let inbox = Inbox::<H>::with_routes([pulled("pulled"), policy("run")]).await;
    inbox.accept_for("k", [job("pulled"), job("run")]).await;
    let claim = Claim { lease: 4 * LEASE, ..claim_for(&inbox, 1, &["pulled"]) };
    assert_eq!(inbox.claim(claim).await.expect("claims").jobs.len(), 1);
    inbox.claim_one().await;
    inbox.go_back(seconds(3_600));
    let take_over = async || inbox.take_over_expired(Vec::new()).await.expect("looks");
    // A store with a clock of its own reads it twice.
    assert_eq!(take_over().await, 0);
    inbox.advance(seconds(1));
    assert_eq!(take_over().await, 0);

    inbox.advance(2 * LEASE);
    assert_eq!(take_over().await, 1, "the lease of the pool has expired");
    inbox.advance(2 * LEASE);
    assert_eq!(take_over().await, 1, "so has that of the worker");
}

pub(crate) async fn a_pulled_lease_lasts_as_long_as_it_was_asked_for_after_the_clock_was_set_forward<
    H: Harness,
>() {
    let inbox = Inbox::<H>::with_routes([pulled("pulled")]).await;
    inbox.accept_for("k", [job("pulled")]).await;
    let claim = Claim { lease: 4 * LEASE, ..claim_for(&inbox, 1, &["pulled"]) };
    let lease = inbox.claim(claim).await.expect("claims").jobs[0].lease;
    inbox.advance(LEASE);
    inbox.set_clocks_by(SignedDuration::from_hours(1));
    let held_for = async || {
        let held = inbox.leased(WORKER, vec![lease]).await.expect("looks");
        held.first().expect("it is held").held_for
    };
    assert_eq!(held_for().await, LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(seconds(1));
    // A store with a clock of its own has read it twice, and waits until processes have renewed their leases.
    match inbox.take_over_expired(Vec::new()).await {
        Ok(jobs) => assert_eq!(jobs, 0),
        Err(error) => assert_eq!(error.reason(), Reason::StoreUnavailable),
    }
    assert_eq!(held_for().await, LEASE + seconds(1));

    inbox.advance(3 * LEASE - seconds(1) - milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
}
