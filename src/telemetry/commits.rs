//! Counts and measures the transactions of the store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::metrics::short_seconds;
use super::stopwatch::Stopwatch;

/// The transactions of the store.
#[derive(Debug)]
pub(super) struct Commits {
    seconds: Histogram,
    commands: Histogram,
    failures: Counter,
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            seconds: short_seconds(),
            commands: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            failures: Counter::default(),
        }
    }
}

impl Commits {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "commit_duration",
            "How long transactions of the store took, sync to disk included",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "commit_commands",
            "Commands (webhooks, outcomes and others) in one transaction",
            self.commands.clone(),
        );
        registry.register(
            "commit_failures",
            "Transactions that the store could not write",
            self.failures.clone(),
        );
    }

    pub(super) fn committed(&self, took: Stopwatch, commands: usize) {
        self.seconds.observe(took.seconds());
        self.commands.observe(commands as f64);
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }
}
