//! Claims jobs for idle threads, and keeps the leases of those that run.
//!
//! While threads are idle it is woken when something becomes due, and sleeps until the next due
//! time; while none is, it is woken by the first that is. It looks for expired leases once a second,
//! and for whatever it may have missed as well; and has given back what it was leased without an
//! answer.

use std::sync::PoisonError;
use std::time::Duration;

use futures::executor::block_on;
use jiff::Timestamp;

use super::{DRAINING, STOPPED, Shared, WORKING};
use crate::domain::error::Result;

/// How long to wait after the store failed.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// How often to look for expired leases, at least: a job waits this long after its lease at most.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(1);

/// Runs until the pool is stopped.
pub(super) fn dispatch(shared: &Shared) {
    let _workers = Dispatching(shared);
    let renew_every = shared.options.lease / 3;
    let take_over_every = renew_every.min(TAKE_OVER_EVERY);
    let mut next_renewal = after(shared.clock.now(), renew_every);
    let mut next_look = after(shared.clock.now(), take_over_every);
    // After a fault of the store, and at the start, whoever is alive renews first: leases that
    // expired because nobody could renew them are not taken over from processes that still run.
    let mut take_over_from = next_renewal;
    loop {
        shared.due.take();
        shared.idle.take();
        let phase = shared.phase();
        if phase == STOPPED || (phase == DRAINING && shared.running.len() == 0) {
            return;
        }
        if shared.clock.now() >= next_look {
            // Renewed first: a lease that is late, but not lost, is not taken over from here.
            let is_due = shared.clock.now() >= next_renewal;
            let renewed = !is_due || renew(shared);
            let is_well = renewed && (shared.clock.now() < take_over_from || take_over(shared));
            if is_well {
                give_back_unheld(shared, shared.clock.now());
            }
            let now = shared.clock.now();
            if !is_well {
                take_over_from = after(now, renew_every);
            }
            next_look = after(now, take_over_every);
            if is_due {
                next_renewal = after(now, if renewed { renew_every } else { take_over_every });
            }
        }
        if phase != WORKING || !shared.running.has_idle() {
            // What becomes due meanwhile comes before what is new.
            shared.running.set_others_wait(true);
            shared.clock.wait(&shared.idle, Some(next_look));
            continue;
        }
        let claiming = shared.claiming.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.phase() != WORKING {
            continue;
        }
        let claimed = claim(shared);
        drop(claiming);
        let Ok(next_due) = claimed else {
            take_over_from = after(shared.clock.now(), renew_every);
            pause(shared);
            continue;
        };
        let until = next_due.map_or(next_look, |due| due.min(next_look));
        if shared.running.has_idle() {
            shared.clock.wait(&shared.due, Some(until));
        } else {
            // As many as there were threads: the next idle one takes what comes next.
            shared.clock.wait(&shared.idle, Some(next_look));
        }
    }
}

/// Waits until the store is worth another try, or the pool is told to stop. Neither what becomes due
/// nor a thread that becomes idle cuts it short.
fn pause(shared: &Shared) {
    let until = after(shared.clock.now(), STORE_FAULT_PAUSE);
    while shared.clock.now() < until {
        shared.idle.take();
        if shared.phase() != WORKING {
            return;
        }
        shared.clock.wait(&shared.idle, Some(until));
    }
}

/// Says that the workers run, until it is dropped, even by a panic; then they end, and no more
/// threads are reserved.
struct Dispatching<'a>(&'a Shared);

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        self.0.metrics.set_workers(0);
        self.0.running.set_others_wait(true);
        self.0.queue.close();
    }
}

/// Claims for idle threads; answers when to look again.
fn claim(shared: &Shared) -> Result<Option<Timestamp>> {
    let reserved = shared.running.reserve_for_waiting();
    if reserved == 0 {
        // Webhooks that come in have taken the threads just now.
        return Ok(Some(shared.clock.now()));
    }
    let asked = shared.clock.now();
    match block_on(shared.store.claim(reserved, shared.options.lease)) {
        Ok(claims) => {
            let is_due = claims.next_due.is_some_and(|due| due <= shared.clock.now());
            let others_wait = is_due || claims.jobs.len() == reserved;
            shared.begin(reserved, claims.jobs);
            // Once the threads that got no job are idle again: new webhooks shall find them.
            shared.running.set_others_wait(others_wait);
            Ok(claims.next_due)
        }
        Err(error) => {
            // Some may be leased all the same.
            shared.running.unanswered(asked, shared.clock.now());
            shared.begin(reserved, Vec::new());
            tracing::warn!(error = %error, "no jobs could be claimed; trying again in a second");
            Err(error)
        }
    }
}

/// Renews the leases of what runs here; false if the store could not.
fn renew(shared: &Shared) -> bool {
    let leases = shared.running.leases();
    if leases.is_empty() {
        return true;
    }
    match block_on(shared.store.renew(leases, shared.options.lease)) {
        Ok(lost) => {
            for lease in lost {
                // It may have ended meanwhile; then there is nothing left to stop.
                shared.running.stop(&lease);
            }
            true
        }
        Err(error) => {
            tracing::warn!(error = %error, "leases could not be renewed; trying again at the next turn");
            false
        }
    }
}

/// Gives back what was leased without an answer, so that nobody here knows of it.
pub(super) fn give_back_unheld(shared: &Shared, now: Timestamp) {
    let Some((held, leased)) = shared.running.unknown(now) else { return };
    match block_on(shared.store.give_back_unheld(held, leased)) {
        Ok(jobs) => {
            shared.running.all_known(jobs);
            if jobs > 0 {
                tracing::warn!(jobs, "gave back jobs that were leased here without an answer");
            }
        }
        Err(error) => {
            tracing::warn!(error = %error, "jobs that were leased without an answer could not be given back; trying again at the next turn");
        }
    }
}

/// Takes over what has expired. What runs here is not taken over from here, however late its
/// renewal was. False if the store could not.
fn take_over(shared: &Shared) -> bool {
    match block_on(shared.store.take_over_expired(shared.running.leases())) {
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

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(now)
}
