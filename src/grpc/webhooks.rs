//! `hookbox.v1.WebhookService`: each method reads its request, calls the service, and answers.

use std::future::{Future, ready};
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use prost::Message as _;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::answer::{Answer, answer, answered_code, count, headers_of, kept_headers_of, run, traceparent_of};
use super::proto::submit_webhooks_response::Result as PipelineResult;
use super::proto::webhook_service_server::WebhookService;
use super::status::MAX_TEXT_BYTES;
use super::{Api, convert, proto, status};
use crate::domain::action::ActionReason;
use crate::domain::error::{Error, Result, cut};
use crate::domain::headers::KeptHeaders;
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::trace::Traceparent;
use crate::domain::webhook::WebhookName;
use crate::service::arrivals::ArrivalQuery;
use crate::service::conflicts::Via;
use crate::service::until::until;
use crate::service::{Service, apart};

/// How many requests of one stream are processed at once. Until one is done, the stream is not read further.
const PIPELINE_DEPTH: usize = 256;

/// The method of a pipeline, without and with its service.
const PIPELINE: &str = "SubmitWebhooks";
pub(super) const PIPELINE_CALL: &str = "hookbox.v1.WebhookService/SubmitWebhooks";

/// The implementation of `WebhookService`.
#[derive(Clone, Debug)]
pub(super) struct Webhooks(pub(super) Api);

impl Webhooks {
    /// This, on behalf of the caller of a request.
    fn of<T>(&self, request: &Request<T>) -> Self {
        Self(self.0.on_behalf_of_caller(request))
    }

    /// The use cases for the field `reason` of a request.
    fn because(&self, reason: Option<String>) -> Result<Service> {
        Ok(self.0.service.because(ActionReason::of_field(reason)?))
    }

    async fn answer<T, F>(
        &self,
        method: &'static str,
        incoming: Option<Traceparent>,
        call: impl FnOnce(Traceparent) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T>>,
    {
        answer(&self.0, method, incoming, call).await
    }

    async fn submit(
        &self,
        request: proto::SubmitWebhookRequest,
        metadata: &MetadataMap,
        kept: KeptHeaders,
        traceparent: Traceparent,
    ) -> Result<proto::SubmitWebhookResponse> {
        // A pipeline may last longer than its token.
        let routes = self.0.service.routes_for_caller()?;
        let (bytes, most_bytes) = (request.encoded_len(), self.0.max_body_bytes);
        let webhook = apart(bytes, || convert::new_webhook(request, most_bytes, kept, traceparent)).await;
        let webhook = webhook.inspect_err(|error| self.count_refused(error))?;
        let submitted = self.0.service.submit(webhook, &routes, &|| headers_of(metadata), Via::Grpc).await;
        let accepted = submitted.outcome?;
        tracing::Span::current().record("hookbox.webhook.id", tracing::field::display(accepted.webhook.id));
        Ok(convert::accepted(accepted))
    }

    /// Counts a submission that is refused before it is a webhook.
    fn count_refused(&self, error: &Error) {
        self.0.service.count_refused_submission(error.reason().as_str());
    }

    /// Answers one request of a stream. A refusal becomes the response and does not end the stream.
    async fn submit_of_pipeline(
        self,
        request: proto::SubmitWebhookRequest,
        metadata: Arc<MetadataMap>,
        kept: KeptHeaders,
        incoming: Option<Traceparent>,
    ) -> proto::SubmitWebhooksResponse {
        let idempotency_key = cut(&request.idempotency_key, MAX_TEXT_BYTES).into_owned();
        let mut refusal = None;
        let answer = run(PIPELINE_CALL, incoming, |traceparent| async {
            self.submit(request, &metadata, kept, traceparent).await.inspect_err(|error| {
                refusal = Some(proto::SubmitError {
                    code: status::code_of(error.reason()) as i32,
                    reason: error.reason().as_str().to_owned(),
                    message: cut(error.detail(), MAX_TEXT_BYTES).into_owned(),
                    idempotency_key,
                    retry_after_ms: error.retry_delay().map_or(0, |delay| delay.as_millis().max(1) as u64),
                    webhook_id: error.webhook().map(|id| id.to_string()).unwrap_or_default(),
                });
            })
        })
        .await;
        // These answers are small: they need no memory that could be used up.
        count(&self.0.service, PIPELINE, answered_code(&answer));
        let result = match answer {
            Ok(accepted) => Some(PipelineResult::Accepted(accepted)),
            Err(_) => refusal.map(PipelineResult::Error),
        };
        proto::SubmitWebhooksResponse { result }
    }

    /// The status that ends a pipeline whose next message tonic refuses. Counts it as the answer to that message.
    fn end_of_pipeline(&self, refused: Status) -> Status {
        let Some(explained) = status::explained(&refused) else { return refused };
        count(&self.0.service, PIPELINE, explained.code());
        explained
    }
}

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn submit_webhook(
        &self,
        request: Request<proto::SubmitWebhookRequest>,
    ) -> Answer<proto::SubmitWebhookResponse> {
        let webhooks = &self.of(&request);
        let incoming = traceparent_of(&request);
        let (metadata, _, request) = request.into_parts();
        let (metadata, kept) = (&metadata, kept_headers_of(&metadata));
        webhooks
            .answer("SubmitWebhook", incoming, |traceparent| async move {
                let room = webhooks.0.bodies.try_room(convert::memory_of(&request));
                let _room = room.inspect_err(|error| webhooks.count_refused(error))?;
                webhooks.submit(request, metadata, kept, traceparent).await
            })
            .await
    }

