//! Converts what workers ask for, and what they are answered.

use std::time::Duration;

use super::payload::payload;
use super::{status, time};
use crate::domain::error::{Error, Result};
use crate::grpc::proto;
use crate::grpc::proto::job_outcome::Outcome;
use crate::service::work::{
    Completed, ExtendRequest, ExtendedLease, Failed, FinishRequest, FinishedJob, JobOutcome, LeaseRequest,
    PulledJob,
};

pub(in crate::grpc) fn lease_request(request: proto::LeaseJobsRequest) -> Result<LeaseRequest> {
    Ok(LeaseRequest {
        routes: request.routes,
        worker: request.worker,
        max_jobs: request.max_jobs,
        wait: duration("wait", request.wait)?,
        lease: duration("lease", request.lease)?,
    })
}

pub(in crate::grpc) fn extend_request(request: proto::ExtendLeasesRequest) -> Result<ExtendRequest> {
    let lease = duration("lease", request.lease)?;
    Ok(ExtendRequest { worker: request.worker, leases: request.leases, lease })
}

pub(in crate::grpc) fn finish_request(request: proto::FinishJobsRequest) -> Result<FinishRequest> {
    let outcomes = request.outcomes.into_iter().enumerate();
    let outcomes = outcomes.map(|(at, outcome)| job_outcome(at, outcome)).collect::<Result<_>>()?;
    Ok(FinishRequest { worker: request.worker, outcomes })
}

fn job_outcome(at: usize, outcome: proto::JobOutcome) -> Result<JobOutcome> {
    let (completed, failed) = match outcome.outcome {
        Some(Outcome::Completed(proto::CompletedJob { result_json })) => {
            let field = format!("outcomes[{at}].completed.result_json");
            (Some(Completed::new(field, &result_json)?), None)
        }
        Some(Outcome::Failed(proto::FailedJob { error, retry_after, permanent })) => {
            let retry_after = duration(format!("outcomes[{at}].failed.retry_after"), retry_after)?;
            (None, Some(Failed { error, retry_after, permanent }))
        }
        None => (None, None),
    };
    Ok(JobOutcome { lease: outcome.lease, completed, failed })
}

pub(in crate::grpc) fn leased_job(job: PulledJob) -> proto::LeasedJob {
    let PulledJob { lease, lease_until, delivery_id, job } = job;
    let (payload_json, payload_bytes) = payload(job.payload, &job.content_type);
    proto::LeasedJob {
        lease,
        webhook_id: job.lease.job.webhook.to_string(),
        delivery_id,
        route: job.route.to_string(),
        source: job.source.to_string(),
        idempotency_key: job.idempotency_key.to_string(),
        event_type: job.event_type.to_string(),
        payload_json,
        traceparent: job.traceparent.as_str().to_owned(),
        attempt: job.attempt,
        run: job.run,
        lease_until: Some(time(lease_until)),
        payload_bytes,
        content_type: job.content_type.as_str().to_owned(),
    }
}

pub(in crate::grpc) fn extended_lease(lease: ExtendedLease) -> proto::ExtendedLease {
    let ExtendedLease { lease, until } = lease;
    proto::ExtendedLease { lease, held: until.is_some(), lease_until: until.map(time) }
}

pub(in crate::grpc) fn finished_job(job: FinishedJob) -> proto::FinishedJob {
    proto::FinishedJob {
        lease: job.lease,
        recorded: job.status.is_some(),
        status: job.status.map(|word| status(word).into()),
    }
}

fn duration(field: impl Into<String>, given: Option<prost_types::Duration>) -> Result<Option<Duration>> {
    let read = |duration: prost_types::Duration| {
        let (seconds, nanos) = (u64::try_from(duration.seconds).ok()?, u32::try_from(duration.nanos).ok()?);
        (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
    };
    given
        .map(|given| read(given).ok_or_else(|| Error::invalid(field, "must be a duration of at least 0")))
        .transpose()
}
