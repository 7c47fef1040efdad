//! The queue of outcomes: recorded in batches, and only then answered.
//!
//! One that comes alone is recorded at once. While many come in, a batch waits a moment for more:
//! each statement costs as much as recording several, and nobody waits for an outcome but a thread,
//! which does not matter while others are idle.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::core::Core;
use super::finish::end;
use super::pool::{is_fault, refused};
use super::start::Starting;
use crate::domain::error::{Error, Result};
use crate::store::Finish;
use crate::telemetry::metrics::Stopwatch;

/// Outcomes that may wait; whoever has more waits to get in line.
pub(super) const QUEUE_OUTCOMES: usize = 4_096;

/// Outcomes in one statement, and the bytes of their errors and results: what PostgreSQL keeps in memory
/// while it looks each of them up.
const BATCH_OUTCOMES: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// So many at once are many: others will follow soon, and are waited for.
const MANY_OUTCOMES: usize = 4;

/// The time between two batches while there are many outcomes, unless enough are there earlier.
const RECORD_EVERY: Duration = Duration::from_millis(20);

/// Outcomes that are enough for a batch of their own.
const ENOUGH_OUTCOMES: usize = 32;

/// The end of an attempt, and who waits until it is recorded.
pub(super) struct Ending {
    pub(super) finish: Finish,
    pub(super) reply: oneshot::Sender<Result<bool>>,
}

/// Records what is queued, until the queue is closed and empty.
pub(super) async fn record(core: Arc<Core>, mut queue: mpsc::Receiver<Ending>) {
    // Those whose commit was not answered: it may have been made all the same.
    let mut unsure = HashSet::new();
    let mut last = Turn::default();
    let mut queued = Vec::new();
    loop {
        // Whoever is ready to run goes first: on busy cores more of them join this batch.
        tokio::task::yield_now().await;
        if queued.is_empty() && queue.recv_many(&mut queued, BATCH_OUTCOMES).await == 0 {
            return;
        }
        last.wait(&core, &mut queue, &mut queued).await;
        let batch = batch_of(&mut queued);
        last = Turn::of(batch.len());
        let took = Stopwatch::start();
        let ended = end(&core, &batch, &mut unsure).await;
        if let Err(error) = &ended {
            core.failed("finish", error);
        }
        match ended {
            Ok(ended) => {
                core.metrics.committed(took, batch.len());
                for (ending, ended) in batch.into_iter().zip(ended) {
                    // Who asked may be gone.
                    let _ = ending.reply.send(Ok(ended));
                }
            }
            Err(error) if !is_fault(&error) && batch.len() > 1 => {
                for single in batch {
                    let ended = end(&core, std::slice::from_ref(&single), &mut unsure).await;
                    let ended = ended.map(|ended| ended == [true]).map_err(refused);
                    let _ = single.reply.send(ended);
                }
            }
            Err(error) => {
                let (text, is_fault) = (error.to_string(), is_fault(&error));
                unsure.extend(batch.iter().map(|ending| ending.finish.lease));
                for ending in batch {
                    let error = match is_fault {
                        true => Error::store_unavailable(
                            "the outcome could not be recorded; try again",
                            text.clone(),
                        ),
                        false => Error::internal(text.clone()),
                    };
                    let _ = ending.reply.send(Err(error));
                }
            }
        }
    }
}

/// When outcomes were recorded last, if they come in all the time.
#[derive(Default)]
struct Turn(Option<tokio::time::Instant>);

impl Turn {
    /// Outcomes are recorded now.
    fn of(outcomes: usize) -> Self {
        Self((outcomes >= MANY_OUTCOMES).then(tokio::time::Instant::now))
    }

    /// Waits for more outcomes until there are enough of them, or enough time has passed, or no thread
    /// is idle. Whoever comes alone waits for nobody.
    async fn wait(&self, core: &Core, queue: &mut mpsc::Receiver<Ending>, queued: &mut Vec<Ending>) {
        let Some(last) = self.0 else { return };
        let next = last + RECORD_EVERY;
        while queued.len() < ENOUGH_OUTCOMES && Starting::is_any_idle(core) {
            match tokio::time::timeout_at(next, queue.recv_many(queued, BATCH_OUTCOMES)).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

/// Takes as many outcomes as fit into a statement, sorted by webhook, and one of each: a second one,
/// of another lease, is left for the next.
fn batch_of(queued: &mut Vec<Ending>) -> Vec<Ending> {
    queued.sort_by_key(|ending| ending.finish.lease.webhook);
    let (mut before, mut outcomes, mut bytes) = (None, 0, 0);
    let fits = |ending: &Ending| {
        let finish = &ending.finish;
        let is_another = before.replace(finish.lease.webhook) == Some(finish.lease.webhook);
        let texts = [&finish.error, &finish.result].into_iter().flatten().map(String::len).sum::<usize>();
        let fits =
            !is_another && outcomes < BATCH_OUTCOMES && (outcomes == 0 || bytes + texts <= BATCH_BYTES);
        if fits {
            (outcomes, bytes) = (outcomes + 1, bytes + texts);
        }
        fits
    };
    let (batch, later) = std::mem::take(queued).into_iter().partition(fits);
    *queued = later;
    batch
}
