//! What operators did: when, who, what, on what, and why.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::Paths;
use super::context::{Context, Nav};
use super::parts;
use crate::domain::action::ActionKind;
use crate::domain::error::{Error, Reason, Result};
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
    let wanted = match context.query::<Wanted>() {
        Ok(wanted) => wanted,
        Err(error) => return context.failed(&error),
    };
    let view = |found: Markup| {
        html! {
            (parts::head("Actions", parts::nothing()))
            p.muted { "What operators changed on the page and over both APIs, newest first. Entries cannot be changed." }
            section.card aria-label="Filters" {
                (parts::filters(&context, "/actions", parts::input("Webhook", "webhook_id", &wanted.webhook_id)))
            }
            (found)
        }
    };
    match found(&context, &wanted).await {
        Ok(found) => context.page_of(&PARAMETERS, "Actions", Nav::Actions, view(found)),
        Err(error) if error.reason() == Reason::InvalidField => {
            context.refused(&error, "Actions", Nav::Actions, view(parts::wrong_filter(&error)))
        }
        Err(error) => context.failed(&error),
    }
}

/// The actions. Errors: `InvalidField`; those of the store.
async fn found(context: &Context, wanted: &Wanted) -> Result<Markup> {
    let Wanted { webhook_id, page_token } = wanted;
    let wanted = Some(webhook_id.trim()).filter(|text| !text.is_empty());
    let webhook = wanted.map(str::parse::<WebhookId>).transpose();
    let query = ActionQuery {
        webhook: webhook.map_err(|_| Error::invalid("webhook_id", "must be the UUID of a webhook"))?,
        before: number_of_token(page_token)?,
        limit: DEFAULT_PAGE_SIZE,
    };
    let is_first = query.before.is_none();
    let with_list = is_first.then_some(parts::WITH_LIST);
    let ActionPage { actions, next } = context.service.actions(query).await?;
    let next = Some(token_of_number(next)).filter(|next| !next.is_empty());
    let hint = if wanted.is_some() { "Clear the filter to see all." } else { "" };
    let none = parts::empty("No action is recorded here.", hint);
    Ok(html! {
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
                    @if let Some(detail) = &action.detail { div.small.muted { (told(context, detail)) } }
                }
            }
            td data-label="On" { (target(context, &action.target)) }
            td data-label="Why" { @if let Some(reason) = &action.reason { (parts::text(reason)) } }
        }
    }
}

/// The detail of an action. A webhook that it ends with is a link.
fn told(context: &Context, detail: &str) -> Markup {
    let parts = detail.rsplit_once(" webhook ");
    let ends_with = parts.and_then(|(before, id)| Some((before, id.parse::<WebhookId>().ok()?)));
    match ends_with {
        Some((before, id)) => html! { (parts::text(before)) " webhook " (parts::id_link(context, id)) },
        None => parts::text(detail),
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
