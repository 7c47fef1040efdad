//! `hookbox.v1.WebhookService`: each method reads its request, calls the service, and answers.

use std::future::Future;

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument;
use tracing::field::Empty;

use super::proto::submit_webhooks_response::Result as PipelineResult;
use super::proto::webhook_service_server::WebhookService;
use super::{Api, convert, proto, status};
use crate::domain::error::{Error, Result};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::WebhookName;
use crate::telemetry::trace;

/// Requests of one pipeline that are under way at once; more wait in the sender.
const PIPELINE_DEPTH: usize = 256;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Webhooks(pub(super) Api);

type Answer<T> = std::result::Result<Response<T>, Status>;

impl Webhooks {
    /// Answers a call: in a span of the caller's trace, counted, with its error made a status.
    async fn answer<T, F>(
        &self,
        method: &'static str,
        incoming: Option<Traceparent>,
        call: impl FnOnce(Traceparent) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Result<T>>,
    {
        let span = tracing::info_span!(
            "call",
            otel.name = format!("hookbox.v1.WebhookService/{method}"),
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system = "grpc",
            rpc.service = "hookbox.v1.WebhookService",
            rpc.method = method,
            rpc.grpc.status_code = Empty,
            hookbox.webhook.id = Empty,
        );
        let traceparent = trace::join(&span, incoming.as_ref());
        let trace_id = traceparent.trace_id().to_owned();
        let answer = call(traceparent)
            .instrument(span.clone())
            .await
            .map_err(|error| status::status(&error, &trace_id));
        let code = answer.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok);
        span.record("rpc.grpc.status_code", i64::from(code as i32));
        if matches!(code, tonic::Code::Internal | tonic::Code::Unavailable) {
            span.record("otel.status_code", "ERROR");
        }
        self.0.service.counters().answered("grpc", method, &format!("{code:?}"));
        answer.map(Response::new)
    }

    async fn submit(
        &self,
        request: proto::SubmitWebhookRequest,
        traceparent: Traceparent,
    ) -> Result<proto::SubmitWebhookResponse> {
        let webhook = convert::new_webhook(request, self.0.max_body_bytes, traceparent)?;
        let accepted = self.0.service.submit(webhook).await.outcome?;
        tracing::Span::current().record("hookbox.webhook.id", tracing::field::display(accepted.webhook.id));
        Ok(convert::accepted(accepted))
    }

