//! Announces status changes to the watchers of a webhook, and that new webhooks have come in. Costs nothing while no
//! webhook is watched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use jiff::Timestamp;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

use crate::domain::id::WebhookId;
use crate::domain::job::{JobId, QueueId, Status};
use crate::domain::route::RouteName;

/// Changes buffered for each watched webhook. A watcher that lags further behind must read the status again.
const CHANGES_KEPT: usize = 16;

/// One change of a job's status. Of a job that was moved to another route, the last two members are not known:
/// the job is new to its watchers, so they read the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The job.
    pub job: JobId,
    /// The job's route.
    pub route: RouteName,
    /// The job's status after the change.
    pub status: Status,
    /// Attempts started so far.
    pub attempt_count: u32,
    /// When the job changed.
    pub updated_at: Timestamp,
    /// Grows with every change of the job.
    pub revision: u64,
    /// Why the last attempt failed or was interrupted; `None` unless the job is retrying or dead-lettered.
    pub last_error: Option<String>,
    /// When the next attempt is due; `None` unless the job is waiting.
    pub next_attempt_at: Option<Timestamp>,
}

/// Tells watchers of changes, and streams that webhooks have come in.
#[derive(Debug, Default)]
pub struct Changes {
    watched: Arc<Watched>,
    arrived: watch::Sender<()>,
}

/// The webhooks that are watched.
#[derive(Debug, Default)]
struct Watched {
    entries: Mutex<HashMap<WebhookId, Entry>>,
    /// How many there are.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Entry {
    sender: broadcast::Sender<Change>,
    receivers: usize,
    /// The last announced revision of each job, by queue.
    announced: HashMap<QueueId, u64>,
}

/// The changes of a webhook from the call of [`Changes::watch`] on. The webhook is watched until the last of these is
/// dropped.
#[derive(Debug)]
pub struct Watching {
    changes: broadcast::Receiver<Change>,
    id: WebhookId,
    watched: Weak<Watched>,
}

impl Watching {
    /// The next change. Errors: as of [`broadcast::Receiver::recv`].
    pub async fn recv(&mut self) -> Result<Change, RecvError> {
        self.changes.recv().await
    }

    /// The next change, if it was announced already. Errors: as of [`broadcast::Receiver::try_recv`].
    pub fn try_recv(&mut self) -> Result<Change, TryRecvError> {
        self.changes.try_recv()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let Some(watched) = self.watched.upgrade() else { return };
        let mut entries = watched.entries();
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.receivers -= 1;
            if entry.receivers == 0 {
                entries.remove(&self.id);
            }
        }
        watched.count.store(entries.len(), Ordering::SeqCst);
    }
}

impl Watched {
    fn entries(&self) -> MutexGuard<'_, HashMap<WebhookId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    /// Subscribes to every change of `id` that is committed from now on.
    pub fn watch(&self, id: WebhookId) -> Watching {
        let mut entries = self.watched.entries();
        let new = || Entry {
            sender: broadcast::Sender::new(CHANGES_KEPT),
            receivers: 0,
            announced: HashMap::new(),
        };
        let entry = entries.entry(id).or_insert_with(new);
        entry.receivers += 1;
        let changes = entry.sender.subscribe();
        self.watched.count.store(entries.len(), Ordering::SeqCst);
        Watching { changes, id, watched: Arc::downgrade(&self.watched) }
    }

    /// Notified after every commit of new webhooks, and soon after those of other processes. A notification may be
    /// missed: read again now and then all the same.
    pub fn arrivals(&self) -> watch::Receiver<()> {
        self.arrived.subscribe()
    }

    /// Notes that new webhooks were committed.
    pub(super) fn arrive(&self) {
        self.arrived.send_replace(());
    }

    /// Whether any webhook is watched.
    pub fn is_watched(&self) -> bool {
        self.watched.count.load(Ordering::SeqCst) > 0
    }

    /// The watched webhooks.
    pub(super) fn watched(&self) -> Vec<WebhookId> {
        if !self.is_watched() {
            return Vec::new();
        }
        self.watched.entries().keys().copied().collect()
    }

    /// Announces changes, or the current state of jobs, after the commit. What is not later than what was
    /// announced of the job before is left out: watchers see revisions grow.
    pub fn announce(&self, changes: &[Change]) {
        if changes.is_empty() || !self.is_watched() {
            return;
        }
        let mut entries = self.watched.entries();
        for change in changes {
            let Some(entry) = entries.get_mut(&change.job.webhook) else {
                continue;
            };
            let announced = entry.announced.get(&change.job.queue);
            if announced.is_some_and(|announced| *announced >= change.revision) {
                continue;
            }
            entry.announced.insert(change.job.queue, change.revision);
            // An entry has a receiver, so that this does not fail.
            let _ = entry.sender.send(change.clone());
        }
    }
}
