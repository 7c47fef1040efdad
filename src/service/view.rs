//! Webhooks and jobs as clients see them: what the store has, completed with the policies in force.

use jiff::Timestamp;

use crate::domain::attempt::{AttemptRecord, HeldLease};
use crate::domain::content_type::ContentType;
use crate::domain::job::Status;
use crate::domain::policy::Policies;
use crate::domain::route::RouteName;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{WebhookDetail, WebhookStatus};

/// A webhook with its payload, jobs and attempts.
#[derive(Clone, Debug)]
pub struct WebhookView {
    /// Names and status.
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
    /// Its jobs, in the order of the settings.
    pub jobs: Vec<JobView>,
}

/// The fields of a webhook that describe its first job, in the order of the settings. If the webhook has no
/// jobs, `available_at` and `completed_at` are the time of acceptance, and `max_attempts` is 0.
#[derive(Clone, Debug)]
pub struct FirstJob {
    /// How many attempts may start over all runs, by the policy in force.
    pub max_attempts: u32,
    /// When the job is due, or was last due.
    pub available_at: Timestamp,
    /// When the job reached a final status.
    pub completed_at: Option<Timestamp>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// The attempts that have ended, oldest first, so far as they were asked for.
    pub attempts: Vec<AttemptRecord>,
}

/// A job with its attempts.
#[derive(Clone, Debug)]
pub struct JobView {
    /// The route.
    pub route: RouteName,
    /// The handler of the route; none if the route is gone from the settings.
    pub handler: Option<String>,
    /// The status of the job.
    pub status: Status,
    /// How many attempts have started, over all runs.
    pub attempt_count: u32,
    /// How many attempts may start over all runs, by the policy in force; the same as `attempt_count` if the
    /// route is gone from the settings.
    pub max_attempts: u32,
    /// When the job is due, or was last due.
    pub available_at: Timestamp,
    /// When the job reached a final status.
    pub completed_at: Option<Timestamp>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// The number of the current run: 1 at first, and one more with every retry by hand and every replay.
    pub run: u32,
    /// The number of the replay that began the current run; none for the first run, and for one that was begun by hand.
    pub replay: Option<u64>,
    /// The attempts that have ended, oldest first, so far as they were asked for.
    pub attempts: Vec<AttemptRecord>,
    /// Why the last attempt failed or was interrupted; none unless the job is retrying or dead-lettered.
    pub last_error: Option<String>,
    /// When the next attempt is or was due; none unless the job is waiting.
    pub next_attempt_at: Option<Timestamp>,
    /// Its lease; none unless the job is processing.
    pub lease: Option<HeldLease>,
}

impl WebhookView {
    /// Completes what the store has with the policies in force.
    pub(super) fn new(detail: WebhookDetail, policies: &Policies) -> Self {
        let WebhookDetail { mut status, payload, content_type, headers, verdict, traceparent, jobs } = detail;
        let jobs = status.jobs.iter().zip(jobs).map(|(job, detail)| {
            let policy = policies.get(&job.route);
            JobView {
                route: job.route.clone(),
                handler: policy.map(|policy| policy.handler.to_string()),
                status: job.status,
                attempt_count: job.attempt_count,
                max_attempts: policy.map_or(job.attempt_count, |policy| {
                    detail.uncounted_attempts.saturating_add(policy.retry.max_attempts())
                }),
                available_at: detail.available_at,
                completed_at: detail.completed_at,
                result: detail.result,
                run: detail.run,
                replay: detail.replay,
                attempts: detail.attempts,
                last_error: job.last_error.clone(),
                next_attempt_at: job.next_attempt_at,
                lease: detail.lease,
            }
        });
        let mut jobs = jobs.collect::<Vec<_>>();
        jobs.sort_by_key(|job| policies.place(&job.route));
        arrange(&mut status, policies);
        Self { status, payload, content_type, headers, verdict, traceparent, jobs }
    }

    /// How many bytes the payload has; none once its retention is over.
    pub fn payload_size(&self) -> Option<u64> {
        self.payload.as_ref().map(|payload| payload.len() as u64)
    }

    /// The fields that describe the first job.
    pub fn first_job(&self) -> FirstJob {
        let accepted_at = self.status.accepted_at;
        match self.jobs.first().cloned() {
            Some(JobView { max_attempts, available_at, completed_at, result, attempts, .. }) => {
                FirstJob { max_attempts, available_at, completed_at, result, attempts }
            }
            None => FirstJob {
                max_attempts: 0,
                available_at: accepted_at,
                completed_at: Some(accepted_at),
                result: None,
                attempts: Vec::new(),
            },
        }
    }
}

/// Puts the jobs of a webhook into the order of the settings.
pub(super) fn arrange(webhook: &mut WebhookStatus, policies: &Policies) {
    if webhook.jobs.len() > 1 {
        webhook.jobs.sort_by_key(|job| policies.place(&job.route));
    }
}
