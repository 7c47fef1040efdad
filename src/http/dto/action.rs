//! What operators did.

use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use crate::service::{ActionPage, token_of_number};
use crate::store::Action;

/// One page of actions.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListActionsResponse {
    /// The actions, newest first. A token that is limited to sources or routes can get fewer than `page_size` although
    /// more pages follow.
    actions: Vec<ActionBody>,
    /// The token of the next page; empty if this is the last page.
    next_page_token: String,
}

impl From<ActionPage> for ListActionsResponse {
    fn from(page: ActionPage) -> Self {
        Self {
            next_page_token: token_of_number(page.next),
            actions: page.actions.into_iter().map(Into::into).collect(),
        }
    }
}

/// What an operator did. If neither a webhook, nor a route, a source or a replay is named, it was on everything.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Action)]
struct ActionBody {
    /// Its number; it grows with every action.
    number: u64,
    /// When it was done.
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// The name of the token; `anonymous` where none is needed, `hookbox` for a SIGHUP.
    #[schema(example = "anna")]
    actor: String,
    /// What was done: `retry_webhook`, `cancel_webhook`, `replay_webhook`, `release_webhook`, `discard_webhook`,
    /// `send_test`, `send_edited`, `pause`, `resume`, `move_jobs`, `cancel_jobs`, `reload_settings`, `start_replay`,
    /// `cancel_replay` or `show_payload`.
    #[schema(example = "retry_webhook")]
    action: &'static str,
    /// The id of the webhook; null if it was not on a webhook.
    #[schema(format = Uuid)]
    webhook_id: Option<String>,
    /// The route, or the route of the job. Of a webhook, null if it was on all jobs that allowed it.
    route: Option<String>,
    /// The source, or the source of the webhook.
    source: Option<String>,
    /// The number of the replay; null if it was not on a replay.
    replay: Option<u64>,
    /// Why, in the words of the operator; null if none is given.
    #[schema(example = "the shop has fixed its endpoint")]
    reason: Option<String>,
    /// What else there is to say about it, for people.
    detail: Option<String>,
}

impl From<Action> for ActionBody {
    fn from(action: Action) -> Self {
        Self {
            number: action.number,
            at: Time(action.at),
            actor: action.actor,
            action: action.kind.as_str(),
            webhook_id: action.target.webhook.map(|id| id.to_string()),
            route: action.target.route.map(|route| route.to_string()),
            source: action.target.source.map(|source| source.to_string()),
            replay: action.target.replay,
            reason: action.reason,
            detail: action.detail,
        }
    }
}
