//! Renews the leases of the attempts of this process, and takes over jobs of any process whose lease has
//! expired. Looks for handlers that do not return.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::abandon::Abandoner;
use super::{Options, Shared};
use crate::telemetry::repeated::Repeated;

/// The longest time between two looks for expired leases.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(1);

/// When taking over expired leases is allowed. At the start, and after each fault of the store, it is not
/// allowed for a third of a lease. In that time every live process can renew its leases, so that no job is
/// taken from a process that still runs but could not renew. Times are monotonic.
pub(super) struct Calm {
    renew_every: Duration,
    take_over_from: Mutex<Duration>,
}

impl Calm {
    pub(super) fn new(now: Duration, lease: Duration) -> Self {
        let renew_every = lease / 3;
        Self { renew_every, take_over_from: Mutex::new(now + renew_every) }
    }

    /// Notes a fault of the store.
    pub(super) fn store_failed(&self, now: Duration) {
        let mut from = self.take_over_from.lock().unwrap_or_else(PoisonError::into_inner);
        *from = now + self.renew_every;
    }

    fn is_calm(&self, now: Duration) -> bool {
        now >= *self.take_over_from.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the pool is stopped.
pub(super) async fn keep_leases(shared: Arc<Shared>, mut abandoner: Abandoner) {
    let calm = &shared.upkeep;
    let look_every = calm.renew_every.min(TAKE_OVER_EVERY);
    let mut next_renewal = shared.clock.monotonic() + calm.renew_every;
    loop {
        let next_look = shared.clock.sleep(look_every);
        if shared.stopped.run_until_cancelled(next_look).await.is_none() {
            return;
        }
        abandoner.look();
        // Renews before taking over, so that this process does not take over its own late leases.
        if shared.clock.monotonic() >= next_renewal {
            let renewed = renew(&shared).await;
            let pause = if renewed { calm.renew_every } else { look_every };
            next_renewal = shared.clock.monotonic() + pause;
            if !renewed {
                calm.store_failed(shared.clock.monotonic());
                continue;
            }
        }
        // Taking over follows the clock as well.
        let is_calm = calm.is_calm(shared.clock.monotonic());
        let looked = if is_calm { take_over(&shared).await } else { follow_clock(&shared).await };
        if !looked {
            calm.store_failed(shared.clock.monotonic());
        }
    }
}

static RENEWALS: Repeated = Repeated::new("leases are renewed again");
static CLOCK: Repeated = Repeated::new("the clock of the store is followed again");
static TAKE_OVERS: Repeated = Repeated::new("expired leases are taken over again");

/// Renews the leases of the attempts of this process; false if the store failed.
async fn renew(shared: &Shared) -> bool {
    let leases = shared.slots.leases();
    if leases.is_empty() {
        return true;
    }
    let held_until = shared.clock.monotonic().saturating_add(shared.options.lease);
    let Options { worker, lease: time, .. } = &shared.options;
    let renewals = leases.iter().map(|lease| (*lease, *time)).collect();
    match shared.store.renew(worker, renewals).await {
        Ok(lost) => {
            RENEWALS.works();
            let kept = leases.into_iter().filter(|lease| !lost.contains(lease)).collect::<Vec<_>>();
            shared.slots.renewed(&kept, held_until);
            // If the attempt has ended meanwhile, `stop` does nothing.
            lost.iter().for_each(|lease| shared.slots.stop(lease));
            true
        }
        Err(error) => {
            RENEWALS.failed(|times| {
                tracing::warn!(times, error = %error, "leases could not be renewed; trying again every second");
            });
            false
        }
    }
}

/// Follows the clock of the store while nothing may be taken over. False if the store failed.
async fn follow_clock(shared: &Shared) -> bool {
    match shared.store.follow_clock().await {
        Ok(()) => {
            CLOCK.works();
            true
        }
        Err(error) => {
            CLOCK.failed(|times| {
                tracing::warn!(times, error = %error, "the clock of the store could not be followed; trying again every second");
            });
            false
        }
    }
}

/// Takes over jobs whose lease has expired, except jobs that run in this process. False if the store failed.
async fn take_over(shared: &Shared) -> bool {
    match shared.store.take_over_expired(shared.slots.leases()).await {
        Ok(jobs) => {
            TAKE_OVERS.works();
            CLOCK.works();
            if jobs > 0 {
                tracing::warn!(jobs, "took over jobs whose lease had expired");
            }
            true
        }
        Err(error) => {
            TAKE_OVERS.failed(|times| {
                tracing::warn!(times, error = %error, "expired leases could not be taken over; trying again later");
            });
            false
        }
    }
}