    type SubmitWebhooksStream =
        BoxStream<'static, std::result::Result<proto::SubmitWebhooksResponse, Status>>;

    async fn submit_webhooks(
        &self,
        request: Request<Streaming<proto::SubmitWebhookRequest>>,
    ) -> Answer<Self::SubmitWebhooksStream> {
        let webhooks = self.of(&request);
        let incoming = traceparent_of(&request);
        let (metadata, _, requests) = request.into_parts();
        let (kept, metadata) = (kept_headers_of(&metadata), Arc::new(metadata));
        let trace_id = status::trace_id_of(incoming.as_ref());
        let stopped = (*self.0.stopping).clone().cancelled_owned();
        let cut_off = stopped.map(move |()| Err(status::status(&Error::shutting_down(), &trace_id)));
        let bodies = self.0.bodies.clone();
        let answers = until(requests, cut_off)
            // Behind a message that tonic refuses, the bytes are no longer known to be messages.
            .scan(false, |has_ended, request| {
                let is_next = !std::mem::replace(has_ended, request.is_err());
                ready(is_next.then_some(request))
            })
            // Until there is memory for a request, the stream is not read further.
            .then(move |request| {
                let bodies = bodies.clone();
                async move {
                    let bytes = request.as_ref().map_or(0, convert::memory_of);
                    (request, bodies.room(bytes).await)
                }
            })
            .map(move |(request, room)| {
                let (webhooks, metadata, kept, incoming) =
                    (webhooks.clone(), Arc::clone(&metadata), kept.clone(), incoming.clone());
                async move {
                    let _room = room;
                    let request = request.map_err(|refused| webhooks.end_of_pipeline(refused))?;
                    Ok(webhooks.submit_of_pipeline(request, metadata, kept, incoming).await)
                }
            })
            .buffered(PIPELINE_DEPTH);
        Ok(Response::new(answers.boxed()))
    }

