//! A webhook has one job for each route. Its jobs are independent of each other.

use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookStatus};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, refused, seconds, source, webhook};
use crate::store::routes::{in_force, job, policy, route};

/// Opens a store with three routes.
async fn with_three_routes<H: Harness>() -> Inbox<H> {
    Inbox::with_routes(["a", "b", "c"].map(policy)).await
}

/// The status of each job, in the order of the routes' names.
fn statuses(webhook: &WebhookStatus) -> Vec<(&str, Status)> {
    let mut jobs = webhook.jobs.iter().map(|job| (job.route.as_str(), job.status)).collect::<Vec<_>>();
    jobs.sort_unstable();
    jobs
}

pub(crate) async fn a_webhook_gets_one_job_for_each_route<H: Harness>() {
    let mut inbox = with_three_routes::<H>().await;
    let webhook = inbox.accept_for("k", ["a", "b", "c"].map(job)).await;
    let all = ["a", "b", "c"].map(|name| (name, Status::Pending));
    assert_eq!(statuses(&webhook), all);
    assert!(webhook.jobs.is_sorted_by(|one, next| one.queue < next.queue), "sorted by queue");
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.status_of(webhook.id).await, webhook);

    let mut jobs = inbox.claimed(10).await;
    jobs.sort_by(|one, other| one.route.cmp(&other.route));
    assert_eq!(jobs.iter().map(|job| job.route.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    for (job, next) in jobs.iter().zip([Status::Completed, Status::Retrying, Status::DeadLettered]) {
        inbox.end(job, next).await;
    }
    let webhook = inbox.status_of(webhook.id).await;
    let all = [("a", Status::Completed), ("b", Status::Retrying), ("c", Status::DeadLettered)];
    assert_eq!(statuses(&webhook), all);
}

pub(crate) async fn jobs_of_a_route_from_one_source_share_a_queue<H: Harness>() {
    let mut inbox = with_three_routes::<H>().await;
    let queues = async |inbox: &Inbox<H>, from: &str, key: &str| {
        let webhook = inbox.accept_from(from, key, ["a", "b"].map(job)).await;
        let queue =
            |name: &str| webhook.jobs.iter().find(|job| job.route.as_str() == name).map(|job| job.queue);
        (queue("a").expect("has a job of a"), queue("b").expect("has a job of b"))
    };
    let (a, b) = queues(&inbox, "shop", "1").await;
    let (other_a, other_b) = queues(&inbox, "git-hub", "1").await;
    assert!(a != b && a != other_a && a != other_b && b != other_a && b != other_b && other_a != other_b);
    assert!(
        [a, b, other_a, other_b].iter().all(|queue| queue.0 > 0),
        "queue 0 is reserved for webhooks without a route"
    );
    inbox.crash_and_reopen().await;
    assert_eq!(queues(&inbox, "shop", "2").await, (a, b), "queues keep their numbers");
    assert_eq!(queues(&inbox, "git-hub", "2").await, (other_a, other_b));
}

pub(crate) async fn a_webhook_without_jobs_is_filtered<H: Harness>() {
    let mut inbox = with_three_routes::<H>().await;
    let filtered = inbox.accept_for("k", []).await;
    assert_eq!((filtered.status(), filtered.jobs.len()), (Status::Filtered, 0));
    inbox.claim_nothing().await;
    inbox.crash_and_reopen().await;
    assert_eq!(inbox.status_of(filtered.id).await, filtered);
    let detail = inbox.detail_of(filtered.id).await;
    assert_eq!((&detail.status, detail.jobs.len()), (&filtered, 0));
    assert_eq!(detail.payload.as_deref(), Some(r#"{"n":1}"#.as_bytes()));
    assert_eq!(inbox.everything().await, [filtered]);
    let stats = inbox.stats().await.expect("counts");
    assert_eq!((stats.unrouted.of(Status::Filtered), stats.counts().total()), (1, 1));
    assert_eq!(stats.counts().unfinished(), 0, "a filtered webhook does not count toward the backlog");
}

pub(crate) async fn the_status_of_a_webhook_is_derived_from_its_jobs<H: Harness>() {
    let inbox = with_three_routes::<H>().await;
    let id = inbox.accept_for("k", ["a", "b", "c"].map(job)).await.id;
    let status = async || inbox.status_of(id).await.status();
    assert_eq!(status().await, Status::Pending);
    let jobs = inbox.claimed(10).await;
    for (job, next, derived) in [
        (&jobs[0], Status::Completed, Status::Processing),
        (&jobs[1], Status::DeadLettered, Status::Processing),
        (&jobs[2], Status::Retrying, Status::Retrying),
    ] {
        inbox.end(job, next).await;
        assert_eq!(status().await, derived);
    }
    let job = inbox.claim_one().await;
    assert_eq!(status().await, Status::Processing);
    inbox.end(&job, Status::Completed).await;
    assert_eq!(status().await, Status::DeadLettered);
    inbox.cancel(id, None).await.expect("cancels the dead letter");
    assert_eq!(status().await, Status::Cancelled);
    inbox.retry(id, None).await.expect("retries it");
    assert_eq!(status().await, Status::Pending);
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    assert_eq!(status().await, Status::Completed);
}

pub(crate) async fn the_details_of_a_webhook_include_every_job<H: Harness>() {
    let inbox = with_three_routes::<H>().await;
    let id = inbox.accept_for("k", ["a", "b", "c"].map(job)).await.id;
    inbox.cancel(id, Some(route("c"))).await.expect("cancels");
    inbox.advance(seconds(1));
    let mut jobs = inbox.claimed(10).await;
    jobs.sort_by(|one, other| one.route.cmp(&other.route));
    inbox.end(&jobs[0], Status::Completed).await;
    inbox.advance(seconds(1));
    inbox.fail(&jobs[1], seconds(5)).await;
    inbox.retry(id, Some(route("c"))).await.expect("retries");

    let (status, a) = inbox.job_of(id, "a").await;
    assert_eq!((status.status, status.attempt_count), (Status::Completed, 1));
    assert_eq!(a.completed_at, Some(inbox.now() - seconds(1)));
    assert_eq!((a.result.as_deref(), a.attempts.len()), (Some(r#"{"done":true}"#), 1));
    let (status, b) = inbox.job_of(id, "b").await;
    assert_eq!((status.status, status.attempt_count), (Status::Retrying, 1));
    assert_eq!((b.available_at, b.completed_at), (inbox.now() + seconds(5), None));
    assert_eq!((b.result, b.attempts.len()), (None, 1));
    let (status, c) = inbox.job_of(id, "c").await;
    assert_eq!((status.status, status.attempt_count), (Status::Pending, 0));
    assert_eq!((c.run, c.available_at, c.attempts.len()), (2, inbox.now(), 0));
}

pub(crate) async fn a_duplicate_is_answered_with_the_jobs_of_the_first<H: Harness>() {
    let inbox = with_three_routes::<H>().await;
    let first = inbox.accept_for("k", ["a", "b"].map(job)).await;
    let filtered = inbox.accept_for("filtered", []).await;
    // The second request has other jobs, as if the routes had been changed in between.
    for jobs in [vec![job("a"), job("b")], vec![job("c")], vec![]] {
        let again = inbox.accept(webhook("k"), jobs.clone()).await.expect("answered");
        assert!(again.duplicate);
        assert_eq!(again.webhook, first);
        let again = inbox.accept(webhook("filtered"), jobs).await.expect("answered");
        assert!(again.duplicate);
        assert_eq!(again.webhook, filtered);
    }
    assert_eq!(inbox.counts().await.of(Status::Pending), 2);
    let job = inbox.claimed(1).await.remove(0);
    inbox.end(&job, Status::Completed).await;
    let again = inbox.accept(webhook("k"), Vec::new()).await.expect("answered");
    assert_eq!(again.webhook, inbox.status_of(first.id).await, "as it is now");
}

pub(crate) async fn retry_and_cancel_act_on_the_job_of_a_route<H: Harness>() {
    let inbox = with_three_routes::<H>().await;
    let id = inbox.accept_for("k", ["a", "b"].map(job)).await.id;
    let other = inbox.accept_for("other", [job("c")]).await;

    let answered = inbox.cancel(id, Some(route("a"))).await.expect("cancels");
    assert_eq!(statuses(&answered), [("a", Status::Cancelled), ("b", Status::Pending)]);
    assert_eq!(refused(inbox.retry(id, Some(route("b"))).await), Reason::WrongStatus);
    let answered = inbox.cancel(id, Some(route("b"))).await.expect("cancels");
    assert_eq!(statuses(&answered), [("a", Status::Cancelled), ("b", Status::Cancelled)]);
    let answered = inbox.retry(id, Some(route("a"))).await.expect("retries");
    assert_eq!(statuses(&answered), [("a", Status::Pending), ("b", Status::Cancelled)]);
    assert_eq!(inbox.status_of(id).await, answered);
    assert_eq!(inbox.status_of(other.id).await, other);

    for refusal in [inbox.retry(id, Some(route("c"))).await, inbox.cancel(id, Some(route("c"))).await] {
        let refusal = refusal.expect_err("has no job of the route");
        assert_eq!(refusal.reason(), Reason::RouteNotFound);
        assert!(refusal.detail().contains("`c`"), "the error names the route: {refusal}");
    }
}

pub(crate) async fn retry_and_cancel_without_a_route_change_every_job_that_allows_it<H: Harness>() {
    let inbox = with_three_routes::<H>().await;
    let id = inbox.accept_for("k", ["a", "b", "c"].map(job)).await.id;
    let mut jobs = inbox.claimed(10).await;
    jobs.sort_by(|one, other| one.route.cmp(&other.route));
    inbox.end(&jobs[0], Status::Completed).await;
    assert_eq!(refused(inbox.retry(id, None).await), Reason::WrongStatus);
    assert_eq!(
        refused(inbox.cancel(id, None).await),
        Reason::WrongStatus,
        "two jobs are running and one is completed"
    );

    inbox.end(&jobs[1], Status::DeadLettered).await;
    inbox.end(&jobs[2], Status::Retrying).await;
    let answered = inbox.cancel(id, None).await.expect("cancels");
    let all = [("a", Status::Completed), ("b", Status::Cancelled), ("c", Status::Cancelled)];
    assert_eq!(statuses(&answered), all);
    assert_eq!(inbox.cancel(id, None).await.expect("answered"), answered, "cancelling again changes nothing");
    let answered = inbox.retry(id, None).await.expect("retries");
    let all = [("a", Status::Completed), ("b", Status::Pending), ("c", Status::Pending)];
    assert_eq!(statuses(&answered), all);
    assert_eq!(inbox.claimed(10).await.len(), 2);
}

pub(crate) async fn every_job_of_a_webhook_counts_toward_the_backlog<H: Harness>() {
    let inbox = Inbox::<H>::with(3, in_force(["a", "b", "c"].map(policy))).await;
    inbox.accept_for("1", ["a", "b"].map(job)).await;
    inbox.accept_for("filtered", []).await;
    let new = NewWebhook { source: source("shop"), ..webhook("2") };
    inbox.accept(new, ["a", "b", "c"].map(job).to_vec()).await.expect("the limit allows one more webhook");
    assert_eq!(inbox.counts().await.unfinished(), 5);
    let refusal = async |key| refused(inbox.accept(webhook(key), vec![job("a")]).await);
    assert_eq!(refusal("3").await, Reason::BacklogFull);
    let jobs = inbox.claimed(10).await;
    inbox.end(&jobs[0], Status::Completed).await;
    inbox.end(&jobs[1], Status::Completed).await;
    assert_eq!(refusal("3").await, Reason::BacklogFull, "three jobs are unfinished");
    inbox.end(&jobs[2], Status::Completed).await;
    inbox.accept_for("3", [job("a")]).await;
}
