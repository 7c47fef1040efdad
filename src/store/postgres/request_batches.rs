//! Stores the batches of requests, one after the other: each as a whole, in a transaction of its own.
//!
//! One batch at a time, so that a connection is left for other webhooks. A batch takes its turn with the batches of the
//! committer.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::accept::Incoming;
use super::batch::{self, Outcome};
use super::committer::Committer;
use super::pool::{is_fault, refused};
use crate::domain::error::{Error, Reason};
use crate::telemetry::metrics::Stopwatch;

/// The capacity of the queue, in batches. When it is full, batches are refused.
pub(super) const QUEUE_BATCHES: usize = 1_024;

/// The `Retry-After` of a batch that was refused because the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The webhooks of one request to store, and the channel for their results.
pub(super) struct RequestBatch {
    pub(super) incoming: Vec<Incoming>,
    pub(super) reply: oneshot::Sender<Outcome>,
    /// When the caller waits no longer.
    pub(super) late_at: Instant,
}

/// Stores queued batches until the queue is closed and empty.
pub(super) async fn commit(committer: Committer, mut queue: mpsc::Receiver<RequestBatch>) {
    while let Some(batch) = queue.recv().await {
        // In a task of its own, so that a panic fails only this batch.
        let stored = tokio::spawn(store(committer.clone(), batch)).await;
        if let Err(error) = stored {
            committer.panicked(&error);
        }
    }
}

/// Stores a batch and sends the results, unless its caller is about to give up.
async fn store(committer: Committer, batch: RequestBatch) {
    let RequestBatch { incoming, reply, late_at } = batch;
    let _turn = committer.turn(incoming.iter().any(Incoming::is_ordered)).await;
    let outcome = if late_at <= Instant::now() {
        Err(unknown("the webhooks waited too long for a connection to the database").into())
    } else {
        store_now(&committer, &incoming).await
    };
    // Sending fails if the caller is gone. The webhooks are stored all the same.
    let _ = reply.send(outcome);
}

async fn store_now(committer: &Committer, batch: &[Incoming]) -> Outcome {
    let took = Stopwatch::start();
    match batch::store(&committer.shared, batch).await {
        Ok(outcome) => {
            if outcome.is_ok() {
                committer.shared.committed(took, batch.len());
            }
            outcome
        }
        Err(error) => {
            committer.shared.failed("accept", &error);
            let error = if is_fault(&error) { unknown(error) } else { refused(error) };
            Err(error.into())
        }
    }
}

/// `BacklogFull`: as many batches as the queue takes are already waiting to be stored.
pub(super) fn queue_full() -> Error {
    Error::new(
        Reason::BacklogFull,
        format!(
            "{QUEUE_BATCHES} batches of webhooks are waiting to be stored, which is the limit; nothing was stored, try again in a moment"
        ),
    )
    .retry_after(RETRY_AFTER)
}

/// The error for webhooks that may or may not be stored.
pub(super) fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::store_unavailable(
        "the database cannot be written at the moment; the webhooks may or may not be stored, send them again",
        cause,
    )
}
