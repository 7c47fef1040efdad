//! Sends a webhook again with another body, event type or key, as a new webhook of the same source.
//!
//! The source is the same, because routes match by it. The verdict is `none`: only the operator vouches for it. So it
//! takes the role `submit` besides `operate`.

use axum::Extension;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::payload::{self, Visibility, reveal};
use super::{InPath, id_of, load};
use crate::access::Role;
use crate::domain::attempt::AttemptWindow;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::headers::KeptHeaders;
use crate::domain::id::WebhookId;
use crate::domain::payload::Payload;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{EventType, IdempotencyKey, MAX_NAME_CHARS, NewWebhook, Source};
use crate::page::action::Action;
use crate::page::because::{Why, because};
use crate::page::context::{Context, Nav};
use crate::page::parts::{self, cut, input};
use crate::service::apart;
use crate::service::view::WebhookView;

/// The largest body that can be edited. As a form, it can take three times as much.
const MAX_BYTES: usize = 256 * 1024;

/// The header that says which webhook was edited.
const EDITED_FROM: &str = "hookbox-edited-from";

/// How many characters of the event type are in the title.
const TITLE_CHARS: usize = 120;

/// What was edited.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Edited {
    key: String,
    event_type: String,
    body: String,
    reason: String,
}

impl Edited {
    /// What the form begins with.
    fn of(webhook: &WebhookView, body: &str, context: &Context) -> Self {
        let suffix = format!("-edited-{}", context.now.as_millisecond());
        let room = MAX_NAME_CHARS.saturating_sub(suffix.len());
        let key: String = webhook.status.idempotency_key.as_str().chars().take(room).collect();
        let event_type = webhook.status.event_type.to_string();
        Self { key: format!("{key}{suffix}"), event_type, body: body.to_owned(), reason: String::new() }
    }
}

/// A link to the form, for callers who may send it and webhooks that can be edited.
pub(super) fn link(context: &Context, webhook: &WebhookView) -> Markup {
    let path = format!("/webhooks/{}/edit", webhook.status.id);
    html! {
        @if context.may_operate() && editable(context, webhook).is_ok() {
            a.button href=(context.path(&path)) { "Edit and send" }
        }
    }
}

/// Lets in callers who may send edited webhooks. Errors: `Forbidden`.
fn check_sender(context: &Context) -> Result<()> {
    context.caller.check_role(Role::Submit)?;
    if context.caller.has_limited_routes() {
        return Err(context.caller.too_limited("a new webhook goes to every route that matches it"));
    }
    Ok(())
}

/// The body of a webhook that the caller may edit. Errors: `Forbidden`, `WrongStatus`, `WebhookNotFound`.
fn editable<'a>(context: &Context, webhook: &'a WebhookView) -> Result<&'a str> {
    check_sender(context)?;
    let id = webhook.status.id;
    let wrong = |why: &str| Error::new(Reason::WrongStatus, format!("webhook {id} cannot be edited: {why}"));
    if webhook.status.source.is_own() {
        return Err(wrong("only hookbox itself makes webhooks of its own source"));
    }
    if webhook.status.is_quarantined {
        return Err(wrong("it is in quarantine; release or discard it"));
    }
    let body = webhook.payload.as_deref().ok_or_else(|| Error::body_gone(id))?;
    if body.len() > MAX_BYTES {
        let why =
            format!("its body has more than {MAX_BYTES} bytes; download it, and send it with `hookbox send`");
        return Err(wrong(&why));
    }
    let text = std::str::from_utf8(body).ok().filter(|text| survives_a_form(text));
    text.ok_or_else(|| {
        wrong("its body is no text that a form can hold; download it, and send it with `hookbox send`")
    })
}

/// Whether browsers send a text back as they got it, but for line breaks, which they send as CR LF.
fn survives_a_form(text: &str) -> bool {
    let has_both = || text.replace("\r\n", "").contains('\n');
    let is_lost = text.contains('\0')
        || text.replace("\r\n", "").contains('\r')
        || (text.contains("\r\n") && has_both());
    !is_lost
}

