//! Queues that the database has under other numbers than the process knows, or not at all, and paces that are gone: a
//! standby that lacked the last commits of its primary was promoted.

use futures::future::join_all;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::WebhookStatus;
use hookbox::internals::store::{Moved, Submission};

use super::EmptiedPostgres;
use crate::store::behaviours::quarantine::quarantined;
use crate::store::inbox::{Inbox, milliseconds, refused, seconds, sorted_keys, webhook};
use crate::store::routes::{concurrent, in_force, job, ordered, policy, route};
use crate::support::postgres::Session;

/// What the promoted standby has in place of the queue of `orders`.
const OTHERS: [&str; 2] = [
    "DELETE FROM queues WHERE route = 'orders'",
    "UPDATE queues SET route = 'billing-' || id WHERE route = 'orders'",
];

fn session(inbox: &Inbox<EmptiedPostgres>) -> Session {
    Session::open(&inbox.harness().url()).expect("connects")
}

/// Checks that the database has the job of a webhook in a queue of `orders`.
fn check(session: &Session, webhook: &WebhookStatus) {
    let select = format!(
        "SELECT q.route FROM jobs j JOIN queues q ON q.id = j.queue WHERE j.webhook = '{}'",
        webhook.id
    );
    assert_eq!(session.ask(&select).expect("asks"), ["orders"], "{webhook:?}");
}

#[tokio::test]
async fn webhooks_are_stored_with_jobs_in_the_queues_of_the_database() {
    for other in OTHERS {
        let inbox = Inbox::<EmptiedPostgres>::with_routes([policy("orders")]).await;
        let session = session(&inbox);
        let lose = || session.ask(other).expect("asks");
        let quarantined = quarantined(&inbox, webhook("released")).await.id;
        check(&session, &inbox.accept_for("before", [job("orders")]).await);
        for (key, job) in [("plain", job("orders")), ("ordered", ordered("orders", "1"))] {
            lose();
            check(&session, &inbox.accept_for(key, [job]).await);
        }
        lose();
        let batch = ["one", "two"].map(|key| Submission { webhook: webhook(key), jobs: vec![job("orders")] });
        let stored = inbox.accept_batch(batch.into(), OnConflict::Reject).await.expect("is stored");
        stored.iter().for_each(|accepted| check(&session, &accepted.webhook));
        lose();
        let released =
            inbox.shared().release(quarantined, vec![job("orders")], None).await.expect("is released");
        check(&session, &released.webhook);
    }
}

// The runtime has one thread, so that all webhooks wait before the first one is stored.
#[tokio::test]
async fn near_the_limit_webhooks_that_fit_are_stored_in_the_queues_of_the_database_and_others_refused() {
    let inbox = Inbox::<EmptiedPostgres>::with(3, in_force([policy("orders")])).await;
    let session = session(&inbox);
    inbox.accept_for("before", [job("orders")]).await;
    session.ask(OTHERS[1]).expect("asks");
    let accepting = ["1", "2", "3", "4"].map(|key| inbox.accept(webhook(key), vec![job("orders")]));
    for (at, accepted) in join_all(accepting).await.into_iter().enumerate() {
        if at < 2 {
            check(&session, &accepted.expect("is stored").webhook);
        } else {
            assert_eq!(refused(accepted), Reason::BacklogFull);
        }
    }
}

#[tokio::test]
async fn jobs_move_to_the_queues_of_the_database() {
    for other in OTHERS {
        let inbox = Inbox::<EmptiedPostgres>::with_routes([policy("orders")]).await;
        let session = session(&inbox);
        inbox.accept_for("before", [job("orders")]).await;
        let moved = inbox.accept_for("moved", [job("old")]).await;
        session.ask(other).expect("asks");
        inbox.shared().move_jobs(route("old"), route("orders")).await.expect("moves");
        check(&session, &moved);
    }
}

