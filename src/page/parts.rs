//! The pieces that views are made of. Text that came from outside goes through [`text`] or [`lines`], which show what
//! would be invisible or change the order of the text.

mod form;
mod text;
mod time;

use maud::{Markup, PreEscaped, html};

pub(super) use self::form::{Button, choice, confirmed, filters, input, reason, reason_of};
pub(super) use self::text::{Shown, code, cut, lines, text};
pub(super) use self::time::{dated, duration, exact, moment, seconds, time, to_second};
use super::context::Context;
use crate::domain::error::Error;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;

/// How many parameters that a view does not have are told, and how many characters of each.
const SHOWN_PARAMETERS: usize = 5;
const PARAMETER_CHARS: usize = 60;

/// The value of `data-live` of what depends on the rows of a live list, such as the link to older ones. The script replaces
/// it together with the list only: a link that is newer than the rows would leave some out.
pub(super) const WITH_LIST: &str = "with-list";

/// How good or bad something is, as its colour. The text next to it always says so in words, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Neither good nor bad.
    Plain,
    /// As it should be.
    Good,
    /// In progress.
    Busy,
    /// To be looked at.
    Warning,
    /// To be fixed.
    Bad,
}

impl Tone {
    /// Its class.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Warning => "warn",
            Self::Bad => "bad",
        }
    }
}

/// A word with a colour.
pub(super) fn badge(tone: Tone, word: &str) -> Markup {
    html! { span class=(format_args!("badge {}", tone.class())) { (word) } }
}

/// A status.
pub(super) fn status(status: Status) -> Markup {
    let tone = match status {
        Status::Pending | Status::Cancelled | Status::Filtered => Tone::Plain,
        Status::Processing => Tone::Busy,
        Status::Retrying | Status::Quarantined => Tone::Warning,
        Status::Completed => Tone::Good,
        Status::DeadLettered => Tone::Bad,
    };
    badge(tone, &status_word(status))
}

/// A status in words.
pub(super) fn status_word(status: Status) -> String {
    status.as_str().replace('_', "-")
}

/// A link to a webhook, by its id.
pub(super) fn id_link(context: &Context, id: WebhookId) -> Markup {
    let id = id.to_string();
    html! { a.id href=(context.path(&format!("/webhooks/{id}"))) { (id) } }
}

/// A link to a route.
pub(super) fn route_link(context: &Context, route: &RouteName) -> Markup {
    html! { a href=(context.path(&format!("/routes/{route}"))) { (route.as_str()) } }
}

/// A link to a source.
pub(super) fn source_link(context: &Context, source: &Source) -> Markup {
    html! { a href=(context.path(&format!("/sources/{source}"))) { (source.as_str()) } }
}

/// A trace id. Links to the trace, if the settings say where traces are shown.
pub(super) fn trace(context: &Context, trace_id: &str) -> Markup {
    match &context.shared.pages.trace_url {
        Some(url) => html! { a href=(url.of(trace_id)) rel="noreferrer noopener" { (text(trace_id)) } },
        None => text(trace_id),
    }
}

/// A button that copies a text. Works, and is there, with JavaScript only.
pub(super) fn copy(what: &str, copied: &str) -> Markup {
    html! {
        button.copy.quiet type="button" hidden aria-label=(format_args!("Copy {what}")) data-copy=(copied) { "Copy" }
    }
}

/// The links to the other pages of a list: to the first one, and to the next one if there is one. `parameter` is the
/// parameter of the page, such as `page_token`, and `next` its value for the next page.
pub(super) fn pager(context: &Context, parameter: &str, next: Option<&str>) -> Markup {
    let is_first = !context.parameters().iter().any(|(name, _)| name == parameter);
    html! {
        @if !is_first || next.is_some() {
            nav.pager aria-label="Pages" {
                @if !is_first { a.button rel="first" href=(context.here_with(parameter, None)) { "Newest" } }
                @if let Some(next) = next {
                    // By its id, it keeps the focus when a live view replaces it.
                    a.button id="older" rel="next" href=(context.here_with(parameter, Some(next))) { "Older" }
                }
            }
        }
    }
}

