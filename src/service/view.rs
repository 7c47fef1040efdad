//! Webhooks and jobs as clients see them: what the store keeps, and what the routes in force say.

use jiff::Timestamp;

use crate::domain::attempt::AttemptRecord;
use crate::domain::job::Status;
use crate::domain::policy::Policies;
use crate::domain::route::RouteName;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{WebhookDetail, WebhookStatus};

/// All that is known of a webhook.
#[derive(Clone, Debug)]
pub struct WebhookView {
    /// Names and status.
    pub status: WebhookStatus,
    /// The payload as it came; none once its retention is over.
    pub payload: Option<String>,
    /// The accepting span.
    pub traceparent: Traceparent,
    /// Its jobs, in the order of the settings.
    pub jobs: Vec<JobView>,
}

/// What the fields of a webhook tell that belong to one job: its first, in the order of the settings.
/// A webhook without jobs was due, and final, when it was accepted.
#[derive(Clone, Debug)]
pub struct FirstJob {
    /// How many attempts may start before it is dead-lettered, by the policy in force.
    pub max_attempts: u32,
    /// When it is, or last was, due.
    pub available_at: Timestamp,
    /// When it reached a final status.
    pub completed_at: Option<Timestamp>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// The attempts that have ended, oldest first.
    pub attempts: Vec<AttemptRecord>,
}

/// All that is known of a job.
#[derive(Clone, Debug)]
pub struct JobView {
    /// The route.
    pub route: RouteName,
    /// The handler of the route; none if the settings have no such route.
    pub handler: Option<String>,
    /// Where it stands.
    pub status: Status,
    /// How many attempts have started.
    pub attempt_count: u32,
    /// How many attempts may start before it is dead-lettered, by the policy in force.
    pub max_attempts: u32,
    /// When it is, or last was, due.
    pub available_at: Timestamp,
    /// When it reached a final status.
    pub completed_at: Option<Timestamp>,
    /// What the handler returned, as JSON.
    pub result: Option<String>,
    /// 1, and one more with every retry by hand.
    pub run: u32,
    /// The attempts that have ended, oldest first.
    pub attempts: Vec<AttemptRecord>,
}

impl WebhookView {
    /// A webhook by the policies in force.
    pub(super) fn new(detail: WebhookDetail, policies: &Policies) -> Self {
        let WebhookDetail { mut status, payload, traceparent, jobs } = detail;
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
                attempts: detail.attempts,
            }
        });
        let mut jobs = jobs.collect::<Vec<_>>();
        jobs.sort_by_key(|job| policies.place(&job.route));
        arrange(&mut status, policies);
        Self { status, payload, traceparent, jobs }
    }

    /// What the fields tell that belong to one job.
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
