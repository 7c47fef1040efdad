//! The attempts under way: their leases, and how to stop them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::attempt::Lease;
use crate::domain::clock::Signal;

/// Attempts from their claim until their outcome is on disk.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<Lease, Arc<Signal>>>);

impl Running {
    /// A claimed job begins. The signal stops its handler.
    pub(super) fn begin(&self, lease: Lease) -> Arc<Signal> {
        let stop = Arc::new(Signal::default());
        self.lock().insert(lease, Arc::clone(&stop));
        stop
    }

    /// Its outcome is on disk, or can no longer be recorded.
    pub(super) fn end(&self, lease: &Lease) {
        self.lock().remove(lease);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn leases(&self) -> Vec<Lease> {
        self.lock().keys().copied().collect()
    }

    /// Stops the handler of an attempt, if it still runs.
    pub(super) fn stop(&self, lease: &Lease) {
        if let Some(stop) = self.lock().get(lease) {
            stop.raise();
        }
    }

    /// Stops all handlers; answers how many.
    pub(super) fn stop_all(&self) -> usize {
        let running = self.lock();
        running.values().for_each(|stop| stop.raise());
        running.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, Arc<Signal>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
