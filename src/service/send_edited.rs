//! Webhooks that an operator has edited, sent as new ones.

use super::Service;
use super::actions::to_its_end;
use super::conflicts::Via;
use crate::domain::action::ActionKind;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::webhook::NewWebhook;
use crate::store::{Accepted, ActionTarget};

impl Service {
    /// Submits a webhook that was made of another one, `original`, and records that on the latter. `headers` are those
    /// that routes see. Errors: as of [`submit`](Self::submit) and
    /// [`routes_for_caller`](Self::routes_for_caller).
    pub async fn send_edited(
        &self,
        original: WebhookId,
        webhook: NewWebhook,
        headers: Vec<(String, String)>,
    ) -> Result<Accepted> {
        let service = self.clone();
        let sending = to_its_end(async move {
            let (source, routes) = (Some(webhook.source.clone()), service.routes_for_caller()?);
            let accepted = service.submit(webhook, &routes, &|| headers.clone(), Via::Edit).await.outcome?;
            let id = accepted.webhook.id;
            let detail = if accepted.duplicate {
                format!("a duplicate of the webhook {id}")
            } else {
                let actor = service.caller.name();
                tracing::info!(actor, webhook_id = %id, edited_from = %original, "an edited webhook is sent as a new one");
                format!("stored as the webhook {id}")
            };
            let target = ActionTarget { webhook: Some(original), source, ..ActionTarget::default() };
            service.record(ActionKind::SendEdited, target, Some(detail)).await;
            Ok(accepted)
        });
        sending.await
    }
}
