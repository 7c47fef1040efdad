//! Limits the memory and the time for what is arriving: bodies of REST, messages of gRPC.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::domain::error::{Error, Reason, Result};

/// The memory for everything that is arriving or is being stored, in bytes. Twice the largest allowed body if that
/// is more.
const BODIES_BYTES: usize = 128 * 1024 * 1024;

/// The first bytes of each body, which always have room, so that large bodies do not shut out small ones.
const FREE_BYTES: usize = 16 * 1024;

/// The unit in which memory is reserved, in bytes.
pub(super) const PIECE_BYTES: usize = 1024;

/// How many large bodies are read at the same time. Everything else that is ready waits behind all of them.
pub(super) const TURNS: usize = 4;

/// After which time a sender should try again when the memory is used up.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a body may take, whatever its length.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How long a body may take before its rate counts.
const BEGIN_TIME: Duration = Duration::from_secs(5);

/// The slowest rate at which a body may go on to arrive.
const LEAST_BYTES_PER_SECOND: usize = 16 * 1024;

/// The memory for what is arriving or is being stored, over all connections.
#[derive(Clone, Debug)]
pub struct Bodies {
    free: Arc<Semaphore>,
    /// One for each large body that is read at the same time.
    pub(super) turns: Arc<Semaphore>,
    /// All pieces, free or not.
    pieces: usize,
}

/// Memory that is free again when this is dropped.
#[derive(Debug)]
pub struct Room {
    _reserved: OwnedSemaphorePermit,
}

impl Bodies {
    /// Memory for bodies of at most `max_body_bytes` each.
    pub fn new(max_body_bytes: usize) -> Self {
        let pieces = BODIES_BYTES.max(2 * max_body_bytes) / PIECE_BYTES;
        Self { free: Arc::new(Semaphore::new(pieces)), turns: Arc::new(Semaphore::new(TURNS)), pieces }
    }

    /// A body that begins to arrive now.
    pub fn arrival(&self) -> Arrival {
        Arrival { free: Arc::clone(&self.free), reserved: None, began: Instant::now(), bytes: 0 }
    }

    /// Waits for the memory of a message of `bytes` that has arrived and is now being stored. Only for a stream that is
    /// not read further meanwhile: the message itself is in memory.
    pub async fn room(&self, bytes: usize) -> Room {
        #[expect(clippy::expect_used, reason = "the semaphore is never closed")]
        let reserved = Arc::clone(&self.free).acquire_many_owned(self.wanted(bytes)).await.expect("is open");
        Room { _reserved: reserved }
    }

    /// The memory of a message of `bytes` that has arrived and is now being stored. Errors: `BacklogFull` if the memory is
    /// used up.
    pub fn try_room(&self, bytes: usize) -> Result<Room> {
        Ok(Room { _reserved: reserve(&self.free, self.wanted(bytes))? })
    }

    /// The pieces for a message: not more than there are, so that it has room once there is nothing else.
    fn wanted(&self, bytes: usize) -> u32 {
        u32::try_from(pieces(bytes).min(self.pieces)).unwrap_or(u32::MAX)
    }
}

/// Reserves memory at once. Errors: `BacklogFull` if it is used up.
fn reserve(free: &Arc<Semaphore>, pieces: u32) -> Result<OwnedSemaphorePermit> {
    Arc::clone(free).try_acquire_many_owned(pieces).map_err(|_| {
        let detail = "the memory for request bodies is used up; nothing was stored, try again in a moment";
        Error::new(Reason::BacklogFull, detail).retry_after(RETRY_AFTER)
    })
}

/// A body, so far as it has arrived. Its memory is free again when this is dropped.
#[derive(Debug)]
pub struct Arrival {
    free: Arc<Semaphore>,
    reserved: Option<OwnedSemaphorePermit>,
    began: Instant,
    bytes: usize,
}

impl Arrival {
    /// How many bytes have arrived.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the next bytes have to be here.
    pub fn due(&self) -> Instant {
        let seconds = (self.bytes / LEAST_BYTES_PER_SECOND) as u64;
        self.began + (BEGIN_TIME + Duration::from_secs(seconds)).min(BODY_TIME)
    }

    /// Notes that more bytes are here. Errors: `BacklogFull` if the memory is used up.
    pub fn add(&mut self, bytes: usize) -> Result<()> {
        let more = pieces(self.bytes + bytes) - pieces(self.bytes);
        self.bytes += bytes;
        if more == 0 {
            return Ok(());
        }
        let more = reserve(&self.free, u32::try_from(more).unwrap_or(u32::MAX))?;
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            None => self.reserved = Some(more),
        }
        Ok(())
    }

    /// Frees the memory, and begins with the next body of the same stream.
    pub fn restart(&mut self) {
        (self.reserved, self.began, self.bytes) = (None, Instant::now(), 0);
    }
}

/// The memory for a body or an answer of `bytes`.
pub(super) fn pieces(bytes: usize) -> usize {
    bytes.saturating_sub(FREE_BYTES).div_ceil(PIECE_BYTES)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn large_bodies_use_up_the_memory_but_small_ones_have_room() {
        let largest = 200 * 1024 * 1024;
        let bodies = Bodies::new(largest);
        let (mut first, mut second, mut third) = (bodies.arrival(), bodies.arrival(), bodies.arrival());
        for bytes in [1, FREE_BYTES, largest / 2, largest / 2 - FREE_BYTES] {
            first.add(bytes).expect("room");
            second.add(bytes).expect("room");
        }
        third.add(FREE_BYTES).expect("a small one");
        assert_eq!(third.add(FREE_BYTES * 4).expect_err("no room").reason(), Reason::BacklogFull);
        first.restart();
        third.add(largest / 2).expect("room");
    }

    #[tokio::test]
    async fn a_message_waits_for_memory_but_not_for_more_than_there_is() {
        let largest = 200 * 1024 * 1024;
        let bodies = Bodies::new(largest);
        let all = bodies.room(largest * 3).await;
        assert!(bodies.room(FREE_BYTES).now_or_never().is_some(), "a small one");
        assert!(bodies.room(FREE_BYTES * 2).now_or_never().is_none());
        drop(all);
        assert!(bodies.room(FREE_BYTES * 2).now_or_never().is_some());
    }

    #[test]
    fn a_message_that_does_not_wait_is_refused_while_the_memory_is_used_up() {
        let largest = 200 * 1024 * 1024;
        let bodies = Bodies::new(largest);
        let all = bodies.try_room(largest * 3).expect("not more than there is");
        bodies.try_room(FREE_BYTES).expect("a small one");
        let refusal = bodies.try_room(FREE_BYTES * 2).expect_err("no room");
        assert_eq!((refusal.reason(), refusal.retry_delay()), (Reason::BacklogFull, Some(RETRY_AFTER)));
        drop(all);
        bodies.try_room(FREE_BYTES * 2).expect("free again");
    }

    #[tokio::test]
    async fn a_body_has_to_go_on_at_a_least_rate() {
        let mut arrival = Bodies::new(1).arrival();
        let due = |arrival: &Arrival| arrival.due() - arrival.began;
        assert_eq!(due(&arrival), BEGIN_TIME);
        arrival.add(LEAST_BYTES_PER_SECOND * 3).expect("room");
        assert_eq!(due(&arrival), BEGIN_TIME + Duration::from_secs(3));
        arrival.add(LEAST_BYTES_PER_SECOND * 100).expect("room");
        assert_eq!(due(&arrival), BODY_TIME);
    }
}
