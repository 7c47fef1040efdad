//! Pausing and resuming everything, a route, or the processing of a source.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::because::because;
use super::context::Context;
use super::parts::{self, Button, Tone};
use crate::domain::error::Result;
use crate::service::{Pause, PauseTarget};

/// The value of the field `back` of forms in a list, to which they go back.
const TO_LIST: &str = "list";

/// How many characters of a reason are shown in a list.
const LIST_REASON_CHARS: usize = 80;

/// A form that pauses or resumes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pausing {
    reason: Option<String>,
    back: Option<String>,
}

/// Says that something is paused, since when, by whom and why, and what that means.
pub(super) fn notice(context: &Context, what: &str, pause: &Pause) -> Markup {
    parts::notice(
        Tone::Warning,
        html! {
            p {
                (what) " has been paused since " (parts::moment(pause.since, context.now))
                ". Webhooks are accepted, and no job starts."
            }
            p {
                "Paused by " (parts::text(&pause.actor))
                @if let Some(reason) = &pause.reason { ": " (parts::text(reason)) }
            }
        },
    )
}

/// The same in a list.
pub(super) fn badge(context: &Context, pause: &Pause) -> Markup {
    html! {
        div {
            span.nowrap {
                (parts::badge(Tone::Warning, "paused")) " "
                span.small.muted { (parts::time(pause.since, context.now)) }
            }
            div.small.muted {
                "since " (parts::to_second(pause.since)) ", by " (parts::text(&pause.actor))
                @if let Some(reason) = &pause.reason { ": " (parts::cut(reason, LIST_REASON_CHARS)) }
            }
        }
    }
}

/// The form for everything. Nothing for a caller who sees only a part of it.
pub(super) fn everything(context: &Context, is_paused: bool) -> Markup {
    if context.caller.is_limited() {
        return parts::nothing();
    }
    let (button, question) = if is_paused {
        let question =
            "Jobs start again, in all replicas. Routes and sources that are paused themselves stay paused.";
        (Button::new("/resume", "Resume everything").tone(Tone::Good), question)
    } else {
        let question =
            "No job starts until everything is resumed, in all replicas. Webhooks are accepted and wait.";
        (Button::new("/pause", "Pause everything"), question)
    };
    parts::confirmed(context, &button.fields(parts::reason()), question)
}

/// The form for a route or a source, in its own view.
pub(super) fn of(context: &Context, target: &PauseTarget, is_paused: bool) -> Markup {
    of_one(context, target, is_paused, parts::reason())
}

/// The same in a list, to which it goes back.
pub(super) fn in_list(context: &Context, target: &PauseTarget, is_paused: bool) -> Markup {
    let fields = html! { input type="hidden" name="back" value=(TO_LIST); (parts::reason()) };
    of_one(context, target, is_paused, fields)
}

fn of_one(context: &Context, target: &PauseTarget, is_paused: bool, fields: Markup) -> Markup {
    let (action, label, tone, question) = if is_paused {
        ("resume", "Resume", Tone::Good, format!("Jobs of {target} start again, in all replicas."))
    } else {
        let question = format!(
            "No job of {target} starts until it is resumed, in all replicas. Webhooks are accepted and wait."
        );
        ("pause", "Pause", Tone::Plain, question)
    };
    let action = format!("{}/{action}", view_of(target));
    let button = Button::new(&action, label).tone(tone).fields(fields);
    parts::confirmed(context, &button, &question)
}

/// Pauses what a form names.
pub(super) async fn pause(context: &Context, target: PauseTarget, form: Pausing) -> Response {
    let back = back_of(&target, form.back.as_deref());
    let what = target.to_string();
    let paused = match because(context, form.reason) {
        Ok(service) => service.pause(target).await,
        Err(error) => Err(error),
    };
    match paused {
        Ok(_) => context.done(&back, &format!("Paused {what}: webhooks are accepted, and no job starts.")),
        Err(error) => context.failed(&error),
    }
}

/// Resumes what a form names, and closes the breaker of a route.
pub(super) async fn resume(context: &Context, target: PauseTarget, form: Pausing) -> Response {
    let back = back_of(&target, form.back.as_deref());
    match resumed(context, target, form.reason).await {
        Ok(notice) => context.done(&back, &notice),
        Err(error) => context.failed(&error),
    }
}

/// Returns what was done.
async fn resumed(context: &Context, target: PauseTarget, reason: Option<String>) -> Result<String> {
    let (what, is_route) = (target.to_string(), matches!(target, PauseTarget::Route(_)));
    let was_paused = because(context, reason)?.resume(target).await?;
    Ok(match (was_paused, is_route) {
        (true, _) => format!("Resumed {what}."),
        (false, true) => format!("The breaker of {what} is closed. It was not paused."),
        (false, false) => format!("Nothing has changed: {what} was not paused."),
    })
}

/// The view to go back to.
fn back_of(target: &PauseTarget, back: Option<&str>) -> String {
    match target {
        PauseTarget::Route(_) if back == Some(TO_LIST) => "/routes".to_owned(),
        PauseTarget::Source(_) if back == Some(TO_LIST) => "/sources".to_owned(),
        target => view_of(target),
    }
}

/// The view of a target.
fn view_of(target: &PauseTarget) -> String {
    match target {
        PauseTarget::Everything => "/routes".to_owned(),
        PauseTarget::Route(route) => format!("/routes/{route}"),
        PauseTarget::Source(source) => format!("/sources/{source}"),
    }
}
