//! The states of a job, and the pure function that decides its next state.
//!
//! ```text
//! accept ──► pending ──claim──► processing ──► completed
//!               ▲                │  │  │
//!               ├─ to run again ─┘  │  └─────► dead_lettered
//!               │                   ▼
//!               │    claim ◄─────── retrying
//!               │
//!               └─ retry by hand ── dead_lettered, cancelled
//!
//! pending, retrying, dead_lettered ──cancel──► cancelled
//! ```
//!
//! | from | event | to |
//! | --- | --- | --- |
//! | pending, retrying | a claim, once the job is due | processing |
//! | processing | `Complete` | completed |
//! | processing | `Fail`, attempts left | retrying |
//! | processing | `Interrupt`, attempts left, `on_interrupt = "retry"` | pending |
//! | processing | `Stop`, `on_interrupt = "retry"` | pending |
//! | processing | the claim is taken back before the handler starts | pending |
//! | processing | `FailForGood`, and `Fail`, `Interrupt` and `Stop` otherwise | dead_lettered |
//! | pending, retrying, dead_lettered, cancelled | `Cancel` | cancelled |
//! | dead_lettered, cancelled | `Retry` | pending |
//!
//! Both stores write in SQL that a job is claimed, and that a claim is taken back. [`next_status`] decides every other
//! change.

use std::fmt;
use std::str::FromStr;

use super::error::Error;
use super::id::WebhookId;
use super::route::{OnInterrupt, RouteName};

/// The status of a job or of a webhook. The numbers are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Due, and not started.
    Pending = 0,
    /// A worker has leased the job.
    Processing = 1,
    /// The last attempt failed; the next attempt is due later.
    Retrying = 2,
    /// The handler completed the job.
    Completed = 3,
    /// The handler failed for good, or the attempts are used up.
    DeadLettered = 4,
    /// Cancelled while it waited, or given up as a dead letter.
    Cancelled = 5,
    /// Only of a webhook: no route matched it.
    Filtered = 6,
    /// Only of a webhook: it was not verified.
    Quarantined = 7,
}

impl Status {
    /// Every status, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Processing,
        Self::Retrying,
        Self::Completed,
        Self::DeadLettered,
        Self::Cancelled,
        Self::Filtered,
        Self::Quarantined,
    ];

    /// The statuses that a job can have, in the order of their numbers.
    pub const OF_JOBS: [Self; 6] = [
        Self::Pending,
        Self::Processing,
        Self::Retrying,
        Self::Completed,
        Self::DeadLettered,
        Self::Cancelled,
    ];

    /// The statuses of a job by precedence: the status of a webhook is the first of these that any of its
    /// jobs has.
    const OF_JOBS_BY_PRECEDENCE: [Self; 6] = [
        Self::Processing,
        Self::Retrying,
        Self::Pending,
        Self::DeadLettered,
        Self::Cancelled,
        Self::Completed,
    ];

    /// The status of a webhook with jobs in these statuses; `Filtered` without jobs.
    pub fn of_webhook(jobs: impl Iterator<Item = Self> + Clone) -> Self {
        let has = |status: &Self| jobs.clone().any(|job| job == *status);
        Self::OF_JOBS_BY_PRECEDENCE.into_iter().find(has).unwrap_or(Self::Filtered)
    }

    /// The word in lower case, as REST, metrics and logs use it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::DeadLettered => "dead_lettered",
            Self::Cancelled => "cancelled",
            Self::Filtered => "filtered",
            Self::Quarantined => "quarantined",
        }
    }

    /// Whether the status changes no more, unless an operator retries or cancels the job.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing | Self::Retrying)
    }

    /// Whether a claim may take a job in this status once it is due.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Pending | Self::Retrying)
    }

    /// The status with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
            let words = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid("status", format_args!("must be one of {words}"))
        })
    }
}

/// The number of a queue. A queue has the jobs of one route from one source. The store assigns the numbers
/// and never reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u32);

/// Names a job: a webhook has one job for each route that matched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId {
    /// The webhook.
    pub webhook: WebhookId,
    /// The queue of its route and source.
    pub queue: QueueId,
}

/// The status of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// The queue of the job.
    pub queue: QueueId,
    /// The route of the job.
    pub route: RouteName,
    /// The status.
    pub status: Status,
    /// How many attempts have started, over all runs.
    pub attempt_count: u32,
    /// When the status last changed.
    pub updated_at: jiff::Timestamp,
    /// A number that grows by one with every change of the job.
    pub revision: u64,
}

/// What can happen to a job, besides a claim that is made or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handler completed the job.
    Complete,
    /// The handler failed; another attempt may help.
    Fail,
    /// The handler failed; no other attempt can help.
    FailForGood,
    /// The process died or lost the lease. Counts as an attempt, so that a webhook that kills its process
    /// does so a limited number of times.
    Interrupt,
    /// The attempt was stopped at shutdown. Does not count as an attempt.
    Stop,
    /// An operator starts another run.
    Retry,
    /// An operator cancels a waiting job, or gives up a dead letter.
    Cancel,
}

impl Event {
    /// Whether an attempt that ends with this event counts against the attempts that the policy allows.
    pub const fn counts(self) -> bool {
        !matches!(self, Self::Stop)
    }
}

/// What decides about the next status, besides the current status and the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether another attempt of this run may start.
    pub attempts_left: bool,
    /// How the job goes on if its attempt started and was interrupted.
    pub on_interrupt: OnInterrupt,
}

