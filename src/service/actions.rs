//! What operators did: recorded right after each change, and listed. `sensitive` records what is shown before it is.
//!
//! The change and its record are two transactions. If the process dies in between, or the store fails, the change is
//! made, and not recorded; in the latter case the log says so. A caller that goes away in between changes nothing about
//! it.

use std::future::Future;

use tracing::Instrument as _;

use super::Service;
use crate::domain::action::{ActionKind, ActionReason};
use crate::domain::error::{Error, Result};
use crate::store::{Action, ActionQuery, ActionTarget, NewAction};

/// One page of actions.
#[derive(Clone, Debug, Default)]
pub struct ActionPage {
    /// The actions, newest first. May be fewer than were asked for even if `next` is set.
    pub actions: Vec<Action>,
    /// The number before which the next page begins; none if this page is the last.
    pub next: Option<u64>,
}

impl Service {
    /// The use cases for a reason, which is recorded with what is changed.
    pub fn because(&self, reason: Option<ActionReason>) -> Self {
        Self { reason, ..self.clone() }
    }

    /// One page of the actions that match, newest first. A caller who is limited sees only actions on the own sources
    /// and routes.
    pub async fn actions(&self, query: ActionQuery) -> Result<ActionPage> {
        let limit = query.limit;
        // One more, to learn whether there is another page.
        let query = ActionQuery { limit: limit.saturating_add(1), ..query };
        let mut actions = self.store.actions(query).await?;
        let has_more = actions.len() > limit;
        actions.truncate(limit);
        let next = actions.last().filter(|_| has_more).map(|action| action.number);
        actions.retain(|action| self.sees_action(&action.target));
        Ok(ActionPage { actions, next })
    }

    fn sees_action(&self, ActionTarget { route, source, .. }: &ActionTarget) -> bool {
        let caller = &self.caller;
        (!caller.has_limited_sources() || source.as_ref().is_some_and(|source| caller.sees_source(source)))
            && (!caller.has_limited_routes() || route.as_ref().is_some_and(|route| caller.sees_route(route)))
    }

    /// An action of the caller, to be recorded. `detail` is what else there is to say about it.
    pub(super) fn action(&self, kind: ActionKind, target: ActionTarget, detail: Option<String>) -> NewAction {
        let (actor, reason) = (self.caller.name().to_owned(), self.reason.clone());
        NewAction { actor, kind, target, reason, detail }
    }

    /// Records what the caller did. `detail` is what else there is to say about it.
    pub(super) async fn record(&self, kind: ActionKind, target: ActionTarget, detail: Option<String>) {
        let action = self.action(kind, target, detail);
        if let Err(error) = self.store.record_action(action.clone()).await {
            let NewAction { actor, target, reason, detail, .. } = action;
            tracing::error!(
                actor,
                action = kind.as_str(),
                webhook_id = target.webhook.map(tracing::field::display),
                route = target.route.as_ref().map(|route| route.as_str()),
                source = target.source.as_ref().map(|source| source.as_str()),
                replay = target.replay,
                reason = reason.as_ref().map(|reason| reason.as_str()),
                detail,
                error = %error,
                "an operator's action is done, but could not be recorded"
            );
        }
    }
}

/// Runs a change and its record to their end, even if the caller goes away meanwhile.
pub(super) async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(change.in_current_span()).await.map_err(Error::internal)?
}
