//! How far the requests of a connection have arrived.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Connection;

/// How many requests have not arrived, and how many requests and messages have. One number has both, so that each change
/// shows, and costs a request no more than the first count alone.
#[derive(Debug, Default)]
pub(super) struct Progress {
    counts: AtomicU64,
    /// The client speaks HTTP/1.
    is_http1: AtomicBool,
}

impl Progress {
    const ARRIVING: u64 = 1;
    /// Counted in the upper half, which may overflow.
    const ARRIVED: u64 = 1 << 32;

    /// Notes that a request has begun to arrive.
    pub(super) fn begin(&self) {
        self.counts.fetch_add(Self::ARRIVING, Ordering::Relaxed);
    }

    /// Notes that a request has arrived, or that the rest of it is not needed.
    pub(super) fn end(&self) {
        self.counts.fetch_add(Self::ARRIVED - Self::ARRIVING, Ordering::Relaxed);
    }

    /// Notes that a message has arrived, of a request that goes on.
    pub(super) fn message(&self) {
        self.counts.fetch_add(Self::ARRIVED, Ordering::Relaxed);
    }
}

impl Connection {
    /// Notes that the client speaks HTTP/1, which sends nothing between requests.
    pub fn speaks_http1(&self) {
        self.activity.progress.is_http1.store(true, Ordering::Relaxed);
    }

    /// A number that changes whenever a request begins to arrive, and whenever one, or a message of one, has arrived. Parts
    /// do not change it.
    pub fn progress(&self) -> u64 {
        self.activity.progress.counts.load(Ordering::Relaxed)
    }

    /// Whether a request has not arrived.
    pub(super) fn is_arriving(&self) -> bool {
        !self.progress().is_multiple_of(Progress::ARRIVED)
    }

    /// Whether what the client sends now is a part of a request, or comes before the first one. Over HTTP/2 it may be
    /// neither.
    pub(super) fn is_sending(&self) -> bool {
        !self.has_asked() || self.is_arriving() || self.activity.progress.is_http1.load(Ordering::Relaxed)
    }

    /// Notes that the client has sent something: with a request that is arriving, the connection is not quiet.
    pub(super) fn goes_on(&self) {
        if self.is_arriving() {
            self.note();
        }
    }
}
