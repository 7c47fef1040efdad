//! What operators do with webhooks in quarantine: release or discard them.

use tokio::sync::Semaphore;

use super::actions::to_its_end;
use super::conflicts::Via;
use super::{Service, apart, jobs_of};
use crate::domain::action::ActionKind;
use crate::domain::conflict::{OnConflict, OtherWebhook};
use crate::domain::error::{Error, Result};
use crate::domain::headers::KeptHeaders;
use crate::domain::id::WebhookId;
use crate::domain::payload::Payload;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, Source, WebhookName, WebhookStatus};
use crate::store::{Accepted, ActionTarget};

/// How many webhooks are released at once while their payloads are in memory. Others wait.
const RELEASED_AT_ONCE: usize = 4;

static RELEASES: Semaphore = Semaphore::const_new(RELEASED_AT_ONCE);

/// A webhook in quarantine that is released.
struct Quarantined {
    source: Source,
    /// A job for each route that matches it.
    jobs: Vec<NewJob>,
    /// The webhook itself, if it counts as a duplicate of one with another content.
    as_duplicate: Option<OtherWebhook>,
}

impl Service {
    /// Accepts a webhook in quarantine, with a job for each route in force that matches it. If another one with its key
    /// and its content was accepted meanwhile, removes it, and returns the other one as a duplicate; of a source that
    /// keeps the first, also if the other one has another content.
    ///
    /// Errors: `WebhookNotFound`; `WrongStatus` if it is not quarantined; `KeyReused` if its key was taken by another
    /// content, and `BacklogFull`; then it stays quarantined.
    pub async fn release(&self, id: WebhookId) -> Result<Accepted> {
        // The semaphore is never closed.
        let permit = RELEASES.acquire().await;
        let Quarantined { source, jobs, as_duplicate } = self.read_quarantined(id).await?;
        // A payload that may be compared stays in memory until the store has answered. Without one, others do not wait for
        // the store.
        let permit = permit.ok().filter(|_| as_duplicate.is_some());
        let service = self.clone();
        let accepted = to_its_end(async move {
            let mut accepted = service.store.release(id, jobs, as_duplicate).await?;
            let other = if accepted.other.is_some() { ", which has another body or event type" } else { "" };
            service.keep_duplicates(&source, std::slice::from_mut(&mut accepted), Via::Release).await;
            drop(permit);
            service.metrics.quarantined(source.as_str(), "released");
            let first = accepted.duplicate.then_some(accepted.webhook.id);
            tracing::info!(
                actor = service.caller.name(),
                webhook_id = %id,
                source = source.as_str(),
                duplicate_of = first.map(tracing::field::display),
                "a quarantined webhook is released"
            );
            let detail =
                first.map(|first| format!("a duplicate of the webhook {first}{other}, so it is removed"));
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

    /// What a release needs of a webhook in quarantine. Of its request, routes see the headers that were kept. Errors:
    /// `WebhookNotFound`.
    async fn read_quarantined(&self, id: WebhookId) -> Result<Quarantined> {
        let detail = self.store.webhook(id).await?;
        let status = self.seen(detail.status, &WebhookName::Id(id))?;
        let source = status.source.clone();
        if !status.is_quarantined {
            // The store does not release it, and says why.
            return Ok(Quarantined { source, jobs: Vec::new(), as_duplicate: None });
        }
        // At the end of its retention it is removed as a whole.
        let payload = detail.payload.ok_or_else(|| Error::not_found(id))?;
        let headers = detail.headers;
        let keeps_first =
            self.sources().get(&source).is_some_and(|of| of.rules.on_conflict == OnConflict::KeepFirst);
        let read = apart(payload.len(), || {
            let webhook = NewWebhook {
                source: status.source,
                idempotency_key: status.idempotency_key,
                event_type: status.event_type,
                payload: Payload::of_bytes(payload, detail.content_type),
                headers: KeptHeaders::default(),
                verdict: detail.verdict,
                traceparent: detail.traceparent,
            };
            let jobs = jobs_of(&self.settings.routes(), &webhook, &|| headers.clone());
            Quarantined { source, jobs, as_duplicate: keeps_first.then(|| OtherWebhook::of(&webhook)) }
        });
        Ok(read.await)
    }
}

/// What an action on a webhook in quarantine was on.
fn target(id: WebhookId, source: Source) -> ActionTarget {
    ActionTarget { webhook: Some(id), source: Some(source), ..ActionTarget::default() }
}
