//! Announces status changes to the watchers of a webhook, and that new webhooks have come in. Costs nothing while no
//! webhook is watched.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
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

/// The webhooks that are watched.
#[derive(Debug, Default)]
pub struct Changes {
    watched: Mutex<HashMap<WebhookId, Watched>>,
    count: AtomicUsize,
    arrived: watch::Sender<()>,
}

#[derive(Debug)]
struct Watched {
    sender: broadcast::Sender<Change>,
    /// The last announced revision of each job, by queue.
    announced: HashMap<QueueId, u64>,
}

impl Changes {
    /// Subscribes to every change of `id` that is committed from now on.
    pub fn watch(&self, id: WebhookId) -> broadcast::Receiver<Change> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() == watched.capacity() {
            // Before the map grows: drop the entries that have no watcher left.
            watched.retain(|_, watched| watched.sender.receiver_count() > 0);
        }
        let new = || Watched { sender: broadcast::Sender::new(CHANGES_KEPT), announced: HashMap::new() };
        let receiver = watched.entry(id).or_insert_with(new).sender.subscribe();
        self.count.store(watched.len(), Ordering::SeqCst);
        receiver
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

    /// Whether any webhook is watched. May stay true for a while after the last watcher is gone.
    pub fn is_watched(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// The watched webhooks.
    pub(super) fn watched(&self) -> Vec<WebhookId> {
        if !self.is_watched() {
            return Vec::new();
        }
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Announces changes, or the current state of jobs, after the commit. What is not later than what was
    /// announced of the job before is left out: watchers see revisions grow.
    pub fn announce(&self, changes: &[Change]) {
        if changes.is_empty() || !self.is_watched() {
            return;
        }
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let Some(entry) = watched.get_mut(&change.job.webhook) else {
                continue;
            };
            let announced = entry.announced.get(&change.job.queue);
            if announced.is_some_and(|announced| *announced >= change.revision) {
                continue;
            }
            entry.announced.insert(change.job.queue, change.revision);
            if entry.sender.send(change.clone()).is_err() {
                watched.remove(&change.job.webhook);
            }
        }
        self.count.store(watched.len(), Ordering::SeqCst);
    }
}
