//! The life of a job: one pure function decides every change of status.
//!
//! ```text
//!                      ┌────────── retry (by hand) ──────────┐
//!                      ▼                                      │
//!  accept ──► pending ──claim──► processing ──ok──► completed │
//!               ▲  ▲                 │ │                      │
//!               │  └─ lease expired ─┘ ├─ failed, attempts left ──► retrying ──(due)──► claim
//!               │                      └─ failed for good ────► dead_lettered ─────────┘
//!               └── cancel ──► cancelled
//! ```

use std::fmt;
use std::str::FromStr;

/// Where the processing of a webhook stands. The numbers are those of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Due now, waiting for a worker.
    Pending = 0,
    /// A worker holds its lease.
    Processing = 1,
    /// The last attempt failed; the next one is due later.
    Retrying = 2,
    /// Done.
    Completed = 3,
    /// Failed for good, or its attempts are used up.
    DeadLettered = 4,
    /// Cancelled before it started.
    Cancelled = 5,
}

impl Status {
    /// Every status, in the order of their numbers.
    pub const ALL: [Self; 6] = [
        Self::Pending,
        Self::Processing,
        Self::Retrying,
        Self::Completed,
        Self::DeadLettered,
        Self::Cancelled,
    ];

    /// The lower-case word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::DeadLettered => "dead_lettered",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing happens any more unless somebody asks for it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::DeadLettered | Self::Cancelled)
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
    type Err = super::error::Error;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
            super::error::Error::invalid(
                "status",
                "must be one of pending, processing, retrying, completed, dead_lettered, cancelled",
            )
        })
    }
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A worker takes it.
    Claim,
    /// The handler did its work.
    Complete,
    /// The handler failed; another attempt may help.
    Fail,
    /// The handler failed; no other attempt can help.
    FailForGood,
    /// Its worker died or lost the lease. Counts as an attempt, so that a webhook that kills
    /// its process does not do so for ever.
    LeaseExpire,
    /// Its worker stops and gives it back unfinished, however many attempts it has had.
    GiveBack,
    /// Somebody asks for another run.
    Retry,
    /// Somebody asks that it does not start.
    Cancel,
}

/// The status after `event`, or none where it is not allowed.
/// `attempts_left` says whether another attempt may start.
pub const fn next_status(status: Status, event: Event, attempts_left: bool) -> Option<Status> {
    match (status, event) {
        (Status::Pending | Status::Retrying, Event::Claim) => Some(Status::Processing),
        (Status::Pending | Status::Retrying | Status::Cancelled, Event::Cancel) => Some(Status::Cancelled),
        (Status::Processing, Event::Complete) => Some(Status::Completed),
        (Status::Processing, Event::Fail) if attempts_left => Some(Status::Retrying),
        (Status::Processing, Event::LeaseExpire) if attempts_left => Some(Status::Pending),
        (Status::Processing, Event::Fail | Event::FailForGood | Event::LeaseExpire) => {
            Some(Status::DeadLettered)
        }
        (Status::Processing, Event::GiveBack) => Some(Status::Pending),
        (Status::DeadLettered | Status::Cancelled, Event::Retry) => Some(Status::Pending),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event::*, Status::*, *};
    use proptest::prelude::*;

    const EVENTS: [Event; 8] = [Claim, Complete, Fail, FailForGood, LeaseExpire, GiveBack, Retry, Cancel];

    #[test]
    fn every_pair_of_status_and_event_is_decided() {
        // Columns: Claim, Complete, Fail, FailForGood, LeaseExpire, GiveBack, Retry, Cancel.
        let with_attempts_left = [
            (Pending, [Some(Processing), None, None, None, None, None, None, Some(Cancelled)]),
            (
                Processing,
                [
                    None,
                    Some(Completed),
                    Some(Retrying),
                    Some(DeadLettered),
                    Some(Pending),
                    Some(Pending),
                    None,
                    None,
                ],
            ),
            (Retrying, [Some(Processing), None, None, None, None, None, None, Some(Cancelled)]),
            (Completed, [None; 8]),
            (DeadLettered, [None, None, None, None, None, None, Some(Pending), None]),
            (Cancelled, [None, None, None, None, None, None, Some(Pending), Some(Cancelled)]),
        ];
        for (status, row) in with_attempts_left {
            for (event, expected) in EVENTS.into_iter().zip(row) {
                assert_eq!(next_status(status, event, true), expected, "{status} {event:?}");
                let spent = match (status, event) {
                    (Processing, Fail | LeaseExpire) => Some(DeadLettered),
                    _ => expected,
                };
                assert_eq!(next_status(status, event, false), spent, "{status} {event:?}, spent");
            }
        }
    }

    #[test]
    fn numbers_and_words_lead_back_to_their_status() {
        for status in Status::ALL {
            assert_eq!(Status::from_number(status as i64), Some(status));
            assert_eq!(status.as_str().parse::<Status>().ok(), Some(status));
        }
        assert_eq!(Status::from_number(6), None);
        assert_eq!(Status::from_number(-1), None);
        assert!("done".parse::<Status>().is_err());
    }

    proptest! {
        /// Whatever happens in whatever order: a completed job stays completed, a job runs only
        /// after a claim, and no more attempts fail than the budget has.
        #[test]
        fn no_sequence_of_events_breaks_the_rules(
            events in prop::collection::vec((0..EVENTS.len()).prop_map(|at| EVENTS[at]), 0..200),
            budget in 1_u32..5,
        ) {
            let (mut status, mut attempts, mut limit) = (Pending, 0_u32, budget);
            for event in events {
                let Some(next) = next_status(status, event, attempts < limit) else { continue };
                prop_assert_ne!(status, Completed);
                prop_assert!(next != Processing || event == Claim);
                prop_assert!(next != Retrying || attempts < limit, "a retry needs an attempt left");
                match event {
                    Claim => attempts += 1,
                    // Stopping a worker is nobody's failure.
                    GiveBack => limit += 1,
                    Retry => limit = attempts + budget,
                    _ => {}
                }
                prop_assert!(attempts <= limit);
                status = next;
            }
        }
    }
}
