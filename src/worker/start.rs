//! Starts leased jobs: those that were claimed, and those of new webhooks that were leased as they
//! were stored.

use std::time::Duration;

use jiff::Timestamp;

use super::{Shared, WORKING};
use crate::store::{ClaimedJob, Starter};

impl Shared {
    /// Hands leased jobs to the threads that were reserved for them, and gives back those that got
    /// none.
    pub(super) fn begin(&self, reserved: usize, jobs: Vec<ClaimedJob>) {
        for job in &jobs {
            let waited = job.claimed_at.duration_since(job.available_at);
            self.metrics.claimed(waited.try_into().unwrap_or_default());
        }
        let idle = reserved - jobs.len();
        let stops = self.running.begin(reserved, jobs.iter().map(|job| job.lease));
        self.queue.push(jobs.into_iter().zip(stops));
        if idle > 0 {
            self.idle.raise();
            self.ended.raise();
        }
    }
}

impl Starter for Shared {
    fn lease(&self) -> Duration {
        self.options.lease
    }

    fn has_idle(&self) -> bool {
        self.running.has_idle()
    }

    fn reserve(&self, most: usize) -> usize {
        let reserved = self.running.reserve_for_new(most);
        // Looked at afterwards: what is reserved before the pool begins to end is waited for.
        if self.phase() == WORKING {
            return reserved;
        }
        self.start(reserved, Vec::new());
        0
    }

    fn unanswered(&self, since: Timestamp) {
        self.running.unanswered(since, self.clock.now());
    }

    fn start(&self, reserved: usize, jobs: Vec<ClaimedJob>) {
        if reserved > 0 {
            self.begin(reserved, jobs);
        }
    }
}
