//! Limits the memory for answers that clients have not taken yet.
//!
//! The size of an answer is known only after it is made. So a request whose answer may be large waits for its turn:
//! memory is reserved before the answer is made, and what the answer does not need is given back. If there is no memory
//! for a while, a few requests at a time go on without: small answers need none, and large ones are refused.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::arrival::{PIECE_BYTES, pieces};
use crate::domain::error::{Error, Reason, Result};

/// The memory for the answers of all connections, in bytes, beside the first bytes of each, which always have room.
const ANSWERS_BYTES: usize = 64 * 1024 * 1024;

/// The memory that is reserved while an answer is being made, in bytes.
const TURN_BYTES: usize = 4 * 1024 * 1024;

/// How many answers are made at once without reserved memory.
const TURNS_WITHOUT_MEMORY: usize = 8;

/// How many answers that may be large a connection has at once: being made, or not taken yet. Further ones wait, so
/// that a client with many requests on a connection is not refused if it takes the answers slowly.
pub(super) const TURNS_OF_CONNECTION: usize = 16;

/// How many calls there are at once that need no token, may last, and whose answers may be large. Each can hold half a
/// MiB that is not reserved.
const OPEN_TURNS: usize = 32;

/// How long to wait for memory.
const WAIT_TIME: Duration = Duration::from_secs(1);

/// After which time a client should try again when the memory is used up.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The memory for answers, over all connections.
#[derive(Debug)]
pub(super) struct Answers {
    free: Arc<Semaphore>,
    without_memory: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

/// The turn of a request whose answer may be large. The default is that of a request that did not wait for one.
#[derive(Debug, Default)]
pub struct Turn {
    /// One of those of its connection, or of the calls that need no token.
    place: Option<OwnedSemaphorePermit>,
    reserved: Option<OwnedSemaphorePermit>,
    without_memory: Option<OwnedSemaphorePermit>,
}

/// The memory of an answer, free again when this is dropped. The default is that of an answer that needs none.
#[derive(Debug, Default)]
pub struct AnswerRoom {
    _place: Option<OwnedSemaphorePermit>,
    reserved: Option<OwnedSemaphorePermit>,
}

impl AnswerRoom {
    /// Whether the answer is so large that memory is reserved for it.
    pub(super) fn is_reserved(&self) -> bool {
        self.reserved.is_some()
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(ANSWERS_BYTES / PIECE_BYTES)),
            without_memory: Arc::new(Semaphore::new(TURNS_WITHOUT_MEMORY)),
            open: Arc::new(Semaphore::new(OPEN_TURNS)),
        }
    }
}

impl Answers {
    /// Waits until an answer that may be large can be made. `of_connection` is a turn of its connection. Errors:
    /// `StoreUnavailable` if there is no memory for too long.
    pub(super) async fn turn(&self, of_connection: Option<OwnedSemaphorePermit>) -> Result<Turn> {
        let mut turn = Turn { place: of_connection, ..Turn::default() };
        turn.reserved = acquire(&self.free, TURN_BYTES / PIECE_BYTES).await;
        if turn.reserved.is_none() {
            turn.without_memory = Some(acquire(&self.without_memory, 1).await.ok_or_else(used_up)?);
        }
        Ok(turn)
    }

    /// The turn of a call that needs no token, may last, and whose answers may be large. Errors: `StoreUnavailable` if
    /// there are too many of them.
    pub(super) fn open_turn(&self) -> Result<Turn> {
        let place = Arc::clone(&self.open).try_acquire_owned().map_err(|_| {
            let detail = "there are too many calls of this kind at this moment; try again in a moment";
            Error::new(Reason::StoreUnavailable, detail).retry_after(RETRY_AFTER)
        })?;
        Ok(Turn { place: Some(place), ..Turn::default() })
    }

