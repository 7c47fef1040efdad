//! An attempt is one run of the handler for a job. Here are its lease, its outcome, and the decision how the
//! job goes on after it.

use std::time::Duration;

use jiff::Timestamp;
use rand::Rng;

use super::clock::whole_milliseconds;
use super::delivery::Delivery;
use super::job::{Event, JobId, Status, next_status};
use super::policy::Policy;
use super::route::OnInterrupt;

/// The longest delay that a handler can ask for. A longer one is cut to this, and refused if a worker that pulls jobs
/// asks for it.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest error text that is stored, in characters. Longer texts are cut off.
pub const MAX_ERROR_CHARS: usize = 2_000;

/// How many attempts of a job are shown unless others are asked for, the latest ones. As many as a run can have at most.
pub const SHOWN_ATTEMPTS: u32 = 1_000;

/// The largest result that is stored, in bytes of JSON.
pub const MAX_RESULT_BYTES: usize = 64 * 1024;

/// The longest time for which a worker that pulls jobs can lease one, or extend a lease.
pub const LONGEST_LEASE: Duration = Duration::from_secs(12 * 60 * 60);

/// A claim on a job. Finishing an attempt and renewing its lease present this token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// Grows with every claim of the job and is never reset.
    pub token: u64,
}

/// A lease that is held, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The name of the process that holds it, or of the worker that pulled the job.
    pub worker: String,
    /// When it ends unless it is extended.
    pub until: Timestamp,
}

/// How an attempt ended. The numbers are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The handler completed the job.
    Completed = 0,
    /// The handler failed, panicked or took longer than its timeout.
    Failed = 1,
    /// The process died or lost the lease, or the attempt was stopped at shutdown.
    Interrupted = 2,
}

impl Outcome {
    /// Every outcome, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Completed, Self::Failed, Self::Interrupted];

    /// The word in lower case, as the APIs and metrics use it.
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
    /// The number of the attempt, over all runs of the job; 1 for the first.
    pub number: u32,
    /// The number of the run that it belongs to; 1 for the first run of the job.
    pub run: u32,
    /// How the attempt ended.
    pub outcome: Outcome,
    /// When the attempt started.
    pub started_at: Timestamp,
    /// When the attempt ended.
    pub finished_at: Timestamp,
    /// Why the attempt failed or was interrupted; none if it completed.
    pub error: Option<String>,
    /// The name of the process that ran the attempt, or of the worker that pulled its job.
    pub worker: String,
    /// What the handler sent, and what was answered; none if it sent nothing, once its retention is over, and if
    /// [`SHOWN_DELIVERIES`](super::delivery::SHOWN_DELIVERIES) later attempts of the job are read with it.
    pub delivery: Option<Delivery>,
}

/// Which attempts of each job of a webhook are read: a bounded number, however many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptWindow {
    /// How many of the latest attempts that have started are left out.
    pub skip: u32,
    /// How many of those before them are read at most.
    pub limit: u32,
}

impl AttemptWindow {
    /// No attempts.
    pub const NONE: Self = Self { skip: 0, limit: 0 };

    /// The latest [`SHOWN_ATTEMPTS`].
    pub const LATEST: Self = Self { skip: 0, limit: SHOWN_ATTEMPTS };

    /// Whether the last attempt of a job is one of them.
    pub fn has_last(&self) -> bool {
        self.skip == 0 && self.limit > 0
    }
}

/// The result of running a handler once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunResult {
    /// The handler completed the job.
    Completed {
        /// What it returned, as JSON.
        result: String,
    },
    /// The handler failed; another attempt may help.
    Failed {
        /// Why it failed.
        error: String,
        /// The delay before the next attempt; none: the retry policy decides.
        retry_after: Option<Duration>,
    },
    /// The handler failed; no other attempt can help.
    FailedForGood {
        /// Why it failed.
        error: String,
    },
    /// The attempt was stopped before the handler was done.
    Stopped,
}

