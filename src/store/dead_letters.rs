//! Counts and logs the dead letters of a take-over, and raises alerts of them.

use crate::domain::alert::Alert;
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::telemetry::metrics::Metrics;

/// The message of the log line of a dead letter.
pub(crate) const DEAD_LETTERED: &str = "a job is dead-lettered; retry it by hand once the cause is gone";

/// The most dead letters of one take-over that have a log line each. If a process with many jobs dies, more lines
/// would say the same.
const LINES: usize = 20;

/// A job that a take-over made a dead letter.
#[derive(Debug)]
pub(super) struct DeadLetter {
    pub(super) webhook: WebhookId,
    pub(super) route: RouteName,
    pub(super) source: Source,
    /// How many attempts have started, over all runs.
    pub(super) attempts: u32,
    /// How the last attempt ended.
    pub(super) error: Option<String>,
    /// Why hookbox does not start the job again.
    pub(super) reason: &'static str,
}

/// The dead letters of one take-over, which may take several transactions.
#[derive(Debug)]
pub(super) struct DeadLetters<'a> {
    metrics: &'a Metrics,
    count: usize,
}

impl<'a> DeadLetters<'a> {
    pub(super) fn new(metrics: &'a Metrics) -> Self {
        Self { metrics, count: 0 }
    }

    /// Counts a dead letter, raises an alert of it, and logs it unless it is one of too many. For use after the
    /// commit.
    pub(super) fn add(&mut self, dead_letter: DeadLetter) {
        self.metrics.dead_lettered(dead_letter.route.as_str());
        self.metrics.alerts().raise(|| {
            let DeadLetter { webhook, route, source, attempts, error, .. } = &dead_letter;
            Alert::dead_lettered(route, *webhook, source, *attempts, error.as_deref())
        });
        self.count += 1;
        if self.count > LINES {
            return;
        }
        tracing::warn!(
            webhook_id = %dead_letter.webhook,
            route = dead_letter.route.as_str(),
            attempts = dead_letter.attempts,
            error = dead_letter.error.as_deref(),
            reason = dead_letter.reason,
            "{DEAD_LETTERED}"
        );
    }

    /// Logs how many more dead letters there were than lines. For use when the take-over has ended or failed.
    pub(super) fn log_others(self) {
        let others = self.count.saturating_sub(LINES);
        if others > 0 {
            tracing::warn!(
                jobs = others,
                "further jobs of this take-over are dead-lettered, without a line for each"
            );
        }
    }
}
