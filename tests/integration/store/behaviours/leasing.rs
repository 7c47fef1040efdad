//! Leases: they are renewed while the handler runs and taken over after they expire.

use hookbox::internals::domain::attempt::{AttemptRecord, HeldLease, Outcome};
use hookbox::internals::domain::job::Status;
use hookbox::internals::store::Claim;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, milliseconds, seconds};
use crate::store::routes::{attempts, default_job, job, policy};

pub(crate) async fn a_lease_is_shown_with_its_worker_and_lasts_from_its_renewal<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let webhook = inbox.accept_new("k").await;
    let lease = async || inbox.job_of(webhook.id, "default").await.1.lease;
    let held = || Some(HeldLease { worker: "process 1".to_owned(), until: inbox.now() + LEASE });
    assert_eq!(lease().await, None, "nobody holds it yet");
    let job = inbox.claim_one().await;
    assert_eq!(lease().await, held());
    inbox.advance(seconds(20));
    assert_eq!(inbox.renew(vec![job.lease], LEASE).await.expect("renews"), []);
    let renewed = held();
    assert_eq!(lease().await, renewed);

    inbox.advance(LEASE - milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    assert_eq!(inbox.status_of(webhook.id).await.status(), Status::Processing);
    assert_eq!(lease().await, renewed);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    assert_eq!(inbox.status_of(webhook.id).await.status(), Status::Pending);
    assert_eq!(lease().await, None, "it was taken over");
    for next in [Status::Retrying, Status::Completed] {
        let job = inbox.claim_one().await;
        assert_eq!(lease().await, held());
        inbox.end(&job, next).await;
        assert_eq!(lease().await, None, "{next}");
    }
}

pub(crate) async fn a_renewal_returns_the_leases_that_were_lost<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut leases = Vec::new();
    for (key, end) in [
        ("held", None),
        ("completed", Some(Status::Completed)),
        ("held too", None),
        ("stopped", Some(Status::Pending)),
    ] {
        inbox.accept_new(key).await;
        let job = inbox.claim_one().await;
        if let Some(next) = end {
            inbox.end(&job, next).await;
        }
        leases.push(job.lease);
    }
    let lost = inbox.renew(leases.clone(), LEASE).await.expect("renews");
    assert_eq!(lost, [leases[1], leases[3]]);
    assert_eq!(inbox.renew(Vec::new(), LEASE).await.expect("nothing to do"), []);
}

pub(crate) async fn one_renewal_gives_each_lease_its_own_time<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("a"), policy("b")]).await;
    for key in ["one", "two"] {
        inbox.accept_for(key, [job("a"), job("b")]).await;
    }
    let mut jobs = inbox.claimed(4).await;
    // The leases are sorted neither by their jobs nor by their times.
    jobs.rotate_left(1);
    let times = [40, 10, 30, 20].map(seconds);
    let renewals = jobs.iter().map(|job| job.lease).zip(times).collect();
    inbox.advance(seconds(1));
    assert_eq!(inbox.shared().renew("process 1", renewals).await.expect("renews"), []);
    for (job, time) in jobs.iter().zip(times) {
        let shown = inbox.job_of(job.lease.job.webhook, job.route.as_str()).await.1.lease;
        assert_eq!(shown.map(|lease| lease.until), Some(inbox.now() + time));
    }
}

/// A slow attempt and the next attempt of the same job can run in one process at the same time.
pub(crate) async fn renewing_an_old_and_a_new_lease_of_a_job_loses_only_the_old_one<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_new("k").await;
    let old = inbox.claim_one().await.lease;
    inbox.advance(LEASE);
    inbox.take_over_expired(Vec::new()).await.expect("takes over");
    let new = inbox.claim_one().await.lease;

    assert_eq!(inbox.renew(vec![old, new], LEASE).await.expect("renews"), [old]);
    assert_eq!(inbox.renew(vec![new, old], LEASE).await.expect("renews"), [old]);
}

