//! The difference between the body of a webhook and another one that came under the same key, and was not stored.

mod changes;
mod lines;

use maud::{Markup, html};

use super::body::looks_like_json;
use super::hex;
use crate::domain::conflict::OnConflict;
use crate::domain::content_type::ContentType;
use crate::domain::payload::sha256;
use crate::page::context::Context;
use crate::page::parts::{self, number, text};
use crate::service::apart;
use crate::service::conflicts::{Conflict, MAX_KEPT_BYTES, Via};
use crate::service::view::WebhookView;

/// How many bytes of each body are shown if they are no texts.
const SHOWN_BYTES: usize = 256;

/// A body, as far as it is compared: its first [`MAX_KEPT_BYTES`].
#[derive(Clone, Copy)]
struct Side<'a> {
    beginning: &'a [u8],
    /// Whether the body is longer.
    is_cut: bool,
    is_json: bool,
}

impl<'a> Side<'a> {
    fn new(body: &'a [u8], body_bytes: usize, content_type: &ContentType) -> Self {
        let beginning = body.get(..MAX_KEPT_BYTES).unwrap_or(body);
        let is_cut = beginning.len() < body_bytes;
        Self { beginning, is_cut, is_json: looks_like_json(body, content_type) }
    }

    /// The lines of the JSON; none if it is no JSON.
    fn json(self) -> Option<Vec<String>> {
        if self.is_json { lines::of_json(self.beginning, self.is_cut) } else { None }
    }

    /// The lines of the text; none if it is no text.
    fn text(self) -> Option<Vec<&'a str>> {
        lines::of_text(self.beginning, self.is_cut)
    }
}

/// What came under the key of a webhook and was not stored; nothing if this process knows of nothing.
pub(super) async fn section(context: &Context, webhook: &WebhookView) -> Markup {
    let (Some(conflict), Some(body)) = (context.service.conflict_with(webhook), webhook.payload.as_deref())
    else {
        return parts::nothing();
    };
    let stored = Side::new(body, body.len(), &webhook.content_type);
    let Conflict { other, .. } = &conflict;
    let other = Side::new(&other.body, other.body_bytes, &other.content_type);
    // The work grows with the product of the lengths.
    let work_bytes = stored.beginning.len().saturating_mul(other.beginning.len()).max(body.len());
    let (difference, stored_sha256) = apart(work_bytes, || (difference(stored, other), sha256(body))).await;
    html! {
        section.card id="difference" {
            (told(conflict.on_conflict))
            (facts(context, webhook, &conflict, &stored_sha256))
            (difference)
            @if stored.is_cut || other.is_cut {
                p.muted.small {
                    "Only the first " (parts::bytes(MAX_KEPT_BYTES as u64)) " of each body are compared."
                }
            }
            p.muted.small {
                "The other body is in the memory of this process, and only the last ones are kept. Other replicas do not "
                "know it, and a restart forgets it."
            }
        }
    }
}

/// What happened, and what it means.
fn told(on_conflict: OnConflict) -> Markup {
    match on_conflict {
        OnConflict::Reject => html! {
            h2 { "Another body was refused" }
            p {
                "A webhook with the key of this one came with another body or event type. It was answered "
                code { "IDEMPOTENCY_KEY_REUSED" } ", and this webhook was not changed."
            }
        },
        OnConflict::KeepFirst => html! {
            h2 { "Another body counted as a duplicate" }
            p {
                "A webhook with the key of this one came with another body or event type. It was answered like a duplicate, "
                "because the source has " code { "on_conflict = \"keep_first\"" } ": this webhook was not changed, and the "
                "other body was neither stored nor processed."
            }
            p {
                "Nothing is lost if the sender only changes details when it sends an event again, such as a counter of "
                "attempts. If the two bodies are different events, correct " code { "key" } " of the source, so that they get "
                "different keys."
            }
        },
    }
}

fn facts(context: &Context, webhook: &WebhookView, conflict: &Conflict, stored_sha256: &str) -> Markup {
    let Conflict { at, count, via, actor, other, .. } = conflict;
    let stored_bytes = webhook.payload.as_deref().unwrap_or_default().len();
    let if_other = |is_other: bool, value: &str| if is_other { text(value) } else { parts::nothing() };
    let is_other_event = other.event_type != webhook.status.event_type;
    let is_other_type = other.content_type != webhook.content_type;
    parts::facts([
        (if *count == 1 { "Came" } else { "Last came" }, parts::moment(*at, context.now)),
        ("How often", html! { (parts::count(*count, "time", "times")) }),
        ("By", html! { (way(*via)) @if let Some(actor) = actor { ", with the token " (text(actor)) } }),
        (
            "Length",
            html! {
                (parts::bytes(other.body_bytes as u64)) "; that of this webhook has "
                (parts::bytes(stored_bytes as u64))
            },
        ),
        (
            "SHA-256",
            html! {
                span.id { (other.sha256) } "; that of this webhook has " span.id { (stored_sha256) }
            },
        ),
        ("Event type", if_other(is_other_event, other.event_type.as_str())),
        ("Content type", if_other(is_other_type, other.content_type.as_str())),
        ("Trace", html! { span.id { (parts::trace(context, other.traceparent.trace_id())) } }),
    ])
}

/// The way by which it came in, in words.
fn way(via: Via) -> &'static str {
    match via {
        Via::Rest => "POST /v1/webhooks",
        Via::Grpc => "gRPC",
        Via::Source => "the URL of the source",
        Via::Test => "a test of the source",
        Via::Edit => "the page, as an edited webhook",
        Via::Release => "a release from quarantine",
    }
}

/// What differs: the lines of JSON or of texts, or else bytes.
fn difference(stored: Side<'_>, other: Side<'_>) -> Markup {
    if stored.beginning == other.beginning {
        let is_cut = stored.is_cut || other.is_cut;
        return html! {
            p { @if is_cut { "The compared parts of the bodies are the same." } @else { "The bodies are the same." } }
        };
    }
    let is_same_json = match (stored.json(), other.json()) {
        (Some(stored), Some(other)) => match changes::changes(&texts(&stored), &texts(&other)) {
            Some(changes) => return changes,
            None => true,
        },
        _ => false,
    };
    html! {
        @if is_same_json {
            p { "As JSON, the compared parts are equal; only their notation differs:" }
        }
        (of_texts(stored, other).unwrap_or_else(|| of_bytes(stored.beginning, other.beginning)))
    }
}

fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

/// What differs between two texts; none if one of them is no text.
fn of_texts(stored: Side<'_>, other: Side<'_>) -> Option<Markup> {
    changes::changes(&stored.text()?, &other.text()?)
}

fn of_bytes(stored: &[u8], other: &[u8]) -> Markup {
    let same = stored.iter().zip(other).take_while(|(one, other)| one == other).count();
    let beginning = |bytes: &[u8]| hex::code(bytes.get(..SHOWN_BYTES).unwrap_or(bytes));
    html! {
        p { "These bodies are not text. The first " (number(same as u64)) " bytes are the same. They begin as follows." }
        h3 { "This webhook" }
        (beginning(stored))
        h3 { "The other one" }
        (beginning(other))
    }
}
