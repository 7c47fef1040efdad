//! Pauses, rates, concurrency and missing routes keep jobs from starting after a move, too.

use hookbox::internals::domain::job::Status;
use hookbox::internals::store::PauseTarget;

use super::equal::{assert_equal, assert_go_on_alike};
use super::{move_into, moved};
use crate::store::inbox::{Inbox, keys, milliseconds, new_pause, seconds, sorted_keys, source};
use crate::store::postgres::EmptiedPostgres;
use crate::store::routes::{concurrent, job, paced, policy, route};
use crate::store::sqlite::SqliteHarness;

/// Accepts four webhooks: one for each combination of two routes and two sources.
async fn with_two_routes() -> Inbox<SqliteHarness> {
    let inbox = Inbox::with_routes(["a", "b"].map(policy)).await;
    for (from, key, name) in
        [("shop", "shop a", "a"), ("shop", "shop b", "b"), ("hub", "hub a", "a"), ("hub", "hub b", "b")]
    {
        inbox.accept_from(from, key, [job(name)]).await;
    }
    inbox
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_jobs_stay_paused_until_resumed() {
    for (target, free) in [
        (PauseTarget::Route(route("a")), ["hub b", "shop b"].as_slice()),
        (PauseTarget::Source(source("shop")), &["hub a", "hub b"]),
        (PauseTarget::Everything, &[]),
    ] {
        let mut inbox = with_two_routes().await;
        let because = new_pause(target.clone(), Some("the shop moves"));
        let pause = inbox.shared().pause(because).await.expect("pauses");
        inbox.advance(seconds(60));
        let (moved, _) = moved(&mut inbox).await;

        assert_eq!(moved.pauses().await.expect("looks"), [pause]);
        assert_equal(&inbox, &moved).await;
        let claims = moved.claims(10).await;
        assert_eq!((sorted_keys(&claims.jobs), claims.next), (free.to_vec(), None), "{target}");
        assert!(moved.resume(target).await.expect("resumes"));
        assert_eq!(moved.claimed(10).await.len(), 4 - free.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_pauses_are_moved_and_both_stores_behave_the_same() {
    let mut inbox = with_two_routes().await;
    for target in
        [PauseTarget::Everything, PauseTarget::Route(route("b")), PauseTarget::Source(source("hub"))]
    {
        inbox.pause(target).await.expect("pauses");
        inbox.advance(seconds(1));
    }
    assert!(inbox.resume(PauseTarget::Everything).await.expect("resumes"));
    let (target, _) = moved(&mut inbox).await;
    assert_equal(&inbox, &target).await;
    assert_go_on_alike(&inbox, &target).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pauses_that_the_database_had_before_the_move_are_kept() {
    let mut target = Inbox::<EmptiedPostgres>::new().await;
    let everything = target.pause(PauseTarget::Everything).await.expect("pauses");
    let mut inbox = with_two_routes().await;
    inbox.advance(seconds(1));
    inbox.pause(PauseTarget::Everything).await.expect("pauses");
    let of_route = inbox.pause(PauseTarget::Route(route("a"))).await.expect("pauses");
    move_into(&mut target, &mut inbox).await;

    assert_eq!(target.pauses().await.expect("looks"), [everything, of_route]);
    target.claim_nothing().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_counts_the_starts_before_the_move() {
    let mut inbox =
        Inbox::<SqliteHarness>::with_routes([paced("paced", 1, seconds(60)), policy("free")]).await;
    for key in ["1", "2", "3"] {
        inbox.accept_for(key, [job("paced")]).await;
        inbox.advance(milliseconds(1));
    }
    inbox.end(&inbox.claim_one().await, Status::Completed).await;
    let next = inbox.claims(10).await.next.expect("another is due later");
    let (target, _) = moved(&mut inbox).await;

    let claims = target.claims(10).await;
    assert_eq!((keys(&claims.jobs), claims.next), (vec![], Some(next)), "none before its time");
    target.advance_to(next);
    inbox.advance_to(next);
    assert_eq!(keys(&inbox.claimed(10).await), ["2"]);
    assert_eq!(keys(&target.claimed(10).await), ["2"]);
    assert_eq!(target.claims(10).await.next, inbox.claims(10).await.next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_concurrency_counts_jobs_that_were_moved_while_leased() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes([concurrent("limited", 2)]).await;
    inbox.accept_many("k", 4, &[job("limited")]).await;
    assert_eq!(inbox.claimed(1).await.len(), 1);
    let mut target = Inbox::<EmptiedPostgres>::new().await;
    move_into(&mut target, &mut inbox).await;

    assert_eq!(target.claimed(10).await.len(), 1, "one place is taken until its lease is taken over");
    assert_eq!(target.take_over_expired(Vec::new()).await.expect("takes over"), 1);
    assert_eq!(target.claimed(10).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_route_that_is_gone_are_held_until_it_is_back() {
    let mut inbox = Inbox::<SqliteHarness>::with_routes(["gone", "kept"].map(policy)).await;
    inbox.accept_for("both", ["gone", "kept"].map(job)).await;
    let several = inbox.accept_from("shop", "several", ["gone", "kept"].map(job)).await;
    inbox.accept_for("one", [job("gone")]).await;
    inbox.reload([policy("kept")]).await;
    let (mut target, _) = moved(&mut inbox).await;

    assert_equal(&inbox, &target).await;
    let claims = target.claims(10).await;
    assert_eq!((sorted_keys(&claims.jobs), claims.next), (vec!["both", "several"], None));
    assert!(claims.jobs.iter().all(|job| job.route == route("kept")));
    for job in &claims.jobs {
        target.end(job, Status::Completed).await;
    }
    let cancelled = target.cancel(several.id, Some(route("gone"))).await.expect("cancels");
    assert_eq!(cancelled.status(), Status::Cancelled);
    target.reload(["gone", "kept"].map(policy)).await;
    assert_eq!(sorted_keys(&target.claimed(10).await), ["both", "one"]);
}