/// The text as it was meant: browsers send each line break as CR LF.
fn with_line_breaks_of(original: &str, sent: &str) -> String {
    if original.contains("\r\n") { sent.to_owned() } else { sent.replace("\r\n", "\n") }
}

/// `GET /webhooks/{id}/edit`: the form.
pub(super) async fn form(context: Context, id: InPath) -> Response {
    match filled_in(&context, id).await {
        Ok(body) => context.page("Edit and send", Nav::Webhooks, body),
        Err(error) => context.failed(&error),
    }
}

async fn filled_in(context: &Context, id: InPath) -> Result<Markup> {
    context.caller.check_role(Role::Operate)?;
    let webhook = load(context, id_of(id)?, AttemptWindow::NONE).await?;
    let body = editable(context, &webhook)?;
    if Visibility::of(context, &webhook).is_hidden() {
        return Ok(hidden(context, &webhook));
    }
    Ok(view(context, &webhook, &Edited::of(&webhook, body, context), None))
}

/// `POST /webhooks/{id}/edit`: the form, of a payload that is hidden.
pub(super) async fn form_with_hidden(id: InPath, Action(context, why): Action<Why>) -> Response {
    asked_for(&context, id, why).await.unwrap_or_else(|error| context.failed(&error))
}

async fn asked_for(context: &Context, id: InPath, why: Why) -> Result<Response> {
    check_sender(context)?;
    let id = id_of(id)?;
    let revealed = reveal(context, id, why, Some("to edit it")).await?;
    let webhook = load(context, id, AttemptWindow::NONE).await?;
    let body = editable(context, &webhook)?;
    let form = view(context, &webhook, &Edited::of(&webhook, body, context), None);
    Ok(revealed.answer(context.page("Edit and send", Nav::Webhooks, form)))
}

/// What is shown in place of the form while the payload is hidden.
fn hidden(context: &Context, webhook: &WebhookView) -> Markup {
    let path = format!("/webhooks/{}/edit", webhook.status.id);
    html! {
        (head(context, webhook))
        section.card { (payload::form(context, webhook, &path, "Show and edit the payload", &parts::nothing())) }
    }
}

fn head(context: &Context, webhook: &WebhookView) -> Markup {
    let back = context.path(&format!("/webhooks/{}", webhook.status.id));
    html! {
        nav.crumbs aria-label="Path" {
            a href=(context.path("/webhooks")) { "Webhooks" }
            a href=(back) { (cut(webhook.status.event_type.as_str(), TITLE_CHARS)) }
            span { "Edit and send" }
        }
        (parts::head("Edit and send as new", parts::nothing()))
    }
}

fn view(context: &Context, webhook: &WebhookView, edited: &Edited, problem: Option<&Error>) -> Markup {
    let status = &webhook.status;
    let back = context.path(&format!("/webhooks/{}", status.id));
    html! {
        (head(context, webhook))
        @if let Some(problem) = problem { (parts::refused(context, "Nothing was sent", problem)) }
        section.card {
            p {
                "This makes a new webhook of the source " b { (status.source.as_str()) } ", with the headers that were "
                "kept of this one. Every route that matches it gets a job. Its verdict is " code { "none" }
                ", and its header " code { (EDITED_FROM) } " names this one."
            }
            form method="post" action=(context.path(&format!("/webhooks/{}/send", status.id))) {
                (context.form_token())
                div.stack {
                    div.fields {
                        (input("Event type", "event_type", &edited.event_type))
                        (input("Key", "key", &edited.key))
                        (input("Reason", "reason", &edited.reason))
                    }
                    label.field {
                        span { "Body, " (parts::text(webhook.content_type.as_str())) }
                        // Browsers leave out the first line break.
                        textarea name="body" rows="24" spellcheck="false" autocomplete="off" { "\n" (edited.body) }
                    }
                    div.actions {
                        button.primary type="submit" { "Send" }
                        a.button.quiet href=(back) { "Back" }
                    }
                }
            }
        }
    }
}

