//! What a handler sent during an attempt, and what was answered.

use std::time::Duration;

use axum::http::StatusCode;
use maud::{Markup, html};

use super::hex;
use super::payload::{Visibility, in_place_of};
use crate::domain::delivery::{Answer, Delivery};
use crate::page::parts::{Shown, bytes, code, cut, seconds, text};

/// How many characters of a URL are shown.
const URL_CHARS: usize = 300;

/// From how many characters on a value of a header is folded, and how many of it are shown then.
const VALUE_CHARS: usize = 400;
const FOLDED_CHARS: usize = 120;

/// How many bytes of an answer are shown that is no text.
const SHOWN_BYTES: usize = 512;

/// A delivery in one line, and below it headers and bodies, which can be unfolded. `id` is that of the element.
pub(super) fn delivery(delivery: &Delivery, id: &str, visibility: Visibility) -> Markup {
    html! {
        details.more id=(id) {
            summary {
                code { (text(&delivery.method)) " " (cut(&delivery.url, URL_CHARS)) }
                @match &delivery.answer {
                    Some(answer) => { " answered " (status(answer.status)) },
                    None => { " was not answered" },
                }
            }
            p.small.muted { (times(delivery)) }
            h3 { "Sent" }
            (headers(&delivery.request_headers))
            p.small.muted { "The body is that of the webhook. Values from the settings are ***." }
            @if let Some(answer) = &delivery.answer {
                h3 { "Answered" }
                (headers(&answer.headers))
                @if visibility.is_hidden() { (in_place_of("The body")) } @else { (body(answer)) }
            }
        }
    }
}

/// A status of HTTP with its usual words.
fn status(status: u16) -> Markup {
    let words = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    html! { b { (status) } @if let Some(words) = words { " " (words) } }
}

fn times(delivery: &Delivery) -> Markup {
    let took = |time: Duration| seconds(time.as_secs_f64());
    html! {
        (took(delivery.total_time)) " in all"
        @if let Some(time) = delivery.connect_time { "; connected after " (took(time)) }
        @if let Some(time) = delivery.first_byte_time { "; the answer began after " (took(time)) }
    }
}

/// Headers as a table. Long values are folded.
pub(super) fn headers(headers: &[(String, String)]) -> Markup {
    html! {
        @if headers.is_empty() {
            p.muted { "No headers are kept." }
        } @else {
            div.table {
                table.pairs {
                    colgroup { col; col; }
                    thead.visually-hidden { tr { th scope="col" { "Header" } th scope="col" { "Value" } } }
                    tbody {
                        @for (name, value) in headers {
                            tr { th.mono scope="row" { (cut(name, FOLDED_CHARS)) } td.mono { (value_of(value)) } }
                        }
                    }
                }
            }
        }
    }
}

fn value_of(value: &str) -> Markup {
    if value.chars().nth(VALUE_CHARS).is_none() {
        return text(value);
    }
    html! { details { summary { (cut(value, FOLDED_CHARS)) } (text(value)) } }
}

/// The body of an answer, as far as it is kept.
fn body(answer: &Answer) -> Markup {
    let kept = &answer.body;
    // A text is cut off between two bytes.
    let shown = match std::str::from_utf8(kept) {
        Ok(text) => Ok(text),
        Err(error) if answer.is_cut && error.error_len().is_none() => {
            std::str::from_utf8(kept.get(..error.valid_up_to()).unwrap_or_default())
        }
        Err(error) => Err(error),
    };
    html! {
        @if kept.is_empty() {
            p.muted.small { "The body is empty." }
        } @else if let Ok(text) = shown {
            (code(text, &Shown::All))
        } @else {
            (hex::code(kept.get(..SHOWN_BYTES).unwrap_or(kept)))
        }
        @if answer.is_cut || (shown.is_err() && kept.len() > SHOWN_BYTES) {
            p.muted.small { "Only the beginning is shown. hookbox keeps " (bytes(kept.len() as u64)) " of it." }
        }
    }
}
