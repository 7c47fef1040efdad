//! A webhook with all its rows, as a transfer moves it from one store to the other.

use jiff::Timestamp;

use crate::domain::attempt::Outcome;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;

/// A webhook, its jobs and their history.
#[derive(Debug)]
pub(in crate::store) struct StoredWebhook {
    /// The webhook's position in the order of acceptance: the key of its row in the SQLite file.
    pub(in crate::store) sequence: i64,
    pub(in crate::store) id: WebhookId,
    pub(in crate::store) source: String,
    pub(in crate::store) idempotency_key: String,
    pub(in crate::store) event_type: String,
    /// `None` once retention has removed the payload.
    pub(in crate::store) payload: Option<String>,
    pub(in crate::store) payload_digest: Vec<u8>,
    pub(in crate::store) traceparent: String,
    pub(in crate::store) accepted_at: Timestamp,
    /// One job for each route that matched; one job without a route if none matched.
    pub(in crate::store) jobs: Vec<StoredJob>,
}

/// A job and its history.
#[derive(Debug)]
pub(in crate::store) struct StoredJob {
    /// The name of the route; empty if the webhook was filtered.
    pub(in crate::store) route: String,
    pub(in crate::store) status: Status,
    pub(in crate::store) run: u32,
    pub(in crate::store) attempts: u32,
    pub(in crate::store) uncounted_attempts: u32,
    pub(in crate::store) available_at: Timestamp,
    pub(in crate::store) updated_at: Timestamp,
    pub(in crate::store) completed_at: Option<Timestamp>,
    pub(in crate::store) revision: i64,
    pub(in crate::store) lease_token: i64,
    /// The order value, if the job is ordered.
    pub(in crate::store) order: Option<String>,
    /// Whether the job is a dead letter that blocks its lane.
    pub(in crate::store) blocks: bool,
    /// 0: not marked; 1: past the retention of its payload; 2: past the retention of its key.
    pub(in crate::store) purged: i64,
    /// The ended attempts, oldest first.
    pub(in crate::store) history: Vec<StoredAttempt>,
}

/// An ended attempt.
#[derive(Debug)]
pub(in crate::store) struct StoredAttempt {
    pub(in crate::store) number: u32,
    pub(in crate::store) outcome: Outcome,
    pub(in crate::store) started_at: Timestamp,
    pub(in crate::store) finished_at: Timestamp,
    pub(in crate::store) error: Option<String>,
    pub(in crate::store) result: Option<String>,
    pub(in crate::store) worker: String,
}

impl StoredWebhook {
    /// The approximate size in bytes, without the attempts.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, String::len)
            + self.idempotency_key.len()
            + self.event_type.len()
            + self.traceparent.len()
    }
}

impl StoredJob {
    /// Splits the history into the attempts that did not end the job, and the attempt that did. The latter is
    /// `None` if the job is unfinished, or if no attempt ended it.
    pub(in crate::store) fn split_history(&self) -> (&[StoredAttempt], Option<&StoredAttempt>) {
        let ended_by_attempt = matches!(self.status, Status::Completed | Status::DeadLettered);
        match self.history.split_last() {
            Some((last, before))
                if ended_by_attempt
                    && last.number == self.attempts
                    && Some(last.finished_at) == self.completed_at =>
            {
                (before, Some(last))
            }
            _ => (&self.history, None),
        }
    }
}

impl StoredAttempt {
    /// The approximate size in bytes.
    pub(in crate::store) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        length(&self.error) + length(&self.result) + self.worker.len()
    }
}
