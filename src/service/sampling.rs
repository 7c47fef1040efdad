//! Makes the points of the history that the page shows.

use super::Service;
use crate::telemetry::history::{INTERVAL, Looked};

impl Service {
    /// Adds a point to the history every 15 seconds, until it is dropped.
    pub async fn keep_history(self) {
        loop {
            self.clock.sleep(INTERVAL).await;
            // While the store is away, nothing is known of the backlog.
            let stats = self.stats().await;
            let sources = self.sources();
            let unverified =
                sources.keys().map(|source| (source.to_string(), self.activity().seen(source).unverified));
            let looked = Looked {
                backlog: stats.ok().map(|stats| stats.counts.unfinished()),
                unverified: unverified.collect(),
            };
            self.metrics.history().sample(self.clock.monotonic(), self.clock.now(), &looked);
        }
    }
}
