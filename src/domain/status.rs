//! The statuses of jobs and webhooks.

use std::fmt;
use std::str::FromStr;

use super::error::Error;

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

    /// Whether the status changes no more, unless an operator retries, replays or cancels the job.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing | Self::Retrying)
    }

    /// Whether the last attempt of a job in this status failed or was interrupted, and nothing has happened to
    /// the job since.
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::Retrying | Self::DeadLettered)
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

#[cfg(test)]
mod tests {
    use super::Status::{self, *};

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
}