    /// The memory for an answer of `bytes`. An answer that is larger than half of all memory counts as half of it, so
    /// that there can be two of them at least. Errors: `StoreUnavailable` if there is no memory.
    pub(super) async fn room(&self, bytes: u64, turn: Turn) -> Result<AnswerRoom> {
        let Turn { place, reserved, without_memory: _without_memory } = turn;
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let needed = pieces(bytes).min(ANSWERS_BYTES / PIECE_BYTES / 2);
        let reserved = match reserved {
            _ if needed == 0 => None,
            Some(mut reserved) if reserved.num_permits() >= needed => {
                drop(reserved.split(reserved.num_permits() - needed));
                Some(reserved)
            }
            Some(reserved) => {
                // It is given back first. Otherwise large answers would wait for the memory of each other.
                drop(reserved);
                Some(acquire(&self.free, needed).await.ok_or_else(used_up)?)
            }
            None => {
                let permits = u32::try_from(needed).unwrap_or(u32::MAX);
                Some(Arc::clone(&self.free).try_acquire_many_owned(permits).map_err(|_| used_up())?)
            }
        };
        Ok(AnswerRoom { _place: place, reserved })
    }
}

/// Waits for permits; none if it takes too long.
async fn acquire(semaphore: &Arc<Semaphore>, permits: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    timeout(WAIT_TIME, Arc::clone(semaphore).acquire_many_owned(permits)).await.ok()?.ok()
}

fn used_up() -> Error {
    Error::new(
        Reason::StoreUnavailable,
        "the memory for answers is used up by clients that do not take theirs; try again in a moment",
    )
    .retry_after(RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Uses up all memory.
    async fn halves(answers: &Answers) -> [AnswerRoom; 2] {
        let half = async || answers.room(u64::MAX, Turn::default()).await.expect("half of the memory");
        [half().await, half().await]
    }

    #[tokio::test]
    async fn large_answers_use_up_the_memory_but_small_ones_have_room() {
        let answers = Answers::default();
        let mut kept = Vec::new();
        for _ in 0..100 {
            kept.extend(answers.room(1024 * 1024, Turn::default()).await.ok());
        }
        assert_eq!(kept.len(), 65, "64 MiB, and 16 KiB of each that do not count");
        let refused = answers.room(1024 * 1024, Turn::default()).await.expect_err("used up");
        assert_eq!(refused.reason(), Reason::StoreUnavailable);
        assert_eq!(refused.retry_delay(), Some(RETRY_AFTER));
        let small = answers.room(16 * 1024, Turn::default()).await.expect("room");
        assert!(!small.is_reserved() && kept.iter().all(AnswerRoom::is_reserved));
        kept.pop();
        assert!(answers.room(1024 * 1024, Turn::default()).await.is_ok(), "free again");
    }

    #[tokio::test]
    async fn a_request_waits_for_memory_and_releases_the_surplus() {
        let answers = Answers::default();
        let [first, _second] = halves(&answers).await;
        let mut waiting = Box::pin(answers.turn(None));
        assert!((&mut waiting).now_or_never().is_none(), "all memory is used");
        drop(first);
        let turn = waiting.await.expect("a turn");
        assert!(answers.room(u64::MAX, Turn::default()).await.is_err(), "a part of it is reserved");
        let small = answers.room(1, turn).await.expect("room");
        assert!(answers.room(u64::MAX, Turn::default()).await.is_ok(), "nothing is reserved");
        drop(small);
    }

    #[tokio::test]
    async fn an_answer_that_is_larger_than_all_memory_has_room() {
        let answers = Answers::default();
        let turn = answers.turn(None).await.expect("a turn");
        assert!(answers.room(ANSWERS_BYTES as u64 * 3, turn).await.expect("room").is_reserved());
    }

    #[tokio::test]
    async fn a_call_without_a_token_counts_against_the_limit_until_its_answer_is_read() {
        let answers = Answers::default();
        let mut untaken = Vec::new();
        for _ in 0..OPEN_TURNS {
            let turn = answers.open_turn().expect("a turn");
            untaken.push(answers.room(1, turn).await.expect("room"));
        }
        let refused = answers.open_turn().expect_err("all have a turn");
        assert_eq!((refused.reason(), refused.retry_delay()), (Reason::StoreUnavailable, Some(RETRY_AFTER)));
        assert!(answers.turn(None).await.is_ok(), "other answers have turns of their own");
        untaken.pop();
        assert!(answers.open_turn().is_ok());
    }
}
