//! Retention of webhooks with several jobs and of webhooks without jobs.

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::WebhookName;
use hookbox::internals::store::{Purged, StatusCounts};

use super::purging::purge_all;
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, milliseconds, refused, seconds, webhook};
use crate::store::routes::{job, policy, route};

const NOTHING: Purged = Purged { payloads: 0, webhooks: 0, more: false };
const A_PAYLOAD: Purged = Purged { payloads: 1, ..NOTHING };
const A_WEBHOOK: Purged = Purged { webhooks: 1, ..NOTHING };

/// Accepts a webhook with a job for each of these routes.
async fn with_jobs<H: Harness>(names: &[&str]) -> (Inbox<H>, WebhookId) {
    let inbox = Inbox::with_routes(names.iter().map(|name| policy(name))).await;
    let id = inbox.accept_for("k", names.iter().map(|name| job(name))).await.id;
    (inbox, id)
}

/// Claims all jobs, ends the job of one route with the status `next`, and stops the others.
async fn end<H: Harness>(inbox: &Inbox<H>, name: &str, next: Status) {
    for job in inbox.claimed(10).await {
        inbox.end(&job, if job.route == route(name) { next } else { Status::Pending }).await;
    }
}

async fn has_payload<H: Harness>(inbox: &Inbox<H>, id: WebhookId) -> bool {
    inbox.detail_of(id).await.payload.is_some()
}

pub(crate) async fn a_payload_is_kept_until_the_retention_of_its_last_job_is_over<H: Harness>() {
    // The payload is kept for 100 s after a job completed, and for 200 s after it became a dead letter.
    for (first, then, last_is_over_after) in [
        (Status::Completed, Status::Completed, 110),
        (Status::Completed, Status::DeadLettered, 210),
        (Status::DeadLettered, Status::Completed, 200),
    ] {
        let (mut inbox, id) = with_jobs::<H>(&["a", "b"]).await;
        end(&inbox, "a", first).await;
        inbox.advance(seconds(10));
        end(&inbox, "b", then).await;
        inbox.advance(seconds(90));
        assert_eq!(
            purge_all(&inbox).await,
            NOTHING,
            "{first}, {then}: at most the retention of the first job is over"
        );
        inbox.advance(seconds(last_is_over_after - 100) - milliseconds(1));
        assert_eq!(purge_all(&inbox).await, NOTHING, "{first}, {then}");
        assert!(has_payload(&inbox, id).await);
        inbox.crash_and_reopen().await;
        inbox.advance(milliseconds(1));
        assert_eq!(purge_all(&inbox).await, A_PAYLOAD, "{first}, {then}");
        assert!(!has_payload(&inbox, id).await);
        assert_eq!(purge_all(&inbox).await, NOTHING, "once");
    }
}

pub(crate) async fn cancelling_one_of_two_dead_letters_restarts_its_retention<H: Harness>() {
    let (inbox, id) = with_jobs::<H>(&["a", "b"]).await;
    end(&inbox, "a", Status::DeadLettered).await;
    inbox.advance(seconds(150));
    end(&inbox, "b", Status::DeadLettered).await;
    // The 200 s of the first job are over, but the second job still needs the payload.
    inbox.advance(seconds(60));
    assert_eq!(purge_all(&inbox).await, NOTHING);
    inbox.cancel(id, Some(route("a"))).await.expect("cancels");
    inbox.advance(seconds(150));
    assert_eq!(
        purge_all(&inbox).await,
        NOTHING,
        "the first job was cancelled 150 s ago; the second ended 210 s ago"
    );
    inbox.advance(seconds(50));
    assert_eq!(purge_all(&inbox).await, A_PAYLOAD);
}

pub(crate) async fn a_key_is_kept_until_the_retention_of_the_last_job_is_over<H: Harness>() {
    let (mut inbox, id) = with_jobs::<H>(&["a", "b", "c"]).await;
    end(&inbox, "a", Status::Completed).await;
    inbox.cancel(id, Some(route("c"))).await.expect("cancels");
    inbox.advance(seconds(50));
    end(&inbox, "b", Status::DeadLettered).await;
    inbox.advance(seconds(250));
    assert_eq!(purge_all(&inbox).await, A_PAYLOAD, "one job ended less than 300 s ago");
    inbox.crash_and_reopen().await;
    inbox.advance(seconds(50) - milliseconds(1));
    assert_eq!(purge_all(&inbox).await, NOTHING);
    assert!(inbox.accept(webhook("k"), Vec::new()).await.expect("answered").duplicate);
    inbox.advance(milliseconds(1));
    assert_eq!(purge_all(&inbox).await, A_WEBHOOK);
    inbox.crash_and_reopen().await;

    assert_eq!(refused(inbox.status(WebhookName::Id(id)).await), Reason::WebhookNotFound);
    assert!(inbox.everything().await.is_empty());
    assert_eq!(inbox.counts().await, StatusCounts::default());
    assert!(!inbox.accept(webhook("k"), vec![job("a")]).await.expect("answered").duplicate);
}

pub(crate) async fn a_payload_counts_even_if_its_retention_ends_with_that_of_the_key<H: Harness>() {
    let (inbox, _) = with_jobs::<H>(&["a", "b"]).await;
    end(&inbox, "a", Status::Completed).await;
    inbox.advance(seconds(100));
    end(&inbox, "b", Status::DeadLettered).await;
    assert_eq!(purge_all(&inbox).await, NOTHING);
    inbox.advance(seconds(300));
    assert_eq!(purge_all(&inbox).await, Purged { payloads: 1, ..A_WEBHOOK });
}

