//! The list of webhooks, newest first. Every filter is a parameter of the address, so that a link shows others the
//! same list.

mod filter;
mod form;
mod replay;
mod search;

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use self::filter::{Asked, PAGE_TOKEN, Wanted, searches_texts};
use self::form::{FIND, Names};
use super::Paths;
use super::context::{Context, Nav, see_other, with_query};
use super::filter::Values;
use super::parts::{self, cut, number};
use super::webhook::by_hand::retry_in_list;
use crate::domain::error::{Reason, Result};
use crate::domain::filter::TraceId;
use crate::domain::id::WebhookId;
use crate::domain::webhook::{IdempotencyKey, WebhookName, WebhookStatus};
use crate::service::{ListQuery, Page};

/// How many jobs of a webhook are named in its row.
const SHOWN_JOBS: usize = 4;

/// How many characters of a name and of an error are shown in a row.
const NAME_CHARS: usize = 60;
const ERROR_CHARS: usize = 160;

pub(super) fn routes() -> Paths {
    Paths::default().get("/webhooks", list)
}

async fn list(context: Context) -> Response {
    let path = looked_for(&context).await.or_else(|| without_empty(context.parameters()));
    if let Some(path) = path {
        return see_other(&context.path(&path));
    }
    let Asked { values, wanted } = Asked::read(context.parameters(), context.now);
    let (page, replay, search_limit) = match wanted {
        Ok(Wanted { filter, query }) => {
            let search_limit = query.body.is_some().then_some(query.limit);
            (context.service.list(query).await, replay::link(&context, &filter), search_limit)
        }
        Err(error) => (Err(error), parts::nothing(), None),
    };
    let status = match &page {
        Ok(_) => StatusCode::OK,
        Err(error) if error.reason() == Reason::InvalidField => StatusCode::BAD_REQUEST,
        Err(error) => return context.failed(error),
    };
    let names = Names::seen(&context).await;
    let body = html! {
        (parts::head("Webhooks", replay))
        section.card aria-label="Filters" { (form::form(&context, &values, &names, page.is_err())) }
        (parts::ignored(&context, &filter::parameters()))
        (found(&context, &values, &page, search_limit))
    };
    context.page_with(status, "Webhooks", Some(Nav::Webhooks), body)
}

/// The path to what the field for an id, a key or a trace looks for; none if it is empty. The keys of many senders look
/// like an id or a trace.
async fn looked_for(context: &Context) -> Option<String> {
    let (_, text) = context.parameters().iter().find(|(name, _)| name == FIND)?;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    // Without hyphens, 32 digits are a trace.
    let id = text.parse::<WebhookId>().ok().filter(|_| text.contains('-'));
    if let Some(id) = id
        && !is_unknown(context, id).await
    {
        return Some(format!("/webhooks/{id}"));
    }
    let is_trace = TraceId::new(text).is_ok() && !is_key(context, text).await;
    let filter = if is_trace { "trace_id" } else { "idempotency_key" };
    Some(with_query("/webhooks", [(filter, text)].into_iter()))
}

/// Whether the caller sees no webhook with this id.
async fn is_unknown(context: &Context, id: WebhookId) -> bool {
    let status = context.service.status(WebhookName::Id(id)).await;
    status.is_err_and(|error| error.reason() == Reason::WebhookNotFound)
}

/// Whether the caller sees a webhook with this key. An index has keys and none has traces, so it is looked for first.
async fn is_key(context: &Context, text: &str) -> bool {
    let Ok(key) = IdempotencyKey::new(text) else { return false };
    let query = ListQuery { idempotency_key: Some(key), limit: 1, ..ListQuery::default() };
    let page = context.service.list(query).await;
    page.is_ok_and(|page| !page.webhooks.is_empty())
}

/// The path without the fields that were left empty, so that the link is short; none if there are none.
fn without_empty(parameters: &[(String, String)]) -> Option<String> {
    let given = parameters.iter().filter(|(_, value)| !value.is_empty());
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let has_empty = parameters.iter().any(|(_, value)| value.is_empty());
    has_empty.then(|| with_query("/webhooks", given))
}

/// The page that was found, or what is wrong with a filter. `search_limit` is the most rows of a search in bodies.
fn found(context: &Context, values: &Values, page: &Result<Page>, search_limit: Option<usize>) -> Markup {
    match page {
        Ok(page) => rows(context, values, page, search_limit),
        Err(error) => parts::wrong_filter(error),
    }
}

fn rows(context: &Context, values: &Values, page: &Page, search_limit: Option<usize>) -> Markup {
    // Searches in texts are not repeated whenever something changes.
    let is_live = values.given(PAGE_TOKEN).is_none() && !searches_texts(values);
    let with_list = is_live.then_some(parts::WITH_LIST);
    let next = page.next.as_ref().map(ToString::to_string);
    html! {
        section.card aria-label="Webhooks" {
            div.table {
                table.cards {
                    thead {
                        tr {
                            @for name in ["Webhook", "Status", "Source", "Routes"] { th scope="col" { (name) } }
                            th.num scope="col" { "Attempts" }
                            @for name in ["Last error", "Accepted"] { th scope="col" { (name) } }
                            th scope="col" { span.visually-hidden { "Actions" } }
                        }
                    }
                    tbody id="rows" data-live=[is_live.then_some("list")] {
                        @for webhook in &page.webhooks { (row(context, webhook)) }
                    }
                }
            }
            div id="none" data-live=[with_list] { @if page.webhooks.is_empty() { (none(page)) } }
        }
        div id="further" data-live=[with_list] {
            (search::progress(context, page, search_limit))
            (parts::pager(context, PAGE_TOKEN, next.as_deref()))
        }
    }
}

/// What is shown in place of rows.
fn none(page: &Page) -> Markup {
    if page.next.is_some() {
        parts::empty("No webhook matches so far.", "“Older” goes on from where this search has stopped.")
    } else {
        parts::empty("No webhook matches.", "Clear the filters to see all.")
    }
}

fn row(context: &Context, webhook: &WebhookStatus) -> Markup {
    let jobs = &webhook.jobs;
    html! {
        tr data-row data-id=(webhook.id) {
            td.main {
                a href=(context.path(&format!("/webhooks/{}", webhook.id))) {
                    (cut(webhook.event_type.as_str(), NAME_CHARS))
                }
                div.small.muted { (cut(webhook.idempotency_key.as_str(), NAME_CHARS)) }
            }
            td data-label="Status" { (parts::status(webhook.status())) }
            td data-label="Source" { (webhook.source.as_str()) }
            td data-label="Routes" {
                @for (at, job) in jobs.iter().take(SHOWN_JOBS).enumerate() {
                    @if at > 0 { br; }
                    (job.route.as_str())
                    @if jobs.len() > 1 { " " span.small.muted { (parts::status_word(job.status)) } }
                }
                @if jobs.len() > SHOWN_JOBS { br; span.muted { "and " (jobs.len() - SHOWN_JOBS) " more" } }
            }
            td.num data-label="Attempts" {
                (number(jobs.iter().map(|job| u64::from(job.attempt_count)).sum()))
            }
            td.long data-label="Last error" { @if let Some(error) = webhook.last_error() { (cut(error, ERROR_CHARS)) } }
            td.nowrap data-label="Accepted" { (parts::dated(webhook.accepted_at, context.now)) }
            td { (retry_in_list(context, webhook)) }
        }
    }
}
