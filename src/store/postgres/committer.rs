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
//!
//! Large webhooks wait in a queue of their own. One batch of them at a time is stored beside the others, so that
//! small webhooks do not wait until the large ones that came before them are stored. The batches of requests, each of
//! which is stored as a whole, have a third queue (`request_batches`).

use std::sync::Arc;
use std::time::Duration;

use diesel::result::Error as QueryError;
use futures::FutureExt as _;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::accept::{Incoming, store};
use super::one_by_one::{Caller, may_be_due_to_one, store_each, too_late};
use super::pool::is_fault;
use super::request_batches::{self, RequestBatch};
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::store::Accepted;
use crate::store::acceptance::queue_full;
use crate::store::fitting::{LARGE_BYTES, fitting};
use crate::telemetry::metrics::Stopwatch;
use crate::telemetry::repeated::Repeated;

/// Maximum number of batches stored at the same time, each on a connection of its own.
pub(super) const COMMITTERS: usize = 2;

/// The capacity of the queue, in webhooks. When it is full, webhooks are refused.
pub(super) const QUEUE_WEBHOOKS: usize = 4_096;

/// Maximum number of webhooks in one statement. Bounds how long the first webhook waits for the last.
pub(super) const BATCH_WEBHOOKS: usize = 1_024;

/// Maximum number of bytes of payloads in one statement: what a slow connection carries in the time of a statement.
pub(super) const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Maximum number of large webhooks that wait. Further ones are refused.
const LARGE_WEBHOOKS: usize = 4_096;

/// Maximum number of bytes of the payloads in a statement for large webhooks, or one webhook.
const LARGE_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The minimum size of a batch that is stored while another one is. Smaller batches are not worth it: each
/// statement costs as much as several webhooks.
const ENOUGH_FOR_ANOTHER: usize = 64;

/// From this size on, a batch comes from busy senders that will probably send again soon.
const MANY_WEBHOOKS: usize = 4;

/// How long the next batch waits for these senders.
const SENDERS_WAIT: Duration = Duration::from_millis(2);

/// A batch of this size does not wait for more senders.
const ENOUGH_WEBHOOKS: usize = 32;

/// Where webhooks wait to be stored.
#[derive(Clone, Debug)]
pub(super) struct Queues {
    pub(super) webhooks: mpsc::Sender<Accept>,
    pub(super) batches: mpsc::Sender<RequestBatch>,
}

/// A webhook to store, and the channel for its result.
pub(super) struct Accept {
    pub(super) incoming: Incoming,
    pub(super) reply: oneshot::Sender<Result<Accepted>>,
    /// When the caller waits no longer.
    pub(super) late_at: Instant,
}

impl Accept {
    fn bytes(&self) -> usize {
        self.incoming.webhook.bytes()
    }
}

/// Stores queued webhooks until the queues are closed and empty.
pub(super) async fn commit(
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Accept>,
    batches: mpsc::Receiver<RequestBatch>,
) {
    let (aside, large) = mpsc::channel(LARGE_WEBHOOKS);
    let committer = Committer {
        shared,
        connections: Arc::new(Semaphore::new(COMMITTERS)),
        storing_ordered: Arc::default(),
    };
    tokio::join!(
        commit_small(committer.clone(), queue, aside),
        commit_large(committer.clone(), large),
        request_batches::commit(committer, batches)
    );
}

/// Stores large webhooks, one batch after the other, until the queue is closed and empty.
async fn commit_large(committer: Committer, mut queue: mpsc::Receiver<Accept>) {
    // More of them do not fit into a batch.
    let most = LARGE_BATCH_BYTES / LARGE_BYTES;
    let mut waiting = Vec::new();
    while !waiting.is_empty() || queue.recv_many(&mut waiting, most).await > 0 {
        let later = waiting.split_off(fitting(waiting.iter().map(Accept::bytes), LARGE_BATCH_BYTES));
        let batch = std::mem::replace(&mut waiting, later);
        // In a task of its own, so that a panic fails only this batch.
        let stored = tokio::spawn(committer.clone().store(batch)).await;
        if let Err(error) = stored {
            committer.panicked(&error);
        }
    }
}

/// Stores small webhooks until the queue is closed and empty, and sets large ones aside.
async fn commit_small(committer: Committer, mut queue: mpsc::Receiver<Accept>, aside: mpsc::Sender<Accept>) {
    let mut storing = JoinSet::new();
    let mut batch = Vec::new();
    let mut is_open = true;
    let mut stores_ordered = false;
    // While no batch is being stored, the next one starts at `next`, or as soon as it has `expected`
    // webhooks.
    let (mut next, mut expected) = (Instant::now(), 1);
    while is_open || !storing.is_empty() || !batch.is_empty() {
        let (known, room) = (batch.len(), BATCH_WEBHOOKS - batch.len());
        tokio::select! {
            Some(done) = storing.join_next() => {
                let done = done.inspect_err(|error| committer.panicked(error));
                let Done { webhooks, is_ordered } = done.unwrap_or_default();
                stores_ordered &= !is_ordered && !storing.is_empty();
                let is_many = webhooks >= MANY_WEBHOOKS;
                expected = (webhooks + batch.len()).min(ENOUGH_WEBHOOKS);
                next = Instant::now() + if is_many { SENDERS_WAIT } else { Duration::ZERO };
            }
            received = queue.recv_many(&mut batch, room), if is_open && room > 0 => is_open = received > 0,
            () = tokio::time::sleep_until(next), if storing.is_empty() && !batch.is_empty() => {}
        }
        set_large_aside(&mut batch, known, &aside);
        let enough = match storing.len() {
            0 if is_open && Instant::now() < next => expected,
            0 => 1,
            under_way if under_way < COMMITTERS => ENOUGH_FOR_ANOTHER,
            _ => continue,
        };
        if batch.len() < enough {
            continue;
        }
        if stores_ordered && has_ordered(&batch) {
            continue;
        }
        // Lets other ready tasks run first. On busy cores more webhooks join this batch.
        tokio::task::yield_now().await;
        let (known, room) = (batch.len(), BATCH_WEBHOOKS - batch.len());
        if room > 0 && !stores_ordered {
            let _ = queue.recv_many(&mut batch, room).now_or_never();
            set_large_aside(&mut batch, known, &aside);
        }
        let later = batch.split_off(fitting(batch.iter().map(Accept::bytes), BATCH_BYTES));
        let batch = std::mem::replace(&mut batch, later);
        stores_ordered |= has_ordered(&batch);
        storing.spawn(committer.clone().store(batch));
    }
}

