//! Records how attempts of workers ended.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use tracing::Instrument as _;

use super::FinishRequest;
use super::request::Ran;
use crate::domain::attempt::{Lease, RunResult, conclude};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::handler::HandlerSettings;
use crate::domain::job::Status;
use crate::domain::policy::Policy;
use crate::domain::retry::RetryPolicy;
use crate::domain::route::{OnDeadLetter, OnInterrupt, RouteName};
use crate::service::Service;
use crate::store::outcomes::{JobNames, log_failure, tell_end};
use crate::store::{Finish, LeasedJob};
use crate::telemetry::pulled::PulledAttempt;
use crate::telemetry::repeated::Repeated;

/// How many times outcomes are sent to the store again, and after which pause.
const SENT_AGAIN: usize = 3;
const SENT_AGAIN_AFTER: Duration = Duration::from_secs(1);

static REPORTS: Repeated = Repeated::new("workers report outcomes under their leases again");

/// The result of reporting an outcome.
#[derive(Clone, Debug)]
pub struct FinishedJob {
    /// The lease, as the worker gave it.
    pub lease: String,
    /// The status of the job if the outcome was recorded. None if it does not count: the lease was lost, or is not of
    /// this worker.
    pub status: Option<Status>,
}

/// An attempt that has ended, and its job for logs, counts and alerts.
struct Ended {
    finish: Finish,
    job: LeasedJob,
}

impl Service {
    /// Records the outcomes of attempts. An outcome whose lease was lost, or is not of this worker, does not count. The
    /// result is in the order of the request. Errors: `InvalidField`, and those of the store; then any of the outcomes
    /// may be recorded.
    pub async fn finish_jobs(&self, request: FinishRequest) -> Result<Vec<FinishedJob>> {
        let (worker, ran) = request.check()?;
        let service = self.clone();
        // In a task of its own: what is recorded is also counted, logged and alerted about if the caller goes away.
        let recording =
            tokio::spawn(async move { service.record_ends(&worker, ran).await }.in_current_span());
        recording.await.map_err(Error::internal)?
    }

    async fn record_ends(&self, worker: &str, ran: Vec<Ran>) -> Result<Vec<FinishedJob>> {
        let leases = ran.iter().map(|ran| ran.lease).collect::<Vec<_>>();
        let mut held = self.store.leased(worker, leases).await?;
        held.retain(|job| self.caller.sees_route(&job.route));
        let mut held: HashMap<Lease, LeasedJob> = held.into_iter().map(|job| (job.lease, job)).collect();
        let (mut texts, mut ended) = (Vec::with_capacity(ran.len()), Vec::with_capacity(held.len()));
        for Ran { text, lease, result } in ran {
            texts.push((text, lease));
            ended.extend(held.remove(&lease).map(|job| self.end(job, result)));
        }
        let unheld = texts.len() - ended.len();
        let mut recorded: HashMap<Lease, Status> = HashMap::new();
        if !ended.is_empty() {
            let are_recorded = self.send(worker, &ended).await?;
            for (ended, is_recorded) in ended.iter().zip(are_recorded) {
                self.tell(worker, ended, is_recorded);
                if is_recorded {
                    recorded.insert(ended.finish.lease, ended.finish.next);
                }
            }
        }
        (0..unheld).for_each(|_| self.metrics.lease_lost());
        match unheld {
            0 => REPORTS.works(),
            outcomes => REPORTS.failed(|times| {
                tracing::warn!(
                    times,
                    worker,
                    outcomes,
                    "a worker reported outcomes after it had lost their leases; they do not count"
                );
            }),
        }
        let finished = texts.into_iter();
        Ok(finished
            .map(|(text, lease)| FinishedJob { lease: text, status: recorded.get(&lease).copied() })
            .collect())
    }

    /// Sends outcomes to the store, and sends them again while the store is not available: they may be recorded although
    /// the response was lost. The store recognises that only if it gets the same outcomes again. A request that the worker
    /// repeats cannot do this, because the leases are not held any more.
    async fn send(&self, worker: &str, ended: &[Ended]) -> Result<Vec<bool>> {
        let finishes = || ended.iter().map(|ended| ended.finish.clone()).collect::<Vec<_>>();
        for _ in 0..SENT_AGAIN {
            match self.store.finish(worker, finishes()).await {
                Err(error) if error.reason() == Reason::StoreUnavailable => {
                    self.clock.sleep(SENT_AGAIN_AFTER).await;
                }
                answer => return answer,
            }
        }
        self.store.finish(worker, finishes()).await
    }

    /// Decides by the policy in force how a job goes on.
    fn end(&self, job: LeasedJob, result: RunResult) -> Ended {
        let policy = self.settings.policies().get().get(&job.route).cloned();
        let policy = policy.unwrap_or_else(|| of_gone_route(job.route.clone()).into());
        let now = self.clock.now();
        let concluded = {
            let mut random = self.work.random.lock().unwrap_or_else(PoisonError::into_inner);
            conclude(result, job.attempt_of_run, &policy, now, &mut *random)
        };
        let started_at = now.saturating_sub(job.held_for).unwrap_or(now);
        let (order, times) = (job.order.clone(), (started_at, now));
        let finish = Finish::concluded(job.lease, order, job.attempt, job.available_at, times, concluded);
        Ended { finish, job }
    }

    /// Counts, logs and traces an attempt whose outcome was sent to the store.
    fn tell(&self, worker: &str, ended: &Ended, is_recorded: bool) {
        let Ended { finish, job } = ended;
        let LeasedJob { route, source, event_type, traceparent, .. } = job;
        let names = JobNames { route, source, event_type, traceparent };
        tell_end(&self.metrics, self.clock.monotonic(), finish, &names, is_recorded);
        if !is_recorded {
            return;
        }
        let error = finish.error.as_deref();
        let handler = HandlerSettings::Pull;
        self.metrics.attempted(route.as_str(), handler.name(), finish.outcome.as_str(), job.held_for);
        if let Some(error) = error {
            let trace_id = Some(traceparent.trace_id());
            log_failure(trace_id, finish.lease, route, finish.attempt, finish.outcome, error);
        }
        PulledAttempt {
            traceparent,
            webhook: finish.lease.job.webhook,
            route: route.as_str(),
            source: source.as_str(),
            event_type: event_type.as_str(),
            number: finish.attempt,
            worker,
            available_at: job.available_at,
            started_at: finish.started_at,
            finished_at: finish.finished_at,
            status: finish.next,
            outcome: finish.outcome,
            error,
        }
        .record();
    }
}

/// The policy that decides about a job whose route has gone from the settings. No settings say whether the job may start
/// again, so a failure makes it a dead letter, and an operator decides.
fn of_gone_route(route: RouteName) -> Policy {
    Policy {
        route,
        handler: HandlerSettings::Pull,
        timeout: None,
        concurrency: None,
        rate: None,
        retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1),
        on_dead_letter: OnDeadLetter::Block,
        on_interrupt: OnInterrupt::DeadLetter,
    }
}
