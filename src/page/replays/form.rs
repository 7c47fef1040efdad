//! The form for a new replay. It counts first.

use maud::{Markup, html};

use super::filter::{Fields, STATUSES};
use crate::page::context::Context;
use crate::page::parts;

/// The form. Nothing for a caller who may not operate. The parameters of the link fill it in.
pub(super) fn section(context: &Context) -> Markup {
    if !context.may_operate() {
        return parts::nothing();
    }
    let mut fields = Fields::of(context.parameters());
    if fields.statuses.is_empty() {
        fields.statuses.extend(STATUSES.first().map(ToString::to_string));
    }
    html! {
        section.card id="new" {
            h2 { "New replay" }
            p.muted {
                "A replay runs finished jobs again, each in a new run with all attempts. It goes on after a restart, and one "
                "runs at a time. First, the jobs are only counted; then you can start it."
            }
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
                    (parts::input("Route", "route", &fields.route))
                    (parts::input("Source", "source", &fields.source))
                    (parts::input("Event type", "event_type", &fields.event_type))
                    (time("Accepted from (UTC)", "accepted_after", &fields.accepted_after))
                    (time("Accepted before (UTC)", "accepted_before", &fields.accepted_before))
                    (parts::input("Rate, such as 50/s", "rate", &fields.rate))
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

/// A field for a time. What browsers send means UTC.
fn time(label: &str, name: &str, value: &str) -> Markup {
    // A browser shows nothing else than what it would send itself.
    let value = value.trim_end_matches('Z');
    html! { label.field { span { (label) } input type="datetime-local" step="any" name=(name) value=(value); } }
}
