//! What operators did: when, who, what, on what, and why.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Paths;
use super::context::{Context, Nav};
use super::parts;
use crate::domain::action::ActionKind;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::service::{
    Action, ActionPage, ActionQuery, ActionTarget, DEFAULT_PAGE_SIZE, number_of_token, token_of_number,
};

pub(super) fn routes() -> Paths {
    Paths::default().get("/actions", list)
}

/// The parameters of the view: those of `GET /v1/actions`.
const PARAMETERS: [&str; 2] = ["webhook_id", PAGE_TOKEN];

/// The parameter that names a page.
const PAGE_TOKEN: &str = "page_token";

/// The values of the parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    webhook_id: String,
    page_token: String,
}

async fn list(context: Context) -> Response {
    match body(&context).await {
        Ok(body) => context.page_of(&PARAMETERS, "Actions", Nav::Actions, body),
        Err(error) => context.failed(&error),
    }
}

async fn body(context: &Context) -> Result<Markup> {
    let Wanted { webhook_id, page_token } = context.query::<Wanted>()?;
    let wanted = Some(webhook_id.trim()).filter(|text| !text.is_empty());
    let query = ActionQuery {
        webhook: wanted.map(str::parse::<WebhookId>).transpose()?,
        before: number_of_token(&page_token)?,
        limit: DEFAULT_PAGE_SIZE,
    };
    let is_first = query.before.is_none();
    let with_list = is_first.then_some(parts::WITH_LIST);
    let ActionPage { actions, next } = context.service.actions(query).await?;
    let next = Some(token_of_number(next)).filter(|next| !next.is_empty());
    let hint = if wanted.is_some() { "Clear the filter to see all." } else { "" };
    let none = parts::empty("No action is recorded here.", hint);
    Ok(html! {
        (parts::head("Actions", parts::nothing()))
        p.muted { "What operators changed on the page and over both APIs, newest first. Entries cannot be changed." }
        section.card aria-label="Filters" {
            (parts::filters(context, "/actions", parts::input("Webhook", "webhook_id", &webhook_id)))
        }
        section.card {
            (table(context, &actions, is_first))
            div id="none" data-live=[with_list] {
                @if actions.is_empty() {
                    (parts::empty_page("actions", is_first, next.is_some(), none))
                }
            }
        }
        div id="further" data-live=[with_list] { (parts::pager(context, PAGE_TOKEN, next.as_deref())) }
    })
}

fn table(context: &Context, actions: &[Action], is_live: bool) -> Markup {
    html! {
        div.table {
            table.cards {
                thead {
                    tr { @for name in ["When", "Who", "What", "On", "Why"] { th scope="col" { (name) } } }
                }
                tbody id="rows" data-live=[is_live.then_some("list")] { @for action in actions { (row(context, action)) } }
            }
        }
    }
}

fn row(context: &Context, action: &Action) -> Markup {
    html! {
        tr data-row data-id=(action.number) {
            td.main { (parts::moment(action.at, context.now)) }
            td data-label="Who" { (parts::text(&action.actor)) }
            td data-label="What" {
                div {
                    (word(action.kind))
                    @if let Some(detail) = &action.detail { div.small.muted { (parts::text(detail)) } }
                }
            }
            td data-label="On" { (target(context, &action.target)) }
            td data-label="Why" { @if let Some(reason) = &action.reason { (parts::text(reason)) } }
        }
    }
}

/// What was done, as words of the contract.
fn word(kind: ActionKind) -> String {
    kind.as_str().replace('_', " ")
}

/// The target of the action.
fn target(context: &Context, target: &ActionTarget) -> Markup {
    let ActionTarget { webhook, route, source, replay } = target;
    html! {
        div {
            @if *target == ActionTarget::default() { "everything" }
            @if let Some(id) = webhook { div { "webhook " (parts::id_link(context, *id)) } }
            @if let Some(number) = replay { div { "replay " a href=(context.path(&format!("/replays/{number}"))) { (number) } } }
            @if let Some(route) = route { div { "route " (parts::route_link(context, route)) } }
            @if let Some(source) = source { div { "source " (parts::source_link(context, source)) } }
        }
    }
}
