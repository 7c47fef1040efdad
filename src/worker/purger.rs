//! Removes what is past its retention, a little at a time.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::executor::block_on;

use crate::domain::clock::{Clock, Signal};
use crate::domain::retention::Retention;
use crate::store::Store;
use crate::telemetry::metrics::{Metrics, Stopwatch};

/// The share of time that a purge may take of the writer: it pauses this many times as long as
/// its last step took, so that accepting hardly notices.
const PAUSE_FACTOR: u32 = 1;

/// The shortest pause.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);

/// A purger at work.
#[derive(Debug)]
pub struct Purger {
    stop: Arc<Signal>,
    thread: JoinHandle<()>,
}

impl Purger {
    /// Looks for something to remove every `interval`.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        retention: Retention,
        interval: Duration,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(Signal::default());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("purger".into()).spawn(move || {
            while !stopped.is_raised() {
                let pause = match purge_step(store.as_ref(), &metrics, retention) {
                    Some(pause) => pause,
                    None => interval,
                };
                let now = clock.now();
                clock.wait(&stopped, Some(now.saturating_add(pause).unwrap_or(now)));
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Stops after the step under way.
    pub fn stop(self) {
        self.stop.raise();
        // It panicked if this fails, and has stopped all the same.
        let _ = self.thread.join();
    }
}

/// One step; answers the pause before the next, none if there is nothing more to do.
fn purge_step(store: &dyn Store, metrics: &Metrics, retention: Retention) -> Option<Duration> {
    let took = Stopwatch::start();
    match block_on(store.purge(retention)) {
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
