//! What there is to tell the other replicas, until it is told.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Notifier {
    is_due: AtomicBool,
    has_changed: AtomicBool,
    something: Notify,
}

impl Notifier {
    /// Has the others told, soon.
    pub(super) fn tell(&self, has_changed: bool, is_due: bool) {
        if has_changed {
            self.has_changed.store(true, Ordering::SeqCst);
        }
        if is_due {
            self.is_due.store(true, Ordering::SeqCst);
        }
        if has_changed || is_due {
            self.something.notify_one();
        }
    }

    /// Waits until there is something to tell: whether something changed, and whether something is due.
    pub(super) async fn next(&self) -> (bool, bool) {
        self.something.notified().await;
        (self.has_changed.swap(false, Ordering::SeqCst), self.is_due.swap(false, Ordering::SeqCst))
    }
}
