//! Limits the memory for request bodies: if it is used up, a request is refused before its body is read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::error::{Error, Reason, Result};

/// The memory for all bodies together, in bytes. Twice the largest allowed body if that is more.
const BODIES_BYTES: usize = 256 * 1024 * 1024;

/// The unit in which memory is reserved, in bytes.
const PIECE_BYTES: usize = 1024;

/// After which time a sender should try again when the memory is used up.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The memory for the bodies of requests in progress.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Semaphore>);

/// Memory reserved for one body; released when dropped.
pub(super) type Room = OwnedSemaphorePermit;

impl Bodies {
    /// Memory for bodies of at most `max_body_bytes` each.
    pub fn new(max_body_bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(BODIES_BYTES.max(2 * max_body_bytes) / PIECE_BYTES)))
    }

    /// Reserves memory for a body: its declared length, or `max_body_bytes` if it declares none.
    /// Errors: `BacklogFull` if the memory is used up.
    pub(super) fn room_for(&self, body: &Body, max_body_bytes: usize) -> Result<Room> {
        let said = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = said.unwrap_or(max_body_bytes).min(max_body_bytes);
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(pieces).map_err(|_| {
            Error::new(
                Reason::BacklogFull,
                "the memory for request bodies is used up; nothing was stored, try again in a moment",
            )
            .retry_after(RETRY_AFTER)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_refused_when_there_is_no_room_and_taken_when_there_is_again() {
        let largest = 100 * 1024 * 1024;
        let bodies = Bodies::new(largest);
        let unknown_length =
            || Body::from_stream(futures::stream::pending::<std::io::Result<bytes::Bytes>>());
        let first = bodies.room_for(&unknown_length(), largest).expect("room");
        let second = bodies.room_for(&unknown_length(), largest).expect("room");
        let refused = bodies.room_for(&unknown_length(), largest).expect_err("no room");
        assert_eq!(refused.reason(), Reason::BacklogFull);
        assert!(bodies.room_for(&Body::from("a small one"), largest).is_ok());
        drop((first, second));
        assert!(bodies.room_for(&unknown_length(), largest).is_ok());
    }
}
