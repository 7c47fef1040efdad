//! A webhook: as it is to be accepted, its status, and its details.

mod names;

use std::fmt;

use jiff::Timestamp;

pub use self::names::{EventType, IdempotencyKey, MAX_NAME_CHARS, MAX_SOURCE_CHARS, Source};
use super::attempt::{AttemptRecord, HeldLease};
use super::content_type::ContentType;
use super::error::{Error, Result};
use super::headers::KeptHeaders;
use super::id::WebhookId;
use super::job::{JobStatus, Status};
use super::payload::Payload;
use super::trace::Traceparent;
use super::verdict::Verdict;

/// A webhook that is to be accepted.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// The source of the webhook.
    pub source: Source,
    /// The sender's key.
    pub idempotency_key: IdempotencyKey,
    /// What happened.
    pub event_type: EventType,
    /// The content, with its content type.
    pub payload: Payload,
    /// What is kept of the headers of its request.
    pub headers: KeptHeaders,
    /// What verifying its request found.
    pub verdict: Verdict,
    /// The span in which the webhook is accepted.
    pub traceparent: Traceparent,
}

impl NewWebhook {
    /// The length of the payload and of the kept headers, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload.as_bytes().len() + self.headers.as_text().map_or(0, str::len)
    }

    /// Its status once it is stored with this id and these jobs, not in quarantine.
    pub fn stored(&self, id: WebhookId, jobs: Vec<JobStatus>) -> WebhookStatus {
        WebhookStatus {
            id,
            source: self.source.clone(),
            idempotency_key: self.idempotency_key.clone(),
            event_type: self.event_type.clone(),
            accepted_at: id.time(),
            is_quarantined: false,
            jobs,
        }
    }
}

/// The names of a webhook, and the status of its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookStatus {
    /// The id.
    pub id: WebhookId,
    /// The source of the webhook.
    pub source: Source,
    /// The sender's key.
    pub idempotency_key: IdempotencyKey,
    /// What happened.
    pub event_type: EventType,
    /// When the webhook was accepted.
    pub accepted_at: Timestamp,
    /// Whether the webhook was not verified, and was not released since. It has no jobs then, and does not take its
    /// key.
    pub is_quarantined: bool,
    /// Its jobs, one for each route that matched; empty if no route matched.
    pub jobs: Vec<JobStatus>,
}

impl WebhookStatus {
    /// The status of the webhook: `Quarantined`, or derived from its jobs.
    pub fn status(&self) -> Status {
        if self.is_quarantined {
            return Status::Quarantined;
        }
        Status::of_webhook(self.jobs.iter().map(|job| job.status))
    }

    /// How many attempts of its first job have started; 0 without jobs.
    pub fn attempt_count(&self) -> u32 {
        self.jobs.first().map_or(0, |job| job.attempt_count)
    }

    /// When the status of any of its jobs last changed; the time of acceptance without jobs.
    pub fn updated_at(&self) -> Timestamp {
        self.jobs.iter().map(|job| job.updated_at).max().unwrap_or(self.accepted_at)
    }

    /// Why the last attempt of its retrying job failed or was interrupted; of its dead letter if no job is
    /// retrying. Of several such jobs, the first. None if no job is retrying or dead-lettered.
    pub fn last_error(&self) -> Option<&str> {
        let first = |status| self.jobs.iter().find(|job| job.status == status);
        let failed = first(Status::Retrying).or_else(|| first(Status::DeadLettered))?;
        failed.last_error.as_deref()
    }

    /// When the first of its waiting jobs is or was due; none if no job is waiting.
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        self.jobs.iter().filter_map(|job| job.next_attempt_at).min()
    }

    /// A number that grows with every change of any job.
    pub fn revision(&self) -> u64 {
        self.jobs.iter().map(|job| job.revision).sum()
    }
}

/// A webhook with its payload, jobs and attempts, as the store has it.
#[derive(Clone, Debug)]
pub struct WebhookDetail {
    /// Names and status; its jobs are in the order of `jobs`.
    pub status: WebhookStatus,
    /// The payload as it came; none once its retention is over.
    pub payload: Option<Vec<u8>>,
    /// The content type of the payload.
    pub content_type: ContentType,
    /// The headers of its request, so far as they were kept: names in lower case, and values. Empty once the retention
    /// of the payload is over.
    pub headers: Vec<(String, String)>,
    /// What verifying its request found.
    pub verdict: Verdict,
    /// The span in which the webhook was accepted.
    pub traceparent: Traceparent,
    /// The details of each job, in the order of `status.jobs`.
    pub jobs: Vec<JobDetail>,
}

/// The details of a job, besides its [`JobStatus`].
#[derive(Clone, Debug)]
pub struct JobDetail {
    /// The number of the current run: 1 at first, and one more with every retry by hand and every replay.
    pub run: u32,
    /// The number of the replay that began the current run; none for the first run, and for one that was begun by hand.
    pub replay: Option<u64>,
    /// How many attempts do not count against the policy: the attempts of earlier runs, and attempts that
    /// were stopped.
    pub uncounted_attempts: u32,
    /// When the job is due, or was last due.
    pub available_at: Timestamp,
    /// When the job reached a final status.
    pub completed_at: Option<Timestamp>,
    /// Its lease; none unless the job is processing.
    pub lease: Option<HeldLease>,
    /// What the handler returned, as JSON; none until the job is completed, and once its retention is over.
    pub result: Option<String>,
    /// The attempts that have ended, oldest first, so far as they were asked for.
    pub attempts: Vec<AttemptRecord>,
}

