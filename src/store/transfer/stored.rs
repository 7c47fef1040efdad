//! A webhook with all its rows, as a transfer moves it from one store to the other.

use jiff::Timestamp;

use crate::domain::attempt::Outcome;
use crate::domain::id::WebhookId;
use crate::domain::job::{QueueId, Status};
use crate::domain::verdict::Verdict;
use crate::store::{Pause, Replay};

/// A queue, which has the same number in both stores: jobs of a webhook are in the order of these.
#[derive(Debug)]
pub(in crate::store) struct StoredQueue {
    pub(in crate::store) id: QueueId,
    pub(in crate::store) route: String,
    pub(in crate::store) source: String,
}

/// What keeps jobs of whole routes and sources from starting.
#[derive(Debug)]
pub(in crate::store) struct StoredLimits {
    pub(in crate::store) pauses: Vec<Pause>,
    pub(in crate::store) paces: Vec<StoredPace>,
}

/// When the rate of a route allows its next start.
#[derive(Debug)]
pub(in crate::store) struct StoredPace {
    pub(in crate::store) route: String,
    pub(in crate::store) next_at: Timestamp,
}

/// A replay, running or ended.
#[derive(Debug)]
pub(in crate::store) struct MovedReplay {
    pub(in crate::store) replay: Replay,
    /// The sequences of its first place, of its position and of its end.
    pub(in crate::store) places: [i64; 3],
}

/// A webhook, its jobs and their history.
#[derive(Debug)]
pub(in crate::store) struct StoredWebhook {
    /// The webhook's position in the order of acceptance: the key of its row in the SQLite file.
    pub(in crate::store) sequence: i64,
    pub(in crate::store) id: WebhookId,
    pub(in crate::store) source: String,
    pub(in crate::store) idempotency_key: String,
    pub(in crate::store) event_type: String,
    pub(in crate::store) content_type: String,
    pub(in crate::store) verdict: Verdict,
    /// Whether the webhook is quarantined, and so does not take its key.
    pub(in crate::store) quarantined: bool,
    /// The headers as both stores keep them. `None` if none are kept, or once retention has removed the payload.
    pub(in crate::store) headers: Option<String>,
    /// `None` once retention has removed the payload.
    pub(in crate::store) payload: Option<Vec<u8>>,
    pub(in crate::store) payload_digest: Vec<u8>,
    pub(in crate::store) traceparent: String,
    pub(in crate::store) accepted_at: Timestamp,
    /// One job for each route that matched; one job of queue 0 if none matched, or if the webhook is quarantined.
    pub(in crate::store) jobs: Vec<StoredJob>,
}

/// A job and its history.
#[derive(Debug)]
pub(in crate::store) struct StoredJob {
    pub(in crate::store) queue: QueueId,
    pub(in crate::store) status: Status,
    pub(in crate::store) run: u32,
    /// The number of the replay that began the run.
    pub(in crate::store) replay: Option<i64>,
    pub(in crate::store) attempts: u32,
    pub(in crate::store) uncounted_attempts: u32,
    pub(in crate::store) available_at: Timestamp,
    pub(in crate::store) updated_at: Timestamp,
    pub(in crate::store) completed_at: Option<Timestamp>,
    pub(in crate::store) revision: i64,
    pub(in crate::store) lease_token: i64,
    /// The worker that held the lease, if the job was leased.
    pub(in crate::store) worker: Option<String>,
    /// The order value, if the job is ordered.
    pub(in crate::store) order: Option<String>,
    /// The lane of the job; `None` if the job is not ordered, or is finished and does not block.
    pub(in crate::store) lane: Option<StoredLane>,
    /// Whether the job is a dead letter that blocks its lane.
    pub(in crate::store) blocks: bool,
    /// 0: not marked; 1: past the retention of its payload; 2: past the retention of its key.
    pub(in crate::store) purged: i64,
    /// The ended attempts, oldest first.
    pub(in crate::store) history: Vec<StoredAttempt>,
}

/// The jobs of a queue and an order value, which run one at a time.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct StoredLane {
    /// 0: its first job may start; 1: it is processing; 2: a dead letter blocks it. The same in both stores.
    pub(in crate::store) state: i64,
    /// In state 0: when its first job may start.
    pub(in crate::store) available_at: Timestamp,
}

/// An ended attempt.
#[derive(Debug)]
pub(in crate::store) struct StoredAttempt {
    pub(in crate::store) number: u32,
    /// The run of the job that it belongs to.
    pub(in crate::store) run: u32,
    pub(in crate::store) outcome: Outcome,
    pub(in crate::store) started_at: Timestamp,
    pub(in crate::store) finished_at: Timestamp,
    pub(in crate::store) error: Option<String>,
    pub(in crate::store) result: Option<String>,
    pub(in crate::store) worker: String,
    /// The delivery as both stores keep it.
    pub(in crate::store) delivery: Option<String>,
}

impl StoredWebhook {
    /// The approximate size in bytes, without the attempts.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Vec::len)
            + self.headers.as_ref().map_or(0, String::len)
            + self.content_type.len()
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
        length(&self.error) + length(&self.result) + length(&self.delivery) + self.worker.len()
    }
}
