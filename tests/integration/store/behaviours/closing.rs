//! Probing a store and closing it.

use std::fmt::Debug;

use futures::future::join_all;
use hookbox::internals::domain::action::ActionKind;
use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::{Reason, Result};
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::webhook::WebhookName;
use hookbox::internals::store::{
    ActionQuery, ActionTarget, ListQuery, NewAction, NewReplay, PauseTarget, Probe, ReplayFilter, Submission,
};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, LEASE, refused, seconds, webhook};
use crate::store::routes::{default_job, in_force, route};

pub(crate) async fn a_probe_reports_that_the_store_is_writable<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    for _ in 0..2 {
        assert_eq!(inbox.probe().await.expect("writes"), Probe { migrations_current: true });
        inbox.close_and_reopen().await;
    }
}

fn is_closed<T: Debug>(result: Result<T>) {
    assert_eq!(refused(result), Reason::ShuttingDown);
}

pub(crate) async fn a_closed_store_refuses_every_operation<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let (id, job) = (inbox.accept_new("k").await.id, inbox.claim_one().await);
    inbox.close().await;

    is_closed(inbox.submit(webhook("other")).await);
    is_closed(inbox.submit(webhook("k")).await);
    let batch = ["k", "other"].map(|key| Submission { webhook: webhook(key), jobs: default_job() });
    let answer = inbox.accept_batch(batch.into(), OnConflict::Reject).await;
    is_closed(answer.map_err(|refused| refused.error));
    is_closed(inbox.status(WebhookName::Id(id)).await);
    is_closed(inbox.webhook(id).await);
    is_closed(inbox.list(ListQuery { limit: 1, ..ListQuery::default() }).await);
    is_closed(inbox.probe().await);

    is_closed(inbox.claim(inbox.claim_for(1)).await);
    is_closed(inbox.finish_one(inbox.ended(&job, Status::Completed)).await);
    is_closed(inbox.renew(vec![job.lease], LEASE).await);
    is_closed(inbox.leased("process 1", vec![job.lease]).await);
    is_closed(inbox.give_back(vec![job.lease]).await);
    is_closed(inbox.take_over_expired(Vec::new()).await);

    is_closed(inbox.set_policies(in_force([])).await);
    is_closed(inbox.retry(id, None).await);
    is_closed(inbox.cancel(id, None).await);
    is_closed(inbox.pause(PauseTarget::Everything).await);
    is_closed(inbox.resume(PauseTarget::Everything).await);
    is_closed(inbox.pauses().await);
    is_closed(inbox.move_jobs(route("default"), route("other")).await);
    is_closed(inbox.cancel_jobs(route("default")).await);
    let kept = seconds(1);
    let retention = Retention { completed: kept, dead_lettered: kept, keys: kept, quarantined: kept };
    is_closed(inbox.purge(retention).await);

    let filter = ReplayFilter { route: Some(route("default")), ..ReplayFilter::default() };
    let actor = || "anna".to_owned();
    let replay = NewReplay { filter, reason: None, actor: actor(), rate: None, dry_run: false };
    is_closed(inbox.start_replay(replay).await);
    is_closed(inbox.step_replay(1).await);
    is_closed(inbox.cancel_replay(1).await);
    is_closed(inbox.replay(1).await);
    is_closed(inbox.replays(None, 1).await);
    is_closed(inbox.replay_webhook(id, None).await);
    let (kind, target) = (ActionKind::Pause, ActionTarget::default());
    let action = NewAction { actor: actor(), kind, target, reason: None, detail: None };
    is_closed(inbox.record_action(action).await);
    is_closed(inbox.actions(ActionQuery::default()).await);
    is_closed(inbox.purge_actions(kept).await);
    inbox.close().await;
}

pub(crate) async fn a_closed_store_refuses_to_return_statistics<H: Harness>() {
    for webhooks in [0, 1] {
        let inbox = Inbox::<H>::new().await;
        for number in 0..webhooks {
            inbox.accept_new(&number.to_string()).await;
        }
        inbox.close().await;
        is_closed(inbox.stats().await);
    }
}

pub(crate) async fn a_webhook_sent_while_closing_is_stored_or_refused<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let keys = (0..200).map(|number| number.to_string()).collect::<Vec<_>>();
    let tasks = keys.iter().cloned().map(|key| {
        let store = inbox.shared();
        tokio::spawn(async move { store.accept(webhook(&key), default_job()).await })
    });
    let tasks = tasks.collect::<Vec<_>>();
    tokio::task::yield_now().await;
    inbox.close().await;
    let answers = join_all(tasks).await.into_iter().map(|answer| answer.expect("ran"));
    let mut stored = Vec::new();
    for answer in answers {
        match answer {
            Ok(accepted) => stored.push(accepted.webhook.id),
            Err(error) => is_closed::<()>(Err(error)),
        }
    }
    stored.sort();

    inbox.close_and_reopen().await;
    let mut kept = inbox.everything().await.into_iter().map(|webhook| webhook.id).collect::<Vec<_>>();
    kept.sort();
    assert_eq!(kept, stored);
}

pub(crate) async fn webhooks_are_still_stored_after_closing_and_opening<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let completed = inbox.ended_webhook("completed", Status::Completed).await;
    let pending = inbox.accept_new("pending").await;
    let before = inbox.detail_of(completed.id).await;
    inbox.close_and_reopen().await;
    assert_eq!(inbox.everything().await, [pending, completed]);
    assert_eq!(format!("{:?}", inbox.detail_of(before.status.id).await), format!("{before:?}"));
    assert_eq!(inbox.claimed(10).await.len(), 1);
}
