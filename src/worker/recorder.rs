//! The recorder stores the outcomes of attempts in batches, so that no thread waits for the disk. Until an
//! outcome is on disk, its job counts as running and its thread as taken.
//!
//! A batch has the attempts that ended while the previous batch was being stored.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::dispatcher::after;
use crate::domain::error::Reason;
use crate::domain::job::Status;
use crate::domain::trace::Traceparent;
use crate::store::Finish;

/// How long to wait before a failed batch is stored again.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// The most outcomes in one batch.
const BATCH_OUTCOMES: usize = 1_024;

/// An attempt that has ended, with the outcome to store.
pub(super) struct Ended {
    pub(super) finish: Finish,
    pub(super) traceparent: Traceparent,
}

/// Stores outcomes until all threads of the pool have ended.
pub(super) async fn record(shared: Arc<Shared>, mut outcomes: UnboundedReceiver<Ended>) {
    let mut batch = Vec::new();
    // While the store is not available, outcomes stay in the batch for any length of time: dropping them
    // would run jobs again that are done.
    while !batch.is_empty() || outcomes.recv_many(&mut batch, BATCH_OUTCOMES).await > 0 {
        // Lets other tasks run first, so that more outcomes join this batch when the cores are busy.
        tokio::task::yield_now().await;
        while batch.len() < BATCH_OUTCOMES
            && let Ok(outcome) = outcomes.try_recv()
        {
            batch.push(outcome);
        }
        let finishes = batch.iter().map(|ended: &Ended| ended.finish.clone()).collect();
        match shared.store.finish(&shared.options.worker, finishes).await {
            Ok(recorded) => {
                let ended = std::mem::take(&mut batch);
                for (ended, recorded) in ended.iter().zip(&recorded) {
                    is_recorded(&shared, ended, *recorded);
                }
                release(&shared, &ended);
            }
            Err(error) if error.reason() == Reason::StoreUnavailable && !shared.stopped.is_cancelled() => {
                tracing::warn!(outcomes = batch.len(), error = %error, "outcomes could not be stored; trying again in a second");
                shared.upkeep.store_failed(shared.clock.now());
                let pause = shared.clock.sleep_until(after(shared.clock.now(), STORE_FAULT_PAUSE));
                shared.stopped.run_until_cancelled(pause).await;
            }
            Err(error) => {
                tracing::error!(outcomes = batch.len(), error = %error, "outcomes could not be stored and are lost; their jobs are taken over when the leases expire");
                release(&shared, &std::mem::take(&mut batch));
            }
        }
    }
}

fn is_recorded(shared: &Shared, ended: &Ended, recorded: bool) {
    let finish = &ended.finish;
    if !recorded {
        shared.metrics.lease_lost();
        tracing::warn!(
            trace_id = ended.traceparent.trace_id(),
            webhook_id = %finish.lease.job.webhook,
            attempt = finish.attempt,
            "the lease was lost before the attempt ended; its outcome does not count"
        );
    } else if finish.next == Status::Completed {
        shared.metrics.completed(finish.finished_at);
    }
}

fn release(shared: &Shared, ended: &[Ended]) {
    let leases = ended.iter().map(|ended| ended.finish.lease).collect::<Vec<_>>();
    shared.released(&leases);
}
