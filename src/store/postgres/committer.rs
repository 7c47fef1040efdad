//! Stores incoming webhooks in batches, and sends the results after the commit.
//!
//! A batch takes the webhooks that were enqueued while the batch before was stored. One statement stores it,
//! which is one transaction and one round trip. A lone webhook is stored immediately. After a batch of
//! several webhooks, the next batch waits a moment for the senders that just got their results. Otherwise
//! busy senders would split into two groups that take turns, and each statement would store half as much at
//! the same cost.
//!
//! A second batch is stored at the same time only if many webhooks wait. Two batches with ordered jobs are
//! never stored at the same time, so that ordered jobs get their positions in the order of arrival.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accept::{Incoming, store};
use super::pool::{is_fault, refused};
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::store::Accepted;
use crate::store::fitting::fitting;
use crate::telemetry::metrics::Stopwatch;

/// Maximum number of batches stored at the same time, each on a connection of its own.
pub(super) const COMMITTERS: usize = 2;

/// The capacity of the queue, in webhooks. When it is full, webhooks are refused.
pub(super) const QUEUE_WEBHOOKS: usize = 4_096;

/// Maximum number of webhooks in one statement. Bounds how long the first webhook waits for the last.
const BATCH_WEBHOOKS: usize = 1_024;

/// Maximum number of bytes of payloads in one statement, or one webhook: what a slow connection carries in the time
/// of a statement.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// The minimum size of a batch that is stored while another one is. Smaller batches are not worth it: each
/// statement costs as much as several webhooks.
const ENOUGH_FOR_ANOTHER: usize = 64;

/// From this size on, a batch comes from busy senders that will probably send again soon.
const MANY_WEBHOOKS: usize = 4;

/// How long the next batch waits for these senders.
const SENDERS_WAIT: Duration = Duration::from_millis(2);

/// A batch of this size does not wait for more senders.
const ENOUGH_WEBHOOKS: usize = 32;

/// A webhook to store, and the channel for its result.
pub(super) struct Accept {
    pub(super) incoming: Incoming,
    pub(super) reply: oneshot::Sender<Result<Accepted>>,
}

impl Accept {
    fn bytes(&self) -> usize {
        self.incoming.webhook.payload.json().len()
    }
}

/// A batch that was stored or refused.
#[derive(Default)]
struct Done {
    webhooks: usize,
    is_ordered: bool,
}

/// Stores queued webhooks until the queue is closed and empty.
pub(super) async fn commit(shared: Arc<Shared>, mut queue: mpsc::Receiver<Accept>) {
    let mut storing = JoinSet::new();
    let mut batch = Vec::new();
    let mut is_open = true;
    let mut stores_ordered = false;
    // While no batch is being stored, the next one starts at `next`, or as soon as it has `expected`
    // webhooks.
    let (mut next, mut expected) = (Instant::now(), 1);
    while is_open || !storing.is_empty() || !batch.is_empty() {
        let room = BATCH_WEBHOOKS - batch.len();
        tokio::select! {
            Some(done) = storing.join_next() => {
                let Done { webhooks, is_ordered } = done.unwrap_or_default();
                stores_ordered &= !is_ordered && !storing.is_empty();
                let is_many = webhooks >= MANY_WEBHOOKS;
                expected = (webhooks + batch.len()).min(ENOUGH_WEBHOOKS);
                next = Instant::now() + if is_many { SENDERS_WAIT } else { Duration::ZERO };
            }
            received = queue.recv_many(&mut batch, room), if is_open && room > 0 => is_open = received > 0,
            () = tokio::time::sleep_until(next), if storing.is_empty() && !batch.is_empty() => {}
        }
        let enough = match storing.len() {
            0 if is_open && Instant::now() < next => expected,
            0 => 1,
            under_way if under_way < COMMITTERS => ENOUGH_FOR_ANOTHER,
            _ => continue,
        };
        if batch.len() < enough {
            continue;
        }
        let is_ordered = |batch: &[Accept]| batch.iter().any(|accept| accept.incoming.is_ordered());
        if stores_ordered && is_ordered(&batch) {
            continue;
        }
        // Lets other ready tasks run first. On busy cores more webhooks join this batch.
        tokio::task::yield_now().await;
        let room = BATCH_WEBHOOKS - batch.len();
        if room > 0 && !stores_ordered {
            let _ = queue.recv_many(&mut batch, room).now_or_never();
        }
        let later = batch.split_off(fitting(batch.iter().map(Accept::bytes), BATCH_BYTES));
        let batch = std::mem::replace(&mut batch, later);
        let is_ordered = is_ordered(&batch);
        stores_ordered |= is_ordered;
        let shared = Arc::clone(&shared);
        storing.spawn(async move { Done { webhooks: store_and_answer(shared, batch).await, is_ordered } });
    }
}

/// Stores a batch and sends the results. Returns the size of the batch.
async fn store_and_answer(shared: Arc<Shared>, batch: Vec<Accept>) -> usize {
    let took = Stopwatch::start();
    let (incoming, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|accept| (accept.incoming, accept.reply)).unzip();
    let outcomes = match store(&shared, &incoming).await {
        Ok(outcomes) => {
            shared.committed(took, incoming.len());
            outcomes
        }
        Err(error) if !is_fault(&error) && incoming.len() > 1 => {
            tracing::error!(error = %error, "a webhook could not be stored; its batch is stored one by one");
            for (single, reply) in incoming.iter().zip(replies) {
                let outcome = match store(&shared, std::slice::from_ref(single)).await {
                    Ok(mut outcomes) => outcomes.pop().unwrap_or_else(|| Err(Error::shutting_down())),
                    Err(error) => Err(refused(error)),
                };
                answer(reply, outcome);
            }
            return incoming.len();
        }
        Err(error) => {
            shared.failed("accept", &error);
            let (text, is_fault) = (error.to_string(), is_fault(&error));
            let refusal = || if is_fault { unknown(text.clone()) } else { Error::internal(text.clone()) };
            replies.iter().map(|_| Err(refusal())).collect()
        }
    };
    replies.into_iter().zip(outcomes).for_each(|(reply, outcome)| answer(reply, outcome));
    incoming.len()
}

/// The error for a webhook that may or may not be stored.
pub(super) fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::store_unavailable(
        "the database cannot be written at the moment; the webhook may or may not be stored, send it again",
        cause,
    )
}

fn answer(reply: oneshot::Sender<Result<Accepted>>, outcome: Result<Accepted>) {
    // Sending fails if the caller is gone. The webhook is stored all the same.
    let _ = reply.send(outcome);
}
