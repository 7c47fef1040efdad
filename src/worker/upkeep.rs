//! Keeps the leases of the attempts that run here, and takes over jobs whose lease has expired.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Shared;
use super::dispatcher::after;

/// How often to look for expired leases, at least: a job waits this long after its lease at most.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(1);

/// From when on expired leases are taken over. After a fault of the store, and at the start, every
/// process that is alive renews first: leases that expired because no process could renew them are not
/// taken over from processes that still run.
pub(super) struct Calm {
    renew_every: Duration,
    take_over_from: Mutex<Timestamp>,
}

impl Calm {
    pub(super) fn new(now: Timestamp, lease: Duration) -> Self {
        let renew_every = lease / 3;
        Self { renew_every, take_over_from: Mutex::new(after(now, renew_every)) }
    }

    /// The store could not be read or written.
    pub(super) fn store_failed(&self, now: Timestamp) {
        let mut from = self.take_over_from.lock().unwrap_or_else(PoisonError::into_inner);
        *from = after(now, self.renew_every);
    }

    fn is_calm(&self, now: Timestamp) -> bool {
        now >= *self.take_over_from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the pool is stopped.
pub(super) async fn keep_leases(shared: Arc<Shared>) {
    let calm = &shared.upkeep;
    let look_every = calm.renew_every.min(TAKE_OVER_EVERY);
    let mut next_renewal = after(shared.clock.now(), calm.renew_every);
    loop {
        let next_look = shared.clock.sleep_until(after(shared.clock.now(), look_every));
        if shared.stopped.run_until_cancelled(next_look).await.is_none() {
            return;
        }
        // Renewed first: a lease that is late, but not lost, is not taken over from here.
        if shared.clock.now() >= next_renewal {
            let renewed = renew(&shared).await;
            let pause = if renewed { calm.renew_every } else { look_every };
            next_renewal = after(shared.clock.now(), pause);
            if !renewed {
                calm.store_failed(shared.clock.now());
                continue;
            }
        }
        if calm.is_calm(shared.clock.now()) && !take_over(&shared).await {
            calm.store_failed(shared.clock.now());
        }
    }
}

/// Renews the leases of the attempts that run here; false if the store could not.
async fn renew(shared: &Shared) -> bool {
    let leases = shared.slots.leases();
    if leases.is_empty() {
        return true;
    }
    match shared.store.renew(leases, shared.options.lease).await {
        Ok(lost) => {
            // One may have ended meanwhile; then there is nothing left to stop.
            lost.iter().for_each(|lease| shared.slots.stop(lease));
            true
        }
        Err(error) => {
            tracing::warn!(error = %error, "leases could not be renewed; trying again at the next turn");
            false
        }
    }
}

/// Takes over jobs whose lease has expired. Those that run here are left alone, however late their
/// renewal was. False if the store could not.
async fn take_over(shared: &Shared) -> bool {
    match shared.store.take_over_expired(shared.slots.leases()).await {
        Ok(jobs) => {
            if jobs > 0 {
                tracing::warn!(jobs, "took over jobs whose lease had expired");
            }
            true
        }
        Err(error) => {
            tracing::warn!(error = %error, "expired leases could not be taken over; trying again at the next turn");
            false
        }
    }
}