/// What a list shows that has nothing in it.
pub(super) fn empty(what: &str, next: &str) -> Markup {
    html! { div.empty { p { (what) } @if !next.is_empty() { p.muted { (next) } } } }
}

/// What a page of a list shows that has no rows. A caller who sees only some of the list can get such a page before the
/// last one. `rows` says what they are, and `none` is for a list that has nothing in it.
pub(super) fn empty_page(rows: &str, is_first: bool, has_next: bool, none: Markup) -> Markup {
    match (has_next, is_first) {
        (true, _) => empty(
            &format!("This token sees none of the {rows} on this page."),
            "“Older” goes on to the next page.",
        ),
        (false, false) => empty(&format!("There are no older {rows}."), ""),
        (false, true) => none,
    }
}

/// The title of a view, with what can be done there.
pub(super) fn head(title: &str, actions: Markup) -> Markup {
    html! { div.head { h1 { (title) } @if !actions.0.is_empty() { div.actions { (actions) } } } }
}

/// Names with values, as a list.
pub(super) fn facts<const N: usize>(facts: [(&str, Markup); N]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts {
                @if !value.0.is_empty() { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// A message in a box.
pub(super) fn notice(tone: Tone, body: Markup) -> Markup {
    html! { div class=(format_args!("notice {}", tone.class())) { (body) } }
}

/// Says that nothing was done for a form, and why. `nothing` begins the sentence, such as `Nothing was sent`.
pub(super) fn refused(context: &Context, nothing: &str, problem: &Error) -> Markup {
    notice(
        Tone::Bad,
        html! {
            p {
                (nothing) ": " (text(problem.detail()))
                @if let Some(id) = problem.webhook() { " See " (id_link(context, id)) "." }
            }
            (reason_code(problem))
        },
    )
}

/// Says which filter of a list is wrong.
pub(super) fn wrong_filter(problem: &Error) -> Markup {
    notice(
        Tone::Bad,
        html! {
            p { "A filter is wrong: " (text(problem.detail())) ". Correct it, and filter again." }
            (reason_code(problem))
        },
    )
}

/// The reason of an error, as the APIs have it.
fn reason_code(problem: &Error) -> Markup {
    html! { p.muted.small { code { (problem.reason().as_str()) } } }
}

/// Says which parameters of the address a view does not have. Nothing if there are none.
pub(super) fn ignored(context: &Context, parameters: &[&str]) -> Markup {
    let names = context.parameters().iter().map(|(name, _)| name.as_str());
    let unknown = names.filter(|name| !parameters.contains(name)).collect::<Vec<_>>();
    if unknown.is_empty() {
        return nothing();
    }
    let body = html! {
        p {
            "The address has parameters that this view does not have, so they are ignored: "
            @for (at, name) in unknown.iter().take(SHOWN_PARAMETERS).enumerate() {
                @if at > 0 { ", " }
                code { (cut(name, PARAMETER_CHARS)) }
            }
            @if unknown.len() > SHOWN_PARAMETERS { ", …" }
            "."
        }
    };
    notice(Tone::Warning, body)
}

/// A number with a comma between thousands.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and what it counts, in the singular or plural.
pub(super) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// How many things happen in a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second >= 99.95 {
        number(per_second.round() as u64)
    } else if per_second > 0.0 && per_second < 0.05 {
        "< 0.1".to_owned()
    } else {
        format!("{per_second:.1}")
    }
}

/// A number of bytes in a unit that people read.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..=1_023 => count(bytes, "byte", "bytes"),
        1_024..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// Nothing, where markup is asked for.
pub(super) fn nothing() -> Markup {
    PreEscaped(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let numbers = [0, 7, 999, 1_000, 12_345, 1_234_567].map(number);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        let rates = [0.0, 0.01, 0.26, 99.94, 99.96, 1234.5].map(rate);
        assert_eq!(rates, ["0.0", "< 0.1", "0.3", "99.9", "100", "1,235"]);
        assert_eq!([1, 2, 2_048, 1_572_864].map(bytes), ["1 byte", "2 bytes", "2.0 KiB", "1.5 MiB"]);
        assert_eq!([0, 1, 2].map(|jobs| count(jobs, "job", "jobs")), ["0 jobs", "1 job", "2 jobs"]);
    }
}
