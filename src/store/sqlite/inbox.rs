//! Implements `Inbox`: accepting and reading webhooks.

use async_trait::async_trait;

use super::committed::Published;
use super::{SqliteStore, accept_batch, due, list, probe, quarantine, queries, rows, size};
use crate::domain::attempt::AttemptWindow;
use crate::domain::conflict::OnConflict;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::route::NewJob;
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use crate::store::changes::Changes;
use crate::store::{Accepted, BatchError, Inbox, ListQuery, Page, Probe, QueueStats, StoreStats, Submission};

#[async_trait]
impl Inbox for SqliteStore {
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted> {
        self.writer.accept(Submission { webhook, jobs }, OnConflict::Reject).await
    }

    async fn accept_batch(
        &self,
        submissions: Vec<Submission>,
        on_conflict: OnConflict,
    ) -> std::result::Result<Vec<Accepted>, BatchError> {
        match <[Submission; 1]>::try_from(submissions) {
            // Cheaper than a batch: nothing has to be checked before the webhook is stored.
            Ok([only]) => {
                let accepted = self.writer.accept(only, on_conflict).await;
                accepted.map(|accepted| vec![accepted]).map_err(accept_batch::refused_alone)
            }
            Err(none) if none.is_empty() => Ok(Vec::new()),
            Err(several) => self.writer.accept_batch(several, on_conflict).await,
        }
    }

    async fn quarantine(&self, webhooks: Vec<NewWebhook>) -> Result<Option<Vec<WebhookStatus>>> {
        let bytes = accept_batch::bytes(&webhooks);
        self.writer.store(bytes, move |transaction| quarantine::store(transaction, &webhooks)).await
    }

    async fn status(&self, name: WebhookName) -> Result<WebhookStatus> {
        let wanted = name.clone();
        let found = self.readers()?.run(move |connection| queries::status(connection, &wanted)).await?;
        found.ok_or_else(|| Error::not_found(name))
    }

    async fn webhook_with(&self, id: WebhookId, attempts: AttemptWindow) -> Result<WebhookDetail> {
        let found = self.readers()?.run(move |connection| queries::webhook(connection, id, attempts)).await?;
        found.ok_or_else(|| Error::not_found(id))
    }

    async fn list(&self, query: ListQuery) -> Result<Page> {
        list::list(self, query).await
    }

    async fn stats(&self) -> Result<StoreStats> {
        let readers = self.readers()?;
        let Published { queues, unrouted, pauses, breakers, .. } = self.committed.get();
        let waiting = queues
            .iter()
            .filter(|(_, queue)| queue.counts.of(Status::Pending) + queue.counts.of(Status::Retrying) > 0);
        let waiting = waiting.map(|(id, _)| *id).collect::<Vec<_>>();
        let first_due = move |connection: &mut _| {
            let first = waiting.into_iter().map(|id| Ok((id, due::first(connection, id)?)));
            first.collect::<diesel::QueryResult<std::collections::HashMap<_, _>>>()
        };
        let first_due = readers.run(first_due).await?;
        let now = self.clock.now();
        let queues = queues.into_iter().map(|(id, queue)| QueueStats {
            route: queue.route,
            source: queue.source,
            counts: queue.counts,
            oldest_due: first_due.get(&id).copied().flatten().filter(|due| *due <= now),
        });
        Ok(StoreStats { queues: queues.collect(), unrouted, pauses, breakers })
    }

    async fn size_bytes(&self) -> Result<u64> {
        let path = self.path.clone();
        // Asks the file system, which blocks, so it runs on the thread of a reader.
        self.readers()?.run(move |_| size::bytes(&path).map_err(rows::unreadable)).await
    }

    async fn probe(&self) -> Result<Probe> {
        let probe = self.writer.run(probe::probe).await.map_err(not_written)?;
        match self.refusals.current(self.clock.monotonic()) {
            None => Ok(probe),
            Some(error) => Err(Error::store_unavailable(
                "the file can be written, but every webhook was refused for some seconds; the log has the error",
                error,
            )),
        }
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }
}

/// The error of the probe in place of that of a request, which its client would have to send again.
fn not_written(error: Error) -> Error {
    if error.reason() != Reason::StoreUnavailable {
        return error;
    }
    let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
    Error::store_unavailable("the store cannot write at the moment; the log has the error", cause)
}
