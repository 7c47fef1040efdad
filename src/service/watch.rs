//! Follows the status of one webhook. The store announces each change of a job, and the watcher applies it to
//! the status that it sent last. It reads the store again only if it missed changes, or a job is new to it.
//!
//! A webhook in quarantine has no jobs. If it is released with jobs, their changes are announced. If it is released
//! without jobs, or removed, nothing is announced, so its watchers read the store every [`LOOK_EVERY`].

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast::error::RecvError;

use super::shares::{Place, Shares};
use super::view::arrange;
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Result};
use crate::domain::policy::Policies;
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::store::Store;
use crate::store::changes::{Change, Watching};

/// The most watchers at once in this process, and those of one token.
const MAX_WATCHERS: usize = 1_000;
const MAX_WATCHERS_OF_ONE: usize = MAX_WATCHERS / 2;

/// The time between two reads of a webhook in quarantine.
const LOOK_EVERY: Duration = Duration::from_secs(5);

struct Watcher {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policies: Arc<Policies>,
    changes: Watching,
    /// The status that was sent last.
    told: WebhookStatus,
    _place: Place,
}

/// The places for watchers.
pub(super) fn places() -> Shares {
    Shares::new(MAX_WATCHERS, MAX_WATCHERS_OF_ONE, "watchers of webhooks")
}

pub(super) async fn watch(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    policies: Arc<Policies>,
    name: WebhookName,
    place: Place,
) -> Result<BoxStream<'static, Result<WebhookStatus>>> {
    let id = store.status(name).await?.id;
    // Subscribes before it reads the status, so that no change is missed. A change that is already in the
    // status is recognised by its revision.
    let changes = store.changes().watch(id);
    let mut told = store.status(WebhookName::Id(id)).await?;
    arrange(&mut told, &policies);
    let first = told.clone();
    let watcher = Watcher { store, clock, policies, changes, told, _place: place };
    let later = stream::unfold(Some(watcher), |watcher| async move {
        let mut watcher = watcher?;
        if is_over(&watcher.told) {
            return None;
        }
        match watcher.next().await {
            Ok(status) => Some((Ok(status), Some(watcher))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream::once(async { Ok(first) }).chain(later).boxed())
}

/// Whether this is the last status that a watcher is told. A webhook in quarantine can still be released.
pub(super) fn is_over(told: &WebhookStatus) -> bool {
    told.status().is_final() && !told.is_quarantined
}

/// Ready when a watcher has to read the store again without an announcement; never, unless the webhook is in quarantine.
async fn look_is_due(clock: &dyn Clock, is_quarantined: bool) {
    if is_quarantined { clock.sleep(LOOK_EVERY).await } else { pending().await }
}

impl Watcher {
    /// The next status that differs from the last one. Errors: `ShuttingDown` once the store is closed;
    /// `WebhookNotFound` once a webhook in quarantine is removed.
    async fn next(&mut self) -> Result<WebhookStatus> {
        loop {
            let change = tokio::select! {
                change = self.changes.recv() => Some(change),
                () = look_is_due(self.clock.as_ref(), self.told.is_quarantined) => None,
            };
            let is_news = match change {
                Some(Ok(change)) => match self.apply(&change) {
                    Some(is_news) => is_news,
                    None => self.read().await?,
                },
                Some(Err(RecvError::Lagged(_))) | None => self.read().await?,
                Some(Err(RecvError::Closed)) => return Err(Error::shutting_down()),
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
