//! Records what came of attempts, many at once: no thread of the pool waits for the disk, but its job
//! counts as running, and its slot as taken, until the outcome is on it.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::executor::block_on;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};

use super::{STOPPED, Shared};
use crate::domain::attempt::Lease;
use crate::domain::error::{Reason, Result};
use crate::domain::job::Status;
use crate::domain::trace::Traceparent;
use crate::store::Finish;

/// How long to wait before outcomes that could not be stored are tried again.
const STORE_FAULT_PAUSE: Duration = Duration::from_secs(1);

/// What came of an attempt. There are never more of them than threads.
pub(super) struct Outcome {
    pub(super) finish: Finish,
    pub(super) traceparent: Traceparent,
}

/// Records outcomes until no thread of the pool is left to send one.
pub(super) fn record(shared: &Shared, mut outcomes: UnboundedReceiver<Outcome>) {
    let mut recording = FuturesUnordered::new();
    let mut is_open = true;
    loop {
        let mut next = std::future::poll_fn(|context| {
            while is_open && let Poll::Ready(outcome) = outcomes.poll_next_unpin(context) {
                match outcome {
                    Some(outcome) => recording.push(store(shared, outcome)),
                    None => is_open = false,
                }
            }
            match recording.poll_next_unpin(context) {
                Poll::Ready(None) if is_open => Poll::Pending,
                recorded => recorded,
            }
        });
        let Some(first) = block_on(&mut next) else { return };
        // Those that were recorded with it are ready as well.
        let others = std::iter::from_fn(|| (&mut next).now_or_never().flatten());
        let (ended, again) = settle(shared, std::iter::once(first).chain(others));
        if !ended.is_empty() {
            shared.released(&ended);
        }
        if again.is_empty() {
            continue;
        }
        // The store is at fault: one pause for all of them.
        let now = shared.clock.now();
        shared.clock.wait(&Arc::default(), Some(now.saturating_add(STORE_FAULT_PAUSE).unwrap_or(now)));
        recording.extend(again.into_iter().map(|outcome| store(shared, outcome)));
    }
}

async fn store(shared: &Shared, outcome: Outcome) -> (Outcome, Result<bool>) {
    let recorded = shared.store.finish(outcome.finish.clone()).await;
    (outcome, recorded)
}

/// Tells the leases whose outcomes are recorded, or never will be, from the outcomes that are worth
/// another try, however long the store is at fault: the work is done, and doing it again would be
/// worse.
fn settle(
    shared: &Shared,
    outcomes: impl Iterator<Item = (Outcome, Result<bool>)>,
) -> (Vec<Lease>, Vec<Outcome>) {
    let (mut ended, mut again) = (Vec::new(), Vec::new());
    for (outcome, recorded) in outcomes {
        if is_settled(shared, &outcome, recorded) {
            ended.push(outcome.finish.lease);
        } else {
            again.push(outcome);
        }
    }
    (ended, again)
}

/// Whether there is nothing left to try.
fn is_settled(shared: &Shared, outcome: &Outcome, recorded: Result<bool>) -> bool {
    let finish = &outcome.finish;
    let webhook_id = finish.lease.webhook;
    match recorded {
        Ok(true) => {
            if finish.next == Status::Completed {
                shared.metrics.completed(finish.finished_at);
            }
        }
        Ok(false) => {
            shared.metrics.lease_lost();
            tracing::warn!(
                trace_id = outcome.traceparent.trace_id(),
                webhook_id = %webhook_id,
                attempt = finish.attempt,
                "the lease was lost before the attempt ended; its outcome does not count"
            );
        }
        Err(error) if shared.phase() == STOPPED => {
            tracing::warn!(webhook_id = %webhook_id, error = %error, "an outcome could not be stored before the end; the next process runs the job again");
        }
        Err(error) if error.reason() != Reason::StoreUnavailable => {
            tracing::error!(webhook_id = %webhook_id, error = %error, "an outcome cannot be stored; the job runs again when its lease expires");
        }
        Err(error) => {
            tracing::warn!(webhook_id = %webhook_id, error = %error, "an outcome could not be stored; trying again in a second");
            return false;
        }
    }
    true
}
