//! The body of a webhook: as a tree, as the fields of a form, as a text or as bytes, and as a file.

use std::borrow::Cow;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use url::form_urlencoded;

use super::payload::{self, Visibility, reveal};
use super::{Asked, InPath, body_as_tree, hex, id_of, load, tree};
use crate::domain::attempt::AttemptWindow;
use crate::domain::content_type::ContentType;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::page::action::Action;
use crate::page::because::Why;
use crate::page::context::{Context, see_other};
use crate::page::parts::{self, Shown, Tone, code, cut};
use crate::service::apart;
use crate::service::view::WebhookView;

/// The parameter that says how to show the body, and the one that asks for all of it.
pub(super) const AS: &str = "body";
pub(super) const ALL: &str = "all_body";

/// The largest text that is shown whole. It can be downloaded in any case.
const MAX_TEXT_BYTES: usize = 1024 * 1024;

/// How many bytes are shown as such, at first and at most.
const FIRST_BYTES: usize = 4 * 1024;
const MOST_BYTES: usize = 64 * 1024;

/// How many fields of a form are shown, at first and at most, and how many characters of each.
const FIRST_FIELDS: usize = 100;
const MOST_FIELDS: usize = 2_000;
const FIELD_CHARS: usize = 2_000;

/// From this number of characters of names and values on, no more fields are shown: at first, and of all.
const FIRST_FORM_CHARS: usize = 50_000;
const MOST_FORM_CHARS: usize = 300_000;

/// The largest text that a button copies.
const COPIED_BYTES: usize = 64 * 1024;

/// How a body is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tree,
    Fields,
    Text,
    Bytes,
}

impl Form {
    const ALL: [Self; 4] = [Self::Tree, Self::Fields, Self::Text, Self::Bytes];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Fields => "fields",
            Self::Text => "text",
            Self::Bytes => "bytes",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Tree => "Tree",
            Self::Fields => "Fields",
            Self::Text => "Text",
            Self::Bytes => "Bytes",
        }
    }

    /// Whether a body can be shown so.
    fn fits(self, body: &[u8], content_type: &ContentType) -> bool {
        match self {
            Self::Tree => body.len() <= tree::MAX_BYTES && looks_like_json(body, content_type),
            Self::Fields => content_type.is_form(),
            Self::Text => std::str::from_utf8(body).is_ok(),
            Self::Bytes => true,
        }
    }
}

/// Some senders send JSON as another type.
pub(super) fn looks_like_json(body: &[u8], content_type: &ContentType) -> bool {
    content_type.is_json() || matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// `GET /webhooks/{id}/body`: the exact bytes, as a file that a browser does not open.
pub(super) async fn download(context: Context, id: InPath) -> Response {
    downloaded(&context, id).await.unwrap_or_else(|error| context.failed(&error))
}

async fn downloaded(context: &Context, id: InPath) -> Result<Response> {
    let id = id_of(id)?;
    let webhook = load(context, id, AttemptWindow::NONE).await?;
    if Visibility::of(context, &webhook).is_hidden() {
        // The view has the form that asks for it.
        return Ok(see_other(&context.path(&format!("/webhooks/{id}#body"))));
    }
    file(webhook)
}

/// `POST /webhooks/{id}/body`: the same, of a payload that is hidden.
pub(super) async fn download_hidden(id: InPath, Action(context, why): Action<Why>) -> Response {
    asked_for(&context, id, why).await.unwrap_or_else(|error| context.failed(&error))
}

async fn asked_for(context: &Context, id: InPath, why: Why) -> Result<Response> {
    let id = id_of(id)?;
    let revealed = reveal(context, id, why, Some("as a file")).await?;
    let webhook = load(context, id, AttemptWindow::NONE).await?;
    Ok(revealed.answer(file(webhook)?))
}

fn file(webhook: WebhookView) -> Result<Response> {
    let id = webhook.status.id;
    let body = webhook.payload.ok_or_else(|| Error::body_gone(id))?;
    let disposition = format!("attachment; filename=\"{}\"", file_name(id));
    let disposition = HeaderValue::try_from(disposition).map_err(Error::internal)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_DISPOSITION, disposition),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, body).into_response())
}

/// The name of the file with the body of a webhook.
pub(super) fn file_name(id: WebhookId) -> String {
    format!("webhook-{id}.bin")
}

/// The body, as the request asks for it.
pub(super) async fn section(
    context: &Context,
    webhook: &WebhookView,
    asked: &Asked,
    visibility: Visibility,
) -> Markup {
    let id = webhook.status.id;
    let download = context.path(&format!("/webhooks/{id}/body"));
    let Some(body) = &webhook.payload else {
        return html! {
            section.card id="body" {
                h2 { "Body" }
                (parts::empty("The body was removed at the end of its retention.", "Names and jobs are kept longer."))
            }
        };
    };
    let shown = if visibility.is_hidden() {
        payload::hidden(context, webhook)
    } else {
        apart(body.len(), || shown(context, body, &webhook.content_type, asked)).await
    };
    html! {
        section.card id="body" {
            div.spread {
                h2 { "Body" }
                @if !visibility.is_hidden() {
                    div.actions {
                        @if let Some(text) = copied(body) { (parts::copy("body", text)) }
                        @if visibility == Visibility::Open {
                            a href=(download) download=(file_name(id)) { "Download" }
                        }
                    }
                }
            }
            p.muted.small { (parts::text(webhook.content_type.as_str())) ", " (parts::bytes(body.len() as u64)) }
            @if visibility == Visibility::Asked {
                p.muted.small { "Shown because you asked for it. The links of this view hide it again." }
            }
            (shown)
        }
    }
}

