//! One source: what came in from it, tokens for its sender, what was refused and what to do about that, what its sender
//! is answered, a test.

mod advice;
mod answers;
mod rejections;
mod test_form;
mod tokens;

use axum::Extension;
use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};

use super::Paths;
use super::action::Action;
use super::context::{Context, Nav};
use super::parts::{self, Tone, duration, number};
use super::pauses::{self, Pausing};
use super::sources::{Other, others};
use crate::domain::error::Result;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::Source;
use crate::service::source_view::SourceView;
use crate::service::{PauseTarget, SourceRules};

/// What a pause of a source is about.
const PROCESSING: &str = "The processing of this source";

pub(super) fn routes() -> Paths {
    Paths::default()
        .get("/sources/{source}", show)
        .post("/sources/{source}/pause", pause)
        .post("/sources/{source}/resume", resume)
        .post("/sources/{source}/test", send_test)
}

async fn show(context: Context, Path(name): Path<String>) -> Response {
    match body(&context, &name).await {
        Ok(body) => context.page(&name, Nav::Sources, body),
        Err(error) => context.failed(&error),
    }
}

async fn pause(Path(name): Path<String>, Action(context, form): Action<Pausing>) -> Response {
    match Source::new(name) {
        Ok(source) => pauses::pause(&context, PauseTarget::Source(source), form).await,
        Err(error) => context.failed(&error),
    }
}

async fn resume(Path(name): Path<String>, Action(context, form): Action<Pausing>) -> Response {
    match Source::new(name) {
        Ok(source) => pauses::resume(&context, PauseTarget::Source(source), form).await,
        Err(error) => context.failed(&error),
    }
}

async fn send_test(
    Path(name): Path<String>,
    Extension(traceparent): Extension<Traceparent>,
    Action(context, fields): Action<test_form::Fields>,
) -> Response {
    let source = match Source::new(name) {
        Ok(source) => source,
        Err(error) => return context.failed(&error),
    };
    match test_form::send(&context, &source, traceparent, &fields).await {
        Ok((path, notice)) => context.done(&path, &notice),
        Err(error) => test_form::refused(&context, &source, &fields, &error).await,
    }
}

async fn body(context: &Context, name: &str) -> Result<Markup> {
    let source = Source::new(name)?;
    let rules = match context.service.seen_source(&source) {
        Ok(rules) => rules,
        Err(error) => return without_settings(context, &source).await?.ok_or(error),
    };
    let view = context.service.source_view(&rules).await?;
    let refused = if context.caller.has_limited_routes() {
        html! { p.muted { "This token is limited to some routes, and does not see what came in." } }
    } else {
        rejections::section(context, &context.service.rejections(&source)?)
    };
    Ok(html! {
        (crumbs(context))
        div id="source" data-live {
            (parts::head(source.as_str(), actions(context, &source, view.pause.is_some())))
            @if let Some(pause) = &view.pause { (pauses::notice(context, PROCESSING, pause)) }
            (silence(context, &source))
            (tiles(context, &view))
            (tokens::section(context, &context.service.handshake_tokens(&rules)))
        }
        (refused)
        div.cols {
            section.card { h2 { "Settings" } (settings(context, &view, &rules)) }
            section.card { h2 { "Answers" } (answers::facts(&rules)) }
        }
        @if test_form::is_allowed(context) { (test_form::form(context, &source, view.verifies, &test_form::Fields::first())) }
    })
}

fn crumbs(context: &Context) -> Markup {
    html! { nav.crumbs { a href=(context.path("/sources")) { "Sources" } } }
}

/// The view of a source that has no section in the settings: its webhooks come by `POST /v1/webhooks`, or are those of
/// hookbox itself. None if nothing is known of it.
async fn without_settings(context: &Context, source: &Source) -> Result<Option<Markup>> {
    let Some(other) = others(context).await?.remove(source) else { return Ok(None) };
    Ok(Some(html! {
        (crumbs(context))
        div id="source" data-live {
            (parts::head(source.as_str(), actions(context, source, other.pause.is_some())))
            @if let Some(pause) = &other.pause {
                (pauses::notice(context, PROCESSING, pause))
            }
            (tiles_of_other(context, &other))
        }
        p {
            @if source.is_own() {
                "hookbox makes the webhooks of this source itself, about what happens in it, if a route takes them."
            } @else {
                "The settings have no section for this source. Programs send its webhooks to "
                code { "POST /v1/webhooks" } "; nothing of them is verified."
            }
        }
    }))
}

