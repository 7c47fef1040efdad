//! Claims jobs for the polls that wait, one claim at a time. A poll that waits holds no thread and no connection to the
//! database: it is an entry of [`Polls`] until the hub answers it.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::polls::{Poll, Polls};
use super::{Leased, PulledJob, Unsent};
use crate::domain::clock::Clock;
use crate::domain::error::Error;
use crate::domain::route::RouteName;
use crate::store::{Claim, ClaimedJob, Claims, JobQueue, NOTHING_LEASED_PAUSE, Wanted};
use crate::telemetry::metrics::Metrics;

/// The most bytes of payloads in one answer, or one job: by default, clients of gRPC refuse messages of more than 4 MiB.
const ANSWER_BYTES: usize = 2 * 1024 * 1024;

/// See the module.
pub(super) struct Hub {
    shared: Arc<Shared>,
    /// Polls that have come.
    incoming: mpsc::Receiver<Poll>,
    /// Notified when jobs may have become able to start.
    due: Arc<Notify>,
    /// Cancelled when the process begins to stop.
    stopping: CancellationToken,
    polls: Polls,
    /// The earliest time of day at which a claim may find a job; none if it takes another event.
    due_at: Option<Timestamp>,
    /// The monotonic time after [`NOTHING_LEASED_PAUSE`].
    again_at: Option<Duration>,
}

/// What a claim needs.
struct Shared {
    store: Arc<dyn JobQueue>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// The result of a claim.
enum Claimed {
    /// Jobs of these routes were leased, and the poll is answered.
    Jobs { next: Option<Timestamp>, routes: BTreeSet<RouteName> },
    /// No job could start. `asked` is the time of day at which the claim began.
    Nothing { number: u64, poll: Poll, next: Option<Timestamp>, asked: Timestamp },
    /// The store failed. Jobs may be leased all the same; they are taken over when their leases expire.
    Failed { poll: Poll, error: Error },
}

impl Hub {
    pub(super) fn new(
        store: Arc<dyn JobQueue>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        incoming: mpsc::Receiver<Poll>,
        stopping: CancellationToken,
    ) -> Self {
        let due = Arc::new(Notify::new());
        store.on_due(Arc::clone(&due));
        let shared = Arc::new(Shared { store, clock, metrics });
        Self { shared, incoming, due, stopping, polls: Polls::default(), due_at: None, again_at: None }
    }

    /// Runs until the process stops. Then answers every poll without jobs; only a claim that is in progress is awaited.
    pub(super) async fn run(mut self) {
        let clock = Arc::clone(&self.shared.clock);
        let mut claiming: Option<BoxFuture<'static, Claimed>> = None;
        loop {
            if claiming.is_none()
                && let Some((number, poll)) = self.polls.next()
            {
                claiming = Some(claim(Arc::clone(&self.shared), number, poll).boxed());
            }
            let is_over = sleep_to(clock.as_ref(), self.polls.over_at());
            let may_be_due = self.may_be_due();
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                Some(poll) = self.incoming.recv() => self.polls.add(poll),
                claimed = result_of(&mut claiming) => {
                    claiming = None;
                    self.note(claimed);
                }
                () = self.due.notified() => self.look_again(),
                () = may_be_due => self.look_again(),
                () = is_over => {}
            }
            self.answer_over(clock.monotonic());
        }
        self.incoming.close();
        while let Ok(poll) = self.incoming.try_recv() {
            self.polls.add(poll);
        }
        without_jobs(self.polls.take_all());
        if let Some(claiming) = claiming {
            self.note(claiming.await);
            without_jobs(self.polls.take_all());
        }
    }

    /// Notes that jobs may have become able to start.
    fn look_again(&mut self) {
        (self.due_at, self.again_at) = (None, None);
        self.polls.wake();
    }

