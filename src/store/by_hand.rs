//! Which jobs a retry, a replay or a cancellation changes, as both stores decide it.

use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, JobStatus, Rules, Status, next_status};
use crate::domain::route::{OnInterrupt, RouteName};
use crate::domain::webhook::WebhookStatus;

/// Placeholder rules: the transitions of a retry, a replay and a cancellation do not depend on them.
const ANY_RULES: Rules = Rules { attempts_left: true, on_interrupt: OnInterrupt::Retry };

/// Whether a job with this status runs again by a replay.
pub(super) fn can_be_replayed(status: Status) -> bool {
    next_status(status, Event::Replay, ANY_RULES).is_some()
}

/// The jobs that a retry, a replay or a cancellation changes: the job of `route`, or all jobs that allow `event`.
///
/// Returns an empty list if these jobs already have the status that `event` leads to. Errors: `RouteNotFound`
/// if the webhook has no job of `route`; `WrongStatus` if no job allows `event`, or if the webhook is quarantined.
pub(super) fn jobs_to_change<'a>(
    webhook: &'a WebhookStatus,
    route: Option<&RouteName>,
    event: Event,
) -> Result<Vec<&'a JobStatus>> {
    if webhook.is_quarantined {
        return Err(Error::new(
            Reason::WrongStatus,
            format!("webhook {} is quarantined; release or discard it", webhook.id),
        ));
    }
    let named = webhook.jobs.iter().filter(|job| route.is_none_or(|route| job.route == *route));
    let named = named.collect::<Vec<_>>();
    let (what, status) = match (route, named.as_slice()) {
        (Some(route), []) => {
            return Err(no_job_of(webhook.id, route));
        }
        (Some(route), [job, ..]) => (format!("the job of the route `{route}`"), job.status),
        (None, _) => ("the webhook".to_owned(), webhook.status()),
    };
    let next = |job: &JobStatus| next_status(job.status, event, ANY_RULES);
    if named.iter().all(|job| next(job).is_none()) {
        let done = match event {
            Event::Retry => "retried",
            Event::Replay => "replayed",
            _ => "cancelled",
        };
        return Err(Error::new(Reason::WrongStatus, format!("{what} is {status} and cannot be {done}")));
    }
    Ok(named.into_iter().filter(|job| next(job).is_some_and(|next| next != job.status)).collect())
}

/// `RouteNotFound`: the webhook has no job of the route.
pub(crate) fn no_job_of(webhook: WebhookId, route: &RouteName) -> Error {
    Error::new(Reason::RouteNotFound, format!("webhook {webhook} has no job of the route `{route}`"))
}

/// `WrongStatus`: the payload of a webhook whose jobs should run again was removed.
pub(super) fn payload_gone() -> Error {
    Error::new(
        Reason::WrongStatus,
        "the payload of the webhook was removed at the end of its retention, so its jobs cannot run again; send it again under a new key",
    )
}
