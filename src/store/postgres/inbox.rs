//! Implements `Inbox`: what comes in, and what is looked at.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

use super::accept::Incoming;
use super::batch::Outcome;
use super::committer::{self, Accept, Queues};
use super::pool::{answer, refused};
use super::request_batches::{self, RequestBatch};
use super::{PostgresStore, list, look, probe, quarantine, queries, size};
use crate::domain::attempt::AttemptWindow;
use crate::domain::conflict::OnConflict;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::store::acceptance::queue_full;
use crate::store::changes::Changes;
use crate::store::{Accepted, BatchError, Inbox, ListQuery, Page, Probe, StoreStats, Submission};

/// How long a caller waits for webhooks to be stored, including the wait in the queue. After that the caller
/// gets `StoreUnavailable`, although the webhooks may still be stored. If their statement has not begun by then, they
/// are not stored: senders repeat them, and the queue would only grow.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(15);

impl PostgresStore {
    fn queues(&self) -> Result<Queues> {
        let queues = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        queues.ok_or_else(Error::shutting_down)
    }

    async fn store_one(&self, incoming: Incoming) -> Result<Accepted> {
        let (reply, outcome) = oneshot::channel();
        let late_at = Instant::now() + ACCEPTED_WITHIN;
        let accept = Accept { incoming, reply, late_at };
        self.queues()?.webhooks.try_send(accept).map_err(|refused| match refused {
            TrySendError::Full(_) => queue_full(committer::QUEUE_WEBHOOKS),
            TrySendError::Closed(_) => Error::shutting_down(),
        })?;
        self.stored(outcome, late_at, committer::unknown).await?
    }

    async fn store_batch(&self, incoming: Vec<Incoming>) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let late_at = Instant::now() + ACCEPTED_WITHIN;
        let batch = RequestBatch { incoming, reply, late_at };
        self.queues()?.batches.try_send(batch).map_err(|refused| match refused {
            TrySendError::Full(_) => request_batches::queue_full(),
            TrySendError::Closed(_) => Error::shutting_down(),
        })?;
        self.stored(outcome, late_at, request_batches::unknown).await?
    }

    /// Waits for the result of what was put into a queue. `unknown` makes the error for a caller that waits no longer.
    async fn stored<T>(
        &self,
        outcome: oneshot::Receiver<T>,
        late_at: Instant,
        unknown: fn(Elapsed) -> Error,
    ) -> Result<T> {
        let outcome = {
            let _timers = self.runtime.enter();
            tokio::time::timeout_at(late_at, outcome)
        };
        outcome.await.map_err(unknown)?.map_err(|_| self.unanswered())
    }

    /// The error for webhooks that got no reply: storing them has panicked, or the store closes.
    fn unanswered(&self) -> Error {
        if self.closing.is_cancelled() {
            Error::shutting_down()
        } else {
            Error::internal("storing the webhooks panicked, so they got no reply")
        }
    }
}

#[async_trait]
impl Inbox for PostgresStore {
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted> {
        self.store_one(Incoming { webhook, jobs, on_conflict: OnConflict::Reject }).await
    }

    async fn accept_batch(&self, submissions: Vec<Submission>, on_conflict: OnConflict) -> Outcome {
        let incoming = |Submission { webhook, jobs }| Incoming { webhook, jobs, on_conflict };
        match <[Submission; 1]>::try_from(submissions) {
            // Cheaper than a batch: many of them are stored by one statement.
            Ok([only]) => {
                let accepted = self.store_one(incoming(only)).await.map_err(|error| {
                    let item = (error.reason() == Reason::KeyReused).then_some(0);
                    BatchError { item, error }
                });
                Ok(vec![accepted?])
            }
            Err(none) if none.is_empty() => Ok(Vec::new()),
            Err(several) => self.store_batch(several.into_iter().map(incoming).collect()).await,
        }
    }

    async fn quarantine(&self, webhooks: Vec<NewWebhook>) -> Result<Option<Vec<WebhookStatus>>> {
        self.run(async move |shared| quarantine::quarantine(&shared, &webhooks).await).await
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::status(&shared.schedule, &mut connection, &name)).await;
            connection.release(found).map_err(refused)?.ok_or_else(|| Error::not_found(name))
        })
        .await
    }

    async fn webhook_with(&self, id: WebhookId, attempts: AttemptWindow) -> Result<WebhookDetail> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::webhook(&shared.schedule, &mut connection, id, attempts)).await;
            connection.release(found).map_err(refused)?.ok_or_else(|| Error::not_found(id))
        })
        .await
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        self.run(async move |shared| list::list(&shared, query).await).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        self.run(async move |shared| look::stats(&shared).await.map_err(refused)).await
    }

    async fn size_bytes(&self) -> Result<u64> {
        self.run(async move |shared| size::bytes(&shared).await.map_err(refused)).await
    }

    async fn probe(&self) -> Result<Probe> {
        self.run(async move |shared| probe::probe(&shared).await).await
    }

    fn changes(&self) -> &Changes {
        &self.shared.changes
    }
}
