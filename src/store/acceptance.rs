//! What accepting and operating answer, whatever the store.

use std::time::Duration;

use super::Accepted;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::job::{Event, JobStatus, Rules, next_status};
use crate::domain::route::{OnInterrupt, RouteName};
use crate::domain::webhook::{NewWebhook, WebhookStatus};

/// When a sender that met a full backlog should come again.
const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(5);

/// When a sender that met a full queue should come again.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Answers a webhook whose key is taken: with the first one's status, if it is the same webhook.
pub(super) fn duplicate(new: &NewWebhook, first: WebhookStatus, payload_digest: &[u8]) -> Result<Accepted> {
    let same_type = first.event_type == new.event_type;
    let same_payload = payload_digest == new.payload.digest().as_bytes();
    if !(same_type && same_payload) {
        return Err(Error::new(
            Reason::KeyReused,
            format!(
                "webhook {} has this idempotency key, and another {}; that one stays. Send a new webhook under a new key",
                first.id,
                if same_payload { "event type" } else { "payload" },
            ),
        ));
    }
    Ok(Accepted { webhook: first, duplicate: true })
}

/// More webhooks arrive at once than the writer can take.
pub(super) fn queue_full(limit: usize) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!(
            "{limit} webhooks wait to be stored, as many as may; nothing was stored, try again in a moment"
        ),
    )
    .retry_after(QUEUE_RETRY_AFTER)
}

/// As many jobs are unfinished as may be.
pub(super) fn backlog_full(limit: u64) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!("{limit} jobs or more are not finished, as many as `max_backlog` allows; nothing was stored, try again later"),
    )
    .retry_after(BACKLOG_RETRY_AFTER)
}

/// A webhook whose payload is gone cannot be retried.
pub(super) fn payload_gone() -> Error {
    Error::new(
        Reason::WrongStatus,
        "the retention of its payload is over, so it cannot be retried; send it again under a new key",
    )
}

/// Retrying and cancelling do not depend on the rules.
const ANY_RULES: Rules = Rules { attempts_left: true, on_interrupt: OnInterrupt::Retry };

/// The jobs that a retry or a cancellation changes: of one route, or of all. None if all that allow it are
/// as it would make them; an error if no job allows it.
pub(super) fn jobs_to_change<'a>(
    webhook: &'a WebhookStatus,
    route: Option<&RouteName>,
    event: Event,
) -> Result<Vec<&'a JobStatus>> {
    let named = webhook.jobs.iter().filter(|job| route.is_none_or(|route| job.route == *route));
    let named = named.collect::<Vec<_>>();
    let (what, status) = match (route, named.as_slice()) {
        (Some(route), []) => {
            return Err(Error::new(
                Reason::RouteNotFound,
                format!("webhook {} has no job of the route `{route}`", webhook.id),
            ));
        }
        (Some(route), [job, ..]) => (format!("the job of the route `{route}`"), job.status),
        (None, _) => ("the webhook".to_owned(), webhook.status()),
    };
    let next = |job: &JobStatus| next_status(job.status, event, ANY_RULES);
    if named.iter().all(|job| next(job).is_none()) {
        let done = if event == Event::Retry { "retried" } else { "cancelled" };
        return Err(Error::new(Reason::WrongStatus, format!("{what} is {status} and cannot be {done}")));
    }
    Ok(named.into_iter().filter(|job| next(job).is_some_and(|next| next != job.status)).collect())
}
