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
                "by " (parts::text(&pause.actor))
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
    if is_paused {
        return Button::new("/resume", "Resume everything").tone(Tone::Good).render(context);
    }
    let question =
        "No job starts until everything is resumed, in all replicas. Webhooks are accepted and wait.";
    parts::confirmed(context, &Button::new("/pause", "Pause everything").fields(parts::reason()), question)
}

/// The form for a route or a source, in its own view. `at` is the path of the view, and `what` what it shows, such as
/// `the route orders`.
pub(super) fn of(context: &Context, at: &str, what: &str, is_paused: bool) -> Markup {
    if is_paused {
        return Button::new(&format!("{at}/resume"), "Resume").tone(Tone::Good).render(context);
    }
    let question = format!(
        "No job of {what} starts until it is resumed, in all replicas. Webhooks are accepted and wait."
    );
    let action = format!("{at}/pause");
    parts::confirmed(context, &Button::new(&action, "Pause").fields(parts::reason()), &question)
}

/// The same in a list: without a reason, and it goes back to the list.
pub(super) fn in_list(context: &Context, at: &str, is_paused: bool) -> Markup {
    let (action, label) = if is_paused { ("resume", "Resume") } else { ("pause", "Pause") };
    let back = html! { input type="hidden" name="back" value=(TO_LIST); };
    Button::new(&format!("{at}/{action}"), label).fields(back).render(context)
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
    let to_list = back == Some(TO_LIST);
    match target {
        PauseTarget::Route(route) if !to_list => format!("/routes/{route}"),
        PauseTarget::Source(source) if !to_list => format!("/sources/{source}"),
        PauseTarget::Source(_) => "/sources".to_owned(),
        PauseTarget::Route(_) | PauseTarget::Everything => "/routes".to_owned(),
    }
}
