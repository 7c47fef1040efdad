//! Statistics: the number of jobs by queue and status, and since when the oldest job has been due. `model` also
//! compares the counts after every random operation.

use std::collections::BTreeMap;

use hookbox::internals::domain::job::Status;
use hookbox::internals::store::StatusCounts;
use jiff::Timestamp;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, milliseconds, seconds};
use crate::store::routes::{job, ordered, policy};

/// Counts by route and source. Webhooks without jobs are counted under empty names.
type Counts = BTreeMap<(String, String), [u64; Status::ALL.len()]>;

/// The counts that the store returns.
async fn counted<H: Harness>(inbox: &Inbox<H>) -> Counts {
    let stats = inbox.stats().await.expect("counts");
    let by_status = |counts: &StatusCounts| Status::ALL.map(|status| counts.of(status));
    let mut counts = Counts::new();
    for queue in &stats.queues {
        let name = (queue.route.to_string(), queue.source.to_string());
        let twice = counts.insert(name, by_status(&queue.counts));
        assert!(twice.is_none(), "each pair of route and source has one queue");
    }
    counts.insert(Default::default(), by_status(&stats.unrouted));
    counts.retain(|_, counts| counts.iter().any(|count| *count > 0));
    counts
}

/// The counts recomputed from all webhooks.
async fn recounted<H: Harness>(inbox: &Inbox<H>) -> Counts {
    let mut counts = Counts::new();
    for webhook in inbox.everything().await {
        for job in &webhook.jobs {
            let name = (job.route.to_string(), webhook.source.to_string());
            counts.entry(name).or_default()[job.status as usize] += 1;
        }
        if webhook.jobs.is_empty() {
            counts.entry(Default::default()).or_default()[Status::Filtered as usize] += 1;
        }
    }
    counts
}

pub(crate) async fn counts_by_queue_equal_a_recount_after_a_restart<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes([policy("default"), policy("orders")]).await;
    assert_eq!(counted(&inbox).await, Counts::new());
    let mut newest = None;
    for (key, from) in
        ["a", "b", "c", "d", "e", "f", "g"].into_iter().zip(["shop", "git-hub"].into_iter().cycle())
    {
        newest = Some(inbox.accept_from(from, key, [job("default"), ordered("orders", from)]).await.id);
        inbox.advance(milliseconds(1));
    }
    inbox.accept_from("shop", "filtered", []).await;
    // Claims the first job of each order value and five jobs of the default route.
    let jobs = inbox.claimed(7).await;
    assert_eq!(counted(&inbox).await, recounted(&inbox).await);
    let nexts = [Status::Completed, Status::Retrying, Status::DeadLettered, Status::Pending];
    for (job, next) in jobs.iter().zip(nexts) {
        inbox.end(job, next).await;
        assert_eq!(counted(&inbox).await, recounted(&inbox).await);
    }
    inbox.cancel(newest.expect("accepted"), None).await.expect("cancels");
    let before = counted(&inbox).await;
    assert_eq!(before, recounted(&inbox).await);
    assert_eq!(before.values().flatten().sum::<u64>(), 15);

    inbox.close_and_reopen().await;
    inbox.crash_and_reopen().await;
    assert_eq!(counted(&inbox).await, recounted(&inbox).await);
}

pub(crate) async fn the_oldest_due_job_is_reported_until_it_is_claimed<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    assert_eq!(oldest_due(&inbox, "default").await, None);

    let start = inbox.now();
    inbox.accept_new("a").await;
    inbox.advance(seconds(5));
    inbox.accept_new("b").await;
    inbox.advance(seconds(5));
    assert_eq!(oldest_due(&inbox, "default").await, Some(start));
    inbox.crash_and_reopen().await;
    assert_eq!(oldest_due(&inbox, "default").await, Some(start), "the same after a restart");

    let jobs = inbox.claimed(1).await;
    assert_eq!(oldest_due(&inbox, "default").await, Some(start + seconds(5)));
    inbox.claim_one().await;
    assert_eq!(oldest_due(&inbox, "default").await, None, "a running job is not due");

    inbox.fail(&jobs[0], seconds(10)).await;
    assert_eq!(oldest_due(&inbox, "default").await, None, "the retrying job is due later");
    inbox.advance(seconds(12));
    assert_eq!(oldest_due(&inbox, "default").await, Some(inbox.now() - seconds(2)));
}

pub(crate) async fn the_oldest_due_job_is_reported_for_each_queue<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("a"), policy("orders")]).await;
    let start = inbox.now();
    inbox.accept_for("1", [ordered("orders", "x")]).await;
    inbox.advance(seconds(5));
    inbox.accept_for("2", [job("a"), job("held"), ordered("orders", "x")]).await;
    inbox.advance(seconds(5));
    assert_eq!(oldest_due(&inbox, "a").await, Some(start + seconds(5)));
    assert_eq!(oldest_due(&inbox, "held").await, Some(start + seconds(5)), "a held job counts as due");
    assert_eq!(oldest_due(&inbox, "orders").await, Some(start));

    let jobs = inbox.claimed(10).await;
    assert_eq!(jobs.len(), 2);
    assert_eq!(oldest_due(&inbox, "orders").await, None, "the second job waits for the running one");
    let first = jobs.iter().find(|job| job.order.is_some()).expect("is ordered");
    inbox.end(first, Status::Completed).await;
    assert!(oldest_due(&inbox, "orders").await.is_some_and(|due| due <= inbox.now()));
}

/// The time since when the oldest job of a route has been due. The route must have exactly one source.
async fn oldest_due<H: Harness>(inbox: &Inbox<H>, route: &str) -> Option<Timestamp> {
    let queues = inbox.stats().await.expect("counts").queues;
    queues.iter().find(|queue| queue.route.as_str() == route).and_then(|queue| queue.oldest_due)
}
