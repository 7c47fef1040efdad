//! Counts by status, and since when the oldest job has been due. `model` compares counts after
//! every step of a random life.

use hookbox::domain::job::Status;
use hookbox::store::StatusCounts;

use crate::harness::Harness;
use crate::inbox::{Inbox, LEASE, milliseconds, seconds};

async fn recounted<H: Harness>(inbox: &Inbox<H>) -> StatusCounts {
    let all = inbox.everything().await;
    StatusCounts::new(Status::ALL.map(|status| all.iter().filter(|one| one.status == status).count() as u64))
}

pub(crate) async fn counts_are_those_of_a_recount_also_after_a_restart<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    assert_eq!(inbox.counts().await, StatusCounts::default());
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        inbox.accept_new(key).await;
        inbox.advance(milliseconds(1));
    }
    let jobs = inbox.claim(5, LEASE).await.expect("claims").jobs;
    for (job, next) in
        jobs.iter().zip([Status::Completed, Status::Retrying, Status::DeadLettered, Status::Pending])
    {
        inbox.end(job, next).await;
        assert_eq!(inbox.counts().await, recounted(&inbox).await);
    }
    let newest = inbox.everything().await[0].id;
    inbox.cancel(newest).await.expect("cancels");

    // completed a, retrying b, dead-lettered c, given back d, running e, waiting f, cancelled g.
    let expected = StatusCounts::new([2, 1, 1, 1, 1, 1]);
    assert_eq!(inbox.counts().await, expected);
    assert_eq!(recounted(&inbox).await, expected);
    inbox.close_and_reopen().await;
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.counts().await, recounted(&inbox).await);
}

pub(crate) async fn the_oldest_due_job_is_told_until_it_is_claimed<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let oldest_due = async |inbox: &Inbox<H>| inbox.stats().await.expect("counts").oldest_due;
    assert_eq!(oldest_due(&inbox).await, None);

    let start = inbox.now();
    inbox.accept_new("a").await;
    inbox.advance(seconds(5));
    inbox.accept_new("b").await;
    inbox.advance(seconds(5));
    assert_eq!(oldest_due(&inbox).await, Some(start));
    inbox.crash_and_reopen().await;
    assert_eq!(oldest_due(&inbox).await, Some(start), "after a restart too");

    let jobs = inbox.claim(1, LEASE).await.expect("claims").jobs;
    assert_eq!(oldest_due(&inbox).await, Some(start + seconds(5)));
    inbox.claim_one().await;
    assert_eq!(oldest_due(&inbox).await, None, "what runs is not waiting");

    inbox.fail(&jobs[0], seconds(10)).await;
    assert_eq!(oldest_due(&inbox).await, None, "what is due later is not due");
    inbox.advance(seconds(12));
    assert_eq!(oldest_due(&inbox).await, Some(inbox.now() - seconds(2)));
}