    /// One request of a pipeline: refused ones are answered, they do not end the stream.
    async fn submit_of_pipeline(
        self,
        request: proto::SubmitWebhookRequest,
        incoming: Option<Traceparent>,
    ) -> proto::SubmitWebhooksResponse {
        let idempotency_key = request.idempotency_key.clone();
        let mut refusal = None;
        let answer = self
            .answer("SubmitWebhooks", incoming, |traceparent| async {
                self.submit(request, traceparent).await.inspect_err(|error| {
                    refusal = Some(proto::SubmitError {
                        code: status::code_of(error.reason()) as i32,
                        reason: error.reason().as_str().to_owned(),
                        message: error.detail().to_owned(),
                        idempotency_key,
                        retry_after_ms: error
                            .retry_delay()
                            .map_or(0, |delay| delay.as_millis().max(1) as u64),
                    });
                })
            })
            .await;
        let result = match answer {
            Ok(accepted) => Some(PipelineResult::Accepted(accepted.into_inner())),
            Err(_) => refusal.map(PipelineResult::Error),
        };
        proto::SubmitWebhooksResponse { result }
    }
}

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn submit_webhook(
        &self,
        request: Request<proto::SubmitWebhookRequest>,
    ) -> Answer<proto::SubmitWebhookResponse> {
        let incoming = traceparent_of(&request);
        self.answer("SubmitWebhook", incoming, |traceparent| self.submit(request.into_inner(), traceparent))
            .await
    }

    type SubmitWebhooksStream =
        BoxStream<'static, std::result::Result<proto::SubmitWebhooksResponse, Status>>;

    async fn submit_webhooks(
        &self,
        request: Request<Streaming<proto::SubmitWebhookRequest>>,
    ) -> Answer<Self::SubmitWebhooksStream> {
        let incoming = traceparent_of(&request);
        let webhooks = self.clone();
        let answers = request
            .into_inner()
            .take_until(self.0.stopping.clone().cancelled_owned())
            .map(move |request| {
                let (webhooks, incoming) = (webhooks.clone(), incoming.clone());
                async move { Ok(webhooks.submit_of_pipeline(request?, incoming).await) }
            })
            .buffered(PIPELINE_DEPTH);
        Ok(Response::new(answers.boxed()))
    }

    async fn get_status(&self, request: Request<proto::GetStatusRequest>) -> Answer<proto::WebhookStatus> {
        self.answer("GetStatus", traceparent_of(&request), |_| async {
            let proto::GetStatusRequest { id, idempotency_key, source } = request.into_inner();
            let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
            self.0.service.status(name).await.map(convert::webhook_status)
        })
        .await
    }

    async fn get_webhook(&self, request: Request<proto::GetWebhookRequest>) -> Answer<proto::Webhook> {
        self.answer("GetWebhook", traceparent_of(&request), |_| async {
            let id = request.into_inner().id.parse()?;
            self.0.service.webhook(id).await.map(convert::webhook)
        })
        .await
    }

    async fn list_webhooks(
        &self,
        request: Request<proto::ListWebhooksRequest>,
    ) -> Answer<proto::ListWebhooksResponse> {
        self.answer("ListWebhooks", traceparent_of(&request), |_| async {
            let query = convert::list_query(request.into_inner())?;
            self.0.service.list(query).await.map(convert::page)
        })
        .await
    }

    type WatchStatusStream = BoxStream<'static, std::result::Result<proto::WebhookStatus, Status>>;

    async fn watch_status(
        &self,
        request: Request<proto::WatchStatusRequest>,
    ) -> Answer<Self::WatchStatusStream> {
        self.answer("WatchStatus", traceparent_of(&request), |traceparent| async move {
            let proto::WatchStatusRequest { id, idempotency_key, source } = request.into_inner();
            let name = WebhookName::from_fields(&id, &idempotency_key, &source)?;
            let changes = self.0.service.watch(name).await?;
            let stopping = self.0.stopping.clone();
            let trace_id = traceparent.trace_id().to_owned();
            let ended = trace_id.clone();
            // A stream that the shutdown cuts off before its end says so.
            let cut_off = async move {
                stopping.cancelled().await;
                Err(status::status(&Error::shutting_down(), &ended))
            };
            let changes = changes.map(move |change| {
                change.map(convert::webhook_status).map_err(|error| status::status(&error, &trace_id))
            });
            Ok(until(changes, cut_off).boxed())
        })
        .await
    }

    async fn retry_webhook(
        &self,
        request: Request<proto::RetryWebhookRequest>,
    ) -> Answer<proto::WebhookStatus> {
        self.answer("RetryWebhook", traceparent_of(&request), |_| async {
            let id = request.into_inner().id.parse()?;
            self.0.service.retry(id).await.map(convert::webhook_status)
        })
        .await
    }

    async fn cancel_webhook(
        &self,
        request: Request<proto::CancelWebhookRequest>,
    ) -> Answer<proto::WebhookStatus> {
        self.answer("CancelWebhook", traceparent_of(&request), |_| async {
            let id = request.into_inner().id.parse()?;
            self.0.service.cancel(id).await.map(convert::webhook_status)
        })
        .await
    }

    async fn get_stats(&self, request: Request<proto::GetStatsRequest>) -> Answer<proto::GetStatsResponse> {
        self.answer("GetStats", traceparent_of(&request), |_| async {
            self.0.service.stats().await.map(convert::stats)
        })
        .await
    }
}

fn traceparent_of<T>(request: &Request<T>) -> Option<Traceparent> {
    Traceparent::parse(request.metadata().get("traceparent")?.to_str().ok()?)
}

/// The items of a stream, and as its last one what `last` says if that is ready first.
fn until<T: Send + 'static>(
    items: impl futures::Stream<Item = T> + Send + 'static,
    last: impl Future<Output = T> + Send + 'static,
) -> impl futures::Stream<Item = T> + Send + 'static {
    let last = futures::stream::once(last).map(|item| (item, true));
    let items = items.map(|item| (item, false)).chain(futures::stream::empty());
    futures::stream::unfold(
        (Box::pin(items), Box::pin(last), false),
        |(mut items, mut last, over)| async move {
            if over {
                return None;
            }
            tokio::select! {
                item = items.next() => item.map(|(item, over)| (item, (items, last, over))),
                item = last.next() => item.map(|(item, over)| (item, (items, last, over))),
            }
        },
    )
}
