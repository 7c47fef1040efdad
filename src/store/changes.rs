//! Announces changes of status to whoever watches a webhook. Costs nothing while nobody does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::domain::id::WebhookId;
use crate::domain::job::Status;

/// Changes a slow watcher may lag behind before it has to read the status anew.
const CHANGES_KEPT: usize = 16;

/// One change of a job's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The webhook.
    pub id: WebhookId,
    /// Its status after the change.
    pub status: Status,
    /// How many attempts had started.
    pub attempt_count: u32,
    /// When it changed.
    pub updated_at: Timestamp,
    /// Grows with every change of the job.
    pub revision: u64,
}

/// Who watches what.
#[derive(Debug, Default)]
pub struct Changes {
    watched: Mutex<HashMap<WebhookId, broadcast::Sender<Change>>>,
    count: AtomicUsize,
}

impl Changes {
    /// Every change of `id` that is committed from now on.
    pub fn watch(&self, id: WebhookId) -> broadcast::Receiver<Change> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() == watched.capacity() {
            // Before it grows: what nobody watches any more makes room.
            watched.retain(|_, sender| sender.receiver_count() > 0);
        }
        let receiver = watched.entry(id).or_insert_with(|| broadcast::Sender::new(CHANGES_KEPT)).subscribe();
        self.count.store(watched.len(), Ordering::SeqCst);
        receiver
    }

    /// Whether anybody watches anything.
    pub fn is_watched(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Announces committed changes, in the order they were made.
    pub fn announce(&self, changes: &[Change]) {
        if changes.is_empty() || !self.is_watched() {
            return;
        }
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let Some(sender) = watched.get(&change.id) else {
                continue;
            };
            if sender.send(*change).is_err() {
                watched.remove(&change.id);
            }
        }
        self.count.store(watched.len(), Ordering::SeqCst);
    }
}
