//! The response to the removal of a quarantined webhook. That of a release is the one of a submission.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::webhook::WebhookStatus;

/// The webhook that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DiscardWebhookResponse {
    /// The id that it had.
    #[schema(format = Uuid)]
    id: String,
    /// Its source.
    source: String,
    /// The key that its request named.
    idempotency_key: String,
    /// The event type.
    event_type: String,
}

impl From<WebhookStatus> for DiscardWebhookResponse {
    fn from(webhook: WebhookStatus) -> Self {
        Self {
            id: webhook.id.to_string(),
            source: webhook.source.to_string(),
            idempotency_key: webhook.idempotency_key.to_string(),
            event_type: webhook.event_type.to_string(),
        }
    }
}