/// The status after `event`; none if a job in `status` does not allow the event.
pub const fn next_status(status: Status, event: Event, rules: Rules) -> Option<Status> {
    let starts_again = matches!(rules.on_interrupt, OnInterrupt::Retry);
    match (status, event) {
        (Status::Processing, Event::Complete) => Some(Status::Completed),
        (Status::Processing, Event::Fail) if rules.attempts_left => Some(Status::Retrying),
        (Status::Processing, Event::Interrupt) if rules.attempts_left && starts_again => {
            Some(Status::Pending)
        }
        (Status::Processing, Event::Stop) if starts_again => Some(Status::Pending),
        (Status::Processing, Event::Fail | Event::FailForGood | Event::Interrupt | Event::Stop) => {
            Some(Status::DeadLettered)
        }
        (Status::Pending | Status::Retrying | Status::DeadLettered | Status::Cancelled, Event::Cancel) => {
            Some(Status::Cancelled)
        }
        (Status::DeadLettered | Status::Cancelled, Event::Retry) => Some(Status::Pending),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, Status::*, *};
    use proptest::prelude::*;

    const EVENTS: [Event; 7] = [Complete, Fail, FailForGood, Interrupt, Stop, Retry, Cancel];

    fn rules(attempts_left: bool, on_interrupt: OnInterrupt) -> Rules {
        Rules { attempts_left, on_interrupt }
    }

    #[test]
    fn every_pair_of_status_and_event_is_decided() {
        // Columns: Complete, Fail, FailForGood, Interrupt, Stop, Retry, Cancel.
        let (c, d, p) = (Some(Cancelled), Some(DeadLettered), Some(Pending));
        let with_attempts_left = [
            (Pending, [None, None, None, None, None, None, c]),
            (Processing, [Some(Completed), Some(Retrying), d, p, p, None, None]),
            (Retrying, [None, None, None, None, None, None, c]),
            (Completed, [None; 7]),
            (DeadLettered, [None, None, None, None, None, p, c]),
            (Cancelled, [None, None, None, None, None, p, c]),
        ];
        for (status, row) in with_attempts_left {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                let next = |left, on_interrupt| next_status(status, event, rules(left, on_interrupt));
                assert_eq!(next(true, OnInterrupt::Retry), expected, "{status} {event:?}");
                let spent = match (status, event) {
                    (Processing, Fail | Interrupt) => d,
                    _ => expected,
                };
                assert_eq!(next(false, OnInterrupt::Retry), spent, "{status} {event:?}, spent");
                let never_twice = match (status, event) {
                    (Processing, Interrupt | Stop) => d,
                    _ => expected,
                };
                let on_interrupt = OnInterrupt::DeadLetter;
                assert_eq!(next(true, on_interrupt), never_twice, "{status} {event:?}, never twice");
            }
        }
    }

    #[test]
    fn filtered_and_quarantined_jobs_allow_no_transition() {
        for status in [Filtered, Quarantined] {
            for event in EVENTS {
                assert_eq!(next_status(status, event, rules(true, OnInterrupt::Retry)), None);
            }
        }
    }

    #[test]
    fn webhook_status_is_the_job_status_of_highest_precedence() {
        let derived = |jobs: &[Status]| Status::of_webhook(jobs.iter().copied());
        assert_eq!(derived(&[]), Filtered);
        for status in Status::OF_JOBS {
            assert_eq!(derived(&[status]), status);
        }
        let order = [Completed, Cancelled, DeadLettered, Pending, Retrying, Processing];
        for at in 1..order.len() {
            assert_eq!(derived(&order[..=at]), order[at]);
        }
    }

    #[test]
    fn numbers_and_words_lead_back_to_their_status() {
        for status in Status::ALL {
            assert_eq!(Status::from_number(status as i64), Some(status));
            assert_eq!(status.as_str().parse::<Status>().ok(), Some(status));
        }
        assert_eq!(Status::from_number(8), None);
        assert_eq!(Status::from_number(-1), None);
        assert!("done".parse::<Status>().is_err());
    }

    proptest! {
        /// For any sequence of events: a completed job stays completed, no more attempts fail than the
        /// budget allows, and a job with `on_interrupt = "dead_letter"` never starts twice.
        #[test]
        fn no_sequence_of_events_breaks_the_rules(
            events in prop::collection::vec((0..=EVENTS.len()).prop_map(|at| EVENTS.get(at).copied()), 0..200),
            budget in 1_u32..5,
            never_twice: bool,
        ) {
            let on_interrupt = if never_twice { OnInterrupt::DeadLetter } else { OnInterrupt::Retry };
            let (mut status, mut attempts, mut limit) = (Pending, 0_u32, budget);
            for event in events {
                // `None` is a claim.
                let Some(event) = event else {
                    if status.is_waiting() {
                        (status, attempts) = (Processing, attempts + 1);
                    }
                    continue;
                };
                let Some(next) = next_status(status, event, rules(attempts < limit, on_interrupt)) else { continue };
                prop_assert_ne!(status, Completed);
                prop_assert_ne!(next, Processing);
                prop_assert!(next != Retrying || attempts < limit, "a retry needs an attempt left");
                prop_assert!(!never_twice || next != Pending || event == Retry);
                match event {
                    // Does not count as an attempt.
                    Stop => limit += 1,
                    Retry => limit = attempts + budget,
                    _ => {}
                }
                prop_assert!(attempts <= limit);
                status = next;
            }
        }
    }
}
