//! Which jobs a replay runs again, and which it leaves.

use std::time::Duration;

use futures::future::join_all;
use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::replay::ReplayCounts;
use hookbox::internals::store::{Finish, NewReplay, ReplayFilter, Submission};

use super::purging::RETENTION;
use super::replaying::{completed, everything, new, numbered, of_status, replayed, run, run_of};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, keys, refused, seconds, webhook, webhook_with};
use crate::store::routes::{job, policy, route};

pub(crate) async fn only_jobs_that_match_the_filter_run_again<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["a", "b"].map(policy)).await;
    let webhook = inbox.accept_for("k", ["a", "b"].map(job)).await;
    for job in inbox.claimed(2).await {
        let next = if job.route == route("a") { Status::Completed } else { Status::DeadLettered };
        inbox.end(&job, next).await;
    }
    let statuses = async || {
        let jobs = inbox.status_of(webhook.id).await.jobs;
        let of = |name| jobs.iter().find(|job| job.route == route(name)).expect("has the job").status;
        [of("a"), of("b")]
    };
    let other = ReplayFilter { route: Some(route("a")), ..of_status([Status::DeadLettered]) };
    assert_eq!(replayed(&inbox, new(other)).await.counts, ReplayCounts::default());
    assert_eq!(statuses().await, [Status::Completed, Status::DeadLettered]);
    let counts = ReplayCounts { webhooks: 1, jobs: 1, ..Default::default() };
    assert_eq!(replayed(&inbox, new(of_status([Status::DeadLettered]))).await.counts, counts);
    assert_eq!(statuses().await, [Status::Completed, Status::Pending]);
    let of_route = ReplayFilter { route: Some(route("a")), ..ReplayFilter::default() };
    assert_eq!(replayed(&inbox, new(of_route)).await.counts, counts);
    assert_eq!(statuses().await, [Status::Pending, Status::Pending]);
}

pub(crate) async fn times_limit_a_replay<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let ids = completed(&inbox, numbered(4)).await;
    let at = |index: usize| Some(ids[index].time());
    let filter = ReplayFilter { accepted_after: at(1), accepted_before: at(3), ..ReplayFilter::default() };
    assert_eq!(replayed(&inbox, new(filter)).await.counts.jobs, 2);
    let runs = join_all(ids.iter().map(|id| run_of(&inbox, *id))).await;
    assert_eq!(runs, [1, 2, 2, 1]);
    let nothing = ReplayFilter { accepted_after: Some(inbox.now() + seconds(1)), ..ReplayFilter::default() };
    assert_eq!(replayed(&inbox, new(nothing)).await.counts, ReplayCounts::default());
}

pub(crate) async fn a_time_within_a_millisecond_limits_a_replay<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let ids = completed(&inbox, numbered(4)).await;
    let within = |index: usize| Some(ids[index].time() + Duration::from_micros(100));
    let filter =
        ReplayFilter { accepted_after: within(0), accepted_before: within(2), ..ReplayFilter::default() };
    assert_eq!(replayed(&inbox, new(filter)).await.counts.jobs, 2);
    let runs = join_all(ids.iter().map(|id| run_of(&inbox, *id))).await;
    assert_eq!(runs, [1, 2, 2, 1]);
}