    async fn get_status(&self, request: Request<proto::GetStatusRequest>) -> Answer<proto::WebhookStatus> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("GetStatus", traceparent_of(&request), |_| async {
                let proto::GetStatusRequest { id, idempotency_key, source } = request.into_inner();
                let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
                webhooks.0.service.status(name).await.map(convert::webhook_status)
            })
            .await
    }

    async fn get_webhook(&self, request: Request<proto::GetWebhookRequest>) -> Answer<proto::Webhook> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("GetWebhook", traceparent_of(&request), |_| async {
                let proto::GetWebhookRequest { id, idempotency_key, source } = request.into_inner();
                let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
                let webhook = webhooks.0.service.webhook(name).await?;
                let bytes = webhook.payload.as_ref().map_or(0, Vec::len);
                Ok(apart(bytes, || convert::webhook(webhook)).await)
            })
            .await
    }

    async fn list_webhooks(
        &self,
        request: Request<proto::ListWebhooksRequest>,
    ) -> Answer<proto::ListWebhooksResponse> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("ListWebhooks", traceparent_of(&request), |_| async {
                let query = convert::list_query(request.into_inner())?;
                webhooks.0.service.list(query).await.map(convert::page)
            })
            .await
    }

    type WatchStatusStream = BoxStream<'static, std::result::Result<proto::WebhookStatus, Status>>;

    async fn watch_status(
        &self,
        request: Request<proto::WatchStatusRequest>,
    ) -> Answer<Self::WatchStatusStream> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("WatchStatus", traceparent_of(&request), |traceparent| async move {
                let proto::WatchStatusRequest { id, idempotency_key, source } = request.into_inner();
                let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
                let stopping = (*self.0.stopping).clone().cancelled_owned();
                let changes = webhooks.0.service.watch(name, stopping).await?;
                let changes = changes.map(move |change| {
                    change
                        .map(convert::webhook_status)
                        .map_err(|error| status::status(&error, traceparent.trace_id()))
                });
                Ok(changes.boxed())
            })
            .await
    }

    type WatchWebhooksStream = BoxStream<'static, std::result::Result<proto::WatchWebhooksResponse, Status>>;

    async fn watch_webhooks(
        &self,
        request: Request<proto::WatchWebhooksRequest>,
    ) -> Answer<Self::WatchWebhooksStream> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("WatchWebhooks", traceparent_of(&request), |traceparent| async move {
                let proto::WatchWebhooksRequest { after, source, route, event_type } = request.into_inner();
                let query = ArrivalQuery::from_fields(&after, source, route, event_type)?;
                let stopping = (*self.0.stopping).clone().cancelled_owned();
                let arrivals = webhooks.0.service.follow(query, stopping).await?;
                let arrivals = arrivals.map(move |arrival| {
                    arrival
                        .map(convert::arrival)
                        .map_err(|error| status::status(&error, traceparent.trace_id()))
                });
                Ok(arrivals.boxed())
            })
            .await
    }

    async fn retry_webhook(
        &self,
        request: Request<proto::RetryWebhookRequest>,
    ) -> Answer<proto::WebhookStatus> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("RetryWebhook", traceparent_of(&request), |_| async {
                let proto::RetryWebhookRequest { id, route, idempotency_key, source, reason } =
                    request.into_inner();
                let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
                let route = route.map(RouteName::new).transpose()?;
                webhooks.because(reason)?.retry(name, route).await.map(convert::webhook_status)
            })
            .await
    }

    async fn replay_webhook(
        &self,
        request: Request<proto::ReplayWebhookRequest>,
    ) -> Answer<proto::WebhookStatus> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("ReplayWebhook", traceparent_of(&request), |_| async {
                let proto::ReplayWebhookRequest { id, route, reason, idempotency_key, source } =
                    request.into_inner();
                let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
                let route = route.map(RouteName::new).transpose()?;
                webhooks.because(reason)?.replay_webhook(name, route).await.map(convert::webhook_status)
            })
            .await
    }

    async fn cancel_webhook(
        &self,
        request: Request<proto::CancelWebhookRequest>,
    ) -> Answer<proto::WebhookStatus> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("CancelWebhook", traceparent_of(&request), |_| async {
                let proto::CancelWebhookRequest { id, route, idempotency_key, source, reason } =
                    request.into_inner();
                let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
                let route = route.map(RouteName::new).transpose()?;
                webhooks.because(reason)?.cancel(name, route).await.map(convert::webhook_status)
            })
            .await
    }

    async fn release_webhook(
        &self,
        request: Request<proto::ReleaseWebhookRequest>,
    ) -> Answer<proto::SubmitWebhookResponse> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("ReleaseWebhook", traceparent_of(&request), |_| async {
                let proto::ReleaseWebhookRequest { id, reason } = request.into_inner();
                let id = id.parse::<WebhookId>()?;
                webhooks.because(reason)?.release(id).await.map(convert::accepted)
            })
            .await
    }

    async fn discard_webhook(
        &self,
        request: Request<proto::DiscardWebhookRequest>,
    ) -> Answer<proto::DiscardWebhookResponse> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("DiscardWebhook", traceparent_of(&request), |_| async {
                let proto::DiscardWebhookRequest { id, reason } = request.into_inner();
                let id = id.parse::<WebhookId>()?;
                webhooks.because(reason)?.discard(id).await.map(convert::discarded)
            })
            .await
    }

    async fn get_stats(&self, request: Request<proto::GetStatsRequest>) -> Answer<proto::GetStatsResponse> {
        let webhooks = &self.of(&request);
        webhooks
            .answer("GetStats", traceparent_of(&request), |_| async {
                webhooks.0.service.stats().await.map(convert::stats)
            })
            .await
    }
}
