//! Pauses: they are stored and apply to all processes. Webhooks are still accepted, and running jobs continue.

use hookbox::internals::domain::job::Status;
use hookbox::internals::store::{NewPause, Pause, PauseTarget};

use super::announcing::{is_asleep, is_woken, listen};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, OPERATOR, keys, new_pause, seconds, sorted_keys, source};
use crate::store::routes::{job, ordered, policy, route};

fn paused_route(name: &str) -> PauseTarget {
    PauseTarget::Route(route(name))
}

fn paused_source(name: &str) -> PauseTarget {
    PauseTarget::Source(source(name))
}

/// The targets of the pauses in force, sorted.
async fn targets<H: Harness>(inbox: &Inbox<H>) -> Vec<String> {
    let pauses = inbox.pauses().await.expect("looks");
    let mut in_stats = inbox.stats().await.expect("counts").pauses;
    in_stats.retain(|pause| !pauses.contains(pause));
    assert_eq!(in_stats, []);
    let mut targets = pauses.iter().map(|pause| format!("{:?}", pause.target)).collect::<Vec<_>>();
    targets.sort();
    targets
}

/// Accepts four webhooks: one for each combination of two routes and two sources.
async fn with_two_routes<H: Harness>() -> Inbox<H> {
    let inbox = Inbox::with_routes(["a", "b"].map(policy)).await;
    for (from, key, name) in
        [("shop", "shop a", "a"), ("shop", "shop b", "b"), ("hub", "hub a", "a"), ("hub", "hub b", "b")]
    {
        inbox.accept_from(from, key, [job(name)]).await;
    }
    inbox
}

pub(crate) async fn a_pause_holds_its_jobs_until_it_is_resumed<H: Harness>() {
    for (target, free) in [
        (paused_route("a"), ["hub b", "shop b"].as_slice()),
        (paused_source("shop"), &["hub a", "hub b"]),
        (PauseTarget::Everything, &[]),
        (paused_route("unknown"), &["hub a", "hub b", "shop a", "shop b"]),
        (paused_source("unknown"), &["hub a", "hub b", "shop a", "shop b"]),
    ] {
        let inbox = with_two_routes::<H>().await;
        let wake = listen(&inbox);
        let pause = inbox.pause(target.clone()).await.expect("pauses");
        let (since, actor) = (inbox.now(), OPERATOR.to_owned());
        assert_eq!(pause, Pause { target: target.clone(), since, actor, reason: None });
        let claims = inbox.claims(10).await;
        assert_eq!(sorted_keys(&claims.jobs), free, "{target:?}");
        assert_eq!(claims.next, None, "a held job is not due for the claim");
        assert!(is_asleep(&inbox, &wake));

        inbox.advance(seconds(60));
        inbox.claim_nothing().await;
        assert!(inbox.resume(target.clone()).await.expect("resumes"));
        assert!(is_woken(&wake) || free.len() == 4, "the held jobs are startable again");
        assert_eq!(inbox.claimed(10).await.len(), 4 - free.len(), "{target:?}");
    }
}

pub(crate) async fn pausing_again_keeps_the_time_and_takes_the_new_actor_and_reason<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for target in [paused_route("a"), paused_source("shop"), PauseTarget::Everything] {
        let since = inbox.now();
        for (actor, reason) in
            [(OPERATOR, Some("the shop moves")), ("bert", Some("\"down\" – ż")), ("bert", None)]
        {
            let new = NewPause { actor: actor.to_owned(), ..new_pause(target.clone(), reason) };
            let expected = Pause {
                target: target.clone(),
                since,
                actor: actor.to_owned(),
                reason: reason.map(str::to_owned),
            };
            assert_eq!(inbox.shared().pause(new).await.expect("pauses"), expected);
            assert_eq!(inbox.pauses().await.expect("looks"), std::slice::from_ref(&expected));
            assert_eq!(inbox.stats().await.expect("counts").pauses, [expected]);
            inbox.advance(seconds(5));
        }
        assert!(inbox.resume(target.clone()).await.expect("resumes"));
        assert!(!inbox.resume(target).await.expect("answers"), "the target was already resumed");
        assert_eq!(inbox.pauses().await.expect("looks"), []);
    }
}