#[tokio::test]
async fn a_job_is_not_run_by_the_route_that_its_queue_had_before() {
    for policies in [["orders", "billing"].map(policy), ["orders", "billing"].map(|name| concurrent(name, 9))]
    {
        let inbox = Inbox::<EmptiedPostgres>::with_routes(policies).await;
        inbox.accept_for("k", [job("orders")]).await;
        let other = "UPDATE queues SET route = 'billing' WHERE route = 'orders'";
        session(&inbox).ask(other).expect("asks");
        assert_eq!(inbox.claim_one().await.route, route("billing"));
    }
}

#[tokio::test]
async fn jobs_whose_queue_is_missing_are_shown_and_held_until_they_are_moved_or_cancelled() {
    const LOSE: &str = "DELETE FROM queues WHERE route = 'orders'";
    let mut inbox = Inbox::<EmptiedPostgres>::with_routes([policy("orders")]).await;
    let session = session(&inbox);
    let mut webhooks = Vec::new();
    for (key, job) in [("plain", job("orders")), ("ordered", ordered("orders", "1"))] {
        webhooks.push(inbox.accept_for(key, [job]).await);
    }
    session.ask(LOSE).expect("asks");
    inbox.claim_nothing().await;

    inbox.close_and_reopen().await;
    let unknown = |webhook: &WebhookStatus| route(&format!("unknown-{}", webhook.jobs[0].queue.0));
    let lost = unknown(&webhooks[0]);
    let mut shown = inbox.everything().await;
    shown.sort_by_key(|webhook| webhook.id);
    webhooks.sort_by_key(|webhook| webhook.id);
    for (shown, webhook) in shown.iter().zip(&webhooks) {
        assert_eq!((shown.id, &shown.jobs[0].route), (webhook.id, &lost));
        assert_eq!(inbox.status_of(webhook.id).await, *shown);
    }
    assert_eq!(shown.len(), 2);
    let queues = inbox.stats().await.expect("counts").queues;
    let held = queues.iter().find(|queue| queue.route == lost).expect("is counted");
    assert_eq!((held.source.as_str(), held.counts.of(Status::Pending)), ("default", 2));
    inbox.claim_nothing().await;

    let moved = inbox.move_jobs(lost, route("orders")).await.expect("moves");
    assert_eq!(moved, Moved { moved: 2, cancelled: 0 });
    assert_eq!(sorted_keys(&inbox.claimed(10).await), ["ordered", "plain"]);

    let one = inbox.accept_for("one", [job("orders")]).await;
    inbox.accept_for("other", [job("orders")]).await;
    session.ask(LOSE).expect("asks");
    // The standby has not counted so far either.
    session.ask("SELECT setval(pg_get_serial_sequence('queues', 'id'), 1)").expect("asks");
    inbox.close_and_reopen().await;
    let lost = unknown(&one);
    let one = inbox.cancel(one.id, Some(lost.clone())).await.expect("cancels");
    assert_eq!(one.status(), Status::Cancelled);
    assert_eq!(inbox.counts().await.of(Status::Pending), 1);
    assert_eq!(inbox.cancel_jobs(lost).await.expect("cancels"), 1);
    check(&session, &inbox.accept_for("after", [job("orders")]).await);
}

#[tokio::test]
async fn a_route_with_a_limit_goes_on_after_the_database_has_lost_its_pace() {
    let inbox = Inbox::<EmptiedPostgres>::with_routes([concurrent("orders", 9)]).await;
    let session = session(&inbox);
    session.ask("DELETE FROM paces").expect("asks");
    inbox.accept_for("k", [job("orders")]).await;
    // The process looks at everything at once, as it otherwise does every few seconds.
    session.ask("SELECT pg_notify('hookbox', E'another process\\ndue')").expect("asks");
    let starting = async {
        while inbox.claimed(1).await.is_empty() {
            tokio::time::sleep(milliseconds(5)).await;
        }
    };
    tokio::time::timeout(seconds(30), starting).await.expect("the job starts");
}
