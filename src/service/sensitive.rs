//! Sources that are marked `sensitive`: the page hides their payloads until a caller asks for one.

use super::Service;
use crate::domain::action::ActionKind;
use crate::domain::error::Result;
use crate::domain::webhook::{Source, WebhookStatus};
use crate::store::ActionTarget;

impl Service {
    /// Whether the page hides the payloads of a source, by the settings in force. Those of a source that the settings
    /// do not have are not hidden.
    pub fn hides_payloads(&self, source: &Source) -> bool {
        self.sources().get(source).is_some_and(|rules| rules.rules.is_sensitive)
    }

    /// Records that the caller asks for the payload of a webhook. Show it only after that: a payload that was shown is
    /// always recorded. `detail` says how it is shown. Errors: those of the store.
    pub async fn record_shown_payload(&self, webhook: &WebhookStatus, detail: Option<&str>) -> Result<()> {
        let source = webhook.source.clone();
        let target =
            ActionTarget { webhook: Some(webhook.id), source: Some(source), ..ActionTarget::default() };
        let action = self.action(ActionKind::ShowPayload, target, detail.map(ToOwned::to_owned));
        self.store.record_action(action).await?;
        tracing::info!(
            actor = self.caller.name(),
            webhook_id = %webhook.id,
            source = webhook.source.as_str(),
            "a hidden payload is shown"
        );
        Ok(())
    }
}
