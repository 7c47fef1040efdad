//! Work for workers that run elsewhere, in any language: they lease jobs of routes whose handler is `pull`, extend the
//! leases, and report how the attempts ended.

mod extend;
mod finish;
mod hub;
mod lease_text;
mod polls;
mod request;
mod unsent;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::extend::ExtendedLease;
pub use self::finish::FinishedJob;
use self::hub::Hub;
use self::polls::Poll;
pub use self::request::{
    Completed, ExtendRequest, Failed, FinishRequest, JobOutcome, LeaseRequest, check_worker,
};
pub use self::unsent::Unsent;
use super::Service;
use super::shares::Shares;
use crate::domain::clock::Clock;
use crate::domain::delivery::delivery_id;
use crate::domain::error::{Error, Result};
use crate::store::{ClaimedJob, JobQueue};
use crate::telemetry::metrics::Metrics;

/// The largest request of a worker, in bytes: 100 results of 64 KiB, and room for the rest.
pub const MAX_WORK_BYTES: usize = 8 * 1024 * 1024;

/// The most polls that wait at once in this process, and those of one token.
const MAX_POLLS: usize = 1_000;
const MAX_POLLS_OF_ONE: usize = MAX_POLLS / 2;

/// A job that was leased to a worker.
#[derive(Clone, Debug)]
pub struct PulledJob {
    /// The lease as workers name it.
    pub lease: String,
    /// When the lease ends unless it is extended.
    pub lease_until: Timestamp,
    /// The key of outside effects: the same for every attempt of a run.
    pub delivery_id: String,
    /// The job, and its webhook.
    pub job: ClaimedJob,
}

impl PulledJob {
    fn new(job: ClaimedJob, lease: Duration) -> Self {
        Self {
            lease: lease_text::of(&job.lease),
            lease_until: job.claimed_at.saturating_add(lease).unwrap_or(Timestamp::MAX),
            delivery_id: delivery_id(job.lease.job.webhook, job.route.as_str(), job.run),
            job,
        }
    }
}

/// The jobs that were leased for a poll, to be given back if they are not sent.
type Leased = (Vec<PulledJob>, Unsent);

/// How many bytes the payloads of these jobs have together.
pub fn payload_bytes(jobs: &[PulledJob]) -> usize {
    jobs.iter().filter_map(|job| job.job.payload.as_ref()).map(Vec::len).sum()
}

/// What the use cases of workers share.
pub struct Work {
    /// To the hub, which claims jobs.
    polls: mpsc::Sender<Poll>,
    places: Shares,
    /// For random retry delays.
    random: Mutex<SmallRng>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Work {
    /// Starts to claim jobs for workers, in the caller's tokio runtime, until `stopping` is cancelled. Await the handle
    /// before the store is closed: a claim that is in progress ends first.
    pub fn start(
        store: Arc<dyn JobQueue>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        seed: u64,
        stopping: CancellationToken,
    ) -> (Arc<Self>, JoinHandle<()>) {
        let (polls, incoming) = mpsc::channel(MAX_POLLS);
        let hub = Hub::new(store, clock, Arc::clone(&metrics), incoming, stopping);
        let ended = tokio::spawn(async move { metrics.vital_tasks().run("hub", hub.run()).await });
        let places = Shares::new(MAX_POLLS, MAX_POLLS_OF_ONE, "requests of workers that wait for jobs");
        let random = Mutex::new(SmallRng::seed_from_u64(seed));
        (Arc::new(Self { polls, places, random }), ended)
    }

    /// How many polls wait.
    pub(super) fn waiting(&self) -> usize {
        self.places.taken()
    }
}

impl Service {
    /// Leases jobs to a worker. If none can start, waits for some; the result is empty if none could start in time, or
    /// the process stops. Of the workers that wait, the one that has waited longest gets jobs first.
    ///
    /// Jobs that are leased after the future was dropped are given back, and so are those of the result until the
    /// [`Unsent`] is [`sent`](Unsent::sent). Errors: `InvalidField`; `RouteNotFound` if a route is not in the settings;
    /// `RouteNotPulled` if its handler is not `pull`; `StoreUnavailable` also if too many workers wait; `ShuttingDown`.
    pub async fn lease_jobs(&self, request: LeaseRequest) -> Result<(Vec<PulledJob>, Unsent)> {
        let asked = request.check(&self.settings.routes().policies(), &self.caller)?;
        // Given back when the worker is answered or has gone.
        let _place = self.work.places.take(self.caller.token_name())?;
        let (answer, answered) = oneshot::channel();
        let poll = Poll {
            worker: asked.worker,
            routes: asked.routes,
            max_jobs: asked.max_jobs,
            lease: asked.lease,
            until: self.clock.monotonic().saturating_add(asked.wait),
            answer,
        };
        // Waits only if polls whose callers have gone are still in the channel.
        self.work.polls.send(poll).await.map_err(|_| Error::shutting_down())?;
        answered.await.unwrap_or_else(|_| Err(Error::shutting_down()))
    }
}