fn actions(context: &Context, source: &Source, is_paused: bool) -> Markup {
    html! {
        a.button href=(context.path(&format!("/webhooks?source={source}"))) { "Webhooks" }
        @if !context.caller.has_limited_routes() {
            (pauses::of(context, &PauseTarget::Source(source.clone()), is_paused))
        }
    }
}

/// That nothing has come for too long, and what to do about that.
fn silence(context: &Context, source: &Source) -> Markup {
    let silent = context.service.silent_sources().into_iter().find(|silent| silent.source == *source);
    let Some(silent) = silent else { return parts::nothing() };
    let notice = html! {
        p {
            b { "Nothing has come from this source for " (duration(silent.silent_for.as_secs_f64())) "." }
            " It counts as silent after " (duration(silent.silent_after.as_secs_f64())) ", as " code { "silent_after" }
            " says."
        }
        p {
            "Look at the log of deliveries at the sender: it may have turned the URL off after too many errors. Then check "
            "whether the URL reaches hookbox. If such a pause is normal, raise " code { "silent_after" } "."
        }
    };
    parts::notice(Tone::Warning, notice)
}

/// What came in since the start of the process.
fn tiles(context: &Context, view: &SourceView) -> Markup {
    if context.caller.has_limited_routes() {
        return parts::nothing();
    }
    let counts = view.counts;
    let verified = if view.verifies { "Verified" } else { "Accepted" };
    let last_seen = view.last_seen.map(|at| parts::dated(at, context.now));
    html! {
        div.tiles {
            (tile("Last seen", &last_seen.unwrap_or_else(|| html! { "–" }), "the last request of its sender"))
            (tile(verified, &html! { (number(counts.verified)) }, "requests since the start"))
            (tile("Not verified", &html! { (number(counts.unverified)) }, "refused, or in quarantine"))
            (tile("Malformed", &html! { (number(counts.malformed)) }, "their webhooks could not be read"))
            @if !view.verifies {
                (tile("Unauthorized", &html! { (number(counts.unauthorized)) }, "no token that may submit"))
            }
            (tile("Handshakes", &html! { (number(counts.handshakes)) }, "the sender checked the URL"))
        }
    }
}

/// What came in of a source that the settings do not have.
fn tiles_of_other(context: &Context, other: &Other) -> Markup {
    if context.caller.has_limited_routes() {
        return parts::nothing();
    }
    let last_seen = other.last_seen.map(|at| parts::dated(at, context.now));
    html! {
        div.tiles {
            (tile("Last seen", &last_seen.unwrap_or_else(|| html! { "–" }), "the last webhook, since the start"))
            (tile("Accepted", &html! { (number(other.accepted)) }, "new webhooks in the last 60 minutes"))
            (tile("Refused", &html! { (number(other.refused)) }, "webhooks in the last 60 minutes"))
        }
    }
}

fn tile(label: &str, value: &Markup, hint: &str) -> Markup {
    html! { div.tile { span.label { (label) } span.value { (value) } span.hint { (hint) } } }
}

fn settings(context: &Context, view: &SourceView, source: &SourceRules) -> Markup {
    let path = &view.path;
    let quarantine = format!("/webhooks?source={}&status=quarantined", view.source);
    parts::facts([
        (
            "URL",
            html! {
                @if let Some(url) = source.url_of(path) {
                    code { (parts::text(&url)) } " " (parts::copy("URL", &url))
                } @else {
                    "The address of hookbox, and " code { (path) }
                }
            },
        ),
        ("Preset", html! { @if let Some(preset) = &view.preset { (parts::text(preset)) } }),
        (
            "Description",
            html! { @if let Some(description) = &view.description { (parts::text(description)) } },
        ),
        (
            "Verified",
            html! {
                @if view.verifies { "Yes" } @else { "No: every client that knows the URL can send; where tokens are configured, it needs one" }
            },
        ),
        (
            "Not verified",
            html! {
                @if !view.verifies {} @else if view.unverified == "quarantine" {
                    "Kept " a href=(context.path(&quarantine)) { "in quarantine" } ", without jobs"
                } @else {
                    "Refused with 401"
                }
            },
        ),
        (
            "Content type",
            html! {
                @if let Some(content_type) = &source.rules.content_type {
                    "Always " (parts::text(content_type.as_str()))
                }
            },
        ),
        (
            "Rate limit",
            html! { @if let Some(limit) = &view.rate_limit { (limit) } @else { "None of its own" } },
        ),
        (
            "Sensitive",
            html! {
                @if view.is_sensitive {
                    "Yes: this page hides its payloads until they are asked for, and records who asks"
                }
            },
        ),
    ])
}
