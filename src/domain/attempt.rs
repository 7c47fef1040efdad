//! Attempts: one run of the handler each, and the lease it runs under.

use jiff::Timestamp;

use super::id::WebhookId;

/// A claim on a job. Whoever wants to finish or renew has to present it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job's webhook.
    pub webhook: WebhookId,
    /// Counts the claims of the job; never reset.
    pub token: u64,
}

/// How an attempt ended. The numbers are those of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The handler did its work.
    Completed = 0,
    /// The handler failed or panicked.
    Failed = 1,
    /// The process died, lost the lease, or was stopped.
    Interrupted = 2,
}

impl Outcome {
    /// Every outcome, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Interrupted];

    /// The lower-case word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// The outcome with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// An attempt that has ended: one line of a webhook's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// 1 for the first.
    pub number: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// When the handler was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why it failed.
    pub error: Option<String>,
    /// The process that ran it.
    pub worker: String,
}