pub(crate) async fn only_expired_leases_are_taken_over<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let claim = async |lease| inbox.claim(Claim { lease, ..inbox.claim_for(1) }).await.expect("claims");
    let short = inbox.accept_new("short").await;
    claim(seconds(10)).await;
    let long = inbox.accept_new("long").await;
    claim(seconds(60)).await;
    let pending = inbox.accept_new("pending").await;

    inbox.advance(milliseconds(9_999));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
    inbox.advance(milliseconds(1));
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0, "once");

    let short = inbox.status_of(short.id).await;
    assert_eq!((short.status(), short.attempt_count()), (Status::Pending, 1));
    assert_eq!(inbox.status_of(long.id).await.status(), Status::Processing);
    assert_eq!(inbox.status_of(pending.id).await, pending);
}

pub(crate) async fn a_job_taken_over_has_an_interrupted_attempt_and_is_due<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let id = inbox.accept_new("k").await.id;
    let job = inbox.claim_one().await;
    inbox.advance(LEASE);
    inbox.take_over_expired(Vec::new()).await.expect("takes over");

    let (status, detail) = inbox.job_of(id, "default").await;
    assert_eq!((status.status, status.updated_at), (Status::Pending, inbox.now()));
    assert_eq!((detail.available_at, detail.uncounted_attempts), (inbox.now(), 0));
    let [attempt] = detail.attempts.as_slice() else { panic!("one attempt: {detail:?}") };
    let expected = AttemptRecord {
        number: 1,
        run: 1,
        outcome: Outcome::Interrupted,
        started_at: job.claimed_at,
        finished_at: inbox.now(),
        error: attempt.error.clone(),
        worker: "process 1".into(),
        delivery: None,
    };
    assert_eq!(*attempt, expected);
    assert!(attempt.error.as_deref().is_some_and(|error| !error.is_empty()), "says why");
    let next = inbox.claim_one().await;
    assert_eq!((next.attempt, next.attempt_of_run), (2, 2), "an interrupted attempt counts");
}

pub(crate) async fn a_job_without_attempts_left_is_dead_lettered_at_take_over<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([attempts(2)]).await;
    let id = inbox.accept_new("k").await.id;
    for next in [Status::Pending, Status::DeadLettered] {
        inbox.claim_one().await;
        inbox.advance(LEASE);
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1);
        assert_eq!(inbox.status_of(id).await.status(), next);
    }
    let detail = inbox.job_of(id, "default").await.1;
    assert_eq!(detail.completed_at, Some(inbox.now()));
    assert_eq!(
        detail.attempts.iter().map(|attempt| attempt.outcome).collect::<Vec<_>>(),
        [Outcome::Interrupted, Outcome::Interrupted]
    );
}

pub(crate) async fn all_of_1100_leases_that_expire_at_once_are_taken_over<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_many("k", 1_100, &default_job()).await;
    assert_eq!(inbox.claimed(2_000).await.len(), 1_100);
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1_100);
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Pending), counts.of(Status::Processing)), (1_100, 0));
}

pub(crate) async fn the_next_process_takes_over_the_leases_of_a_crashed_one<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([attempts(2)]).await;
    let first = inbox.accept_new("first").await;
    let job = inbox.claim_one().await;
    inbox.fail(&job, seconds(0)).await;
    inbox.claim_one().await;
    let second = inbox.accept_new("second").await;
    inbox.claim_one().await;
    let third = inbox.accept_new("third").await;

    inbox.crash_and_reopen().await;
    if !H::TAKES_OVER_AT_OPEN {
        assert_eq!(inbox.counts().await.of(Status::Processing), 2, "the leases have not expired");
        inbox.advance(LEASE);
        inbox.take_over_expired(Vec::new()).await.expect("takes over");
    }

    let (job, first) = inbox.job_of(first.id, "default").await;
    assert_eq!(job.status, Status::DeadLettered, "no attempts are left");
    assert_eq!(first.attempts.last().map(|last| last.outcome), Some(Outcome::Interrupted));
    assert_eq!(first.attempts.last().map(|last| last.worker.as_str()), Some("process 1"));
    assert_eq!(inbox.status_of(second.id).await.status(), Status::Pending);
    assert_eq!(inbox.status_of(third.id).await, third, "the third job was not leased");
    assert_eq!(inbox.claimed(10).await.len(), 2);
}
