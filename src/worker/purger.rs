//! Removes payloads, webhooks and actions of operators that are past their retention, in small steps.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::error::Error;
use crate::domain::retention::Retention;
use crate::store::Store;
use crate::telemetry::metrics::{Metrics, Stopwatch};

/// After each step the purger pauses for the time of the step times this factor, so that accepting webhooks
/// stays fast.
const PAUSE_FACTOR: u32 = 1;

/// The shortest pause between two steps.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// A running purger.
#[derive(Debug)]
pub struct Purger {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Purger {
    /// Starts a task that purges every `interval`. Actions of operators are kept for `actions`.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        retention: Retention,
        actions: Duration,
        interval: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let step = purge_step(store.as_ref(), &metrics, retention, actions).await;
                let next = clock.sleep(step.unwrap_or(interval));
                stopped.run_until_cancelled(next).await;
            }
        });
        Self { stop, task }
    }

    /// Stops after the step under way.
    pub async fn stop(self) {
        self.stop.cancel();
        // An error means that the task panicked, and so has stopped as well.
        let _ = self.task.await;
    }
}

/// Purges one step. Returns the pause before the next step; none if nothing is left to purge, or the store
/// failed.
async fn purge_step(
    store: &dyn Store,
    metrics: &Metrics,
    retention: Retention,
    actions: Duration,
) -> Option<Duration> {
    let took = Stopwatch::start();
    let purging = async {
        let purged = store.purge(retention).await?;
        metrics.purged(purged.payloads, purged.webhooks);
        let actions = store.purge_actions(actions).await?;
        Ok::<_, Error>(purged.more || actions > 0)
    };
    match purging.await {
        Ok(more) => more.then(|| (took.elapsed() * PAUSE_FACTOR).max(SHORTEST_PAUSE)),
        Err(error) => {
            tracing::warn!(error = %error, "what is past its retention could not be removed; trying again after the purge interval");
            None
        }
    }
}
