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
        let (batch, replies): (Vec<_>, Vec<_>) =
            batch_of(&mut queued).into_iter().map(|ending| (ending.finish, ending.reply)).unzip();
        last = Turn::of(batch.len());
        let took = Stopwatch::start();
        let ended = end(&core, &batch, &mut unsure).await;
        if let Err(error) = &ended {
            core.failed("finish", error);
        }
        match ended {
            Ok(ended) => {
                core.metrics.committed(took, batch.len());
                for (reply, ended) in replies.into_iter().zip(ended) {
                    // Who asked may be gone.
                    let _ = reply.send(Ok(ended));
                }
            }
            Err(error) if !is_fault(&error) && batch.len() > 1 => {
                for (single, reply) in batch.iter().zip(replies) {
                    let ended = end(&core, std::slice::from_ref(single), &mut unsure).await;
                    if ended.as_ref().is_err_and(is_fault) {
                        unsure.insert(single.lease);
                    }
                    let _ = reply.send(ended.map(|ended| ended == [true]).map_err(refused));
                }
            }
            Err(error) => {
                let (text, is_fault) = (error.to_string(), is_fault(&error));
                unsure.extend(batch.iter().map(|finish| finish.lease));
                for reply in replies {
                    let error = match is_fault {
                        true => Error::store_unavailable(
                            "the outcome could not be recorded; try again",
                            text.clone(),
                        ),
                        false => Error::internal(text.clone()),
                    };
                    let _ = reply.send(Err(error));
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::attempt::{Lease, Outcome};
    use crate::domain::id::WebhookId;
    use crate::domain::job::Status;

    /// Of the webhook with this number, with an error of so many bytes.
    fn ending(webhook: u16, token: u64, error: usize) -> Ending {
        let mut id = [0; 16];
        id[14..].copy_from_slice(&webhook.to_be_bytes());
        let finish = Finish {
            lease: Lease { webhook: WebhookId::from_bytes(id), token },
            attempt: 1,
            outcome: Outcome::Failed,
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            error: Some("e".repeat(error)),
            result: None,
            next: Status::DeadLettered,
            available_at: Timestamp::UNIX_EPOCH,
        };
        Ending { finish, reply: oneshot::channel().0 }
    }

    /// Takes one batch after the other; answers how many each has.
    fn batches(endings: impl IntoIterator<Item = Ending>) -> Vec<usize> {
        let mut queued = endings.into_iter().collect::<Vec<_>>();
        let mut batches = Vec::new();
        while !queued.is_empty() {
            let batch = batch_of(&mut queued);
            let webhook = |ending: &Ending| ending.finish.lease.webhook;
            assert!(batch.is_sorted_by(|one, next| webhook(one) < webhook(next)), "each webhook once");
            batches.push(batch.len());
        }
        batches
    }

    #[test]
    fn a_batch_has_as_many_outcomes_as_it_may() {
        let most = u16::try_from(BATCH_OUTCOMES).unwrap_or(u16::MAX);
        assert_eq!(batches((0..most + 1).rev().map(|webhook| ending(webhook, 1, 0))), [BATCH_OUTCOMES, 1]);
    }

    #[test]
    fn a_batch_has_as_many_bytes_as_it_may_and_one_outcome_whatever_its_size() {
        assert_eq!(batches((0..4).map(|webhook| ending(webhook, 1, BATCH_BYTES / 2))), [2, 2]);
        assert_eq!(batches((0..2).map(|webhook| ending(webhook, 1, BATCH_BYTES + 1))), [1, 1]);
    }

    #[test]
    fn two_outcomes_of_one_webhook_are_recorded_one_after_the_other() {
        assert_eq!(batches([ending(1, 2, 0), ending(2, 1, 0), ending(1, 1, 0), ending(1, 3, 0)]), [2, 1, 1]);
    }
}