/// The text that a button copies exactly; none if that cannot be done, or if it could do something in a terminal into
/// which it is pasted.
fn copied(body: &[u8]) -> Option<&str> {
    let text =
        std::str::from_utf8(body).ok().filter(|text| !text.is_empty() && text.len() <= COPIED_BYTES)?;
    // HTML cannot hold a carriage return or a NUL.
    let is_copied = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().all(is_copied).then_some(text)
}

/// The ways to show the body, and the body in one of them.
fn shown(context: &Context, body: &[u8], content_type: &ContentType, asked: &Asked) -> Markup {
    if body.is_empty() {
        return parts::empty("The body is empty.", "");
    }
    let forms = Form::ALL.into_iter().filter(|form| form.fits(body, content_type)).collect::<Vec<_>>();
    let named = forms.iter().find(|form| asked.body.as_deref() == Some(form.as_str()));
    let mut form = named.or_else(|| forms.first()).copied().unwrap_or(Form::Bytes);
    let is_all = asked.is_all_body();
    let (mut tree, mut problem) = (None, parts::nothing());
    if form == Form::Tree {
        match as_tree(context, body, content_type, is_all) {
            Ok(markup) => tree = Some(markup),
            Err(why) => {
                problem = why;
                form = if Form::Text.fits(body, content_type) { Form::Text } else { Form::Bytes };
            }
        }
    }
    let shown = tree.unwrap_or_else(|| match form {
        Form::Fields => as_fields(context, body, is_all),
        Form::Bytes => as_bytes(context, body, is_all),
        Form::Tree | Form::Text => as_text(context, body, is_all),
    });
    html! {
        nav.tabs aria-label="How to show the body" {
            @for other in forms {
                a href=(here(context, AS, other.as_str())) aria-current=[(other == form).then_some("page")] {
                    (other.label())
                }
            }
        }
        (problem)
        (shown)
    }
}

/// The link to this view with a parameter, at the body.
fn here(context: &Context, name: &str, value: &str) -> String {
    format!("{}#body", context.here_with(name, Some(value)))
}

fn all(context: &Context) -> String {
    here(context, ALL, "1")
}

/// Says that not everything is shown.
fn more(context: &Context, is_all: bool) -> Markup {
    html! {
        p.muted.small {
            @if is_all {
                "The page shows no more of the body. Download it to see the rest."
            } @else {
                "Only the beginning is shown. " a href=(all(context)) { "Show more" }
            }
        }
    }
}

/// The body as a tree, or why it cannot be shown as one.
fn as_tree(
    context: &Context,
    body: &[u8],
    content_type: &ContentType,
    is_all: bool,
) -> std::result::Result<Markup, Markup> {
    match body_as_tree(body, is_all) {
        Ok((tree, is_whole)) => Ok(html! { (tree) @if !is_whole { (more(context, is_all)) } }),
        Err(_) if !content_type.is_json() => Err(parts::nothing()),
        Err(problem) => Err(parts::notice(
            Tone::Warning,
            html! { p { "This is not valid JSON: " (parts::text(&problem)) "." } },
        )),
    }
}

fn as_text(context: &Context, body: &[u8], is_all: bool) -> Markup {
    let Ok(text) = std::str::from_utf8(body) else { return as_bytes(context, body, is_all) };
    if !is_all {
        code(text, &Shown::Beginning(Some(all(context))))
    } else if text.len() <= MAX_TEXT_BYTES {
        code(text, &Shown::All)
    } else {
        html! { (code(text, &Shown::Beginning(None))) (more(context, true)) }
    }
}

fn as_bytes(context: &Context, body: &[u8], is_all: bool) -> Markup {
    let most = if is_all { MOST_BYTES } else { FIRST_BYTES };
    let first = body.get(..most).unwrap_or(body);
    html! {
        (hex::code(first))
        @if first.len() < body.len() { (more(context, is_all)) }
    }
}

fn as_fields(context: &Context, body: &[u8], is_all: bool) -> Markup {
    let most = if is_all { MOST_FIELDS } else { FIRST_FIELDS };
    let mut room = if is_all { MOST_FORM_CHARS } else { FIRST_FORM_CHARS };
    let chars = |text: &str| text.chars().take(FIELD_CHARS).count();
    let mut fields = form_urlencoded::parse(body).peekable();
    let mut first: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    while let Some(field) = fields.next_if(|_| first.len() < most && room > 0) {
        room = room.saturating_sub(chars(&field.0) + chars(&field.1));
        first.push(field);
    }
    let is_cut = |text: &str| text.chars().nth(FIELD_CHARS).is_some();
    let is_whole = fields.next().is_none() && !first.iter().any(|(_, value)| is_cut(value));
    html! {
        div.table {
            table.pairs {
                colgroup { col; col; }
                thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } } }
                tbody {
                    @for (name, value) in &first {
                        tr {
                            th.mono scope="row" { (cut(name, FIELD_CHARS)) }
                            td.mono { (cut(value, FIELD_CHARS)) }
                        }
                    }
                }
            }
        }
        @if !is_whole { (more(context, is_all)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_not_copied() {
        for text in ["{\n\t\"a\": \"é\"\n}", "a=1&b=2"] {
            assert_eq!(copied(text.as_bytes()), Some(text));
        }
        for text in ["", "a\rb", "a\0b", "a\u{1b}[201~\nrm -rf /", "a\u{9b}201~", "\u{7f}"] {
            assert_eq!(copied(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(copied(b"\xff"), None);
        assert_eq!(copied(&vec![b'a'; COPIED_BYTES + 1]), None);
    }
}
