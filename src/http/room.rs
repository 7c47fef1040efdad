//! Memory for bodies: many large ones at once are refused before they are read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::error::{Error, Reason, Result};

/// Bytes of bodies at once; twice the largest body if that is more.
const BODIES_BYTES: usize = 256 * 1024 * 1024;

/// Room is given out in pieces of this many bytes.
const PIECE_BYTES: usize = 1024;

/// When a sender that met a lack of room should come again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The room for the bodies of requests under way.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Semaphore>);

/// Room for one body, until it is dropped.
pub(super) type Room = OwnedSemaphorePermit;

impl Bodies {
    /// Room for bodies of at most `max_body_bytes` each.
    pub fn new(max_body_bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(BODIES_BYTES.max(2 * max_body_bytes) / PIECE_BYTES)))
    }

    /// Room for a body: as much as it says it has, or as it may have at most.
    pub(super) fn room_for(&self, body: &Body, max_body_bytes: usize) -> Result<Room> {
        let said = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = said.unwrap_or(max_body_bytes).min(max_body_bytes);
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(pieces).map_err(|_| {
            Error::new(
                Reason::BacklogFull,
                "more bytes arrive at once than may wait to be stored; nothing was stored, try again in a moment",
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
