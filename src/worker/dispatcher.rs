//! Claims jobs for idle threads, and keeps the leases of those that run.
//!
//! It is woken when something becomes due or a thread idle, and sleeps until the next due time
//! otherwise. A look every third of a lease is its fallback.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use futures::executor::block_on;
use jiff::Timestamp;

use super::{DRAINING, STOPPED, Shared, WORKING};
use crate::domain::clock::Signal;
use crate::store::ClaimedJob;

/// How long to wait after the store failed.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// A claimed job and the signal that stops its handler.
pub(super) type Job = (ClaimedJob, Arc<Signal>);

/// Runs until the pool is stopped.
pub(super) fn dispatch(shared: &Shared, jobs: &Sender<Job>) {
    let renew_every = shared.options.lease / 3;
    let mut next_renewal = after(shared.clock.now(), renew_every);
    loop {
        shared.wake.take();
        let phase = shared.phase();
        if phase == STOPPED || (phase == DRAINING && shared.running.len() == 0) {
            return;
        }
        if shared.clock.now() >= next_renewal {
            keep_leases(shared);
            next_renewal = after(shared.clock.now(), renew_every);
        }
        let until = if phase == WORKING { claim(shared, jobs) } else { None };
        let until = until.map_or(next_renewal, |until| until.min(next_renewal));
        shared.clock.wait(&shared.wake, Some(until));
    }
}

/// Claims for every idle thread; answers when to look again.
fn claim(shared: &Shared, jobs: &Sender<Job>) -> Option<Timestamp> {
    let idle = shared.options.workers - shared.running.len();
    if idle == 0 {
        // The first thread to become idle wakes the dispatcher.
        return None;
    }
    match block_on(shared.store.claim(idle, shared.options.lease)) {
        Ok(claims) => {
            for job in claims.jobs {
                let waited = job.claimed_at.duration_since(job.available_at);
                shared.metrics.claimed(waited.try_into().unwrap_or_default());
                let stop = shared.running.begin(job.lease);
                // The channel has a place for every thread and lives as long as this function.
                let _ = jobs.send((job, stop));
            }
            claims.next_due
        }
        Err(error) => {
            tracing::warn!(error = %error, "no jobs could be claimed; trying again in a second");
            Some(after(shared.clock.now(), STORE_FAULT_PAUSE))
        }
    }
}

/// Renews first: only a lease that nobody renews may be taken over.
fn keep_leases(shared: &Shared) {
    let leases = shared.running.leases();
    if !leases.is_empty() {
        match block_on(shared.store.renew(leases, shared.options.lease)) {
            Ok(lost) => {
                for lease in lost {
                    // It may have ended meanwhile; then there is nothing left to stop.
                    shared.running.stop(&lease);
                }
            }
            Err(error) => {
                tracing::warn!(error = %error, "leases could not be renewed; trying again at the next turn");
                return;
            }
        }
    }
    match block_on(shared.store.take_over_expired()) {
        Ok(0) => {}
        Ok(jobs) => tracing::warn!(jobs, "took over jobs whose lease had expired"),
        Err(error) => {
            tracing::warn!(error = %error, "expired leases could not be taken over; trying again at the next turn")
        }
    }
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(now)
}
