//! A webhook with all that belongs to it, as it goes from one store into another.

use jiff::Timestamp;

use crate::domain::attempt::Outcome;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;

/// A webhook, its job and its history.
#[derive(Debug)]
pub(in crate::store) struct StoredWebhook {
    /// Where it is in the order of acceptance.
    pub(in crate::store) sequence: i64,
    pub(in crate::store) id: WebhookId,
    pub(in crate::store) source: String,
    pub(in crate::store) idempotency_key: String,
    pub(in crate::store) event_type: String,
    /// None once its retention is over.
    pub(in crate::store) payload: Option<String>,
    pub(in crate::store) payload_digest: Vec<u8>,
    pub(in crate::store) traceparent: String,
    pub(in crate::store) accepted_at: Timestamp,
    pub(in crate::store) job: StoredJob,
    /// Oldest first.
    pub(in crate::store) attempts: Vec<StoredAttempt>,
}

/// What became of a webhook.
#[derive(Debug)]
pub(in crate::store) struct StoredJob {
    pub(in crate::store) status: Status,
    pub(in crate::store) attempts: u32,
    pub(in crate::store) attempts_before: u32,
    pub(in crate::store) max_attempts: u32,
    pub(in crate::store) available_at: Timestamp,
    pub(in crate::store) updated_at: Timestamp,
    pub(in crate::store) completed_at: Option<Timestamp>,
    pub(in crate::store) revision: i64,
    pub(in crate::store) lease_token: i64,
    pub(in crate::store) purged: bool,
}

/// An attempt that has ended.
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
    /// About how much room it takes, its attempts left out.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, String::len)
            + self.idempotency_key.len()
            + self.event_type.len()
            + self.traceparent.len()
    }

    /// The attempts, and apart from them the one that ended the job, if one did.
    pub(in crate::store) fn history(&self) -> (&[StoredAttempt], Option<&StoredAttempt>) {
        let ended_by_attempt = matches!(self.job.status, Status::Completed | Status::DeadLettered);
        match self.attempts.split_last() {
            Some((last, before))
                if ended_by_attempt
                    && last.number == self.job.attempts
                    && Some(last.finished_at) == self.job.completed_at =>
            {
                (before, Some(last))
            }
            _ => (&self.attempts, None),
        }
    }
}

impl StoredAttempt {
    /// About how much room it takes.
    pub(in crate::store) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        length(&self.error) + length(&self.result) + self.worker.len()
    }
}
