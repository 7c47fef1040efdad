//! The form for a new replay. It counts first.

use jiff::Timestamp;
use maud::{Markup, html};

use super::fields::{Fields, STATUSES};
use crate::domain::error::Error;
use crate::domain::job::Status;
use crate::domain::time::next_millisecond;
use crate::page::context::Context;
use crate::page::filter::{Kind, MORE, Member, STATUS, USUAL, Values, time};
use crate::page::parts::{self, Tone, choice, input};
use crate::service::replays::checked;

/// The form. The parameters of the link fill it in.
pub(super) fn of_link(context: &Context) -> Markup {
    let (Fields { mut values, .. }, mut problem) = Fields::of_link(context.parameters());
    if values.statuses().next().is_none() {
        values.set(STATUS, Status::DeadLettered.as_str());
    }
    if problem.is_none() {
        problem = values.filter().and_then(checked).err();
    }
    section(context, &values, problem.as_ref().map(wrong))
}

/// The form as it was sent, with what is wrong with it.
pub(super) fn as_sent(context: &Context, sent: &[(String, String)], problem: &Error) -> Markup {
    let (Fields { values, .. }, _) = Fields::of_link(sent);
    section(context, &values, Some(parts::refused(context, "Nothing was started", problem)))
}

/// Nothing for a caller who may not operate.
fn section(context: &Context, values: &Values, problem: Option<Markup>) -> Markup {
    if !context.may_operate() {
        return parts::nothing();
    }
    let has_more = MORE.iter().any(|member| values.given(member.name).is_some());
    html! {
        section.card id="new" {
            h2 { "New replay" }
            p.muted {
                "A replay runs finished jobs again, each in a new run with all attempts. It goes on after a restart, and one "
                "runs at a time. First, the jobs are only counted; then you can start it."
            }
            @if let Some(problem) = &problem { (problem) }
            form.stack method="post" action=(context.path("/replays")) {
                (context.form_token())
                div.row role="group" aria-label="Statuses of the jobs" {
                    span.muted { "Jobs that are" }
                    @for status in STATUSES {
                        label.check {
                            input type="checkbox" name=(STATUS) value=(status.as_str())
                                checked[values.statuses().any(|word| word == status.as_str())];
                            (parts::status_word(status))
                        }
                    }
                }
                div.fields {
                    @for member in USUAL { (field(member, values)) }
                    (input("Rate, such as 50/s", "rate", values.get("rate")))
                }
                details.more id="more-filters" open[has_more] {
                    summary { "More filters" }
                    div.fields { @for member in MORE { (field(member, values)) } }
                }
                (parts::reason_of(values.get("reason")))
                p.hint {
                    "An empty field means any. Without a rate, jobs run again as fast as their routes run them. Jobs of new "
                    "webhooks do not wait behind them."
                }
                button.primary type="submit" { "Count the jobs" }
            }
        }
    }
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

/// The field for a member of the filter.
fn field(member: &Member, values: &Values) -> Markup {
    let Member { name, label, kind } = member;
    let value = values.get(name);
    match kind {
        Kind::Time(_) => html! {
            label.field {
                span { (label) }
                input type="datetime-local" step="any" name=(name) value=(browser_time(value));
            }
        },
        Kind::Choice(_, choices) => {
            let choices = choices();
            let others = choices.iter().map(|(value, shown)| (value.as_str(), shown.clone()));
            choice(label, name, value, [("", "any".to_owned())].into_iter().chain(others))
        }
        Kind::Route | Kind::Source | Kind::EventType | Kind::Word(_) | Kind::Text(_) => {
            input(label, name, value)
        }
    }
}

/// A time for a field of the browser, which takes no zone and no more than milliseconds. What it sends means UTC. Times of
/// acceptance have no more than milliseconds either, so the next one means the same. A text that is no time stays as it is.
fn browser_time(text: &str) -> String {
    let Some(time) = time(text) else { return text.to_owned() };
    let time = Timestamp::from_millisecond(next_millisecond(time)).unwrap_or(time);
    time.to_string().trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_a_link_is_written_for_the_browser() {
        for (given, expected) in [
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00"),
            ("2026-03-01T13:00:00.123+01:00", "2026-03-01T12:00:00.123"),
            ("2026-03-01T13:00:00.123456789+01:00", "2026-03-01T12:00:00.124"),
            ("2026-03-01T12:00", "2026-03-01T12:00:00"),
            ("yesterday", "yesterday"),
            ("", ""),
        ] {
            assert_eq!(browser_time(given), expected);
        }
    }
}
