//! The recorder stores the outcomes of attempts in batches, so that no thread waits for the disk. A thread is idle
//! as soon as the recorder has its outcome. The job counts as running until the outcome is on disk.
//!
//! While batches are being stored, outcomes gather until there are enough for another batch: a store that
//! writes many commands in one commit takes that batch into its next one.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::started::Started;
use crate::domain::attempt::Lease;
use crate::domain::error::{Reason, Result};
use crate::store::outcomes::{JobNames, tell_end};
use crate::store::{ClaimedJob, Finish};
use crate::telemetry::repeated::Repeated;

/// How long to wait before a failed batch is stored again.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// The most outcomes in a batch. With [`BATCHES_AT_ONCE`] it bounds how many outcomes are not on disk; the threads
/// of further outcomes stay taken.
const BATCH_OUTCOMES: usize = 256;

/// The most batches that are being stored at the same time.
const BATCHES_AT_ONCE: usize = 4;

/// While a batch is being stored, the next one is sent once this many outcomes wait.
const ENOUGH_FOR_ANOTHER: usize = 64;

/// The result of a leased job on its thread.
pub(super) enum Ended {
    /// Its attempt has ended, with this outcome.
    Attempt { finish: Finish, started: Arc<Started> },
    /// Its handler was not started: the lease is to be given back.
    NotStarted(Lease),
}

impl Ended {
    fn lease(&self) -> Lease {
        match self {
            Self::Attempt { finish, .. } => finish.lease,
            Self::NotStarted(lease) => *lease,
        }
    }
}

/// Stores outcomes until all threads of the pool have ended.
pub(super) async fn record(shared: Arc<Shared>, mut outcomes: UnboundedReceiver<Ended>) {
    let (mut waiting, mut is_open) = (Vec::new(), true);
    let mut storing = FuturesUnordered::new();
    while is_open || !waiting.is_empty() || !storing.is_empty() {
        let is_due =
            storing.is_empty() || waiting.len() >= ENOUGH_FOR_ANOTHER && storing.len() < BATCHES_AT_ONCE;
        if !waiting.is_empty() && is_due {
            storing.push(store(&shared, std::mem::take(&mut waiting)));
        }
        let known = waiting.len();
        let room = BATCH_OUTCOMES - known;
        tokio::select! {
            Some(()) = storing.next(), if !storing.is_empty() => {}
            received = outcomes.recv_many(&mut waiting, room), if is_open && room > 0 => {
                is_open = received > 0;
                // Lets other tasks run first, so that more outcomes join this batch when the cores are busy.
                tokio::task::yield_now().await;
                waiting.extend(std::iter::from_fn(|| outcomes.try_recv().ok()).take(room - received));
                shared.free_threads(waiting[known..].iter().map(Ended::lease));
            }
        }
    }
}

/// Stores one batch.
async fn store(shared: &Shared, batch: Vec<Ended>) {
    let leases = batch.iter().map(Ended::lease).collect::<Vec<_>>();
    let (mut finishes, mut attempts, mut not_started) = (Vec::new(), Vec::new(), Vec::new());
    for ended in batch {
        match ended {
            Ended::Attempt { finish, started } => {
                finishes.push(finish);
                attempts.push(started);
            }
            Ended::NotStarted(lease) => not_started.push(lease),
        }
    }
    if !finishes.is_empty() {
        let finish = || shared.store.finish(&shared.options.worker, finishes.clone());
        let recorded = until_stored(shared, finishes.len(), finish).await.unwrap_or_default();
        for ((finish, started), recorded) in finishes.iter().zip(&attempts).zip(recorded) {
            let ClaimedJob { route, source, event_type, traceparent, .. } = &started.job;
            let names = JobNames { route, source, event_type, traceparent };
            tell_end(&shared.metrics, shared.clock.monotonic(), finish, &names, recorded);
        }
    }
    if !not_started.is_empty() {
        let give_back = || shared.store.give_back(&shared.options.worker, not_started.clone());
        until_stored(shared, not_started.len(), give_back).await;
    }
    shared.forget(leases);
}

static OUTCOMES: Repeated = Repeated::new("outcomes are stored again");

/// Writes until the store has answered. While it is not available, it is tried again for any length of time:
/// dropping outcomes would run jobs again that are done. None if they are lost.
async fn until_stored<T, F>(shared: &Shared, outcomes: usize, write: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T>>,
{
    loop {
        match write().await {
            Ok(answer) => {
                OUTCOMES.works();
                return Some(answer);
            }
            Err(error) if error.reason() == Reason::StoreUnavailable && !shared.stopped.is_cancelled() => {
                OUTCOMES.failed(|times| {
                    tracing::warn!(times, outcomes, error = %error, "outcomes could not be stored; trying again every second");
                });
                shared.upkeep.store_failed(shared.clock.monotonic());
                let pause = shared.clock.sleep(STORE_FAULT_PAUSE);
                shared.stopped.run_until_cancelled(pause).await;
            }
            Err(error) => {
                tracing::error!(outcomes, error = %error, "outcomes could not be stored and are lost; their jobs are taken over when the leases expire");
                return None;
            }
        }
    }
}
