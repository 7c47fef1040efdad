//! The states of a job, and the pure function that decides its next state.
//!
//! ```text
//! accept ──► pending ──claim──► processing ──► completed
//!               ▲                │  │  │
//!               ├─ to run again ─┘  │  └─────► dead_lettered
//!               │                   ▼
//!               │    claim ◄─────── retrying
//!               │
//!               ├─ retry by hand ── dead_lettered, cancelled
//!               └─ replay ───────── completed, dead_lettered, cancelled
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
//! | completed, dead_lettered, cancelled | `Replay` | pending |
//!
//! Both stores write in SQL that a job is claimed, and that a claim is taken back. [`next_status`] decides every other
//! change.

use super::id::WebhookId;
use super::route::{OnInterrupt, RouteName};
pub use super::status::Status;

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
    /// Why the last attempt failed or was interrupted; none unless the job is retrying or dead-lettered.
    pub last_error: Option<String>,
    /// When the next attempt is or was due; none unless the job is waiting.
    pub next_attempt_at: Option<jiff::Timestamp>,
}

impl JobStatus {
    /// The status of a new job, which is due at once.
    pub fn new(queue: QueueId, route: RouteName, now: jiff::Timestamp) -> Self {
        Self {
            queue,
            route,
            status: Status::Pending,
            attempt_count: 0,
            updated_at: now,
            revision: 0,
            last_error: None,
            next_attempt_at: Some(now),
        }
    }
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
    /// An operator starts another run of a job that was not completed.
    Retry,
    /// An operator starts another run of a finished job, also of a completed one.
    Replay,
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
        (Status::DeadLettered | Status::Cancelled, Event::Retry)
        | (Status::Completed | Status::DeadLettered | Status::Cancelled, Event::Replay) => {
            Some(Status::Pending)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, Status::*, *};
    use proptest::prelude::*;

    const EVENTS: [Event; 8] = [Complete, Fail, FailForGood, Interrupt, Stop, Retry, Replay, Cancel];

    fn rules(attempts_left: bool, on_interrupt: OnInterrupt) -> Rules {
        Rules { attempts_left, on_interrupt }
    }

    #[test]
    fn every_pair_of_status_and_event_is_decided() {
        // Columns: Complete, Fail, FailForGood, Interrupt, Stop, Retry, Replay, Cancel.
        let (c, d, p) = (Some(Cancelled), Some(DeadLettered), Some(Pending));
        let with_attempts_left = [
            (Pending, [None, None, None, None, None, None, None, c]),
            (Processing, [Some(Completed), Some(Retrying), d, p, p, None, None, None]),
            (Retrying, [None, None, None, None, None, None, None, c]),
            (Completed, [None, None, None, None, None, None, p, None]),
            (DeadLettered, [None, None, None, None, None, p, p, c]),
            (Cancelled, [None, None, None, None, None, p, p, c]),
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
                let interrupted = match (status, event) {
                    (Processing, Interrupt | Stop) => d,
                    _ => expected,
                };
                let on_interrupt = OnInterrupt::DeadLetter;
                assert_eq!(next(true, on_interrupt), interrupted, "{status} {event:?}, interrupts are final");
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

    proptest! {
        /// For any sequence of events: a completed job stays completed unless an operator replays it, no more
        /// attempts fail than the budget allows, and with `on_interrupt = "dead_letter"` an attempt that did not end
        /// is final: the job starts again only if an operator retries or replays it.
        #[test]
        fn no_sequence_of_events_breaks_the_rules(
            events in prop::collection::vec((0..=EVENTS.len()).prop_map(|at| EVENTS.get(at).copied()), 0..200),
            budget in 1_u32..5,
            interrupts_are_final: bool,
        ) {
            let on_interrupt = if interrupts_are_final { OnInterrupt::DeadLetter } else { OnInterrupt::Retry };
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
                prop_assert!(status != Completed || event == Replay);
                prop_assert_ne!(next, Processing);
                prop_assert!(next != Retrying || attempts < limit, "a retry needs an attempt left");
                prop_assert!(!interrupts_are_final || next != Pending || matches!(event, Retry | Replay));
                match event {
                    // Does not count as an attempt.
                    Stop => limit += 1,
                    Retry | Replay => limit = attempts + budget,
                    _ => {}
                }
                prop_assert!(attempts <= limit);
                status = next;
            }
        }
    }
}