/// Moves large webhooks from a batch to their own queue, or refuses them if that queue is full. The first `known`
/// webhooks of the batch are known to be small.
fn set_large_aside(batch: &mut Vec<Accept>, known: usize, aside: &mpsc::Sender<Accept>) {
    for large in batch.extract_if(known.., |accept| accept.bytes() > LARGE_BYTES) {
        if let Err(refused) = aside.try_send(large) {
            answer(refused.into_inner().reply, Err(queue_full(aside.max_capacity())));
        }
    }
}

fn has_ordered(batch: &[Accept]) -> bool {
    batch.iter().any(|accept| accept.incoming.is_ordered())
}

/// Stores batches.
#[derive(Clone)]
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    /// One permit for each connection. Batches get them in turn, so that neither small webhooks, large ones nor the
    /// batches of requests take all connections for long.
    connections: Arc<Semaphore>,
    /// Locked while a batch with ordered jobs is stored.
    storing_ordered: Arc<Mutex<()>>,
}

/// The turn of a batch, which ends when this is dropped.
pub(super) struct Turn<'a> {
    _storing_ordered: Option<MutexGuard<'a, ()>>,
    _connection: Option<SemaphorePermit<'a>>,
}

/// A batch that was stored or refused.
#[derive(Default)]
struct Done {
    webhooks: usize,
    is_ordered: bool,
}

impl Committer {
    /// Waits until a batch may be stored: for a connection, and if it has ordered jobs, until no other batch that has
    /// some is stored.
    pub(super) async fn turn(&self, is_ordered: bool) -> Turn<'_> {
        let storing_ordered = if is_ordered { Some(self.storing_ordered.lock().await) } else { None };
        // The semaphore is never closed.
        Turn { _storing_ordered: storing_ordered, _connection: self.connections.acquire().await.ok() }
    }

    /// Counts and logs that storing a batch has panicked. The callers of its webhooks get an error, because their replies
    /// were dropped.
    pub(super) fn panicked(&self, error: &JoinError) {
        self.shared.metrics.commit_failed();
        tracing::error!(error = %error, "storing webhooks panicked; they may or may not be stored");
    }

    /// Stores a batch and sends the results.
    async fn store(self, mut batch: Vec<Accept>) -> Done {
        let is_ordered = has_ordered(&batch);
        let _turn = self.turn(is_ordered).await;
        refuse_late(&mut batch);
        Done { webhooks: store_and_answer(&self.shared, batch).await, is_ordered }
    }
}

/// Refuses the webhooks whose callers are about to give up, or did.
fn refuse_late(batch: &mut Vec<Accept>) {
    let now = Instant::now();
    for late in batch.extract_if(.., |accept| accept.late_at <= now) {
        answer(late.reply, Err(too_late()));
    }
}

static BATCHES: Repeated = Repeated::new("batches of webhooks are stored as a whole again");

/// Stores a batch and sends the results. Returns the size of the batch.
async fn store_and_answer(shared: &Shared, batch: Vec<Accept>) -> usize {
    if batch.is_empty() {
        return 0;
    }
    let took = Stopwatch::start();
    let with_caller = |Accept { incoming, reply, late_at }| (incoming, Caller { reply, late_at });
    let (incoming, callers): (Vec<_>, Vec<_>) = batch.into_iter().map(with_caller).unzip();
    let outcomes = match store(shared, &incoming).await {
        Ok(outcomes) => {
            BATCHES.works();
            shared.committed(took, incoming.len());
            outcomes
        }
        Err(error) if incoming.len() > 1 && may_be_due_to_one(&error, took.elapsed()) => {
            // A full disk refuses each batch.
            BATCHES.failed(|times| {
                tracing::error!(times, error = %error, "a webhook could not be stored; its batch is stored one by one");
            });
            store_each(shared, &incoming, callers).await;
            return incoming.len();
        }
        Err(error) => {
            shared.failed("accept", &error);
            callers.iter().map(|_| Err(not_stored(&error))).collect()
        }
    };
    callers.into_iter().zip(outcomes).for_each(|(caller, outcome)| answer(caller.reply, outcome));
    incoming.len()
}

/// The error for a webhook whose statement has failed.
pub(super) fn not_stored(error: &QueryError) -> Error {
    let text = error.to_string();
    if is_fault(error) { unknown(text) } else { Error::internal(text) }
}

/// The error for a webhook that may or may not be stored.
pub(super) fn unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::store_unavailable(
        "the database cannot be written at the moment; the webhook may or may not be stored, send it again",
        cause,
    )
}

pub(super) fn answer(reply: oneshot::Sender<Result<Accepted>>, outcome: Result<Accepted>) {
    // Sending fails if the caller is gone. The webhook is stored all the same.
    let _ = reply.send(outcome);
}

#[cfg(test)]
mod tests;
