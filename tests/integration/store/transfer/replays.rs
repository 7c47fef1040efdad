//! A transfer moves replays, which go on, and what operators did.

use futures::future::join_all;
use hookbox::internals::domain::action::{ActionKind, ActionReason};
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::replay::ReplayState;
use hookbox::internals::store::{
    ActionQuery, ActionTarget, Actions as _, NewAction, NewReplay, ReplayFilter, ReplayStep, Store as _,
};

use super::equal::assert_equal;
use super::{Ends, complete, moved};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, milliseconds, seconds, source};
use crate::store::routes::route;
use crate::store::sqlite::SqliteHarness;

fn reason(text: &str) -> Option<ActionReason> {
    ActionReason::of_field(Some(text.to_owned())).expect("valid")
}

fn replay(filter: ReplayFilter, rate: Option<&str>) -> NewReplay {
    let rate = rate.map(|rate| rate.parse().expect("a rate"));
    NewReplay { filter, reason: reason("lost orders"), actor: "anna".to_owned(), rate, dry_run: false }
}

/// All replays as text, for the comparison of two stores.
async fn replays<H: Harness>(inbox: &Inbox<H>) -> String {
    format!("{:#?}", inbox.replays(None, 10).await.expect("lists"))
}

/// Does steps until no replay is running.
async fn run<H: Harness>(inbox: &Inbox<H>) {
    while inbox.step_replay(1).await.expect("steps") == ReplayStep::Moved {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_replay_goes_on_after_the_transfer_where_it_was() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    for key in ["1", "2", "3", "4", "5"] {
        inbox.ended_webhook(key, Status::Completed).await;
        inbox.advance(milliseconds(1));
    }
    let of_route = ReplayFilter { route: Some(route("default")), ..ReplayFilter::default() };
    let cancelled = inbox.start_replay(replay(of_route, Some("50/s"))).await.expect("starts");
    inbox.step_replay(1).await.expect("steps");
    inbox.cancel_replay(cancelled.number).await.expect("cancels");
    let of_source = ReplayFilter { source: Some(source("default")), ..ReplayFilter::default() };
    let running = inbox.start_replay(replay(of_source, None)).await.expect("starts");
    for _ in 0..2 {
        assert_eq!(inbox.step_replay(1).await.expect("steps"), ReplayStep::Moved);
    }
    // One job that a replay has restarted is finished again, the other waits.
    for job in inbox.claimed(1).await {
        inbox.end(&job, Status::Completed).await;
    }
    let (target, _) = moved(&mut inbox).await;
    assert_eq!(replays(&inbox).await, replays(&target).await);
    assert_equal(&inbox, &target).await;

    run(&inbox).await;
    run(&target).await;
    assert_eq!(replays(&inbox).await, replays(&target).await);
    assert_equal(&inbox, &target).await;
    let ended = target.replay(running.number).await.expect("is kept");
    assert_eq!((ended.state, ended.counts.webhooks, ended.counts.jobs), (ReplayState::Completed, 5, 4));
    for webhook in target.everything().await {
        assert_eq!(target.detail_of(webhook.id).await.jobs[0].run, 2, "each job was restarted once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actions_of_operators_move_in_their_order() {
    let mut inbox = Inbox::<SqliteHarness>::new().await;
    let webhook = inbox.accept_new("k").await;
    let target = ActionTarget {
        webhook: Some(webhook.id),
        route: Some(route("default")),
        source: Some(source("default")),
        replay: Some(7),
    };
    let full = NewAction {
        actor: "anna".to_owned(),
        kind: ActionKind::RetryWebhook,
        target,
        reason: reason("зачем"),
        detail: Some("more".to_owned()),
    };
    inbox.record_action(full.clone()).await.expect("records");
    for kind in ActionKind::ALL {
        inbox.advance(seconds(1));
        let target = ActionTarget::default();
        let bare = NewAction { kind: *kind, target, reason: None, detail: None, ..full.clone() };
        inbox.record_action(bare).await.expect("records");
    }
    let (target, _) = moved(&mut inbox).await;
    let query = ActionQuery { limit: 100, ..ActionQuery::default() };
    let (before, after) = (inbox.actions(query.clone()).await, target.actions(query).await);
    let (before, after) = (before.expect("lists"), after.expect("lists"));
    assert_eq!(before.len(), 1 + ActionKind::ALL.len());
    assert_eq!(before, after);
    assert!(after.iter().any(|action| action.reason.as_deref() == Some("зачем")));
    target.record_action(full).await.expect("records another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_actions_move_in_several_batches() {
    const ACTIONS: usize = 2_500;
    let ends = Ends::with(1).await;
    let file = ends.open_file().await.expect("opens");
    let recorded = join_all((0..ACTIONS).map(|number| {
        let (actor, target) = (number.to_string(), ActionTarget::default());
        file.record_action(NewAction { actor, kind: ActionKind::Pause, target, reason: None, detail: None })
    }));
    recorded.await.into_iter().collect::<Result<Vec<_>, _>>().expect("records all");
    file.close().await;
    complete(ends.ready().await).await;
    let counted = ends.ask("SELECT count(DISTINCT actor) || ' of ' || count(*) FROM actions");
    assert_eq!(counted, [format!("{ACTIONS} of {ACTIONS}")]);
}
