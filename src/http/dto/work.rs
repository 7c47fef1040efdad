//! What workers ask for, and what they are answered. Members that are missing have their default here: the service refuses
//! it together with all else that is wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::payload::Shown;
use super::{StatusWord, Time};
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::http::members::{Object, duration};
use crate::service::work::{
    Completed, ExtendRequest, ExtendedLease, Failed, FinishRequest, FinishedJob, JobOutcome, LeaseRequest,
    PulledJob,
};

/// Which jobs to lease. Durations are written as a whole number and one of the units `d`, `h`, `m`, `s` and `ms`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseJobsRequest)]
pub(in crate::http) struct LeaseJobsBody {
    /// The names of 1 to 100 routes whose handler is `pull`.
    #[serde(default)]
    #[schema(required = true)]
    routes: Vec<String>,
    /// The name of the worker, for the history of attempts: 1 to 128 characters without spaces and control
    /// characters. Leases belong to it: extend them and report outcomes under the same name. Give each worker that
    /// runs a name of its own, such as its host name and process id.
    #[serde(default)]
    #[schema(required = true, example = "worker-1")]
    worker: String,
    /// The most jobs to lease: 1 to 100; 0 means 10. Ask for as many as the worker can run at once.
    #[serde(default)]
    max_jobs: u32,
    /// How long to wait if no job can start: at most 30 s. Absent means not at all.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>, example = "20s")]
    wait: Option<Duration>,
    /// How long the leases last: 1 s to 12 h; absent means 60 s. Cut to the shortest `timeout` of these routes.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>, example = "60s")]
    lease: Option<Duration>,
}

impl From<LeaseJobsBody> for LeaseRequest {
    fn from(body: LeaseJobsBody) -> Self {
        let LeaseJobsBody { routes, worker, max_jobs, wait, lease } = body;
        Self { routes, worker, max_jobs, wait, lease }
    }
}

/// The jobs that were leased.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LeaseJobsResponse {
    /// The jobs, those that are due longest first. Empty if none could start within `wait`. Their payloads have at
    /// most 2 MiB together, or it is one job.
    jobs: Vec<LeasedJobBody>,
}

impl From<Vec<PulledJob>> for LeaseJobsResponse {
    fn from(jobs: Vec<PulledJob>) -> Self {
        Self { jobs: jobs.into_iter().map(Into::into).collect() }
    }
}

/// A job that the worker holds until `lease_until`. Of `payload`, `payload_text` and `payload_base64`, one is there until
/// the retention of the payload is over.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeasedJob)]
struct LeasedJobBody {
    /// Names the lease in the other two calls. The text means nothing else.
    lease: String,
    /// The webhook's id, a UUIDv7. It is the same for all routes and runs.
    #[schema(format = Uuid)]
    webhook_id: String,
    /// The key of outside effects: the same for every attempt of a run, and different for every other webhook, route
    /// or run.
    delivery_id: String,
    /// The route of the job.
    route: String,
    /// The source of the webhook.
    source: String,
    /// The sender's key.
    idempotency_key: String,
    /// The event type.
    event_type: String,
    /// The payload as received, but without the white space around it, if `content_type` is a type of JSON and the payload
    /// is valid JSON, nests at most 128 levels deep, and has no half of a surrogate pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Any other payload that is UTF-8, as a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<String>,
    /// Any other payload, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    /// The content type of the payload.
    content_type: String,
    /// The span that accepted the webhook, as a W3C `traceparent`, so that the worker can continue the trace.
    traceparent: String,
    /// The number of the attempt, over all runs of the job; 1 for the first.
    attempt: u32,
    /// The number of the run: 1 at first, and one more with every retry by hand and every replay.
    run: u32,
    /// When the lease ends, unless it is extended.
    #[schema(value_type = String, format = DateTime)]
    lease_until: Time,
}

impl From<PulledJob> for LeasedJobBody {
    fn from(job: PulledJob) -> Self {
        let PulledJob { lease, lease_until, delivery_id, job } = job;
        let shown = Shown::new(job.payload, &job.content_type);
        Self {
            lease,
            webhook_id: job.lease.job.webhook.to_string(),
            delivery_id,
            route: job.route.to_string(),
            source: job.source.to_string(),
            idempotency_key: job.idempotency_key.to_string(),
            event_type: job.event_type.to_string(),
            payload: shown.json,
            payload_text: shown.text,
            payload_base64: shown.base64,
            content_type: job.content_type.as_str().to_owned(),
            traceparent: job.traceparent.as_str().to_owned(),
            attempt: job.attempt,
            run: job.run,
            lease_until: Time(lease_until),
        }
    }
}

/// Which leases to extend.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExtendLeasesRequest)]
pub(in crate::http) struct ExtendLeasesBody {
    /// The name of the worker, as in `/v1/work/lease`.
    #[serde(default)]
    #[schema(required = true, example = "worker-1")]
    worker: String,
    /// 1 to 100 leases, each once.
    #[serde(default)]
    #[schema(required = true)]
    leases: Vec<String>,
    /// How long the leases last from now: 1 s to 12 h; absent means 60 s.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>, example = "60s")]
    lease: Option<Duration>,
}

