//! The view of one webhook: its request, its history, and its actions.

mod body;
pub(super) mod by_hand;
mod curl;
mod delivery;
mod difference;
mod edit;
mod hex;
mod jobs;
mod payload;
mod replay;
mod timeline;
mod tree;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use self::payload::Visibility;
pub use self::tree::body_as_tree;
use super::Paths;
use super::context::{Context, Nav, with_query};
use super::parts::{self, Tone, cut};
use super::verdict::verdict;
use crate::domain::attempt::AttemptWindow;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::verdict::Cause;
use crate::domain::webhook::{Source, WebhookName};
use crate::service::view::WebhookView;
use crate::service::{ActionPage, ActionQuery};

/// How many characters of the event type are in the title.
const TITLE_CHARS: usize = 120;

/// How many actions of operators are shown, the latest ones.
const MAX_ACTIONS: usize = 50;

/// The id in a path, or why there is none.
type InPath = std::result::Result<Path<String>, PathRejection>;

/// The parameters of the view.
const PARAMETERS: [&str; 4] = [body::AS, body::ALL, timeline::SKIP, timeline::ALL_RESULTS];

/// What of the webhook to show.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// How to show the body.
    body: Option<String>,
    all_body: Option<String>,
    all_results: Option<String>,
    /// How many of the latest attempts of each job are left out.
    skip_attempts: u32,
}

impl Asked {
    fn is_all_body(&self) -> bool {
        self.all_body.is_some()
    }

    fn is_all_results(&self) -> bool {
        self.all_results.is_some()
    }

    /// The attempts of each job to show.
    fn attempts(&self) -> AttemptWindow {
        AttemptWindow { skip: self.skip_attempts, limit: timeline::PAGE_ATTEMPTS }
    }
}

pub(super) fn routes() -> Paths {
    Paths::default()
        .get("/webhooks/{id}", show)
        .post("/webhooks/{id}", payload::show)
        .get("/webhooks/{id}/body", body::download)
        .post("/webhooks/{id}/body", body::download_hidden)
        .get("/webhooks/{id}/edit", edit::form)
        .post("/webhooks/{id}/edit", edit::form_with_hidden)
        .post("/webhooks/{id}/send", edit::send)
        .post("/webhooks/{id}/retry", by_hand::retry)
        .post("/webhooks/{id}/replay", by_hand::replay)
        .post("/webhooks/{id}/cancel", by_hand::cancel)
        .post("/webhooks/{id}/release", by_hand::release)
        .post("/webhooks/{id}/discard", by_hand::discard)
}

async fn show(context: Context, id: InPath) -> Response {
    match found(&context, id).await {
        Ok(body) => context.page_of(&PARAMETERS, "Webhook", Nav::Webhooks, body),
        Err(error) => context.failed(&error),
    }
}

/// The id in a path. Errors: `InvalidField`.
fn id_of(id: InPath) -> Result<WebhookId> {
    // A path that is not UTF-8 is no id either.
    id.map(|Path(id)| id).unwrap_or_default().parse()
}

/// A webhook with its payload and these attempts of each job. Errors: `WebhookNotFound`.
async fn load(context: &Context, id: WebhookId, attempts: AttemptWindow) -> Result<WebhookView> {
    context.service.webhook_with(WebhookName::Id(id), attempts).await
}

async fn found(context: &Context, id: InPath) -> Result<Markup> {
    let asked = context.query::<Asked>()?;
    let webhook = load(context, id_of(id)?, asked.attempts()).await?;
    let visibility = Visibility::of(context, &webhook);
    Ok(view(context, &webhook, &asked, visibility).await)
}

