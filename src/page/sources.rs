//! All sources: what came in from each, and the lines of the settings for a new one.

mod new;

use std::collections::BTreeMap;

use axum::response::Response;
use jiff::Timestamp;
use maud::{Markup, html};

use super::Paths;
use super::context::{Context, Nav};
use super::overview::sources_seen;
use super::parts::{self, Tone, number};
use super::pauses;
use crate::domain::error::Result;
use crate::domain::webhook::Source;
use crate::service::source_view::SourceView;
use crate::service::{Pause, PauseTarget};

/// The most characters of the description of a source in the list.
const MAX_DESCRIPTION_CHARS: usize = 80;

pub(super) fn routes() -> Paths {
    Paths::default().get("/sources", list)
}

async fn list(context: Context) -> Response {
    match body(&context).await {
        Ok(body) => context.page_of(&new::PARAMETERS, "Sources", Nav::Sources, body),
        Err(error) => context.failed(&error),
    }
}

async fn body(context: &Context) -> Result<Markup> {
    let (sources, others) = (context.service.source_list().await?, others(context).await?);
    let new = new::section(context)?;
    Ok(html! {
        (parts::head("Sources", html! { a.button href="#new" { "New source" } }))
        div id="sources" data-live {
            section.card {
                @if sources.is_empty() {
                    (parts::empty(
                        "The settings have no source that this token sees.",
                        "A sender of webhooks needs a source: it says how its requests are verified. Programs of your own can send to \
                         POST /v1/webhooks without one."
                    ))
                } @else {
                    (table(context, &sources))
                    p.muted.small { "Requests are those of this process since its start." }
                }
            }
            @if !others.is_empty() {
                section.card {
                    h2 { "Without a section in the settings" }
                    (table_of_others(context, &others))
                    @if !context.caller.has_limited_routes() {
                        p.muted.small {
                            "Last seen is since the start of this process. Accepted and refused are webhooks of the last 60 minutes."
                        }
                    }
                }
            }
        }
        (new)
    })
}

/// A source that the settings do not have.
#[derive(Clone, Debug, Default)]
pub(super) struct Other {
    /// Its pause, if it is paused.
    pub(super) pause: Option<Pause>,
    /// When the last webhook of it came to this process; none if none has come.
    pub(super) last_seen: Option<Timestamp>,
    /// New webhooks that were accepted in the last 60 minutes.
    pub(super) accepted: u64,
    /// Webhooks that were refused in the last 60 minutes, and requests that could not be read.
    pub(super) refused: u64,
}

/// The sources that the caller sees and that the settings do not have, so far as they are known: `default`, `hookbox`, those
/// from which something came in the last 60 minutes, and those that are paused. A caller who is limited to routes does not
/// see what came from them.
pub(super) async fn others(context: &Context) -> Result<BTreeMap<Source, Other>> {
    let built_in = [Source::default(), Source::own()];
    let mut others = BTreeMap::from(built_in.map(|source| (source, Other::default())));
    for (source, totals) in sources_seen(&context.caller, context.service.metrics().history().sources()) {
        let other = others.entry(source).or_default();
        (other.accepted, other.refused) = (totals.accepted, totals.refused);
    }
    if !context.caller.has_limited_routes() {
        for (source, other) in &mut others {
            other.last_seen = context.service.activity().seen(source).last_seen.map(|seen| seen.at);
        }
    }
    for pause in context.service.pauses().await? {
        if let PauseTarget::Source(source) = pause.target.clone() {
            others.entry(source).or_default().pause = Some(pause);
        }
    }
    let in_settings = context.service.sources();
    others.retain(|source, _| context.caller.sees_source(source) && !in_settings.contains_key(source));
    Ok(others)
}

