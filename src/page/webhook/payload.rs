//! The payload of a webhook whose source is sensitive: hidden until the caller asks for it. Each time is recorded.
//!
//! Hidden with it is what may repeat it: the results of handlers, and the bodies that targets answered. Names, headers
//! and errors are shown, because the webhook could not be operated without them.

use axum::response::Response;
use maud::{Markup, html};

use super::{Asked, InPath, PARAMETERS, load, view};
use crate::domain::error::Result;
use crate::page::action::Action;
use crate::page::because::{Why, because};
use crate::page::context::{Context, Nav, with_query};
use crate::page::parts;
use crate::service::view::WebhookView;

/// Whether a view shows the payload of its webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visibility {
    /// The source is not sensitive.
    Open,
    /// The source is sensitive, and the payload was not asked for.
    Hidden,
    /// The payload was asked for, and that is recorded.
    Asked,
}

impl Visibility {
    /// Of a webhook whose payload was not asked for, by the settings in force.
    pub(super) fn of(context: &Context, webhook: &WebhookView) -> Self {
        if context.service.hides_payloads(&webhook.status.source) { Self::Hidden } else { Self::Open }
    }

    pub(super) fn is_hidden(self) -> bool {
        self == Self::Hidden
    }
}

/// Records that the caller asks for the payload of a webhook, if it is hidden and still there. `detail` says how it is
/// shown, if not in the view of the webhook. Errors: `InvalidField`; those of the store.
pub(super) async fn reveal(
    context: &Context,
    webhook: &WebhookView,
    why: Why,
    detail: Option<&str>,
) -> Result<Visibility> {
    let visibility = Visibility::of(context, webhook);
    if !visibility.is_hidden() || webhook.payload.is_none() {
        return Ok(visibility);
    }
    because(context, why.reason)?.record_shown_payload(&webhook.status, detail).await?;
    Ok(Visibility::Asked)
}

/// `POST /webhooks/{id}`: the view with its payload.
pub(super) async fn show(id: InPath, Action(context, why): Action<Why>) -> Response {
    match shown(&context, id, why).await {
        Ok(body) => context.page_of(&PARAMETERS, "Webhook", Nav::Webhooks, body),
        Err(error) => context.failed(&error),
    }
}

async fn shown(context: &Context, id: InPath, why: Why) -> Result<Markup> {
    let asked = context.query::<Asked>()?;
    let webhook = load(context, id, asked.attempts()).await?;
    let visibility = reveal(context, &webhook, why, None).await?;
    Ok(view(context, &webhook, &asked, visibility).await)
}

/// What the section of the body has while the payload is hidden.
pub(super) fn hidden(context: &Context, webhook: &WebhookView) -> Markup {
    let path = format!("/webhooks/{}", webhook.status.id);
    // The parameters say how to show the body.
    let parameters = context.parameters().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let file = context.path(&format!("{path}/body"));
    let download = html! { button type="submit" formaction=(file) { "Download" } };
    form(context, webhook, &with_query(&path, parameters), "Show the payload", &download)
}

/// The form that asks for a payload, for every caller who sees the webhook. `path` is where it posts to, without
/// `base_path`, `label` what its button says, and `more` are further buttons.
pub(super) fn form(
    context: &Context,
    webhook: &WebhookView,
    path: &str,
    label: &str,
    more: &Markup,
) -> Markup {
    html! {
        p {
            "The source " b { (webhook.status.source.as_str()) } " is sensitive. Its payloads are hidden until you ask "
            "for one, as are the results of handlers and the bodies that targets answered. Each time is recorded as an "
            "action, with the name of your token and the reason."
        }
        form.stack method="post" action=(context.path(path)) {
            (context.form_token())
            (parts::reason())
            div.actions { button.primary type="submit" { (label) } (more) }
        }
    }
}

/// What is shown in place of `what`, such as a result, while the payload is hidden.
pub(super) fn in_place_of(what: &str) -> Markup {
    html! { p.muted.small { (what) " is hidden with the payload." } }
}