/// The text of an error; one that is longer than [`MAX_ERROR_CHARS`] is cut to as many, the last of them an ellipsis.
pub fn cut(error: String) -> String {
    let mut last = error.char_indices().skip(MAX_ERROR_CHARS - 1);
    match (last.next(), last.next()) {
        (Some((end, _)), Some(_)) => format!("{}…", &error[..end]),
        _ => error,
    }
}

/// How an attempt ended, and how its job goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// How the attempt ended.
    pub outcome: Outcome,
    /// Why the attempt failed or was interrupted.
    pub error: Option<String>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// The job's next status.
    pub next: Status,
    /// When the job is due next; none if it is finished.
    pub due_at: Option<Timestamp>,
    /// Whether the attempt counts against the policy's attempts.
    pub counts: bool,
    /// Whether the job, now a dead letter, blocks the jobs behind it that have the same order value.
    pub blocks: bool,
}

/// Decides how a job goes on after its process died or lost its lease. If its route is gone, there is no
/// policy that says whether the job may start again. The job then becomes a dead letter, and an operator
/// decides.
pub fn conclude_interrupted(attempt_of_run: u32, policy: Option<&Policy>, now: Timestamp) -> Conclusion {
    // A processing job always allows this event.
    let next = policy
        .and_then(|policy| next_status(Status::Processing, Event::Interrupt, policy.rules(attempt_of_run)))
        .unwrap_or(Status::DeadLettered);
    let error = match policy {
        Some(policy) if policy.is_pulled() => "the worker did not report an outcome before its lease expired",
        _ => "the process died or lost the lease during the attempt",
    };
    Conclusion {
        outcome: Outcome::Interrupted,
        error: Some(error.to_owned()),
        result: None,
        next,
        due_at: next.is_waiting().then_some(now),
        counts: Event::Interrupt.counts(),
        blocks: policy.map_or(next == Status::DeadLettered, |policy| policy.blocks(next)),
    }
}

/// Why [`conclude_interrupted`] made a job a dead letter by this policy, in words for people.
pub fn dead_letter_reason(policy: Option<&Policy>) -> &'static str {
    match policy.map(|policy| policy.on_interrupt) {
        None => "the route is not in the settings",
        Some(OnInterrupt::DeadLetter) => "on_interrupt of the route is dead_letter",
        Some(OnInterrupt::Retry) => "no attempts are left",
    }
}

/// Decides by the policy in force how a job goes on after an attempt. `attempt_of_run` is the number of the attempt
/// within its run, 1 for the first, without attempts that do not count. A run begins when the job is accepted, retried by
/// hand or replayed.
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
            let error = "the attempt was stopped before the handler was done".to_owned();
            (Event::Stop, Outcome::Interrupted, Some(error), None, None)
        }
    };
    // A processing job allows each of these events.
    let next =
        next_status(Status::Processing, event, policy.rules(attempt_of_run)).unwrap_or(Status::DeadLettered);
    let due_at = match next {
        Status::Pending => Some(now),
        Status::Retrying => {
            let asked = retry_after.map(|delay| delay.min(MAX_RETRY_AFTER));
            let delay = asked.unwrap_or_else(|| policy.retry.delay(attempt_of_run, random));
            Some(whole_milliseconds(now.saturating_add(delay).unwrap_or(now)))
        }
        _ => None,
    };
    Conclusion { outcome, error, result, next, due_at, counts: event.counts(), blocks: policy.blocks(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_at_most_2000_characters_with_the_ellipsis() {
        let longest = "é".repeat(MAX_ERROR_CHARS);
        assert_eq!(cut(longest.clone()), longest);
        let cut = cut(format!("{longest}!"));
        assert_eq!(cut.chars().count(), MAX_ERROR_CHARS);
        assert!(cut.ends_with("é…"), "{cut}");
    }
}
