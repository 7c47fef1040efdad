//! Reads and watches webhooks.

use std::future::Future;
use std::sync::Arc;

use futures::stream::BoxStream;

use super::until::until;
use super::view::{WebhookView, arrange};
use super::{Service, watch};
use crate::domain::attempt::AttemptWindow;
use crate::domain::content_type::ContentType;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::store::{ListQuery, Page};

impl Service {
    /// The status of a webhook, its jobs in the order of the settings. Errors: `WebhookNotFound`.
    pub async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        let status = self.store.status(name.clone()).await?;
        Ok(self.arranged(self.seen(status, &name)?))
    }

    /// A webhook with its payload, jobs and the latest attempts of each ([`AttemptWindow::LATEST`]). Errors:
    /// `WebhookNotFound`.
    pub async fn webhook(&self, name: WebhookName) -> Result<WebhookView> {
        self.webhook_with(name, AttemptWindow::LATEST).await
    }

    /// A webhook with its payload, jobs and these attempts of each. Errors: `WebhookNotFound`.
    pub async fn webhook_with(&self, name: WebhookName, attempts: AttemptWindow) -> Result<WebhookView> {
        let detail = self.store.webhook_with(self.id_of(name.clone()).await?, attempts).await?;
        let mut view = WebhookView::new(detail, &self.settings.routes().policies());
        view.status = self.seen(view.status, &name)?;
        view.jobs.retain(|job| self.caller.sees_route(&job.route));
        Ok(view)
    }

    /// The body of a webhook, byte for byte, and its content type. Errors: `WebhookNotFound`, also if the retention of the
    /// payload is over.
    pub async fn body(&self, id: WebhookId) -> Result<(ContentType, Vec<u8>)> {
        let webhook = self.webhook_with(WebhookName::Id(id), AttemptWindow::NONE).await?;
        let body = webhook.payload.ok_or_else(|| Error::body_gone(id))?;
        Ok((webhook.content_type, body))
    }

    /// The id of a webhook. Errors: `WebhookNotFound`.
    ///
    /// An id is never used again. So what acts on it cannot act on a later webhook with the same key, even if a
    /// purge removes the webhook in between.
    pub(super) async fn id_of(&self, name: WebhookName) -> Result<WebhookId> {
        match name {
            WebhookName::Id(id) => Ok(id),
            WebhookName::Key(..) => Ok(self.store.status(name).await?.id),
        }
    }

    /// One page of the webhooks that match, newest first. It can be short, or empty, before the last page.
    /// Errors: `InvalidField`; `StoreUnavailable` also if too many lists look into bodies at the same time.
    pub async fn list(&self, query: ListQuery) -> Result<Page> {
        let Some(query) = self.limited_query(&query) else { return Ok(Page::default()) };
        let _turn = match query.body {
            Some(_) => Some(self.searches.turn(self.caller.token_name(), self.clock.as_ref()).await?),
            None => None,
        };
        let mut page = self.store.list(query).await?;
        page.webhooks.retain_mut(|webhook| self.sees(webhook));
        let webhooks = page.webhooks.into_iter().map(|webhook| self.arranged(webhook)).collect();
        Ok(Page { webhooks, ..page })
    }

    /// The newest webhook in one of these statuses that the caller sees, so far as one page of a list finds it; none also
    /// if the store cannot be read. Statistics do not count webhooks without jobs by source, so this tells a caller who
    /// is limited to sources whether there are some.
    pub async fn newest_in(&self, statuses: impl IntoIterator<Item = Status>) -> Option<WebhookId> {
        let query = ListQuery { statuses: statuses.into_iter().collect(), limit: 1, ..ListQuery::default() };
        let page = self.list(query).await.ok()?;
        page.webhooks.first().map(|webhook| webhook.id)
    }

    /// Sends the current status, then the status after every change of any job, until all jobs are final. A webhook in
    /// quarantine is watched until it is released, or until it is removed; then the last item is `WebhookNotFound`.
    /// Once `stopping` is ready, the stream ends with the error `ShuttingDown`; at the first change after a reload has
    /// taken away the caller's token, with `Unauthenticated`. Errors: `WebhookNotFound`; `StoreUnavailable` also if there
    /// are too many watchers.
    pub async fn watch(
        &self,
        name: WebhookName,
        stopping: impl Future<Output = ()> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<WebhookStatus>>> {
        let place = self.watchers.take(self.caller.token_name())?;
        if self.caller.is_limited() {
            self.status(name.clone()).await?;
        }
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let changes = watch::watch(store, clock, self.settings.routes().policies(), name, place).await?;
        Ok(until(self.seen_changes(changes), async {
            stopping.await;
            Err(Error::shutting_down())
        }))
    }

    /// The webhook with its jobs in the order of the settings.
    pub(super) fn arranged(&self, mut webhook: WebhookStatus) -> WebhookStatus {
        if webhook.jobs.len() > 1 {
            arrange(&mut webhook, &self.settings.routes().policies());
        }
        webhook
    }
}