async fn view(context: &Context, webhook: &WebhookView, asked: &Asked, visibility: Visibility) -> Markup {
    let query =
        ActionQuery { webhook: Some(webhook.status.id), limit: MAX_ACTIONS, ..ActionQuery::default() };
    // Without them, the rest is still worth showing.
    let actions: ActionPage = context.service.actions(query).await.unwrap_or_default();
    let replays = replay::replays(context, webhook).await;
    let body = body::section(context, webhook, asked, visibility).await;
    let difference =
        if visibility.is_hidden() { parts::nothing() } else { difference::section(context, webhook).await };
    // A view that is loaded again hides what was asked for.
    let is_live = visibility != Visibility::Asked && asked.attempts().has_last();
    html! {
        nav.crumbs aria-label="Path" { a href=(context.path("/webhooks")) { "Webhooks" } span { "Webhook" } }
        div id="webhook" data-live[is_live] {
            div.head {
                h1 { (cut(webhook.status.event_type.as_str(), TITLE_CHARS)) " " (parts::status(webhook.status.status())) }
                div.actions { (by_hand::buttons(context, webhook)) (edit::link(context, webhook)) }
            }
            @if webhook.status.is_quarantined { (quarantined(webhook)) }
        }
        (facts(context, webhook))
        (difference)
        div.cols {
            div id="state" data-live[is_live] {
                (jobs::section(context, webhook))
                (timeline::section(context, webhook, &actions, &replays, asked, visibility))
            }
            div {
                (body)
                section.card { h2 { "Headers" } (delivery::headers(&webhook.headers)) }
                @if !visibility.is_hidden() { (curl::section(context, webhook)) }
            }
        }
    }
}

/// Why a webhook is in quarantine, what that means, and what to do.
fn quarantined(webhook: &WebhookView) -> Markup {
    parts::notice(
        Tone::Warning,
        html! {
            p {
                b { "This webhook is in quarantine: it is not proved that it comes from its sender." }
                @if let Some(advice) = webhook.verdict.cause().map(Cause::advice) {
                    " " (advice.meaning) " " (advice.what_next)
                }
            }
            p {
                "No route has seen it, and it does not take its key: a genuine webhook with the same key is accepted. "
                "Release it only if you know where it comes from; it is then accepted as any other. Discard it "
                "otherwise. Without a decision it is removed at the end of " code { "retention_quarantined" } "."
            }
        },
    )
}

fn facts(context: &Context, webhook: &WebhookView) -> Markup {
    let status = &webhook.status;
    let id = status.id.to_string();
    let (key, event_type) = (status.idempotency_key.as_str(), status.event_type.as_str());
    html! {
        section.card aria-label="What it is" {
            (parts::facts([
                ("Id", html! { span.id { (id) } " " (parts::copy("id", &id)) }),
                ("Source", source(context, &status.source)),
                ("Event type", html! { (parts::text(event_type)) }),
                ("Key", html! { (parts::text(key)) " " (parts::copy("key", key)) }),
                ("Accepted", parts::moment(status.accepted_at, context.now)),
                ("Verdict", of_verdict(webhook)),
                ("Trace", trace(context, webhook.traceparent.trace_id())),
            ]))
        }
    }
}

/// The trace, with links to it, if it is known where, and to its webhooks.
fn trace(context: &Context, trace_id: &str) -> Markup {
    let webhooks = context.path(&with_query("/webhooks", [("trace_id", trace_id)].into_iter()));
    let copy = parts::copy("trace id", trace_id);
    html! {
        @if context.shared.pages.trace_url.is_some() {
            span.id { (parts::trace(context, trace_id)) } " " (copy) " " a href=(webhooks) { "Webhooks of it" }
        } @else {
            a.id href=(webhooks) { (trace_id) } " " (copy)
        }
    }
}

/// The source, with a link to it if it is one of the settings.
fn source(context: &Context, source: &Source) -> Markup {
    if source.is_own() || *source == Source::default() {
        html! { (source.as_str()) }
    } else {
        parts::source_link(context, source)
    }
}

fn of_verdict(webhook: &WebhookView) -> Markup {
    html! {
        (verdict(webhook.verdict))
        @if let Some(cause) = webhook.verdict.cause() { div.small.muted { (cause.advice().meaning) } }
    }
}
