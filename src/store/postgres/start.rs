//! Webhooks that are leased as they are stored, for idle threads of this process: their jobs start
//! without a claim.

use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;

use super::core::Core;
use crate::domain::attempt::Lease;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::webhook::NewWebhook;
use crate::store::changes::Change;
use crate::store::{ClaimedJob, Starter};

/// The token of a job's first lease, the number of its first attempt, and its revision then.
const FIRST: u32 = 1;

/// Idle threads that were reserved, and the jobs that were leased for them. Dropped, it gives the
/// threads back.
pub(super) struct Starting {
    starter: Option<Arc<dyn Starter>>,
    since: Timestamp,
    reserved: usize,
    jobs: Vec<ClaimedJob>,
}

impl Starting {
    /// Reserves up to so many threads.
    pub(super) fn reserve(core: &Core, most: usize) -> Self {
        let starter = core.starter.get().and_then(Weak::upgrade);
        let reserved = starter.as_ref().map_or(0, |starter| starter.reserve(most));
        Self { starter, since: core.clock.now(), reserved, jobs: Vec::with_capacity(reserved) }
    }

    /// Whether the process has a thread that does nothing.
    pub(super) fn is_any_idle(core: &Core) -> bool {
        core.starter.get().and_then(Weak::upgrade).is_some_and(|starter| starter.has_idle())
    }

    /// How many threads have no job yet.
    pub(super) fn threads(&self) -> usize {
        self.reserved - self.jobs.len()
    }

    /// How long a lease lasts.
    pub(super) fn lease(&self) -> Duration {
        self.starter.as_ref().map(|starter| starter.lease()).unwrap_or_default()
    }

    /// A webhook was leased as it was stored.
    pub(super) fn add(&mut self, id: WebhookId, new: &NewWebhook, max_attempts: u32, now: Timestamp) {
        self.jobs.push(ClaimedJob {
            lease: Lease { webhook: id, token: FIRST.into() },
            source: new.source.clone(),
            idempotency_key: new.idempotency_key.clone(),
            event_type: new.event_type.clone(),
            payload: Some(new.payload.json().to_owned()),
            traceparent: new.traceparent.clone(),
            attempt: FIRST,
            attempt_of_run: FIRST,
            max_attempts,
            available_at: now,
            claimed_at: now,
        });
    }

    /// How many were leased.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// It was not answered which were leased.
    pub(super) fn unanswered(&self) {
        if let Some(starter) = &self.starter
            && self.threads() > 0
        {
            starter.unanswered(self.since);
        }
    }

    /// Of what was leased only the first so many are stored.
    pub(super) fn roll_back(&mut self, to: usize) {
        self.jobs.truncate(to);
    }

    /// What the leases changed, once they are stored.
    pub(super) fn changes(&self) -> Vec<Change> {
        let change = |job: &ClaimedJob| Change {
            id: job.lease.webhook,
            status: Status::Processing,
            attempt_count: FIRST,
            updated_at: job.claimed_at,
            revision: FIRST.into(),
        };
        self.jobs.iter().map(change).collect()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(starter) = self.starter.take() {
            starter.start(self.reserved, std::mem::take(&mut self.jobs));
        }
    }
}
