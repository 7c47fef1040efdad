//! Follows the status of one webhook. The store announces each change of a job, and the watcher applies it to
//! the status that it sent last. It reads the store again only if it missed changes, or a job is new to it.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::view::arrange;
use crate::domain::error::{Error, Result};
use crate::domain::policy::Policies;
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::store::Store;
use crate::store::changes::Change;

struct Watcher {
    store: Arc<dyn Store>,
    policies: Arc<Policies>,
    changes: Receiver<Change>,
    /// The status that was sent last.
    told: WebhookStatus,
}

pub(super) async fn watch(
    store: Arc<dyn Store>,
    policies: Arc<Policies>,
    name: WebhookName,
) -> Result<BoxStream<'static, Result<WebhookStatus>>> {
    let id = store.status(name).await?.id;
    // Subscribes before it reads the status, so that no change is missed. A change that is already in the
    // status is recognised by its revision.
    let changes = store.changes().watch(id);
    let mut told = store.status(WebhookName::Id(id)).await?;
    arrange(&mut told, &policies);
    let first = told.clone();
    let watcher = Watcher { store, policies, changes, told };
    let later = stream::unfold(Some(watcher), |watcher| async move {
        let mut watcher = watcher?;
        if watcher.told.status().is_final() {
            return None;
        }
        match watcher.next().await {
            Ok(status) => Some((Ok(status), Some(watcher))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream::once(async { Ok(first) }).chain(later).boxed())
}

impl Watcher {
    /// The next status that differs from the last one. Errors: `ShuttingDown` once the store is closed.
    async fn next(&mut self) -> Result<WebhookStatus> {
        loop {
            let is_news = match self.changes.recv().await {
                Ok(change) => match self.apply(&change) {
                    Some(is_news) => is_news,
                    None => self.read().await?,
                },
                Err(RecvError::Lagged(_)) => self.read().await?,
                Err(RecvError::Closed) => return Err(Error::shutting_down()),
            };
            if is_news {
                return Ok(self.told.clone());
            }
        }
    }

    /// Applies a change of a job. False if the status already has it; none if the status has no such job,
    /// because the job was moved from another route.
    fn apply(&mut self, change: &Change) -> Option<bool> {
        let jobs = &mut self.told.jobs;
        let job = jobs.iter_mut().find(|job| job.queue == change.job.queue)?;
        if change.revision <= job.revision {
            return Some(false);
        }
        job.status = change.status;
        job.attempt_count = change.attempt_count;
        job.updated_at = change.updated_at;
        job.revision = change.revision;
        job.last_error.clone_from(&change.last_error);
        job.next_attempt_at = change.next_attempt_at;
        Some(true)
    }

    /// Reads the status from the store; false if it equals the status that was sent last.
    async fn read(&mut self) -> Result<bool> {
        let mut status = self.store.status(WebhookName::Id(self.told.id)).await?;
        arrange(&mut status, &self.policies);
        let is_news = status != self.told;
        self.told = status;
        Ok(is_news)
    }
}