fn table(context: &Context, sources: &[SourceView]) -> Markup {
    let has_numbers = !context.caller.has_limited_routes();
    html! {
        div.table {
            table.cards.wide {
                thead {
                    tr {
                        th scope="col" { "Source" }
                        th scope="col" { "State" }
                        th scope="col" { "Preset" }
                        @if has_numbers {
                            th scope="col" { "Last seen" }
                            th.num scope="col" { "Verified" }
                            th.num scope="col" { "Not verified" }
                            th.num scope="col" { "Malformed" }
                            th.num scope="col" { "Unauthorized" }
                            th.num scope="col" { "Handshakes" }
                        }
                        th scope="col" { "Rate limit" }
                        th scope="col" { span.visually-hidden { "Actions" } }
                    }
                }
                tbody { @for view in sources { (row(context, view, has_numbers)) } }
            }
        }
    }
}

fn row(context: &Context, view: &SourceView, has_numbers: bool) -> Markup {
    let counts = view.counts;
    html! {
        tr data-row {
            th.main scope="row" { (parts::source_link(context, &view.source)) }
            td data-label="State" { (state(context, view)) }
            td data-label="Preset" {
                div {
                    @if let Some(preset) = &view.preset { (parts::text(preset)) } @else { "–" }
                    @if let Some(description) = &view.description {
                        div.small.muted { (parts::cut(description, MAX_DESCRIPTION_CHARS)) }
                    }
                }
            }
            @if has_numbers {
                td.nowrap data-label="Last seen" { (last_seen(context, view.last_seen)) }
                @if view.verifies {
                    td.num data-label="Verified" { (number(counts.verified)) }
                    td.num data-label="Not verified" { (number(counts.unverified)) }
                } @else {
                    td.num data-label="Accepted" { (number(counts.verified)) " " span.small.muted { "accepted" } }
                    td.num data-label="Not verified" { "–" }
                }
                td.num data-label="Malformed" { (number(counts.malformed)) }
                td.num data-label="Unauthorized" { (number(counts.unauthorized)) }
                td.num data-label="Handshakes" { (number(counts.handshakes)) }
            }
            td data-label="Rate limit" { @if let Some(limit) = &view.rate_limit { (limit) } @else { "–" } }
            td { (pausing(context, &view.source, view.pause.is_some())) }
        }
    }
}

fn state(context: &Context, view: &SourceView) -> Markup {
    html! {
        div.row {
            @if let Some(pause) = &view.pause { (pauses::badge(context, pause)) }
            @if !view.verifies { (parts::badge(Tone::Plain, "not verified")) }
            @if view.pause.is_none() && view.verifies { (parts::badge(Tone::Good, "running")) }
            @if view.is_sensitive { (parts::badge(Tone::Plain, "sensitive")) }
        }
    }
}

fn pausing(context: &Context, source: &Source, is_paused: bool) -> Markup {
    if context.caller.has_limited_routes() {
        return parts::nothing();
    }
    pauses::in_list(context, &PauseTarget::Source(source.clone()), is_paused)
}

fn table_of_others(context: &Context, others: &BTreeMap<Source, Other>) -> Markup {
    let has_numbers = !context.caller.has_limited_routes();
    html! {
        div.table {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "Source" }
                        th scope="col" { "State" }
                        @if has_numbers {
                            th scope="col" { "Last seen" }
                            th.num scope="col" { "Accepted" }
                            th.num scope="col" { "Refused" }
                        }
                        th scope="col" { span.visually-hidden { "Actions" } }
                    }
                }
                tbody { @for (source, other) in others { (row_of_other(context, source, other, has_numbers)) } }
            }
        }
    }
}

fn row_of_other(context: &Context, source: &Source, other: &Other, has_numbers: bool) -> Markup {
    html! {
        tr data-row {
            th.main scope="row" { (parts::source_link(context, source)) }
            td data-label="State" {
                @if let Some(pause) = &other.pause {
                    (pauses::badge(context, pause))
                } @else {
                    (parts::badge(Tone::Good, "running"))
                }
            }
            @if has_numbers {
                td.nowrap data-label="Last seen" { (last_seen(context, other.last_seen)) }
                td.num data-label="Accepted" { (number(other.accepted)) }
                td.num data-label="Refused" { (number(other.refused)) }
            }
            td { (pausing(context, source, other.pause.is_some())) }
        }
    }
}

fn last_seen(context: &Context, at: Option<Timestamp>) -> Markup {
    html! { @if let Some(at) = at { (parts::dated(at, context.now)) } @else { span.muted { "not yet" } } }
}
