//! What the sender of a source is answered, by the settings of the source.

use maud::{Markup, html};

use crate::domain::conflict::OnConflict;
use crate::page::parts;
use crate::service::{Answers, SourceRules};

/// The most characters of the body of an answer that are shown.
const MAX_ANSWER_CHARS: usize = 200;

/// What the sender is answered.
pub(super) fn facts(source: &SourceRules) -> Markup {
    let rules = &source.rules;
    let Answers { accepted, body, content_type, overload, refused_body } = &rules.answers;
    parts::facts([
        (
            "Accepted",
            html! {
                @if let Some(status) = accepted { (status) } @else { "202, or 200 for a duplicate" }
                @if let Some(body) = body {
                    @if body.is_empty() {
                        ", without a body"
                    } @else {
                        ", with the body " code { (parts::cut(body, MAX_ANSWER_CHARS)) } " (" (parts::text(content_type)) ")"
                    }
                } @else {
                    ", with the JSON of hookbox"
                }
            },
        ),
        (
            "Refused",
            html! {
                @if let Some(body) = refused_body {
                    @if body.is_empty() {
                        "Without a body: the cause is above and in the log"
                    } @else {
                        "With the body " code { (parts::cut(body, MAX_ANSWER_CHARS)) }
                    }
                }
            },
        ),
        ("Overloaded", html! { (overload) ", so that it sends again" }),
        (
            "Deadline",
            html! {
                @if let Some(deadline) = rules.deadline {
                    (overload) " if it is not stored within " (parts::seconds(deadline.as_secs_f64()))
                } @else {
                    "None"
                }
            },
        ),
        (
            "Key is taken",
            html! {
                @if rules.on_conflict == OnConflict::KeepFirst {
                    "A webhook with a known key counts as a duplicate, also with another body; the first webhook then shows \
                     the difference"
                } @else {
                    "422 if the body is another one than that of the first webhook"
                }
            },
        ),
    ])
}
