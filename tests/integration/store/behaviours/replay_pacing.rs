//! How fast a replay is: by its rate, and by what else waits.

use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::replay::WaitsFor;
use hookbox::internals::store::{NewReplay, ReplayFilter, ReplayStep};

use super::replaying::{ALL, completed, everything, new, numbered, replayed, run, run_of};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, milliseconds, seconds};
use crate::store::routes::{job, policy, route};

pub(crate) async fn a_rate_spreads_what_is_restarted<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    completed(&inbox, numbered(6)).await;
    let rate = Some("20/s".parse().expect("a rate"));
    let started = inbox.start_replay(NewReplay { rate, ..new(everything()) }).await.expect("starts");
    assert_eq!(started.rate, rate);
    for restarted in [2, 4, 6] {
        assert_eq!(inbox.step_replay(ALL).await.expect("steps"), ReplayStep::Moved);
        assert_eq!(inbox.replay(started.number).await.expect("is kept").counts.jobs, restarted);
        if restarted < 6 {
            inbox.crash_and_reopen().await;
            assert_eq!(inbox.step_replay(ALL).await.expect("steps"), ReplayStep::Paced(milliseconds(100)));
        }
        let started = inbox.claimed(ALL).await;
        assert_eq!(started.len(), 2);
        for job in &started {
            inbox.end(job, Status::Completed).await;
        }
        inbox.advance(milliseconds(100));
    }
}

pub(crate) async fn a_replay_waits_while_due_jobs_of_a_route_do_not_start<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["default", "slow"].map(policy)).await;
    let slow = inbox.accept_for("slow", [job("slow")]).await;
    let held = inbox.claim_one().await;
    inbox.end(&held, Status::Completed).await;
    completed(&inbox, numbered(2)).await;
    inbox.accept_for("waits", [job("slow")]).await;
    inbox.advance(seconds(2));
    // The first webhook is one of the route whose job waits.
    let number = inbox.start_replay(new(everything())).await.expect("starts").number;
    assert_eq!(inbox.step_replay(ALL).await.expect("steps"), ReplayStep::Behind(milliseconds(400)));
    let replay = inbox.replay(number).await.expect("is kept");
    assert_eq!((replay.waits_for, replay.counts), (Some(WaitsFor::Route(route("slow"))), Default::default()));
    assert_eq!(run_of(&inbox, slow.id).await, 1);

    let waited = inbox.claim_one().await;
    assert_eq!(waited.idempotency_key.as_str(), "waits");
    run(&inbox, number, ALL).await;
    let replay = inbox.replay(number).await.expect("is kept");
    assert_eq!((replay.waits_for, replay.counts.jobs, replay.counts.unfinished), (None, 3, 1));
}

pub(crate) async fn a_route_that_is_behind_does_not_hold_a_replay_of_others<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["default", "slow"].map(policy)).await;
    completed(&inbox, numbered(2)).await;
    inbox.accept_for("waits", [job("slow")]).await;
    inbox.advance(seconds(2));
    let of_route = ReplayFilter { route: Some(route("default")), ..ReplayFilter::default() };
    assert_eq!(replayed(&inbox, new(of_route)).await.counts.jobs, 2);
}

pub(crate) async fn a_replay_waits_while_the_backlog_is_high<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(4).await;
    completed(&inbox, numbered(2)).await;
    inbox.accept_new("pending 1").await;
    inbox.accept_new("pending 2").await;
    let running = inbox.claimed(2).await;
    let number = inbox.start_replay(new(everything())).await.expect("starts").number;
    assert_eq!(inbox.step_replay(ALL).await.expect("steps"), ReplayStep::Behind(seconds(1)));
    let replay = inbox.replay(number).await.expect("is kept");
    assert_eq!((replay.waits_for, replay.counts), (Some(WaitsFor::Backlog), Default::default()));
    inbox.end(&running[0], Status::Completed).await;
    run(&inbox, number, ALL).await;
    let replay = inbox.replay(number).await.expect("is kept");
    assert_eq!((replay.waits_for, replay.counts.jobs), (None, 3));
}