pub(crate) async fn a_job_held_by_two_pauses_starts_after_both_are_resumed<H: Harness>() {
    let inbox = with_two_routes::<H>().await;
    let all = [PauseTarget::Everything, paused_route("a"), paused_source("shop"), paused_route("b")];
    for target in &all {
        inbox.pause(target.clone()).await.expect("pauses");
    }
    assert_eq!(targets(&inbox).await.len(), 4);
    for (target, free) in all.into_iter().zip([&[][..], &["hub a"], &["shop a"], &["hub b", "shop b"]]) {
        inbox.claim_nothing().await;
        assert!(inbox.resume(target.clone()).await.expect("resumes"));
        assert_eq!(sorted_keys(&inbox.claimed(10).await), free, "after {target:?}");
    }
    assert_eq!(targets(&inbox).await, [""; 0]);
}

pub(crate) async fn a_pause_survives_a_restart<H: Harness>() {
    let mut inbox = with_two_routes::<H>().await;
    let because = new_pause(paused_route("a"), Some("the shop moves"));
    let pauses = [
        inbox.shared().pause(because).await.expect("pauses"),
        inbox.pause(paused_source("hub")).await.expect("pauses"),
    ];
    inbox.crash_and_reopen().await;
    inbox.advance(seconds(60));
    let kept = inbox.pauses().await.expect("looks");
    assert!(kept.len() == 2 && pauses.iter().all(|pause| kept.contains(pause)), "{kept:?}");
    assert_eq!(targets(&inbox).await.len(), 2);
    assert_eq!(keys(&inbox.claimed(10).await), ["shop b"]);
    inbox.close_and_reopen().await;
    assert!(inbox.resume(paused_route("a")).await.expect("resumes"));
    inbox.crash_and_reopen().await;
    let jobs = inbox.claimed(10).await;
    assert!(keys(&jobs).contains(&"shop a"), "the pause of the route ended");
    assert!(jobs.iter().all(|job| job.source == source("shop")));
}

pub(crate) async fn a_pause_does_not_stop_running_jobs_or_new_webhooks<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for key in ["completes", "fails"] {
        inbox.accept_new(key).await;
    }
    let jobs = inbox.claimed(2).await;
    inbox.pause(PauseTarget::Everything).await.expect("pauses");
    let waiting = inbox.accept_new("new").await;
    assert_eq!(inbox.renew(vec![jobs[0].lease], seconds(60)).await.expect("renews"), []);
    inbox.end(&jobs[0], Status::Completed).await;
    inbox.fail(&jobs[1], seconds(1)).await;
    inbox.cancel(waiting.id, None).await.expect("cancels");
    inbox.retry(waiting.id, None).await.expect("retries");
    inbox.advance(seconds(1));
    inbox.claim_nothing().await;
    inbox.resume(PauseTarget::Everything).await.expect("resumes");
    assert_eq!(inbox.claimed(10).await.len(), 2);
}

pub(crate) async fn a_pause_of_an_ordered_route_keeps_its_order<H: Harness>() {
    let inbox = Inbox::<H>::with_routes([policy("orders")]).await;
    for key in ["1", "2", "3"] {
        inbox.accept_for(key, [ordered("orders", "x")]).await;
    }
    let first = inbox.claim_one().await;
    inbox.pause(paused_route("orders")).await.expect("pauses");
    inbox.end(&first, Status::Completed).await;
    inbox.claim_nothing().await;
    inbox.resume(paused_route("orders")).await.expect("resumes");
    for key in ["2", "3"] {
        let job = inbox.claim_one().await;
        assert_eq!(job.idempotency_key.as_str(), key);
        inbox.end(&job, Status::Completed).await;
    }
}
