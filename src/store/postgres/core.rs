//! What the parts of the store share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use diesel::result::Error as QueryError;
use jiff::Timestamp;
use rand::rngs::SmallRng;

use super::backlog::Backlog;
use super::beginning::Beginning;
use super::notifier::Notifier;
use super::pool::Pool;
use crate::domain::clock::{Clock, Signal};
use crate::domain::id::{WebhookId, WebhookIds};
use crate::store::Starter;
use crate::store::changes::{Change, Changes};
use crate::telemetry::metrics::Metrics;

/// The slots of `status_counts`, as its migration made them.
const SLOTS: u32 = 64;

/// What the parts of the store share.
pub(super) struct Core {
    /// For what comes in, and for nothing else.
    pub(super) accepting: Pool,
    /// For claims, outcomes and leases: however much comes in or is read, jobs go on.
    pub(super) working: Pool,
    /// For what people and programs ask.
    pub(super) asking: Pool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Mutex<WebhookIds<SmallRng>>,
    pub(super) backlog: Backlog,
    pub(super) beginning: Beginning,
    pub(super) max_attempts: u32,
    /// The name of this process in the history of attempts.
    pub(super) worker: String,
    pub(super) changes: Changes,
    pub(super) wake: OnceLock<Arc<Signal>>,
    pub(super) starter: OnceLock<Weak<dyn Starter>>,
    pub(super) notifier: Notifier,
    pub(super) metrics: Arc<Metrics>,
    /// Counts on, so that statements under way at once write to different slots.
    pub(super) next_slot: AtomicU32,
}

impl Core {
    /// The slot of `status_counts` that the next statement writes to.
    pub(super) fn slot(&self) -> i16 {
        (self.next_slot.fetch_add(1, Ordering::Relaxed) % SLOTS) as i16
    }

    /// Ids for so many webhooks, each later than the one before.
    pub(super) fn new_ids(&self, count: usize, now: Timestamp) -> Vec<WebhookId> {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count).map(|_| ids.next(now)).collect()
    }

    /// Makes a commit known: to this process at once, to the others soon.
    pub(super) fn committed(&self, changes: &[Change], made_due: bool) {
        self.changes.announce(changes);
        if made_due {
            self.wake();
        }
        self.notifier.tell(!changes.is_empty(), made_due);
    }

    /// Has the dispatcher look for something to claim.
    pub(super) fn wake(&self) {
        if let Some(wake) = self.wake.get() {
            wake.raise();
        }
    }

    /// Counts a commit that failed, and says why in the log.
    pub(super) fn failed(&self, what: &'static str, error: &QueryError) {
        self.metrics.commit_failed();
        tracing::error!(error = %error, what, "the database refused a write; nothing of it was acknowledged");
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("worker", &self.worker).finish_non_exhaustive()
    }
}