impl From<ExtendLeasesBody> for ExtendRequest {
    fn from(body: ExtendLeasesBody) -> Self {
        let ExtendLeasesBody { worker, leases, lease } = body;
        Self { worker, leases, lease }
    }
}

/// The result of each extension.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ExtendLeasesResponse {
    /// One for each lease of the request, in its order.
    leases: Vec<ExtendedLeaseBody>,
}

impl From<Vec<ExtendedLease>> for ExtendLeasesResponse {
    fn from(leases: Vec<ExtendedLease>) -> Self {
        let leases = leases.into_iter().map(|ExtendedLease { lease, until }| ExtendedLeaseBody {
            lease,
            held: until.is_some(),
            lease_until: until.map(Time),
        });
        Self { leases: leases.collect() }
    }
}

/// The result of extending a lease.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExtendedLease)]
struct ExtendedLeaseBody {
    /// The lease.
    lease: String,
    /// False if the lease was lost, is not of this worker, or the `timeout` of its route is used up. Stop working on
    /// the job.
    held: bool,
    /// When the lease ends, unless it is extended again; null unless `held`.
    #[schema(value_type = Option<String>, format = DateTime)]
    lease_until: Option<Time>,
}

/// The outcomes to record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FinishJobsRequest)]
pub(in crate::http) struct FinishJobsBody {
    /// The name of the worker, as in `/v1/work/lease`.
    #[serde(default)]
    #[schema(required = true, example = "worker-1")]
    worker: String,
    /// 1 to 100 outcomes, one for each lease. The body has at most 8 MiB.
    #[serde(default)]
    #[schema(required = true, value_type = Vec<JobOutcomeBody>)]
    outcomes: Vec<Object<JobOutcomeBody>>,
}

impl TryFrom<FinishJobsBody> for FinishRequest {
    type Error = Error;

    fn try_from(body: FinishJobsBody) -> Result<Self> {
        let outcomes = body.outcomes.into_iter().enumerate();
        let outcomes = outcomes.map(|(at, Object(outcome))| outcome.read(at)).collect::<Result<_>>()?;
        Ok(Self { worker: body.worker, outcomes })
    }
}

/// How an attempt ended. One of `completed` and `failed` is required.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobOutcome)]
struct JobOutcomeBody {
    /// The lease of the job.
    lease: String,
    /// The job is done.
    #[schema(value_type = Option<CompletedBody>)]
    completed: Option<Object<CompletedBody>>,
    /// The attempt failed.
    #[schema(value_type = Option<FailedBody>)]
    failed: Option<Object<FailedBody>>,
}

/// A job that is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CompletedJob)]
struct CompletedBody {
    /// The result: any JSON value of at most 64 KiB that nests at most 128 levels deep and has no half of a surrogate pair;
    /// it is kept as it is written. Absent means null.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<Box<RawValue>>,
}

/// An attempt that failed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FailedJob)]
struct FailedBody {
    /// Why it failed, for people; cut off after 2,000 characters.
    #[serde(default)]
    #[schema(example = "the bank is closed")]
    error: String,
    /// The delay before the next attempt, at most 30 days; absent: `retry` of the route decides. No meaning if
    /// `permanent`, or no attempts are left.
    #[serde(default, deserialize_with = "duration")]
    #[schema(value_type = Option<String>, example = "30s")]
    retry_after: Option<Duration>,
    /// Whether no other attempt can help: the job is then a dead letter.
    #[serde(default)]
    permanent: bool,
}

impl JobOutcomeBody {
    /// Reads the outcome at this place of the request.
    fn read(self, at: usize) -> Result<JobOutcome> {
        let failed = self.failed.map(|Object(FailedBody { error, retry_after, permanent })| Failed {
            error,
            retry_after,
            permanent,
        });
        let completed = self.completed.map(|Object(CompletedBody { result })| {
            let result = result.as_deref().map_or("", RawValue::get);
            Completed::new(format!("outcomes[{at}].completed.result"), result)
        });
        Ok(JobOutcome { lease: self.lease, completed: completed.transpose()?, failed })
    }
}

/// The result of each report.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct FinishJobsResponse {
    /// One for each outcome of the request, in its order.
    jobs: Vec<FinishedJobBody>,
}

impl From<Vec<FinishedJob>> for FinishJobsResponse {
    fn from(jobs: Vec<FinishedJob>) -> Self {
        let jobs = jobs.into_iter().map(|FinishedJob { lease, status }| FinishedJobBody {
            lease,
            recorded: status.is_some(),
            status: status.map(Status::as_str),
        });
        Self { jobs: jobs.collect() }
    }
}

/// The result of reporting an outcome.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FinishedJob)]
struct FinishedJobBody {
    /// The lease.
    lease: String,
    /// False if the outcome does not count: the lease was lost, or is not of this worker, or its outcome was recorded
    /// before, by a call whose answer was lost.
    recorded: bool,
    /// The status of the job after the outcome: `completed`, `retrying` or `dead_lettered`. Null unless `recorded`.
    #[schema(value_type = Option<StatusWord>)]
    status: Option<&'static str>,
}
