//! Results and errors of accepting, retrying and cancelling that both stores share.

use std::time::Duration;

use super::Accepted;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::job::{Event, JobStatus, Rules, next_status};
use crate::domain::route::{OnInterrupt, RouteName};
use crate::domain::webhook::{NewWebhook, WebhookStatus};

/// The `Retry-After` of a webhook that was refused because the backlog is full.
const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The `Retry-After` of a webhook that was refused because the queue of the writer is full.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The result of accepting a webhook whose key is taken: the status of the stored webhook if both have the
/// same event type and payload digest, else `KeyReused`.
pub(super) fn duplicate(new: &NewWebhook, first: WebhookStatus, payload_digest: &[u8]) -> Result<Accepted> {
    let same_type = first.event_type == new.event_type;
    let same_payload = payload_digest == new.payload.digest().as_bytes();
    if !(same_type && same_payload) {
        let refused = Error::new(
            Reason::KeyReused,
            format!(
                "webhook {} already has this idempotency key with a different {}, and was not changed; send a new webhook under a new key",
                first.id,
                if same_payload { "event type" } else { "payload" },
            ),
        );
        return Err(refused.because_of(first.id));
    }
    Ok(Accepted { webhook: first, duplicate: true })
}

/// `BacklogFull`: `limit` webhooks are already waiting to be stored.
pub(super) fn queue_full(limit: usize) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!(
            "{limit} webhooks are waiting to be stored, which is the limit; nothing was stored, try again in a moment"
        ),
    )
    .retry_after(QUEUE_RETRY_AFTER)
}

/// `BacklogFull`: at least `limit` jobs are unfinished.
pub(super) fn backlog_full(limit: u64) -> Error {
    Error::new(
        Reason::BacklogFull,
        format!("at least {limit} jobs are unfinished, which is the limit `max_backlog`; nothing was stored, try again later"),
    )
    .retry_after(BACKLOG_RETRY_AFTER)
}

/// `WrongStatus`: the payload of a webhook that should be retried was removed.
pub(super) fn payload_gone() -> Error {
    Error::new(
        Reason::WrongStatus,
        "the payload of the webhook was removed at the end of its retention, so it cannot be retried; send it again under a new key",
    )
}

/// Placeholder rules: the transitions of a retry and a cancellation do not depend on them.
const ANY_RULES: Rules = Rules { attempts_left: true, on_interrupt: OnInterrupt::Retry };

/// The jobs that a retry or a cancellation changes: the job of `route`, or all jobs that allow `event`.
///
/// Returns an empty list if these jobs already have the status that `event` leads to. Errors: `RouteNotFound`
/// if the webhook has no job of `route`; `WrongStatus` if no job allows `event`.
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