/// `POST /webhooks/{id}/send`
pub(super) async fn send(
    id: InPath,
    Extension(traceparent): Extension<Traceparent>,
    Action(context, edited): Action<Edited>,
) -> Response {
    // Before the webhook is read, which can be large.
    if let Err(error) = check_sender(&context) {
        return context.failed(&error);
    }
    let loaded = async { load(&context, id_of(id)?, AttemptWindow::NONE).await };
    let webhook = match loaded.await {
        Ok(webhook) => webhook,
        Err(error) => return context.failed(&error),
    };
    let original = match editable(&context, &webhook) {
        Ok(body) => body,
        Err(error) => return context.failed(&error),
    };
    let edited = Edited { body: with_line_breaks_of(original, &edited.body), ..edited };
    match submitted(&context, &webhook, &edited, traceparent).await {
        Ok((id, notice)) => context.done(&format!("/webhooks/{id}"), notice),
        Err(error) => {
            let body = view(&context, &webhook, &edited, Some(&error));
            context.refused(&error, "Edit and send", Nav::Webhooks, body)
        }
    }
}

/// Sends the new webhook. Errors: those of a submission; `InvalidField` for the reason.
async fn submitted(
    context: &Context,
    original: &WebhookView,
    edited: &Edited,
    traceparent: Traceparent,
) -> Result<(WebhookId, &'static str)> {
    let service = because(context, Some(edited.reason.clone()))?;
    let headers = headers(original);
    let payload = apart(edited.body.len(), || payload(original, &edited.body)).await?;
    let webhook = NewWebhook {
        source: original.status.source.clone(),
        idempotency_key: IdempotencyKey::new(edited.key.as_str())?,
        event_type: EventType::new(edited.event_type.as_str())?,
        payload,
        headers: kept(&headers),
        verdict: Verdict::None,
        traceparent,
    };
    let accepted = service.send_edited(original.status.id, webhook, headers).await?;
    let notice = if accepted.duplicate {
        "hookbox had this webhook already. Nothing was stored."
    } else {
        "The webhook is sent. This is the new one."
    };
    Ok((accepted.webhook.id, notice))
}

/// The new body. Errors: it is no JSON, but the source is `default` or the body was JSON before.
fn payload(original: &WebhookView, body: &str) -> Result<Payload> {
    if original.status.source == Source::default() {
        return Payload::new(body);
    }
    let content_type = &original.content_type;
    let is_json = |body: &[u8]| content_type.json_of(body).is_some();
    if original.payload.as_deref().is_some_and(is_json) && !is_json(body.as_bytes()) {
        let detail = "the body was JSON, and is not valid JSON any more; correct it";
        return Err(Error::new(Reason::MalformedJson, detail));
    }
    Ok(Payload::of_bytes(body.as_bytes(), content_type.clone()))
}

/// The headers of the new webhook: those that were kept, and which webhook was edited.
fn headers(original: &WebhookView) -> Vec<(String, String)> {
    let edited_from = (EDITED_FROM.to_owned(), original.status.id.to_string());
    let others = original.headers.iter().filter(|(name, _)| name != EDITED_FROM).cloned();
    [edited_from].into_iter().chain(others).collect()
}

fn kept(headers: &[(String, String)]) -> KeptHeaders {
    KeptHeaders::keep(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())), |_| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_from_a_form_as_it_was() {
        for text in ["", "a", "a\nb\n", "\n\n", "a\r\nb", "\u{202e}\t\u{1b}"] {
            assert!(survives_a_form(text), "{text:?}");
            let sent = text.replace("\r\n", "\n").replace('\n', "\r\n");
            assert_eq!(with_line_breaks_of(text, &sent), text);
        }
        for text in ["\0", "a\rb", "a\r\nb\n", "\n\r"] {
            assert!(!survives_a_form(text), "{text:?}");
        }
    }
}
