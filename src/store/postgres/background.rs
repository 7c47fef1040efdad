//! Starts the tasks that save the store time or work, but that it can do without for a while.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use super::target::Connector;
use crate::telemetry::tasks::restarted;

/// What these tasks need.
#[derive(Clone)]
pub(super) struct Background {
    pub(super) shared: Arc<Shared>,
    pub(super) connector: Arc<Connector>,
    /// Cancelled when the store closes. The tasks end then.
    pub(super) closing: CancellationToken,
}

impl Background {
    /// Starts a task in the caller's tokio runtime. After a panic, it starts again.
    pub(super) fn start<F>(
        &self,
        tasks: &TaskTracker,
        name: &'static str,
        mut task: impl FnMut(Self) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let needed = self.clone();
        tasks.spawn(restarted(name, move || task(needed.clone())));
    }
}
