//! `hookbox.v1.OperationService`: each method reads its request, calls the service, and answers.

use std::future::Future;

use tonic::Request;

use super::answer::{Answer, answer, traceparent_of};
use super::proto::operation_service_server::OperationService;
use super::{Api, convert, proto};
use crate::domain::action::ActionReason;
use crate::domain::error::Result;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::service::{Service, pause_target};

/// The implementation of `OperationService`.
#[derive(Clone, Debug)]
pub(super) struct Operations(pub(super) Api);

impl Operations {
    /// This, on behalf of the caller of a request.
    fn of<T>(&self, request: &Request<T>) -> Self {
        Self(self.0.on_behalf_of_caller(request))
    }

    /// The use cases for the field `reason` of a request.
    fn because(&self, reason: Option<String>) -> Result<Service> {
        Ok(self.0.service.because(ActionReason::of_field(reason)?))
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
impl OperationService for Operations {
    async fn list_routes(
        &self,
        request: Request<proto::ListRoutesRequest>,
    ) -> Answer<proto::ListRoutesResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ListRoutes", request, |_| async {
                operations.0.service.routes().await.map(convert::routes)
            })
            .await
    }

    async fn list_sources(
        &self,
        request: Request<proto::ListSourcesRequest>,
    ) -> Answer<proto::ListSourcesResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ListSources", request, |_| async {
                operations.0.service.source_list().await.map(convert::sources)
            })
            .await
    }

    async fn get_source(
        &self,
        request: Request<proto::GetSourceRequest>,
    ) -> Answer<proto::GetSourceResponse> {
        let operations = &self.of(&request);
        operations
            .answer("GetSource", request, |proto::GetSourceRequest { source }| async {
                operations.0.service.source_detail(&Source::new(source)?).await.map(convert::source_detail)
            })
            .await
    }

    async fn list_rejections(
        &self,
        request: Request<proto::ListRejectionsRequest>,
    ) -> Answer<proto::ListRejectionsResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ListRejections", request, |proto::ListRejectionsRequest { source }| async {
                operations.0.service.rejections(&Source::new(source)?).map(convert::rejections)
            })
            .await
    }

    async fn pause(&self, request: Request<proto::PauseRequest>) -> Answer<proto::Pause> {
        let operations = &self.of(&request);
        operations
            .answer("Pause", request, |proto::PauseRequest { route, source, reason }| async {
                let service = operations.because(reason)?;
                service.pause(pause_target(route, source)?).await.map(convert::pause)
            })
            .await
    }

    async fn resume(&self, request: Request<proto::ResumeRequest>) -> Answer<proto::ResumeResponse> {
        let operations = &self.of(&request);
        operations
            .answer("Resume", request, |proto::ResumeRequest { route, source, reason }| async {
                let was_paused = operations.because(reason)?.resume(pause_target(route, source)?).await?;
                Ok(proto::ResumeResponse { was_paused })
            })
            .await
    }

    async fn list_pauses(
        &self,
        request: Request<proto::ListPausesRequest>,
    ) -> Answer<proto::ListPausesResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ListPauses", request, |_| async {
                let pauses = operations.0.service.pauses().await?;
                Ok(proto::ListPausesResponse { pauses: pauses.into_iter().map(convert::pause).collect() })
            })
            .await
    }

    async fn move_jobs(&self, request: Request<proto::MoveJobsRequest>) -> Answer<proto::MoveJobsResponse> {
        let operations = &self.of(&request);
        operations
            .answer("MoveJobs", request, |proto::MoveJobsRequest { from, to, reason }| async {
                let (from, to) = (RouteName::required("from", from)?, RouteName::required("to", to)?);
                let moved = operations.because(reason)?.move_jobs(from, to).await?;
                Ok(proto::MoveJobsResponse { moved: moved.moved as u64, cancelled: moved.cancelled as u64 })
            })
            .await
    }

    async fn cancel_jobs(
        &self,
        request: Request<proto::CancelJobsRequest>,
    ) -> Answer<proto::CancelJobsResponse> {
        let operations = &self.of(&request);
        operations
            .answer("CancelJobs", request, |proto::CancelJobsRequest { route, reason }| async {
                let cancelled =
                    operations.because(reason)?.cancel_jobs(RouteName::required("route", route)?).await?;
                Ok(proto::CancelJobsResponse { cancelled: cancelled as u64 })
            })
            .await
    }

    async fn start_replay(&self, request: Request<proto::StartReplayRequest>) -> Answer<proto::Replay> {
        let operations = &self.of(&request);
        operations
            .answer("StartReplay", request, |request| async move {
                let proto::StartReplayRequest { filter, reason, rate, dry_run } = request;
                let (filter, rate, dry_run) = convert::start_replay(filter, rate, dry_run)?;
                let service = operations.because(reason)?;
                service.start_replay(filter, rate, dry_run).await.map(convert::replay)
            })
            .await
    }

    async fn get_replay(&self, request: Request<proto::GetReplayRequest>) -> Answer<proto::Replay> {
        let operations = &self.of(&request);
        operations
            .answer("GetReplay", request, |proto::GetReplayRequest { number }| async move {
                operations.0.service.replay(number).await.map(convert::replay)
            })
            .await
    }

    async fn list_replays(
        &self,
        request: Request<proto::ListReplaysRequest>,
    ) -> Answer<proto::ListReplaysResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ListReplays", request, |request| async {
                let (before, limit) = convert::list_replays(request)?;
                operations.0.service.replays(before, limit).await.map(convert::replays)
            })
            .await
    }

    async fn cancel_replay(&self, request: Request<proto::CancelReplayRequest>) -> Answer<proto::Replay> {
        let operations = &self.of(&request);
        operations
            .answer("CancelReplay", request, |proto::CancelReplayRequest { number, reason }| async move {
                operations.because(reason)?.cancel_replay(number).await.map(convert::replay)
            })
            .await
    }

    async fn list_actions(
        &self,
        request: Request<proto::ListActionsRequest>,
    ) -> Answer<proto::ListActionsResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ListActions", request, |request| async {
                operations.0.service.actions(convert::action_query(request)?).await.map(convert::actions)
            })
            .await
    }

    async fn reload_settings(
        &self,
        request: Request<proto::ReloadSettingsRequest>,
    ) -> Answer<proto::ReloadSettingsResponse> {
        let operations = &self.of(&request);
        operations
            .answer("ReloadSettings", request, |proto::ReloadSettingsRequest { reason }| async {
                let reload = operations.because(reason)?.reload().await?;
                let routes = u32::try_from(reload.routes).unwrap_or(u32::MAX);
                Ok(proto::ReloadSettingsResponse { routes, needs_restart: reload.needs_restart })
            })
            .await
    }
}
