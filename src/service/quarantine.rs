//! What operators do with webhooks in quarantine: release or discard them.

use tokio::sync::Semaphore;

use super::actions::to_its_end;
use super::{Service, apart, jobs_of};
use crate::domain::action::ActionKind;
use crate::domain::error::{Error, Result};
use crate::domain::headers::KeptHeaders;
use crate::domain::id::WebhookId;
use crate::domain::payload::Payload;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, Source, WebhookName, WebhookStatus};
use crate::store::{Accepted, ActionTarget};

/// How many webhooks are read at once to be released, so that their payloads take little memory. Others wait.
const READ_AT_ONCE: usize = 4;

static READERS: Semaphore = Semaphore::const_new(READ_AT_ONCE);

impl Service {
    /// Accepts a webhook in quarantine, with a job for each route in force that matches it. If another one with its key
    /// and its content was accepted meanwhile, removes it, and returns the other one as a duplicate.
    ///
    /// Errors: `WebhookNotFound`; `WrongStatus` if it is not quarantined; `KeyReused` if its key was taken by another
    /// content, and `BacklogFull`; then it stays quarantined.
    pub async fn release(&self, id: WebhookId) -> Result<Accepted> {
        let (source, jobs) = self.jobs_of_quarantined(id).await?;
        let service = self.clone();
        let accepted = to_its_end(async move {
            let accepted = service.store.release(id, jobs).await?;
            service.metrics.quarantined(source.as_str(), "released");
            let first = accepted.duplicate.then_some(accepted.webhook.id);
            tracing::info!(
                actor = service.caller.name(),
                webhook_id = %id,
                source = source.as_str(),
                duplicate_of = first.map(tracing::field::display),
                "a quarantined webhook is released"
            );
            let detail = first.map(|first| format!("a duplicate of the webhook {first}, so it is removed"));
            service.record(ActionKind::ReleaseWebhook, target(id, source), detail).await;
            Ok(accepted)
        });
        let accepted = accepted.await?;
        Ok(Accepted { webhook: self.arranged(accepted.webhook), ..accepted })
    }

    /// Removes a webhook in quarantine. Returns it as it was. Errors: `WebhookNotFound`; `WrongStatus` if it is not
    /// quarantined.
    pub async fn discard(&self, id: WebhookId) -> Result<WebhookStatus> {
        let name = WebhookName::Id(id);
        let webhook = self.seen(self.store.status(name.clone()).await?, &name)?;
        let service = self.clone();
        let discarding = to_its_end(async move {
            service.store.discard(id).await?;
            service.metrics.quarantined(webhook.source.as_str(), "discarded");
            tracing::info!(
                actor = service.caller.name(),
                webhook_id = %id,
                source = webhook.source.as_str(),
                "a quarantined webhook is discarded"
            );
            service.record(ActionKind::DiscardWebhook, target(id, webhook.source.clone()), None).await;
            Ok(webhook)
        });
        discarding.await
    }

    /// The source of a webhook in quarantine, and a job for each route that matches it. Of its request, routes see the
    /// headers that were kept. Errors: `WebhookNotFound`.
    async fn jobs_of_quarantined(&self, id: WebhookId) -> Result<(Source, Vec<NewJob>)> {
        // The semaphore is never closed.
        let _permit = READERS.acquire().await;
        let detail = self.store.webhook(id).await?;
        let status = self.seen(detail.status, &WebhookName::Id(id))?;
        let source = status.source.clone();
        if !status.is_quarantined {
            // The store does not release it, and says why.
            return Ok((source, Vec::new()));
        }
        // At the end of its retention it is removed as a whole.
        let payload = detail.payload.ok_or_else(|| Error::not_found(id))?;
        let headers = detail.headers;
        let jobs = apart(payload.len(), || {
            let webhook = NewWebhook {
                source: status.source,
                idempotency_key: status.idempotency_key,
                event_type: status.event_type,
                payload: Payload::of_bytes(payload, detail.content_type),
                headers: KeptHeaders::default(),
                verdict: detail.verdict,
                traceparent: detail.traceparent,
            };
            jobs_of(&self.settings.routes(), &webhook, &|| headers.clone())
        });
        Ok((source, jobs.await))
    }
}

/// What an action on a webhook in quarantine was on.
fn target(id: WebhookId, source: Source) -> ActionTarget {
    ActionTarget { webhook: Some(id), source: Some(source), ..ActionTarget::default() }
}
