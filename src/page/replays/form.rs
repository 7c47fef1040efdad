//! The form for a new replay. It counts first.

use maud::{Markup, html};

use super::fields::{Fields, STATUSES};
use crate::domain::error::Error;
use crate::page::context::Context;
use crate::page::parts::{self, Tone, choice, input};
use crate::page::verdict::{causes, verdicts};
use crate::service::replays::checked;

/// The fields that are rarely filled in.
const MORE: [&str; 8] = [
    "verdict",
    "cause",
    "idempotency_key",
    "trace_id",
    "error_contains",
    "body_contains",
    "body_pointer",
    "body_equals",
];

/// The form. Nothing for a caller who may not operate. The parameters of the link fill it in.
pub(super) fn section(context: &Context) -> Markup {
    if !context.may_operate() {
        return parts::nothing();
    }
    let (fields, problem) = filled_in(context);
    let has_more = MORE.iter().any(|name| fields.given(name).is_some());
    html! {
        section.card id="new" {
            h2 { "New replay" }
            p.muted {
                "A replay runs finished jobs again, each in a new run with all attempts. It goes on after a restart, and one "
                "runs at a time. First, the jobs are only counted; then you can start it."
            }
            @if let Some(problem) = &problem { (wrong(problem)) }
            form.stack method="post" action=(context.path("/replays")) {
                (context.form_token())
                div.row role="group" aria-label="Statuses of the jobs" {
                    span.muted { "Jobs that are" }
                    @for status in STATUSES {
                        label.check {
                            input type="checkbox" name="status" value=(status.as_str())
                                checked[fields.statuses.iter().any(|word| word == status.as_str())];
                            (parts::status_word(status))
                        }
                    }
                }
                div.fields {
                    (text("Route", "route", &fields))
                    (text("Source", "source", &fields))
                    (text("Event type", "event_type", &fields))
                    (time("Accepted from (UTC)", "accepted_after", &fields))
                    (time("Accepted before (UTC)", "accepted_before", &fields))
                    (text("Rate, such as 50/s", "rate", &fields))
                }
                details.more id="more-filters" open[has_more] {
                    summary { "More filters" }
                    div.fields {
                        (one_of("Verdict", "verdict", &fields, &verdicts()))
                        (one_of("Cause", "cause", &fields, &causes()))
                        (text("Key", "idempotency_key", &fields))
                        (text("Trace", "trace_id", &fields))
                        (text("Last error has", "error_contains", &fields))
                        (text("Body has the text", "body_contains", &fields))
                        (text("Body, at the JSON pointer", "body_pointer", &fields))
                        (text("equals", "body_equals", &fields))
                    }
                }
                (parts::reason())
                p.hint {
                    "An empty field means any. Without a rate, jobs run again as fast as their routes run them. Jobs of new "
                    "webhooks do not wait behind them."
                }
                button.primary type="submit" { "Count the jobs" }
            }
        }
    }
}

/// The fields as the link fills them in, and what is wrong with it.
fn filled_in(context: &Context) -> (Fields, Option<Error>) {
    let (mut fields, mut problem) = match Fields::of_link(context.parameters()) {
        Ok(fields) => (fields, None),
        Err(error) => (Fields::default(), Some(error)),
    };
    if fields.statuses.is_empty() {
        fields.statuses.extend(STATUSES.first().map(ToString::to_string));
    }
    if problem.is_none() {
        problem = fields.filter().and_then(checked).err();
    }
    (fields, problem)
}

/// A browser leaves out what a field cannot hold, and the replay would be about more than what was meant.
fn wrong(problem: &Error) -> Markup {
    parts::notice(
        Tone::Bad,
        html! {
            p {
                "The link that filled in this form is wrong: " (parts::text(problem.detail()))
                ". Check all fields before you count the jobs."
            }
        },
    )
}

fn text(label: &str, name: &str, fields: &Fields) -> Markup {
    input(label, name, fields.get(name))
}

/// A field for one of several values, each with what is shown.
fn one_of(label: &str, name: &str, fields: &Fields, choices: &[(String, String)]) -> Markup {
    let others = choices.iter().map(|(value, shown)| (value.as_str(), shown.clone()));
    choice(label, name, fields.get(name), [("", "any".to_owned())].into_iter().chain(others))
}

/// A field for a time. What browsers send means UTC.
fn time(label: &str, name: &'static str, fields: &Fields) -> Markup {
    let value = fields.browser_time(name);
    html! { label.field { span { (label) } input type="datetime-local" step="any" name=(name) value=(value); } }
}
