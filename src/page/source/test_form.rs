//! The form by which a source is tested, and what becomes of it.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::access::Role;
use crate::domain::error::{Error, Result};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, MAX_NAME_CHARS, Source};
use crate::page::because::because;
use crate::page::context::{Context, Nav};
use crate::page::parts::{self, count};
use crate::service::receive::Received;
use crate::service::{MAX_TEST_BYTES, TestRequest};

/// The content types of test requests.
const CONTENT_TYPES: [&str; 4] =
    ["application/json", "application/x-www-form-urlencoded", "application/xml", "text/plain"];

/// The fields of the form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    event_type: String,
    key: String,
    content_type: String,
    body: String,
    reason: String,
}

impl Fields {
    /// What the form begins with.
    pub(super) fn first() -> Self {
        Self { body: "{}".to_owned(), ..Self::default() }
    }
}

/// Whether the caller may send test requests.
pub(super) fn is_allowed(context: &Context) -> bool {
    context.may_operate() && context.caller.has(Role::Submit)
}

/// The form, filled in.
pub(super) fn form(context: &Context, source: &Source, verifies: bool, fields: &Fields) -> Markup {
    html! {
        section.card id="test" {
            h2 { "Send a test" }
            p.muted {
                "Makes a webhook as if its sender had sent it, and its jobs run. "
                @if verifies {
                    "The request is signed with the first secret of this source. What the source looks for, and the request has "
                    "not, is added. "
                }
            }
            form.stack method="post" action=(context.path(&format!("/sources/{source}/test"))) {
                (context.form_token())
                div.fields {
                    label.field {
                        span { "Event type" }
                        input name="event_type" value=(fields.event_type) maxlength=(MAX_NAME_CHARS) autocomplete="off"
                            spellcheck="false";
                    }
                    label.field {
                        span { "Key (a new one if empty)" }
                        input name="key" value=(fields.key) maxlength=(MAX_NAME_CHARS) autocomplete="off" spellcheck="false";
                    }
                    label.field {
                        span { "Content type" }
                        select name="content_type" {
                            @for known in CONTENT_TYPES {
                                option value=(known) selected[known == fields.content_type] { (known) }
                            }
                        }
                    }
                    (parts::reason_of(&fields.reason))
                }
                label.field {
                    span { "Body" }
                    // Browsers leave out the first line break.
                    textarea name="body" maxlength=(MAX_TEST_BYTES) spellcheck="false" { "\n" (fields.body) }
                }
                button.primary type="submit" { "Send the test" }
            }
        }
    }
}

/// Sends the request of a form. Returns the path of the next view, and a notice with the result. Errors: also those of
/// the source that refuses the request.
pub(super) async fn send(
    context: &Context,
    source: &Source,
    traceparent: Traceparent,
    fields: &Fields,
) -> Result<(String, String)> {
    let Fields { event_type, key, content_type, body, reason } = fields;
    let known = CONTENT_TYPES.into_iter().find(|known| known == content_type);
    let test = TestRequest {
        event_type: given(event_type).map(EventType::new).transpose()?,
        key: given(key).map(IdempotencyKey::new).transpose()?,
        content_type: known.ok_or_else(|| {
            Error::invalid("content_type", format_args!("must be one of {}", CONTENT_TYPES.join(", ")))
        })?,
        // Browsers send the line breaks of a form as CR LF.
        body: body.replace("\r\n", "\n").into_bytes(),
        traceparent,
    };
    let received = because(context, Some(reason.clone()))?.send_test(source, test).await?;
    Ok(told(source, &received))
}

fn given(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// The form of a test that was not sent, as it was, and why.
pub(super) async fn refused(
    context: &Context,
    source: &Source,
    fields: &Fields,
    problem: &Error,
) -> Response {
    let Ok(rules) = context.service.seen_source(source) else { return context.failed(problem) };
    let Ok(view) = context.service.source_view(&rules).await else { return context.failed(problem) };
    let body = html! {
        nav.crumbs {
            a href=(context.path("/sources")) { "Sources" }
            (parts::source_link(context, source))
        }
        (parts::head("Send a test", parts::nothing()))
        (parts::refused(context, "Nothing was sent", problem))
        (form(context, source, view.verifies, fields))
    };
    context.refused(problem, "Send a test", Nav::Sources, body)
}

fn told(source: &Source, received: &Received) -> (String, String) {
    match received {
        Received::Handshake(answer) => {
            let notice =
                format!("The test was answered as a handshake, with {}. Nothing is stored.", answer.status);
            (format!("/sources/{source}"), notice)
        }
        Received::Webhook(accepted) => {
            let what = if accepted.webhook.is_quarantined {
                "The test is in quarantine: it was not verified."
            } else if accepted.duplicate {
                "The test is a duplicate of this webhook, which has the same key."
            } else {
                "The test arrived, and is stored as this webhook."
            };
            (format!("/webhooks/{}", accepted.webhook.id), what.to_owned())
        }
        Received::Batch(all) if all.is_empty() => {
            let notice = "The test arrived, but has no webhooks in it. Nothing is stored.";
            (format!("/sources/{source}"), notice.to_owned())
        }
        Received::Batch(all) => {
            let webhooks = count(all.len() as u64, "webhook", "webhooks");
            (format!("/webhooks?source={source}"), format!("The test arrived, with {webhooks}."))
        }
    }
}