pub(crate) async fn an_unfinished_job_keeps_the_payload_and_the_key<H: Harness>() {
    let (inbox, id) = with_jobs::<H>(&["a", "b"]).await;
    end(&inbox, "a", Status::Completed).await;
    for _ in 0..3 {
        inbox.advance(seconds(1_000));
        assert_eq!(purge_all(&inbox).await, NOTHING);
    }
    let job = inbox.claim_one().await;
    assert_eq!(job.payload.as_deref(), Some(r#"{"n":1}"#.as_bytes()));
    inbox.advance(seconds(1_000));
    assert_eq!(purge_all(&inbox).await, NOTHING, "it runs");
    inbox.end(&job, Status::Completed).await;
    inbox.advance(seconds(100) - milliseconds(1));
    assert_eq!(purge_all(&inbox).await, NOTHING);
    inbox.advance(milliseconds(1));
    assert_eq!(purge_all(&inbox).await, A_PAYLOAD);
    inbox.advance(seconds(200));
    assert_eq!(purge_all(&inbox).await, A_WEBHOOK);
    assert_eq!(refused(inbox.webhook(id).await), Reason::WebhookNotFound);
}

pub(crate) async fn a_job_can_be_retried_as_long_as_the_payload_is_kept<H: Harness>() {
    let (inbox, id) = with_jobs::<H>(&["a", "b"]).await;
    end(&inbox, "a", Status::DeadLettered).await;
    inbox.advance(seconds(1_000));
    assert_eq!(purge_all(&inbox).await, NOTHING, "the other job is unfinished");
    inbox.retry(id, Some(route("a"))).await.expect("the payload is kept");
    let mut jobs = inbox.claimed(10).await;
    assert_eq!(jobs.len(), 2);
    // The job whose retention was already over ends last.
    jobs.sort_by(|one, other| other.route.cmp(&one.route));
    for job in &jobs {
        assert!(job.payload.is_some());
        inbox.advance(seconds(10));
        inbox.end(job, Status::DeadLettered).await;
    }
    inbox.advance(seconds(200) - milliseconds(1));
    assert_eq!(purge_all(&inbox).await, NOTHING, "it ended anew");
    inbox.advance(milliseconds(1));
    assert_eq!(purge_all(&inbox).await, A_PAYLOAD);
    for route in [None, Some(route("a"))] {
        assert_eq!(refused(inbox.retry(id, route).await), Reason::WrongStatus);
    }
}

pub(crate) async fn the_retention_of_a_cancelled_dead_letter_starts_at_the_cancellation<H: Harness>() {
    let (inbox, id) = with_jobs::<H>(&["a"]).await;
    end(&inbox, "a", Status::DeadLettered).await;
    inbox.advance(seconds(150));
    inbox.cancel(id, None).await.expect("cancels");
    inbox.advance(seconds(199));
    assert_eq!(purge_all(&inbox).await, NOTHING);
    inbox.advance(seconds(1));
    assert_eq!(purge_all(&inbox).await, A_PAYLOAD);
    inbox.advance(seconds(100));
    assert_eq!(purge_all(&inbox).await, A_WEBHOOK);
}

pub(crate) async fn a_filtered_webhook_is_purged_like_a_completed_one<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let id = inbox.accept_for("k", []).await.id;
    inbox.advance(seconds(100) - milliseconds(1));
    assert_eq!(purge_all(&inbox).await, NOTHING);
    inbox.advance(milliseconds(1));
    assert_eq!(purge_all(&inbox).await, A_PAYLOAD);
    assert!(!has_payload(&inbox, id).await);
    assert_eq!(inbox.status_of(id).await.status(), Status::Filtered);
    inbox.crash_and_reopen().await;
    inbox.advance(seconds(200) - milliseconds(1));
    assert_eq!(purge_all(&inbox).await, NOTHING);
    assert!(inbox.accept(webhook("k"), Vec::new()).await.expect("answered").duplicate);
    inbox.advance(milliseconds(1));
    assert_eq!(purge_all(&inbox).await, A_WEBHOOK);
    assert_eq!(refused(inbox.webhook(id).await), Reason::WebhookNotFound);
    assert_eq!(inbox.counts().await, StatusCounts::default());
}

pub(crate) async fn many_webhooks_with_several_jobs_are_purged<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["a", "b", "c"].map(policy)).await;
    inbox.accept_many("k", 400, &["a", "b", "c"].map(job)).await;
    inbox.accept_many("filtered", 200, &[]).await;
    let jobs = inbox.claimed(2_000).await;
    assert_eq!(jobs.len(), 1_200);
    let finishes = jobs.iter().map(|job| inbox.ended(job, Status::Completed)).collect::<Vec<_>>();
    for finishes in finishes.chunks(250) {
        let answers = inbox.finish("process 1", finishes.to_vec()).await.expect("finishes");
        assert!(answers.iter().all(|held| *held));
    }
    inbox.advance(seconds(100));
    let purged = purge_all(&inbox).await;
    assert_eq!((purged.payloads, purged.webhooks), (600, 0));
    inbox.advance(seconds(200));
    let purged = purge_all(&inbox).await;
    assert_eq!((purged.payloads, purged.webhooks), (0, 600));
    assert_eq!(inbox.counts().await, StatusCounts::default());
}
