//! The dispatcher claims jobs for idle threads.
//!
//! It sleeps while no thread is idle. It also sleeps while no job may start, until the store notifies it or
//! until the time that the last claim returned.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::threads::Threads;
use super::{Options, Shared};
use crate::domain::error::Result;
use crate::store::{Claim, Claims};

/// How long to wait after a claim failed.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// How soon to claim again if jobs may start but none could be leased, for example because another replica
/// is leasing them.
const NOTHING_LEASED_PAUSE: Duration = Duration::from_millis(20);

/// Runs until the pool drains.
pub(super) async fn dispatch(shared: Arc<Shared>, threads: Arc<Threads>) {
    while !shared.draining.is_cancelled() {
        give_back_unheld(&shared, shared.clock.now()).await;
        let Some(claim) = reserve(&shared) else {
            let idle = shared.idle.notified();
            shared.draining.run_until_cancelled(idle).await;
            continue;
        };
        let claiming = lease_and_begin(&shared, &threads, claim.threads, shared.store.claim(claim));
        let dispatched = match claiming.await {
            Ok(next) => lease_accepted_until_due(&shared, &threads, next).await,
            Err(error) => Err(error),
        };
        if let Err(error) = dispatched {
            tracing::warn!(error = %error, "jobs could not be claimed; trying again in a second");
            shared.upkeep.store_failed(shared.clock.now());
            let pause = shared.clock.sleep_until(after(shared.clock.now(), STORE_FAULT_PAUSE));
            shared.draining.run_until_cancelled(pause).await;
        }
    }
}

/// Reserves all idle threads for a claim. None if no thread is idle.
fn reserve(shared: &Shared) -> Option<Claim> {
    let (threads, running) = shared.slots.reserve();
    let Options { worker, lease, .. } = &shared.options;
    (threads > 0).then(|| Claim { worker: Arc::clone(worker), threads, lease: *lease, running })
}

/// Waits until a stored job may start, by a notice of the store or at `next`. Until then, has jobs leased for
/// idle threads as they are accepted. Also returns when no thread is idle, and when the pool drains.
async fn lease_accepted_until_due(
    shared: &Shared,
    threads: &Arc<Threads>,
    next: Option<Timestamp>,
) -> Result<()> {
    let due = due_or(shared, shared.due.notified(), next);
    tokio::pin!(due);
    while !shared.draining.is_cancelled()
        && let Some(claim) = reserve(shared)
    {
        let (reserved, until) = (claim.threads, shared.draining.child_token());
        let leasing = shared.store.claim_accepted(claim, until.clone());
        let leasing = lease_and_begin(shared, threads, reserved, leasing);
        tokio::pin!(leasing);
        let is_due = tokio::select! {
            leased = &mut leasing => {
                leased?;
                continue;
            }
            () = &mut due => true,
            // Threads that became idle join the next claim.
            () = shared.idle.notified() => false,
        };
        until.cancel();
        leasing.await?;
        if is_due {
            break;
        }
    }
    Ok(())
}

async fn due_or(shared: &Shared, due: impl Future<Output = ()>, next: Option<Timestamp>) {
    match next {
        None => due.await,
        Some(next) => {
            tokio::select! {
                () = due => {}
                () = shared.clock.sleep_until(next) => {}
            }
        }
    }
}

/// Hands the jobs of a claim to the reserved threads. Returns the time of the next claim, in case the store
/// does not notify the dispatcher before; none: wait for the store.
async fn lease_and_begin(
    shared: &Shared,
    threads: &Arc<Threads>,
    reserved: usize,
    leasing: impl Future<Output = Result<Claims>>,
) -> Result<Option<Timestamp>> {
    let asked = shared.clock.now();
    let claims = match leasing.await {
        Ok(claims) => claims,
        Err(error) => {
            // The response was lost; some jobs may already be leased.
            shared.slots.answer_lost(asked, shared.clock.now());
            shared.slots.begin(reserved, &[]);
            return Err(error);
        }
    };
    for job in &claims.jobs {
        let waited = job.claimed_at.duration_since(job.available_at);
        shared.metrics.claimed(waited.try_into().unwrap_or_default());
    }
    let stops = shared.slots.begin(reserved, &claims.jobs);
    let is_in_vain = claims.jobs.is_empty() && claims.next.is_some_and(|next| next <= asked);
    let next = if is_in_vain { Some(after(asked, NOTHING_LEASED_PAUSE)) } else { claims.next };
    threads.run(claims.jobs.into_iter().zip(stops));
    Ok(next)
}

/// Gives back jobs that were leased to this process by a claim whose response was lost.
pub(super) async fn give_back_unheld(shared: &Shared, now: Timestamp) {
    let Some((held, leased)) = shared.slots.unknown_leases(now) else { return };
    match shared.store.give_back_unheld(&shared.options.worker, held, leased).await {
        Ok(jobs) => {
            shared.slots.all_known();
            if jobs > 0 {
                tracing::warn!(jobs, "gave back jobs that were leased by a claim whose response was lost");
            }
        }
        Err(error) => {
            tracing::warn!(error = %error, "jobs that were leased by a claim whose response was lost could not be given back; trying again");
        }
    }
}

pub(super) fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(now)
}
