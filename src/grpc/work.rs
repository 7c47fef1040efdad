//! `hookbox.v1.WorkService`: each method reads its request, calls the service, and answers.

use std::future::Future;
use std::sync::Arc;

use prost::Message as _;
use tonic::{Request, Response};

use super::answer::{Answer, answer, traceparent_of};
use super::proto::work_service_server::WorkService;
use super::{Api, convert, proto};
use crate::domain::error::Result;
use crate::service::apart;
use crate::service::work::payload_bytes;

/// The implementation of `WorkService`.
#[derive(Clone, Debug)]
pub(super) struct Work(pub(super) Api);

impl Work {
    /// This, on behalf of the caller of a request.
    fn of<T>(&self, request: &Request<T>) -> Self {
        Self(self.0.on_behalf_of_caller(request))
    }

    async fn answer<R, T, F>(
        &self,
        method: &'static str,
        request: Request<R>,
        call: impl FnOnce(R) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T>>,
    {
        let incoming = traceparent_of(&request);
        answer(&self.0, method, incoming, |_| call(request.into_inner())).await
    }
}

#[tonic::async_trait]
impl WorkService for Work {
    async fn lease_jobs(
        &self,
        request: Request<proto::LeaseJobsRequest>,
    ) -> Answer<proto::LeaseJobsResponse> {
        let work = &self.of(&request);
        let answer = work.answer("LeaseJobs", request, |request| async {
            let (jobs, unsent) = work.0.service.lease_jobs(convert::lease_request(request)?).await?;
            let bytes = payload_bytes(&jobs);
            let jobs = apart(bytes, || jobs.into_iter().map(convert::leased_job).collect::<Vec<_>>()).await;
            Ok((proto::LeaseJobsResponse { jobs }, unsent))
        });
        let (metadata, (response, unsent), mut extensions) = answer.await?.into_parts();
        extensions.insert(Arc::new(unsent));
        Ok(Response::from_parts(metadata, response, extensions))
    }

    async fn extend_leases(
        &self,
        request: Request<proto::ExtendLeasesRequest>,
    ) -> Answer<proto::ExtendLeasesResponse> {
        let work = &self.of(&request);
        work.answer("ExtendLeases", request, |request| async {
            let leases = work.0.service.extend_leases(convert::extend_request(request)?).await?;
            let leases = leases.into_iter().map(convert::extended_lease).collect();
            Ok(proto::ExtendLeasesResponse { leases })
        })
        .await
    }

    async fn finish_jobs(
        &self,
        request: Request<proto::FinishJobsRequest>,
    ) -> Answer<proto::FinishJobsResponse> {
        let work = &self.of(&request);
        work.answer("FinishJobs", request, |request| async {
            let _room = work.0.bodies.try_room(request.encoded_len())?;
            let jobs = work.0.service.finish_jobs(convert::finish_request(request)?).await?;
            Ok(proto::FinishJobsResponse { jobs: jobs.into_iter().map(convert::finished_job).collect() })
        })
        .await
    }
}
