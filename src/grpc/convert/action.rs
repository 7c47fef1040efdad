//! Converts actions of operators.

use super::request::page_size;
use super::time;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::grpc::proto;
use crate::service::{ActionPage, number_of_token, token_of_number};
use crate::store::{Action, ActionQuery};

pub(in crate::grpc) fn action_query(request: proto::ListActionsRequest) -> Result<ActionQuery> {
    let proto::ListActionsRequest { page_size: size, page_token, webhook_id } = request;
    let id = (!webhook_id.is_empty()).then(|| webhook_id.parse::<WebhookId>()).transpose();
    Ok(ActionQuery {
        webhook: id.map_err(|_| Error::invalid("webhook_id", "must be the UUID of a webhook"))?,
        before: number_of_token(&page_token)?,
        limit: page_size(size)?,
    })
}

pub(in crate::grpc) fn actions(page: ActionPage) -> proto::ListActionsResponse {
    proto::ListActionsResponse {
        actions: page.actions.into_iter().map(action).collect(),
        next_page_token: token_of_number(page.next),
    }
}

fn action(action: Action) -> proto::Action {
    proto::Action {
        number: action.number,
        at: Some(time(action.at)),
        actor: action.actor,
        action: action.kind.as_str().to_owned(),
        webhook_id: action.target.webhook.map(|id| id.to_string()),
        route: action.target.route.map(|route| route.to_string()),
        source: action.target.source.map(|source| source.to_string()),
        replay: action.target.replay,
        reason: action.reason,
        detail: action.detail,
    }
}
