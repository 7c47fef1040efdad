//! The queue of what comes in: stored in batches, and only then answered.
//!
//! A batch takes whatever has queued up while the one before was under way, and is stored with one
//! statement, which is one transaction and one round trip. A lone webhook is stored at once. After a batch
//! of many, the next one waits a moment for the senders that were just answered: otherwise busy senders
//! fall into two halves that wait for each other, and every statement stores half as much at the same
//! cost. Only if very many wait is another batch stored beside the one under way; two batches with ordered
//! jobs never are, so that their jobs get their places in the order of arrival.

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
use crate::telemetry::metrics::Stopwatch;

/// Batches under way at once, each on a connection of its own.
pub(super) const COMMITTERS: usize = 2;

/// Webhooks that may wait to be stored. More are refused.
pub(super) const QUEUE_WEBHOOKS: usize = 4_096;

/// Webhooks in one statement: bounds how long the first of them waits for the last.
const BATCH_WEBHOOKS: usize = 1_024;

/// Webhooks that wait before another batch is stored beside one that is under way: each statement
/// costs as much as storing several webhooks.
const ENOUGH_FOR_ANOTHER: usize = 64;

/// So many at once are many: their senders are busy, and will send again soon.
const MANY_WEBHOOKS: usize = 4;

/// How long many senders that were answered are waited for.
const SENDERS_WAIT: Duration = Duration::from_millis(2);

/// Webhooks that wait for no others.
const ENOUGH_WEBHOOKS: usize = 32;

/// A webhook on its way to the database, and where to answer.
pub(super) struct Accept {
    pub(super) incoming: Incoming,
    pub(super) reply: oneshot::Sender<Result<Accepted>>,
}

/// A batch that was stored.
#[derive(Default)]
struct Stored {
    webhooks: usize,
    is_ordered: bool,
}

/// Stores what is queued, until the queue is closed and empty.
pub(super) async fn commit(shared: Arc<Shared>, mut queue: mpsc::Receiver<Accept>) {
    let mut storing = JoinSet::new();
    let mut batch = Vec::new();
    let mut is_open = true;
    let mut stores_ordered = false;
    // If none is under way, the next batch is stored then, or when all those who are expected are there.
    let (mut next, mut expected) = (Instant::now(), 1);
    while is_open || !storing.is_empty() || !batch.is_empty() {
        let room = BATCH_WEBHOOKS - batch.len();
        tokio::select! {
            Some(stored) = storing.join_next() => {
                let Stored { webhooks, is_ordered } = stored.unwrap_or_default();
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
        // Tasks that are ready to run go first: on busy cores more webhooks join this batch.
        tokio::task::yield_now().await;
        let room = BATCH_WEBHOOKS - batch.len();
        if room > 0 && !stores_ordered {
            let _ = queue.recv_many(&mut batch, room).now_or_never();
        }
        let batch = std::mem::take(&mut batch);
        let is_ordered = is_ordered(&batch);
        stores_ordered |= is_ordered;
        let shared = Arc::clone(&shared);
        storing.spawn(async move { Stored { webhooks: store_and_answer(shared, batch).await, is_ordered } });
    }
}

/// Stores a batch and answers; tells how many there were.
async fn store_and_answer(shared: Arc<Shared>, batch: Vec<Accept>) -> usize {
    let took = Stopwatch::start();
    let (incoming, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|accept| (accept.incoming, accept.reply)).unzip();
    let outcomes = match store(&shared, &incoming).await {
        Ok(outcomes) => {
            shared.metrics.committed(took, incoming.len());
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

/// The answer for a webhook that may have been stored, and may not.
pub(super) fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::store_unavailable(
        "the database cannot be written at the moment; it is not known to be stored, send it again",
        cause,
    )
}

fn answer(reply: oneshot::Sender<Result<Accepted>>, outcome: Result<Accepted>) {
    // The sender may have hung up; the webhook is stored all the same.
    let _ = reply.send(outcome);
}
