//! Wakes those that claim jobs.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

/// What [`JobQueue::on_due`](super::JobQueue::on_due) has registered.
#[derive(Debug, Default)]
pub(super) struct Wakes(RwLock<Vec<Arc<Notify>>>);

impl Wakes {
    /// Registers `wake`.
    pub(super) fn add(&self, wake: Arc<Notify>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(wake);
    }

    /// Notifies everything that is registered.
    pub(super) fn notify(&self) {
        let wakes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        wakes.iter().for_each(|wake| wake.notify_one());
    }
}
