//! Gauges of who runs jobs: the threads of the pool, workers elsewhere that wait for jobs, and whether the process is
//! ready.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How many worker threads there are, and how many have a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Threads that run handlers; 0 once no more jobs are claimed.
    pub total: u32,
    /// Threads that have a job.
    pub busy: u32,
}

/// The gauges.
#[derive(Debug, Default)]
pub(super) struct PoolGauges {
    ready: Gauge,
    workers: Gauge,
    workers_busy: Gauge,
    abandoned_threads: Gauge,
    pull_polls: Gauge,
}

impl PoolGauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("ready", "1 if `/readyz` answers 200, else 0", self.ready.clone());
        registry.register("workers", "Worker threads", self.workers.clone());
        registry.register("workers_busy", "Worker threads that have a job", self.workers_busy.clone());
        registry.register(
            "abandoned_threads",
            "Threads whose attempts were abandoned, because their handlers do not return",
            self.abandoned_threads.clone(),
        );
        registry.register(
            "pull_polls",
            "Requests of workers that wait for jobs of routes with the handler `pull`",
            self.pull_polls.clone(),
        );
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.set(ready.into());
    }

    pub(super) fn set_workers(&self, total: usize) {
        self.workers.set(total as i64);
    }

    pub(super) fn claimed(&self) {
        self.workers_busy.inc();
    }

    pub(super) fn released(&self, workers: usize) {
        self.workers_busy.dec_by(workers as i64);
    }

    pub(super) fn workers(&self) -> WorkerCounts {
        let count = |gauge: &Gauge| gauge.get().max(0) as u32;
        WorkerCounts { total: count(&self.workers), busy: count(&self.workers_busy) }
    }

    pub(super) fn abandoned(&self) {
        self.abandoned_threads.inc();
    }

    pub(super) fn abandoned_returned(&self) {
        self.abandoned_threads.dec();
    }

    pub(super) fn set_pull_polls(&self, polls: usize) {
        self.pull_polls.set(polls as i64);
    }
}
