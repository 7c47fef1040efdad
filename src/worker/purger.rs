//! Removes what is past its retention, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::clock::Clock;
use crate::domain::retention::Retention;
use crate::store::Operations;
use crate::telemetry::metrics::{Metrics, Stopwatch};

/// The share of time that a purge may take of the writer: it pauses this many times as long as
/// its last step took, so that accepting hardly notices.
const PAUSE_FACTOR: u32 = 1;

/// The shortest pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// A purger at work.
#[derive(Debug)]
pub struct Purger {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Purger {
    /// Looks for something to remove every `interval`.
    pub fn start(
        store: Arc<dyn Operations>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        retention: Retention,
        interval: Duration,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            while !stopped.is_cancelled() {
                let step = purge_step(store.as_ref(), &metrics, retention).await;
                let (pause, now) = (step.unwrap_or(interval), clock.now());
                let next = clock.sleep_until(now.saturating_add(pause).unwrap_or(now));
                stopped.run_until_cancelled(next).await;
            }
        });
        Self { stop, task }
    }

    /// Stops after the step under way.
    pub async fn stop(self) {
        self.stop.cancel();
        // It panicked if this fails, and has stopped all the same.
        let _ = self.task.await;
    }
}

/// One step; answers the pause before the next, none if there is nothing more to do.
async fn purge_step(store: &dyn Operations, metrics: &Metrics, retention: Retention) -> Option<Duration> {
    let took = Stopwatch::start();
    match store.purge(retention).await {
        Ok(purged) => {
            metrics.purged(purged.payloads, purged.webhooks);
            purged.more.then(|| (took.elapsed() * PAUSE_FACTOR).max(SHORTEST_PAUSE))
        }
        Err(error) => {
            tracing::warn!(error = %error, "what is past its retention could not be removed; trying again at the next turn");
            None
        }
    }
}
