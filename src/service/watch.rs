//! Follows one webhook. Woken by changes; the store is read once, and again only if the watcher
//! fell behind.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::error::Result;
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::store::Store;
use crate::store::changes::Change;

struct Watcher {
    store: Arc<dyn Store>,
    changes: Receiver<Change>,
    /// What was told last.
    told: WebhookStatus,
}

pub(super) async fn watch(
    store: Arc<dyn Store>,
    name: WebhookName,
) -> Result<BoxStream<'static, Result<WebhookStatus>>> {
    let id = store.status(name).await?.id;
    // Subscribed before the status is read: no change falls in between. What was read already
    // is recognised by its revision.
    let changes = store.changes().watch(id);
    let told = store.status(WebhookName::Id(id)).await?;
    let first = told.clone();
    let later = stream::unfold(Some(Watcher { store, changes, told }), |watcher| async move {
        let mut watcher = watcher?;
        if watcher.told.status.is_final() {
            return None;
        }
        match watcher.next().await {
            Ok(status) => Some((Ok(status), Some(watcher))),
            Err(Some(error)) => Some((Err(error), None)),
            Err(None) => None,
        }
    });
    Ok(stream::once(async { Ok(first) }).chain(later).boxed())
}

impl Watcher {
    /// The next status. An error of none means that the store was closed.
    async fn next(&mut self) -> std::result::Result<WebhookStatus, Option<crate::domain::error::Error>> {
        loop {
            let status = match self.changes.recv().await {
                Ok(change) if change.revision <= self.told.revision => continue,
                Ok(change) => WebhookStatus {
                    status: change.status,
                    attempt_count: change.attempt_count,
                    updated_at: change.updated_at,
                    revision: change.revision,
                    ..self.told.clone()
                },
                Err(RecvError::Lagged(_)) => {
                    let status = self.store.status(WebhookName::Id(self.told.id)).await.map_err(Some)?;
                    if status.revision == self.told.revision {
                        continue;
                    }
                    status
                }
                Err(RecvError::Closed) => return Err(None),
            };
            self.told = status.clone();
            return Ok(status);
        }
    }
}
