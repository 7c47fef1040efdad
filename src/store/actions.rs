//! Actions: who did what, on what, why and when. They are only ever added, and purged at the end of their retention.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use diesel::QueryResult;
use jiff::Timestamp;

use super::PauseTarget;
use super::columns::unreadable;
use crate::domain::action::{ActionKind, ActionReason};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;

/// An action to record.
#[derive(Clone, Debug)]
pub struct NewAction {
    /// The actor: the name of a token.
    pub actor: String,
    /// What was done.
    pub kind: ActionKind,
    /// On what.
    pub target: ActionTarget,
    /// Why, in the words of the operator.
    pub reason: Option<ActionReason>,
    /// What else there is to say about it, for people.
    pub detail: Option<String>,
}

/// On what an operator acted. Nothing is set if it was everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionTarget {
    /// The webhook.
    pub webhook: Option<WebhookId>,
    /// The route, or the route of the job. Of a webhook, none means all jobs that allowed it.
    pub route: Option<RouteName>,
    /// The source, or the source of the webhook.
    pub source: Option<Source>,
    /// The number of the replay.
    pub replay: Option<u64>,
}

impl From<PauseTarget> for ActionTarget {
    fn from(target: PauseTarget) -> Self {
        match target {
            PauseTarget::Everything => Self::default(),
            PauseTarget::Route(route) => Self { route: Some(route), ..Self::default() },
            PauseTarget::Source(source) => Self { source: Some(source), ..Self::default() },
        }
    }
}

/// An action that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its number; it grows with every action.
    pub number: u64,
    /// When it was recorded, right after it was done.
    pub at: Timestamp,
    /// The actor: the name of a token.
    pub actor: String,
    /// What was done.
    pub kind: ActionKind,
    /// On what.
    pub target: ActionTarget,
    /// Why, in the words of the operator.
    pub reason: Option<String>,
    /// What else there is to say about it, for people.
    pub detail: Option<String>,
}

/// Which actions to list.
#[derive(Clone, Debug, Default)]
pub struct ActionQuery {
    /// Only actions on this webhook.
    pub webhook: Option<WebhookId>,
    /// Only actions with a number less than this.
    pub before: Option<u64>,
    /// The maximum number of actions to return.
    pub limit: usize,
}

/// Keeps the actions of operators.
#[async_trait]
pub trait Actions: fmt::Debug + Send + Sync {
    /// Records an action.
    async fn record_action(&self, action: NewAction) -> Result<()>;

    /// Returns the actions that match, newest first.
    async fn actions(&self, query: ActionQuery) -> Result<Vec<Action>>;

    /// Removes the oldest actions if they were recorded longer ago than `kept`, a bounded number of them. Returns how
    /// many it removed.
    async fn purge_actions(&self, kept: Duration) -> Result<usize>;
}

/// The most actions that one purge removes.
pub(super) const PURGE_ACTIONS: i64 = 500;

/// The columns of an action that mean the same in both stores.
pub(super) struct StoredAction {
    pub(super) number: i64,
    pub(super) at: Timestamp,
    pub(super) actor: String,
    pub(super) kind: String,
    pub(super) webhook: Option<WebhookId>,
    pub(super) route: Option<String>,
    pub(super) source: Option<String>,
    pub(super) replay: Option<i64>,
    pub(super) reason: Option<String>,
    pub(super) detail: Option<String>,
}

impl StoredAction {
    /// The action.
    pub(super) fn into_action(self) -> QueryResult<Action> {
        let kind = ActionKind::named(&self.kind)
            .ok_or_else(|| unreadable(format!("{:?} is no kind of action", self.kind)))?;
        let target = ActionTarget {
            webhook: self.webhook,
            route: self.route.map(RouteName::new).transpose().map_err(unreadable)?,
            source: self.source.map(Source::new).transpose().map_err(unreadable)?,
            replay: self.replay.map(u64::try_from).transpose().map_err(unreadable)?,
        };
        Ok(Action {
            number: self.number.try_into().map_err(unreadable)?,
            at: self.at,
            actor: self.actor,
            kind,
            target,
            reason: self.reason,
            detail: self.detail,
        })
    }
}
