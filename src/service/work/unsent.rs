//! Jobs that are leased for a worker and that it was not sent yet. They are given back if it does not get them: it has
//! gone, or there is no memory for the answer.

use std::sync::Arc;

use super::PulledJob;
use crate::domain::attempt::Lease;
use crate::service::Service;
use crate::store::JobQueue;
use crate::telemetry::repeated::Repeated;

static GIVING_BACK: Repeated =
    Repeated::new("jobs that were leased for workers that did not get them are given back again");

/// The leases of the jobs in an answer that is not sent yet. An extension of the answer.
#[derive(Clone, Debug)]
pub struct Unsent {
    store: Arc<dyn JobQueue>,
    worker: Arc<str>,
    leases: Vec<Lease>,
}

impl Unsent {
    /// The jobs of these leases of `worker`.
    pub(super) fn new(store: Arc<dyn JobQueue>, worker: Arc<str>, leases: Vec<Lease>) -> Self {
        Self { store, worker, leases }
    }

    /// Gives the jobs back, because the worker does not get them. They may start at once, and not only when their leases
    /// expire.
    pub async fn give_back(self) {
        let Self { store, worker, leases } = self;
        if leases.is_empty() {
            return;
        }
        match store.give_back(&worker, leases).await {
            Ok(()) => GIVING_BACK.works(),
            Err(error) => GIVING_BACK.failed(|times| {
                tracing::warn!(times, error = %error, "jobs that were leased for a worker that did not get them could not be given back; they are taken over when their leases expire");
            }),
        }
    }
}

impl Service {
    /// The jobs that were leased for `worker`, to be given back if the worker cannot be answered.
    pub fn unsent(&self, worker: &str, jobs: &[PulledJob]) -> Unsent {
        let leases = jobs.iter().map(|job| job.job.lease).collect();
        Unsent::new(Arc::clone(&self.store) as _, worker.into(), leases)
    }
}
