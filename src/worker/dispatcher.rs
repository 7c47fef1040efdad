//! The dispatcher claims jobs for idle threads.
//!
//! It sleeps while no thread is idle. It also sleeps while no job may start, until the store notifies it or
//! until the time that the last claim returned.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;

use super::threads::Threads;
use super::{Options, Shared};
use crate::domain::error::Result;
use crate::store::{Claim, NOTHING_LEASED_PAUSE, Wanted};
use crate::telemetry::repeated::Repeated;

/// How long to wait after a claim failed.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// The most bytes of payloads that a claim returns, or one job: larger claims would fill the memory, and take longer
/// over a slow connection than their leases last.
const CLAIM_BYTES: usize = 32 * 1024 * 1024;

static CLAIMS: Repeated = Repeated::new("jobs are claimed again");
static GIVING_BACK: Repeated = Repeated::new("jobs of lost responses are given back again");

/// Runs until the pool drains.
pub(super) async fn dispatch(shared: Arc<Shared>, threads: Arc<Threads>) {
    while !shared.draining.is_cancelled() {
        give_back_unheld(&shared, shared.clock.monotonic()).await;
        let Some(claim) = reserve(&shared) else {
            let idle = shared.idle.notified();
            shared.draining.run_until_cancelled(idle).await;
            continue;
        };
        let waiting = match claim_and_begin(&shared, &threads, claim).await {
            Ok(pause) => {
                CLAIMS.works();
                notified_or_over(&shared, pause).boxed()
            }
            Err(error) => {
                CLAIMS.failed(|times| {
                    tracing::warn!(times, error = %error, "jobs could not be claimed; trying again every second");
                });
                shared.upkeep.store_failed(shared.clock.monotonic());
                shared.clock.sleep(STORE_FAULT_PAUSE)
            }
        };
        shared.draining.run_until_cancelled(waiting).await;
    }
}

/// Reserves all idle threads for a claim. None if no thread is idle.
fn reserve(shared: &Shared) -> Option<Claim> {
    let (threads, running) = shared.slots.reserve();
    let Options { worker, lease, .. } = &shared.options;
    (threads > 0).then(|| Claim {
        worker: Arc::clone(worker),
        wanted: Wanted::Run,
        threads,
        max_bytes: CLAIM_BYTES,
        lease: *lease,
        running,
    })
}

/// How long the dispatcher waits until it claims again, unless the store notifies it before.
enum Pause {
    /// Any length of time.
    UntilNotified,
    /// Until a time of day, at which a job is due.
    Until(Timestamp),
    /// For `NOTHING_LEASED_PAUSE`.
    Short,
}

async fn notified_or_over(shared: &Shared, pause: Pause) {
    let is_over = match pause {
        Pause::UntilNotified => std::future::pending().boxed(),
        Pause::Until(next) => shared.clock.sleep_until(next),
        Pause::Short => shared.clock.sleep(NOTHING_LEASED_PAUSE),
    };
    tokio::select! {
        () = shared.due.notified() => {}
        () = is_over => {}
    }
}

/// Claims jobs and hands them to the reserved threads. Returns when to claim again.
async fn claim_and_begin(shared: &Shared, threads: &Arc<Threads>, claim: Claim) -> Result<Pause> {
    let (asked, reserved) = (shared.clock.now(), claim.threads);
    let claims = match shared.store.claim(claim).await {
        Ok(claims) => claims,
        Err(error) => {
            // The response was lost; some jobs may already be leased.
            shared.slots.answer_lost(asked, shared.clock.now(), shared.clock.monotonic());
            shared.slots.begin(reserved, &[], Duration::ZERO);
            return Err(error);
        }
    };
    for job in &claims.jobs {
        let waited = job.claimed_at.duration_since(job.available_at);
        shared.metrics.claimed(job.route.as_str(), waited.try_into().unwrap_or_default());
    }
    let stops = shared.slots.begin(reserved, &claims.jobs, claims.held_until);
    let pause = match claims.next {
        None => Pause::UntilNotified,
        Some(next) if next <= asked && claims.jobs.is_empty() => Pause::Short,
        Some(next) => Pause::Until(next),
    };
    threads.run(claims.jobs.into_iter().zip(stops));
    Ok(pause)
}

/// Gives back jobs that were leased to this process by a claim whose response was lost.
pub(super) async fn give_back_unheld(shared: &Shared, now: Duration) {
    let Some((held, leased)) = shared.slots.unknown_leases(now) else { return };
    match shared.store.give_back_unheld(&shared.options.worker, held, leased).await {
        Ok(jobs) => {
            GIVING_BACK.works();
            shared.slots.all_known();
            if jobs > 0 {
                tracing::warn!(jobs, "gave back jobs that were leased by a claim whose response was lost");
            }
        }
        Err(error) => {
            GIVING_BACK.failed(|times| {
                tracing::warn!(times, error = %error, "jobs that were leased by a claim whose response was lost could not be given back; trying again");
            });
        }
    }
}
