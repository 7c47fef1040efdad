//! Ctrl-C, for commands that say something before they end.

use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, from when this was made on.
pub(in crate::cli) struct Interrupt(Signal);

impl Interrupt {
    /// From now on, Ctrl-C does not end the process. Needs the runtime.
    pub(in crate::cli) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::interrupt())?))
    }

    /// The result of a call; none if Ctrl-C comes first.
    pub(in crate::cli) async fn race<T>(&mut self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = call => Some(done),
            _ = self.0.recv() => None,
        }
    }
}
