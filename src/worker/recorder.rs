//! Records what attempts came to, many at once: no thread of the pool waits for the disk, but its job
//! counts as running, and its thread as taken, until the outcome is on it.
//!
//! A batch is whatever has ended while the one before was being recorded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::dispatcher::after;
use crate::domain::error::Reason;
use crate::domain::job::Status;
use crate::domain::trace::Traceparent;
use crate::store::Finish;

/// How long to wait before outcomes that could not be stored are tried again.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Outcomes in one batch.
const BATCH_OUTCOMES: usize = 1_024;

/// The end of an attempt. There are never more of them than threads.
pub(super) struct Ended {
    pub(super) finish: Finish,
    pub(super) traceparent: Traceparent,
}

/// Records outcomes until no thread of the pool is left to send one.
pub(super) async fn record(shared: Arc<Shared>, mut outcomes: UnboundedReceiver<Ended>) {
    let mut batch = Vec::new();
    // Outcomes that could not be stored stay in the batch, however long the store is at fault: the
    // work is done, and doing it again would be worse.
    while !batch.is_empty() || outcomes.recv_many(&mut batch, BATCH_OUTCOMES).await > 0 {
        // Other tasks and threads go first: on busy cores more outcomes join this batch.
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
                tracing::error!(outcomes = batch.len(), error = %error, "outcomes cannot be stored; their jobs run again when the leases expire");
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
