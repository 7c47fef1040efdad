//! Attempts: one run of the handler each, the lease it runs under, and what follows from its end.

use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;

use super::clock::whole_milliseconds;
use super::job::{Event, JobId, Status, next_status};
use super::policy::Policy;

/// A claim on a job. Finishing or renewing presents it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
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

/// An attempt that has ended: one line of a job's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// 1 for the first of the job.
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

/// What a handler's run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// The handler did its work.
    Completed {
        /// What it returned, as JSON.
        result: String,
    },
    /// The handler failed; another attempt may help.
    Failed {
        /// Why.
        error: String,
        /// When to try again; none: as the policy says.
        retry_after: Option<Duration>,
    },
    /// The handler failed; no other attempt can help.
    FailedForGood {
        /// Why.
        error: String,
    },
    /// The attempt was stopped before it was done.
    Stopped,
}

/// What follows from the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// The job's next status.
    pub next: Status,
    /// When the job is due next; none if it is over, or due at once.
    pub due_at: Option<Timestamp>,
    /// Whether the attempt counts against the policy's attempts.
    pub counts: bool,
    /// Whether the job's order value stays blocked.
    pub blocks: bool,
}

/// Decides how a job goes on whose process died or lost its lease. Without a policy, because the route is
/// gone, nobody knows whether the job may start again: it becomes a dead letter, to be retried by hand.
pub fn conclude_interrupted(attempt_of_run: u32, policy: Option<&Policy>) -> Conclusion {
    // A processing job allows it.
    let next = policy
        .and_then(|policy| next_status(Status::Processing, Event::Interrupt, policy.rules(attempt_of_run)))
        .unwrap_or(Status::DeadLettered);
    Conclusion {
        outcome: Outcome::Interrupted,
        error: Some("the process that ran it died or lost its lease".to_owned()),
        result: None,
        next,
        due_at: None,
        counts: true,
        blocks: policy.map_or(next == Status::DeadLettered, |policy| policy.blocks(next)),
    }
}

/// Decides by the policy in force how a job goes on after its attempt. `attempt_of_run` counts the
/// attempts since the job was accepted or retried by hand, without those that do not count.
pub fn conclude(
    ran: RunResult,
    attempt_of_run: u32,
    policy: &Policy,
    now: Timestamp,
    random: &mut impl Rng,
) -> Conclusion {
    let (event, outcome, error, result, retry_after) = match ran {
        RunResult::Completed { result } => (Event::Complete, Outcome::Completed, None, Some(result), None),
        RunResult::Failed { error, retry_after } => {
            (Event::Fail, Outcome::Failed, Some(error), None, retry_after)
        }
        RunResult::FailedForGood { error } => (Event::FailForGood, Outcome::Failed, Some(error), None, None),
        RunResult::Stopped => {
            let error = "the attempt was stopped before it was done".to_owned();
            (Event::Stop, Outcome::Interrupted, Some(error), None, None)
        }
    };
    // A processing job allows each of these events.
    let next =
        next_status(Status::Processing, event, policy.rules(attempt_of_run)).unwrap_or(Status::DeadLettered);
    let due_at = match next {
        Status::Pending => Some(now),
        Status::Retrying => {
            let delay = retry_after.unwrap_or_else(|| policy.retry.delay(attempt_of_run, random));
            Some(whole_milliseconds(now.saturating_add(delay).unwrap_or(now)))
        }
        _ => None,
    };
    Conclusion {
        outcome,
        error,
        result,
        next,
        due_at,
        counts: next != Status::Pending,
        blocks: policy.blocks(next),
    }
}
