//! The difference between the body of a webhook and another one that was refused under the same key.

mod changes;
mod lines;

use maud::{Markup, html};

use super::body::looks_like_json;
use super::hex;
use crate::domain::conflict::MAX_REFUSED_BYTES;
use crate::domain::content_type::ContentType;
use crate::page::context::Context;
use crate::page::parts::{self, number, text};
use crate::service::apart;
use crate::service::conflicts::{Conflict, Via};
use crate::service::view::WebhookView;

/// How many bytes of each body are shown if they are no texts.
const SHOWN_BYTES: usize = 256;

/// A body, as far as it is compared: its first [`MAX_REFUSED_BYTES`].
#[derive(Clone, Copy)]
struct Side<'a> {
    beginning: &'a [u8],
    /// Whether the body is longer.
    is_cut: bool,
    is_json: bool,
}

impl<'a> Side<'a> {
    fn new(body: &'a [u8], body_bytes: usize, content_type: &ContentType) -> Self {
        let beginning = body.get(..MAX_REFUSED_BYTES).unwrap_or(body);
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

/// What was refused under the key of a webhook; nothing if this process knows of nothing.
pub(super) async fn section(context: &Context, webhook: &WebhookView) -> Markup {
    let (Some(conflict), Some(body)) = (context.service.conflict_with(webhook), webhook.payload.as_deref())
    else {
        return parts::nothing();
    };
    let stored = Side::new(body, body.len(), &webhook.content_type);
    let Conflict { refused, .. } = &conflict;
    let refused = Side::new(&refused.body, refused.body_bytes, &refused.content_type);
    // The work grows with the product of the lengths.
    let work_bytes = stored.beginning.len().saturating_mul(refused.beginning.len());
    let difference = apart(work_bytes, || difference(stored, refused)).await;
    html! {
        section.card id="difference" {
            h2 { "Another body was refused" }
            p {
                "A webhook with the key of this one came with another body or event type. It was answered "
                code { "IDEMPOTENCY_KEY_REUSED" } ", and this webhook was not changed."
            }
            (facts(context, webhook, &conflict))
            (difference)
            @if stored.is_cut || refused.is_cut {
                p.muted.small {
                    "Only the first " (parts::bytes(MAX_REFUSED_BYTES as u64)) " of each body are compared."
                }
            }
            p.muted.small {
                "The refused body is in the memory of this process, and only the last ones are kept. Other replicas do not "
                "know it, and a restart forgets it."
            }
        }
    }
}

fn facts(context: &Context, webhook: &WebhookView, conflict: &Conflict) -> Markup {
    let Conflict { at, count, via, actor, refused } = conflict;
    let stored_bytes = webhook.payload.as_deref().unwrap_or_default().len();
    let if_other = |is_other: bool, value: &str| if is_other { text(value) } else { parts::nothing() };
    let is_other_event = refused.event_type != webhook.status.event_type;
    let is_other_type = refused.content_type != webhook.content_type;
    parts::facts([
        (if *count == 1 { "Came" } else { "Last came" }, parts::moment(*at, context.now)),
        ("How often", html! { (parts::count(*count, "time", "times")) }),
        ("By", html! { (way(*via)) @if let Some(actor) = actor { ", with the token " (text(actor)) } }),
        (
            "Length",
            html! {
                (parts::bytes(refused.body_bytes as u64)) "; that of this webhook has "
                (parts::bytes(stored_bytes as u64))
            },
        ),
        ("Event type", if_other(is_other_event, refused.event_type.as_str())),
        ("Content type", if_other(is_other_type, refused.content_type.as_str())),
        ("Trace", html! { span.id { (parts::trace(context, refused.traceparent.trace_id())) } }),
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
    }
}

/// What differs: the lines of JSON or of texts, or else bytes.
fn difference(stored: Side<'_>, refused: Side<'_>) -> Markup {
    if stored.beginning == refused.beginning {
        let is_cut = stored.is_cut || refused.is_cut;
        return html! {
            p { @if is_cut { "The compared parts of the bodies are the same." } @else { "The bodies are the same." } }
        };
    }
    let is_same_json = match (stored.json(), refused.json()) {
        (Some(stored), Some(refused)) => match changes::changes(&texts(&stored), &texts(&refused)) {
            Some(changes) => return changes,
            None => true,
        },
        _ => false,
    };
    html! {
        @if is_same_json {
            p { "As JSON, the compared parts are equal; only their notation differs:" }
        }
        (of_texts(stored, refused).unwrap_or_else(|| of_bytes(stored.beginning, refused.beginning)))
    }
}

fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

/// What differs between two texts; none if one of them is no text.
fn of_texts(stored: Side<'_>, refused: Side<'_>) -> Option<Markup> {
    changes::changes(&stored.text()?, &refused.text()?)
}

fn of_bytes(stored: &[u8], refused: &[u8]) -> Markup {
    let same = stored.iter().zip(refused).take_while(|(one, other)| one == other).count();
    let beginning = |bytes: &[u8]| hex::code(bytes.get(..SHOWN_BYTES).unwrap_or(bytes));
    html! {
        p { "These bodies are not text. The first " (number(same as u64)) " bytes are the same. They begin as follows." }
        h3 { "This webhook" }
        (beginning(stored))
        h3 { "The refused one" }
        (beginning(refused))
    }
}