    fn note(&mut self, claimed: Claimed) {
        match claimed {
            Claimed::Jobs { next, routes } => match next {
                // More may start now: only polls that want these routes can get it.
                Some(next) if next <= self.shared.clock.now() => self.polls.wake_for(&routes),
                next => self.due_at_earliest(next),
            },
            Claimed::Nothing { number, poll, next, asked } => {
                self.polls.nothing_for(number, poll);
                if next.is_some_and(|next| next <= asked) {
                    self.again_at = Some(self.shared.clock.monotonic() + NOTHING_LEASED_PAUSE);
                } else {
                    self.due_at_earliest(next);
                }
            }
            Claimed::Failed { poll, error } => {
                // Further claims would fail as well, each after a time-out of the store.
                for other in self.polls.take_round() {
                    // It fails if the caller has gone; so do the other sends here.
                    let _ = other.answer.send(Err(error.clone()));
                }
                let _ = poll.answer.send(Err(error));
            }
        }
    }

    fn due_at_earliest(&mut self, next: Option<Timestamp>) {
        self.due_at = self.due_at.into_iter().chain(next).min();
    }

    fn answer_over(&mut self, now: Duration) {
        without_jobs(self.polls.take_over(now));
    }

    /// Ready when another claim may find a job without an event. Never if no poll waits.
    fn may_be_due(&self) -> BoxFuture<'static, ()> {
        let clock = self.shared.clock.as_ref();
        match (self.again_at, self.due_at) {
            _ if self.polls.is_empty() => pending().boxed(),
            (Some(again_at), _) => sleep_to(clock, Some(again_at)),
            (None, Some(due_at)) => clock.sleep_until(due_at),
            (None, None) => pending().boxed(),
        }
    }
}

/// Leases jobs for a poll, and answers the poll if there are some.
async fn claim(shared: Arc<Shared>, number: u64, poll: Poll) -> Claimed {
    let asked = shared.clock.now();
    let claim = Claim {
        worker: Arc::clone(&poll.worker),
        wanted: Wanted::Pulled(poll.routes.clone()),
        threads: poll.max_jobs,
        max_bytes: ANSWER_BYTES,
        lease: poll.lease,
        running: HashMap::new(),
    };
    match shared.store.claim(claim).await {
        Ok(Claims { jobs, next, .. }) if jobs.is_empty() => Claimed::Nothing { number, poll, next, asked },
        Ok(Claims { jobs, next, .. }) => {
            let routes = poll.routes.clone();
            hand_over(&shared, poll, jobs).await;
            Claimed::Jobs { next, routes }
        }
        Err(error) => Claimed::Failed { poll, error },
    }
}

/// Answers a poll with its jobs. If its caller has gone, gives the jobs back, so that they do not wait for the end of
/// their leases.
async fn hand_over(shared: &Shared, poll: Poll, jobs: Vec<ClaimedJob>) {
    let Poll { worker, lease, answer, .. } = poll;
    let leases = jobs.iter().map(|job| job.lease).collect::<Vec<_>>();
    let waited = |job: &ClaimedJob| (job.route.clone(), job.claimed_at.duration_since(job.available_at));
    let waited = jobs.iter().map(waited).collect::<Vec<_>>();
    let jobs = jobs.into_iter().map(|job| PulledJob::new(job, lease)).collect();
    let unsent = Unsent::new(Arc::clone(&shared.store), worker, leases);
    match answer.send(Ok((jobs, unsent))) {
        Ok(()) => {
            for (route, waited) in waited {
                shared.metrics.leased(route.as_str(), waited.try_into().unwrap_or_default());
            }
        }
        Err(refused) => {
            let (_, unsent) = refused.unwrap_or_default();
            unsent.give_back().await;
        }
    }
}

/// The result of a claim in progress. Never ready if there is none.
async fn result_of(claiming: &mut Option<BoxFuture<'static, Claimed>>) -> Claimed {
    match claiming {
        Some(claiming) => claiming.await,
        None => pending().await,
    }
}

/// Ready at a monotonic time; never without one.
fn sleep_to(clock: &dyn Clock, at: Option<Duration>) -> BoxFuture<'static, ()> {
    match at {
        Some(at) => clock.sleep(at.saturating_sub(clock.monotonic())),
        None => pending().boxed(),
    }
}

fn without_jobs(polls: Vec<Poll>) {
    for poll in polls {
        let _ = poll.answer.send(Ok(Leased::default()));
    }
}
