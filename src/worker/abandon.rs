//! Abandons attempts whose handlers do not return. A thread cannot be ended from outside, so the pool gives it up: it
//! sends an outcome in place of the handler, and has another thread started in place of the one that is stuck.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::mpsc::UnboundedSender;
use tracing::Span;

use super::Shared;
use super::recorder::Ended;
use super::run::finish;
use super::started::{RETURN_TIME, Started};
use super::threads::Threads;
use crate::domain::attempt::RunResult;
use crate::domain::route::OnInterrupt;
use crate::telemetry::repeated::Repeated;

/// The parts that are needed to abandon attempts.
pub(super) struct Abandoner {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
    outcomes: UnboundedSender<Ended>,
    random: SmallRng,
}

static REFUSALS: Repeated = Repeated::new("no handler that does not return holds a worker any more");

impl Abandoner {
    pub(super) fn new(shared: Arc<Shared>, threads: Arc<Threads>, outcomes: UnboundedSender<Ended>) -> Self {
        // The threads have the seeds that follow.
        let random = SmallRng::seed_from_u64(shared.options.seed.wrapping_sub(1));
        Self { shared, threads, outcomes, random }
    }

    /// Abandons the attempts that are overdue now. Called every second.
    pub(super) fn look(&mut self) {
        let now = self.shared.clock.monotonic();
        let overdue = self.shared.slots.abandon(now);
        // Called also if none is abandoned, so that a thread that could not be started is started later.
        self.threads.start_if(self.shared.queue.abandon(overdue.abandoned.len()));
        for started in overdue.abandoned {
            tell(&started);
            self.shared.metrics.abandoned();
            let ran = self.result(&started, now);
            let finish = finish(&self.shared, &started, ran, &Span::none(), &mut self.random);
            // An error means that the recorder has panicked: the process stops, and the job is taken over.
            let _ = self.outcomes.send(Ended::Attempt { finish, started });
        }
        match overdue.refused {
            0 => REFUSALS.works(),
            attempts => REFUSALS.failed(|times| {
                tracing::error!(times, attempts, "handlers do not return, and no more of their threads can be abandoned; each of them holds a worker. Correct the handlers, then restart this process");
            }),
        }
    }

    /// The conclusion that is recorded in place of the result of the handler. After its timeout, the attempt has failed.
    /// As the handler still runs, it has failed for good if it must never start twice.
    fn result(&self, started: &Started, now: Duration) -> RunResult {
        let Some(timeout) = started.policy.timeout.filter(|_| started.is_over(now)) else {
            return RunResult::Stopped;
        };
        let error = format!(
            "the handler did not return within {RETURN_TIME:?} after its timeout of {timeout:?}; its thread is abandoned"
        );
        match started.policy_in(&self.shared.policies).on_interrupt {
            OnInterrupt::Retry => RunResult::Failed { error, retry_after: None },
            OnInterrupt::DeadLetter => RunResult::FailedForGood { error },
        }
    }
}

fn tell(started: &Started) {
    let Started { job, policy, .. } = started;
    tracing::error!(
        trace_id = job.traceparent.trace_id(),
        webhook_id = %job.lease.job.webhook,
        route = job.route.as_str(),
        handler = policy.handler.name(),
        attempt = job.attempt,
        "a handler did not return after it was told to stop; its thread is abandoned. Have the handler look whether it has to stop, or limit the time of what it waits for"
    );
}