pub(crate) async fn every_filter_of_a_list_limits_a_replay<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let mut ids = Vec::new();
    for (key, payload, error) in [
        ("1", r#"{"order":7}"#, "answered 503"),
        ("2", r#"{"order":8}"#, "answered 503"),
        ("3", r#"{"order":7}"#, "no such order"),
    ] {
        ids.push(inbox.submit(webhook_with(key, payload)).await.expect("accepted").webhook.id);
        let job = inbox.claim_one().await;
        let error = Some(error.to_owned());
        let failed = Outcome::Failed;
        let finish = Finish { error, outcome: failed, ..inbox.ended(&job, Status::DeadLettered) };
        assert!(inbox.finish_one(finish).await.expect("finishes"));
    }
    let text = |text: &str| Some(text.to_owned());
    let any = ReplayFilter::default;
    let of_order =
        ReplayFilter { body_pointer: text("/order"), body_equals: text("7"), ..ReplayFilter::default() };
    for (filter, expected) in [
        (ReplayFilter { error_contains: text("503"), ..any() }, 2),
        (ReplayFilter { body_contains: text("order"), ..any() }, 3),
        (of_order.clone(), 2),
        (ReplayFilter { idempotency_key: text("2"), ..any() }, 1),
        (ReplayFilter { verdict: text("none"), ..any() }, 3),
        (ReplayFilter { verdict: text("unverified"), ..any() }, 0),
        (ReplayFilter { trace_id: text("4bf92f3577b34da6a3ce929d0e0e4736"), ..any() }, 0),
        (ReplayFilter { error_contains: text("503"), statuses: [Status::Completed].into(), ..any() }, 0),
    ] {
        let counted = replayed(&inbox, NewReplay { dry_run: true, ..new(filter.clone()) }).await.counts;
        assert_eq!((counted.webhooks, counted.jobs), (expected, expected), "{filter:?}");
    }
    let both = ReplayFilter { error_contains: text("503"), ..of_order };
    assert_eq!(replayed(&inbox, new(both)).await.counts.jobs, 1);
    let runs = join_all(ids.iter().map(|id| run_of(&inbox, *id))).await;
    assert_eq!(runs, [2, 1, 1]);
}

pub(crate) async fn few_matches_are_found_among_many_webhooks<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = completed(&inbox, ["first".to_owned()]).await;
    let other = |number| Submission { webhook: webhook(&format!("o{number}")), jobs: Vec::new() };
    let others = (0..4_096).map(other).collect();
    inbox.accept_batch(others, OnConflict::Reject).await.expect("accepted");
    let last = completed(&inbox, ["last".to_owned()]).await;
    let of_route = ReplayFilter { route: Some(route("default")), ..ReplayFilter::default() };
    let number = inbox.start_replay(new(of_route)).await.expect("starts").number;
    let steps = run(&inbox, number, 10).await;
    assert!((2..=5).contains(&steps), "each step looks at many webhooks, but not at all: {steps}");
    let counts = ReplayCounts { webhooks: 2, jobs: 2, ..Default::default() };
    assert_eq!(inbox.replay(number).await.expect("is kept").counts, counts);
    assert_eq!((run_of(&inbox, first[0]).await, run_of(&inbox, last[0]).await), (2, 2));
}

pub(crate) async fn jobs_without_their_payload_are_left<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let purged = completed(&inbox, ["old".to_owned()]).await;
    inbox.advance(RETENTION.completed);
    inbox.purge(RETENTION).await.expect("purges");
    let kept = completed(&inbox, ["new".to_owned()]).await;
    let counts = ReplayCounts { webhooks: 2, jobs: 1, payload_gone: 1, ..Default::default() };
    for dry_run in [true, false] {
        assert_eq!(replayed(&inbox, NewReplay { dry_run, ..new(everything()) }).await.counts, counts);
    }
    assert_eq!((run_of(&inbox, purged[0]).await, run_of(&inbox, kept[0]).await), (1, 2));
    assert_eq!(refused(inbox.replay_webhook(purged[0], None).await), Reason::WrongStatus);
    // The retention of what runs again begins anew.
    inbox.advance(RETENTION.completed);
    inbox.purge(RETENTION).await.expect("purges");
    assert_eq!(keys(&inbox.claimed(10).await), ["new"]);
    assert!(inbox.detail_of(kept[0]).await.payload.is_some());
}

pub(crate) async fn jobs_of_a_route_that_is_gone_are_left<H: Harness>() {
    let mut inbox = Inbox::<H>::with_routes(["default", "gone"].map(policy)).await;
    let webhook = inbox.accept_for("k", ["default", "gone"].map(job)).await;
    for job in inbox.claimed(2).await {
        inbox.end(&job, Status::Completed).await;
    }
    inbox.reload([policy("default")]).await;
    let counts = ReplayCounts { webhooks: 1, jobs: 1, route_gone: 1, ..Default::default() };
    assert_eq!(replayed(&inbox, new(everything())).await.counts, counts);
    assert_eq!(inbox.job_of(webhook.id, "gone").await.0.status, Status::Completed);
}
