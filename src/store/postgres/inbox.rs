//! Implements `Inbox`: what comes in, and what is looked at.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::accept::Incoming;
use super::committer::{self, Accept};
use super::pool::{answer, refused};
use super::{PostgresStore, list, look, probe, queries, size};
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::store::acceptance::queue_full;
use crate::store::changes::Changes;
use crate::store::{Accepted, Inbox, ListQuery, Page, Probe, StoreStats};

/// How long a caller waits for a webhook to be stored, including the wait in the queue. After that the caller
/// gets `StoreUnavailable`, although the webhook may still be stored. If its statement has not begun by then, it is
/// not stored: senders repeat it, and the queue would only grow.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(15);

#[async_trait]
impl Inbox for PostgresStore {
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted> {
        let queue = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, outcome) = oneshot::channel();
        let late_at = Instant::now() + ACCEPTED_WITHIN;
        let accept = Accept { incoming: Incoming { webhook, jobs }, reply, late_at };
        queue.ok_or_else(Error::shutting_down)?.try_send(accept).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => queue_full(committer::QUEUE_WEBHOOKS),
            mpsc::error::TrySendError::Closed(_) => Error::shutting_down(),
        })?;
        let outcome = {
            let _timers = self.runtime.enter();
            tokio::time::timeout_at(late_at, outcome)
        };
        match outcome.await {
            Ok(outcome) => outcome.map_err(|_| Error::shutting_down())?,
            Err(late) => Err(committer::unknown(late)),
        }
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::status(&shared.schedule, &mut connection, &name)).await;
            connection.release(found).map_err(refused)?.ok_or_else(|| Error::not_found(name))
        })
        .await
    }

    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::webhook(&shared.schedule, &mut connection, id)).await;
            connection.release(found).map_err(refused)?.ok_or_else(|| Error::not_found(id))
        })
        .await
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        self.run(async move |shared| list::list(&shared, &query).await).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.run(async move |shared| look::stats(&shared).await.map_err(refused)).await
    }

    async fn size_bytes(&self) -> Result<u64> {
        self.run(async move |shared| size::bytes(&shared).await.map_err(refused)).await
    }

    async fn probe(&self) -> Result<Probe> {
        self.run(async move |shared| probe::probe(&shared).await.map_err(refused)).await
    }

    fn changes(&self) -> &Changes {
        &self.shared.changes
    }
}