/// How a client names a webhook.
#[derive(Clone, Debug)]
pub enum WebhookName {
    /// By its id.
    Id(WebhookId),
    /// By its source and the sender's key.
    Key(Source, IdempotencyKey),
}

impl WebhookName {
    /// Reads the fields of a look-up: an id, or a key and its source. An empty field counts as absent; an
    /// absent source means `default`. Errors: `InvalidField` unless exactly one of id and key is given, or if
    /// a source is given with an id.
    pub fn from_fields(id: &str, idempotency_key: &str, source: &str) -> Result<Self> {
        match (id.is_empty(), idempotency_key.is_empty()) {
            (false, true) if source.is_empty() => Ok(Self::Id(id.parse()?)),
            (false, true) => Err(Error::invalid(
                "source",
                "belongs to `idempotency_key`; leave it out when looking up by `id`",
            )),
            (true, false) => Self::from_key(idempotency_key, source),
            (true, true) => Err(Error::invalid("idempotency_key", "is missing; give it, or an `id`")),
            (false, false) => {
                Err(Error::invalid("id", "and `idempotency_key` are both given; give one of them"))
            }
        }
    }

    /// Reads a key and its source; an empty source means `default`. Errors: `InvalidField`.
    pub fn from_key(idempotency_key: &str, source: &str) -> Result<Self> {
        let source = if source.is_empty() { Source::default() } else { Source::new(source)? };
        Ok(Self::Key(source, IdempotencyKey::new(idempotency_key)?))
    }
}

impl fmt::Display for WebhookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Key(source, key) => write!(f, "with the key {:?} from `{source}`", key.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::job::QueueId;
    use crate::domain::route::RouteName;

    /// A webhook with jobs in these statuses. A job that failed has its place as its error, and a waiting job
    /// is due as many seconds after 1970 as the number says.
    fn webhook(jobs: &[(Status, i64)]) -> WebhookStatus {
        let job = |(place, (status, due)): (usize, &(Status, i64))| JobStatus {
            queue: QueueId(1),
            route: RouteName::new("default").expect("valid"),
            status: *status,
            attempt_count: 1,
            updated_at: Timestamp::UNIX_EPOCH,
            revision: 1,
            last_error: status.is_failed().then(|| place.to_string()),
            next_attempt_at: status.is_waiting().then(|| Timestamp::from_second(*due).expect("in range")),
        };
        WebhookStatus {
            id: WebhookId::from_bytes([1; 16]),
            source: Source::default(),
            idempotency_key: IdempotencyKey::new("k").expect("valid"),
            event_type: EventType::new("t").expect("valid"),
            accepted_at: Timestamp::UNIX_EPOCH,
            is_quarantined: false,
            jobs: jobs.iter().enumerate().map(job).collect(),
        }
    }

    #[test]
    fn a_webhook_without_jobs_is_filtered_unless_it_is_quarantined() {
        let filtered = webhook(&[]);
        assert_eq!(filtered.status(), Status::Filtered);
        assert_eq!(WebhookStatus { is_quarantined: true, ..filtered }.status(), Status::Quarantined);
    }

    #[test]
    fn the_last_error_comes_from_the_first_retrying_job_or_the_first_dead_letter() {
        use Status::{Cancelled, Completed, DeadLettered, Pending, Processing, Retrying};
        for (jobs, expected) in [
            (&[Pending, Processing, Completed, Cancelled][..], None),
            (&[], None),
            (&[Completed, DeadLettered, DeadLettered], Some("1")),
            (&[DeadLettered, Retrying, Retrying], Some("1")),
            (&[Processing, DeadLettered], Some("1")),
        ] {
            let jobs = jobs.iter().map(|status| (*status, 1)).collect::<Vec<_>>();
            assert_eq!(webhook(&jobs).last_error(), expected, "{jobs:?}");
        }
    }

    #[test]
    fn the_next_attempt_is_the_earliest_due_time_of_the_waiting_jobs() {
        use Status::{Completed, DeadLettered, Pending, Processing, Retrying};
        let due = |jobs: &[(Status, i64)]| webhook(jobs).next_attempt_at().map(Timestamp::as_second);
        assert_eq!(due(&[(Completed, 1), (Processing, 2), (DeadLettered, 3)]), None);
        assert_eq!(due(&[(Retrying, 9), (Pending, 7), (Retrying, 8)]), Some(7));
    }

    #[test]
    fn a_look_up_names_exactly_one_of_id_and_key() {
        let id = "0193811c-2b7b-7000-8000-000000000000";
        assert!(matches!(WebhookName::from_fields(id, "", ""), Ok(WebhookName::Id(_))));
        assert!(matches!(
            WebhookName::from_fields("", "k", ""),
            Ok(WebhookName::Key(source, _)) if source == Source::default()
        ));
        for (id, key, source, field) in [
            ("", "", "", "idempotency_key"),
            (id, "k", "", "id"),
            (id, "", "default", "source"),
            ("nonsense", "", "", "id"),
            ("", "k", "No Such", "source"),
        ] {
            let error = WebhookName::from_fields(id, key, source).expect_err("refused");
            assert_eq!(error.field(), Some(field));
        }
    }
}
