//! The actions of operators: recorded, listed and purged.

use hookbox::internals::domain::action::{ActionKind, ActionReason};
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::store::{Action, ActionQuery, ActionTarget, NewAction};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, seconds, source};
use crate::store::routes::route;

fn action(kind: ActionKind, target: ActionTarget) -> NewAction {
    NewAction { actor: "anna".to_owned(), kind, target, reason: None, detail: None }
}

fn on_webhook(byte: u8) -> ActionTarget {
    ActionTarget { webhook: Some(WebhookId::from_bytes([byte; 16])), ..ActionTarget::default() }
}

async fn listed<H: Harness>(inbox: &Inbox<H>, query: ActionQuery) -> Vec<Action> {
    inbox.actions(query).await.expect("lists")
}

async fn numbers<H: Harness>(inbox: &Inbox<H>, before: Option<u64>, limit: usize) -> Vec<u64> {
    let actions = listed(inbox, ActionQuery { webhook: None, before, limit }).await;
    actions.into_iter().map(|action| action.number).collect()
}

pub(crate) async fn actions_are_kept_as_they_were_recorded<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let reason = ActionReason::of_field(Some("зачем: \"ż\"".to_owned())).expect("valid");
    let target = ActionTarget {
        webhook: Some(WebhookId::from_bytes([7; 16])),
        route: Some(route("orders")),
        source: Some(source("shop")),
        replay: Some(3),
    };
    let detail = Some("7 jobs".to_owned());
    let full = NewAction { reason, detail, ..action(ActionKind::StartReplay, target) };
    inbox.record_action(full.clone()).await.expect("records");
    inbox.advance(seconds(1));
    for kind in ActionKind::ALL {
        inbox.record_action(action(*kind, ActionTarget::default())).await.expect("records");
    }
    inbox.crash_and_reopen().await;
    let actions = listed(&inbox, ActionQuery { limit: 100, ..ActionQuery::default() }).await;
    let kinds = actions.iter().rev().skip(1).map(|action| action.kind).collect::<Vec<_>>();
    assert_eq!(kinds, ActionKind::ALL);
    assert!(actions.iter().rev().skip(1).all(|action| action.target == ActionTarget::default()));
    let first = actions.last().expect("the first one");
    let expected = Action {
        number: first.number,
        at: inbox.now() - seconds(1),
        actor: full.actor,
        kind: full.kind,
        target: full.target,
        reason: full.reason.map(|reason| reason.to_string()),
        detail: full.detail,
    };
    assert_eq!(*first, expected);
}

pub(crate) async fn actions_are_listed_newest_first_page_by_page<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    assert_eq!(numbers(&inbox, None, 10).await, [0; 0]);
    for byte in [1, 2, 1, 2, 1] {
        inbox.record_action(action(ActionKind::RetryWebhook, on_webhook(byte))).await.expect("records");
    }
    let all = numbers(&inbox, None, 10).await;
    assert!(all.len() == 5 && all.is_sorted_by(|one, next| one > next), "{all:?}");
    assert_eq!(numbers(&inbox, None, 2).await, all[..2]);
    assert_eq!(numbers(&inbox, Some(all[1]), 2).await, all[2..4]);
    assert_eq!(numbers(&inbox, Some(all[3]), 2).await, all[4..]);
    assert_eq!(numbers(&inbox, Some(all[4]), 2).await, [0; 0]);
    for (byte, expected) in [(1, vec![all[0], all[2], all[4]]), (2, vec![all[1], all[3]]), (3, vec![])] {
        let query = ActionQuery { webhook: on_webhook(byte).webhook, before: None, limit: 10 };
        let found = listed(&inbox, query).await.into_iter().map(|action| action.number).collect::<Vec<_>>();
        assert_eq!(found, expected, "{byte}");
    }
}

pub(crate) async fn actions_are_purged_from_the_oldest_on<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let record = async || {
        inbox.record_action(action(ActionKind::Pause, ActionTarget::default())).await.expect("records");
    };
    assert_eq!(inbox.purge_actions(seconds(100)).await.expect("purges"), 0);
    for _ in 0..3 {
        record().await;
    }
    inbox.advance(seconds(60));
    record().await;
    let before = numbers(&inbox, None, 10).await;
    assert_eq!(inbox.purge_actions(seconds(100)).await.expect("purges"), 0);
    inbox.advance(seconds(40));
    assert_eq!(inbox.purge_actions(seconds(100)).await.expect("purges"), 3);
    assert_eq!(numbers(&inbox, None, 10).await, before[..1]);
    inbox.advance(seconds(60));
    assert_eq!(inbox.purge_actions(seconds(100)).await.expect("purges"), 1);
    record().await;
    let after = numbers(&inbox, None, 10).await;
    assert!(after.len() == 1 && after[0] > before[0], "a number is not used again: {before:?}, {after:?}");
}
