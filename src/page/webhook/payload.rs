//! The payload of a webhook whose source is sensitive: hidden until the caller asks for it, which is recorded.
//!
//! Hidden with it is what may repeat it: the results of handlers, and the bodies that targets answered. Names, headers
//! and errors are shown, because the webhook could not be operated without them.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};

use super::{Asked, InPath, PARAMETERS, id_of, load, view};
use crate::connections::Turn;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::webhook::WebhookName;
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

/// A payload that may be read and shown, in the turn of its request.
#[derive(Debug)]
pub(super) struct Revealed {
    pub(super) visibility: Visibility,
    turn: Turn,
}

impl Revealed {
    /// The answer that shows the payload.
    pub(super) fn answer(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(Arc::new(self.turn));
        answer
    }
}

/// Records that the caller asks for the payload of a webhook, if it is hidden, and waits until it may be read. Read it only
/// after that: many requests would else hold payloads in memory while their actions are stored. `detail` says how it is
/// shown, if not in the view of the webhook. Errors: `InvalidField`, `WebhookNotFound`; `StoreUnavailable` also if there is
/// no memory for the answer; those of the store.
pub(super) async fn reveal(
    context: &Context,
    id: WebhookId,
    why: Why,
    detail: Option<&str>,
) -> Result<Revealed> {
    let status = context.service.status(WebhookName::Id(id)).await?;
    let visibility = if context.service.hides_payloads(&status.source) {
        because(context, why.reason)?.record_shown_payload(&status, detail).await?;
        Visibility::Asked
    } else {
        Visibility::Open
    };
    Ok(Revealed { visibility, turn: context.turn().await? })
}

/// `POST /webhooks/{id}`: the view with its payload.
pub(super) async fn show(id: InPath, Action(context, why): Action<Why>) -> Response {
    shown(&context, id, why).await.unwrap_or_else(|error| context.failed(&error))
}

async fn shown(context: &Context, id: InPath, why: Why) -> Result<Response> {
    let (id, asked) = (id_of(id)?, context.query::<Asked>()?);
    let revealed = reveal(context, id, why, None).await?;
    let webhook = load(context, id, asked.attempts()).await?;
    let body = view(context, &webhook, &asked, revealed.visibility).await;
    Ok(revealed.answer(context.page_of(&PARAMETERS, "Webhook", Nav::Webhooks, body)))
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
            "for one, as are the results of handlers and the bodies that targets answered. That is recorded as an action, "
            "with the name of your token and the reason; within a minute of it, the same is not recorded again."
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
