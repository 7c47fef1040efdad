//! Counts and logs the attempts that a take-over ends, and raises alerts of the dead letters among their jobs.

use std::sync::Arc;

use super::Finish;
use super::outcomes::log_failure;
use crate::domain::alert::Alert;
use crate::domain::attempt::dead_letter_reason;
use crate::domain::job::Status;
use crate::domain::policy::Policy;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::telemetry::metrics::Metrics;

/// The message of the log line of a dead letter.
pub(crate) const DEAD_LETTERED: &str = "a job is dead-lettered; retry it by hand once the cause is gone";

/// The most attempts, and the most dead letters, of one take-over that have a log line each. If a process with many jobs
/// dies, more lines would say the same.
const LINES: usize = 20;

/// The handler, in metrics, of an attempt whose route is not in the settings.
const UNKNOWN_HANDLER: &str = "unknown";

/// An attempt that a take-over ended.
#[derive(Debug)]
pub(super) struct Interrupted {
    pub(super) finish: Finish,
    pub(super) route: RouteName,
    pub(super) source: Source,
    /// The policy by which the job goes on; none if the route is not in the settings.
    pub(super) policy: Option<Arc<Policy>>,
}

/// The attempts that one take-over ends. It may take several transactions.
#[derive(Debug)]
pub(super) struct TakeOver<'a> {
    metrics: &'a Metrics,
    attempts: usize,
    dead_letters: usize,
}

impl<'a> TakeOver<'a> {
    pub(super) fn new(metrics: &'a Metrics) -> Self {
        Self { metrics, attempts: 0, dead_letters: 0 }
    }

    /// Counts an attempt, raises an alert if its job is a dead letter now, and logs both unless there are too many. For use
    /// after the commit.
    pub(super) fn add(&mut self, interrupted: &Interrupted) {
        let Interrupted { finish, route, policy, .. } = interrupted;
        let handler = policy.as_deref().map_or(UNKNOWN_HANDLER, |policy| policy.handler.name());
        self.metrics.interrupted(route.as_str(), handler);
        self.attempts += 1;
        if self.attempts <= LINES {
            let error = finish.error.as_deref().unwrap_or_default();
            log_failure(None, finish.lease, route, finish.attempt, finish.outcome, error);
        }
        if finish.next == Status::DeadLettered {
            self.add_dead_letter(interrupted);
        }
    }

    fn add_dead_letter(&mut self, interrupted: &Interrupted) {
        let Interrupted { finish, route, source, policy } = interrupted;
        let (webhook, error) = (finish.lease.job.webhook, finish.error.as_deref());
        self.metrics.dead_lettered(route.as_str());
        self.metrics.alerts().raise(|| Alert::dead_lettered(route, webhook, source, finish.attempt, error));
        self.dead_letters += 1;
        if self.dead_letters > LINES {
            return;
        }
        tracing::warn!(
            webhook_id = %webhook,
            route = route.as_str(),
            attempts = finish.attempt,
            error,
            reason = dead_letter_reason(policy.as_deref()),
            "{DEAD_LETTERED}"
        );
    }

    /// Logs how many more attempts and dead letters there were than lines. For use when the take-over has ended or failed.
    pub(super) fn log_others(self) {
        let attempts = self.attempts.saturating_sub(LINES);
        if attempts > 0 {
            tracing::info!(
                attempts,
                "further attempts of this take-over did not complete, without a line for each"
            );
        }
        let jobs = self.dead_letters.saturating_sub(LINES);
        if jobs > 0 {
            tracing::warn!(jobs, "further jobs of this take-over are dead-lettered, without a line for each");
        }
    }
}
