//! Giving back: jobs whose handlers were not started are released, and their claim is undone.

use hookbox::internals::domain::job::Status;

use super::announcing::{is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, seconds};
use crate::store::routes::{concurrent, job, never_twice, ordered, paced, policy};

pub(crate) async fn a_job_given_back_is_as_if_it_had_not_been_claimed<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([never_twice("once")]).await;
    let id = inbox.accept_for("first", [job("once")]).await.id;
    let failed = inbox.claim_one().await;
    inbox.fail(&failed, seconds(0)).await;
    inbox.advance(seconds(1));
    inbox.accept_for("later", [job("once")]).await;
    let (wake, mut watching) = (listen(&inbox), inbox.changes().watch(id));
    for token in 2..=4 {
        let [claimed] = <[_; 1]>::try_from(inbox.claimed(1).await).expect("the one due longest");
        assert_eq!(claimed.lease.job.webhook, id, "the job keeps its position");
        assert_eq!((claimed.attempt, claimed.attempt_of_run, claimed.lease.token), (2, 2, token));
        let before = inbox.status_of(id).await.revision();
        is_woken(&wake);
        inbox.give_back(vec![claimed.lease]).await.expect("gives back");
        let status = inbox.status_of(id).await;
        assert_eq!((status.status(), status.attempt_count()), (Status::Pending, 1));
        assert!(status.revision() > before);
        assert!(is_woken(&wake), "the job is startable again");
        let (_, detail) = inbox.job_of(id, "once").await;
        assert_eq!(
            (detail.attempts.len(), detail.uncounted_attempts),
            (1, 0),
            "only the failed attempt is recorded"
        );
        let told = std::iter::from_fn(|| watching.try_recv().ok()).last().expect("watchers are told");
        assert_eq!((told.status, told.attempt_count), (Status::Pending, 1));
    }
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Pending), counts.of(Status::Processing)), (2, 0));
}

pub(crate) async fn a_job_given_back_frees_its_concurrency_and_its_lane<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([concurrent("limited", 1), policy("ordered")]).await;
    inbox.accept_for("1", [job("limited"), ordered("ordered", "x")]).await;
    inbox.advance(seconds(1));
    inbox.accept_for("2", [job("limited"), ordered("ordered", "x")]).await;
    let leased = inbox.claimed(10).await;
    assert_eq!(leased.len(), 2);
    inbox.claim_nothing().await;
    inbox.give_back(leased.iter().map(|job| job.lease).collect()).await.expect("gives back");
    let jobs = inbox.claimed(10).await;
    assert!(jobs.len() == 2 && jobs.iter().all(|job| job.idempotency_key.as_str() == "1"));
    for job in jobs {
        inbox.end(&job, Status::Completed).await;
    }
    assert_eq!(inbox.claimed(10).await.len(), 2);
}

pub(crate) async fn a_job_given_back_after_the_clock_was_set_back_is_due<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("plain"), policy("ordered")]).await;
    inbox.accept_for("k", [job("plain"), ordered("ordered", "x")]).await;
    let leased = inbox.claimed(10).await;
    assert_eq!(leased.len(), 2);
    inbox.go_back(seconds(3_600));
    // A store with a clock of its own reads it twice.
    for _ in 0..2 {
        assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("looks"), 0);
        inbox.advance(seconds(1));
    }
    inbox.give_back(leased.iter().map(|job| job.lease).collect()).await.expect("gives back");
    let again = inbox.claimed(10).await;
    assert_eq!(again.iter().map(|job| job.attempt).collect::<Vec<_>>(), [1, 1]);
}

pub(crate) async fn a_job_given_back_does_not_use_up_the_rate_of_its_route<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([paced("slow", 1, seconds(3_600))]).await;
    inbox.accept_many("k", 2, &[job("slow")]).await;
    for _ in 0..3 {
        let claimed = inbox.claimed(10).await;
        assert_eq!(claimed.len(), 1);
        inbox.claim_nothing().await;
        inbox.give_back(vec![claimed[0].lease]).await.expect("gives back");
        inbox.give_back(vec![claimed[0].lease]).await.expect("answers");
        inbox.advance(seconds(1));
    }
    assert_eq!(inbox.claimed(10).await.len(), 1);
    inbox.claim_nothing().await;
    inbox.advance(seconds(3_590));
    inbox.claim_nothing().await;
    inbox.advance(seconds(10));
    assert_eq!(inbox.claimed(10).await.len(), 1);
}

pub(crate) async fn giving_back_lost_leases_changes_nothing<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let completed = inbox.accept_new("completed").await.id;
    let ended = inbox.claim_one().await;
    inbox.end(&ended, Status::Completed).await;
    let again = inbox.accept_new("again").await.id;
    let lost = inbox.claim_one().await;
    inbox.fail(&lost, seconds(0)).await;
    let held = inbox.claim_one().await;
    inbox.give_back(vec![ended.lease, lost.lease]).await.expect("answers");
    inbox.give_back(Vec::new()).await.expect("answers");
    assert_eq!(inbox.status_of(completed).await.status(), Status::Completed);
    let status = inbox.status_of(again).await;
    assert_eq!((status.status(), status.attempt_count()), (Status::Processing, 2));
    inbox.end(&held, Status::Completed).await;
}
