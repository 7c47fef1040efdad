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
use crate::telemetry::repeated::Repeated;
use crate::telemetry::tasks::restarted;

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
        let purging = Purging { store, clock, metrics, retention, actions, interval, stopped: stop.clone() };
        let task = tokio::spawn(restarted("purge", move || purging.clone().purge()));
        Self { stop, task }
    }

    /// Stops after the step under way.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

static PURGES: Repeated = Repeated::new("what is past its retention is removed again");

/// What the task needs.
#[derive(Clone)]
struct Purging {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    retention: Retention,
    /// How long actions of operators are kept.
    actions: Duration,
    interval: Duration,
    stopped: CancellationToken,
}

impl Purging {
    /// Purges until it is stopped.
    async fn purge(self) {
        while !self.stopped.is_cancelled() {
            let step = self.step().await;
            let next = self.clock.sleep(step.unwrap_or(self.interval));
            self.stopped.run_until_cancelled(next).await;
        }
    }

    /// Purges one step. Returns the pause before the next step; none if nothing is left to purge, or the store
    /// failed.
    async fn step(&self) -> Option<Duration> {
        let took = Stopwatch::start();
        let purging = async {
            let purged = self.store.purge(self.retention).await?;
            self.metrics.purged(purged.payloads, purged.webhooks);
            let actions = self.store.purge_actions(self.actions).await?;
            let has_removed = purged.payloads > 0 || purged.webhooks > 0 || actions > 0;
            Ok::<_, Error>((purged.more || actions > 0, has_removed))
        };
        match purging.await {
            Ok((more, has_removed)) => {
                if PURGES.is_failing() && self.could_remove(has_removed).await {
                    PURGES.works();
                }
                more.then(|| (took.elapsed() * PAUSE_FACTOR).max(SHORTEST_PAUSE))
            }
            Err(error) => {
                PURGES.failed(|times| {
                    tracing::warn!(times, error = %error, "what is past its retention could not be removed; trying again after the purge interval");
                });
                None
            }
        }
    }

    /// Whether a purge that succeeded shows that something can be removed. One that had nothing to remove writes nothing,
    /// so it succeeds on a full disk, too.
    async fn could_remove(&self, has_removed: bool) -> bool {
        has_removed || self.store.probe().await.is_ok()
    }
}
