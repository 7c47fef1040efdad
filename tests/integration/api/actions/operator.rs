//! An operator with a token who acts over one of the APIs, each time for a reason.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use crate::api::access::{Bearer, bearer, grpc, rest, secret};
use crate::api::harness::Hookbox;
use crate::api::harness::client::{Answer, Rest};

/// The API to act over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Over {
    Rest,
    Grpc,
}

/// What to do: to a webhook by its id, or to routes by their names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act<'a> {
    Retry(&'a str),
    /// Of this route only.
    Replay(&'a str, &'a str),
    Cancel(&'a str),
    Release(&'a str),
    Discard(&'a str),
    Pause(&'a str),
    Resume(&'a str),
    MoveJobs(&'a str, &'a str),
    CancelJobs(&'a str),
    Reload,
    /// Slowly, so that it does not end.
    StartReplay(&'a str),
    CancelReplay(u64),
}

type Service = InterceptedService<Channel, Bearer>;

/// See the module.
pub(super) struct Operator {
    over: Over,
    rest: Rest,
    webhooks: WebhookServiceClient<Service>,
    operations: OperationServiceClient<Service>,
}

impl Operator {
    /// With the token of this name.
    pub(super) fn new(hookbox: &Hookbox, name: &str, over: Over) -> Self {
        let operations = OperationServiceClient::with_interceptor(hookbox.channel(), bearer(&secret(name)));
        Self { over, rest: rest(hookbox, name), webhooks: grpc(hookbox, name), operations }
    }

    /// Does something that has to succeed.
    pub(super) async fn does(&mut self, act: Act<'_>, reason: &str) {
        match self.over {
            Over::Rest => self.does_by_rest(act, reason).await,
            Over::Grpc => self.does_by_grpc(act, reason).await,
        }
    }

    /// All actions that gRPC lists.
    pub(super) async fn actions(&mut self) -> Vec<proto::Action> {
        let request = proto::ListActionsRequest::default();
        self.operations.list_actions(request).await.unwrap().into_inner().actions
    }

    async fn does_by_rest(&self, act: Act<'_>, reason: &str) {
        let query = format!("reason={}", reason.replace(' ', "%20"));
        let path = match act {
            Act::Retry(id) => format!("/v1/webhooks/{id}/retry?{query}"),
            Act::Replay(id, route) => format!("/v1/webhooks/{id}/replay?route={route}&{query}"),
            Act::Cancel(id) => format!("/v1/webhooks/{id}/cancel?{query}"),
            Act::Release(id) => format!("/v1/webhooks/{id}/release?{query}"),
            Act::Discard(id) => format!("/v1/webhooks/{id}/discard?{query}"),
            Act::Pause(route) => format!("/v1/pause?route={route}&{query}"),
            Act::Resume(route) => format!("/v1/resume?route={route}&{query}"),
            Act::MoveJobs(from, to) => format!("/v1/routes/{from}/move?to={to}&{query}"),
            Act::CancelJobs(route) => format!("/v1/routes/{route}/cancel?{query}"),
            Act::Reload => format!("/v1/settings/reload?{query}"),
            Act::StartReplay(_) => "/v1/replays".to_owned(),
            Act::CancelReplay(number) => format!("/v1/replays/{number}/cancel?{query}"),
        };
        let mut request = self.rest.request(Method::POST, &path);
        if let Act::StartReplay(route) = act {
            let body = json!({ "filter": { "route": route }, "rate": "1/h", "reason": reason });
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = Answer::of(request).await;
        assert!((200..300).contains(&answer.status), "{act:?}: {}", answer.text);
    }

    async fn does_by_grpc(&mut self, act: Act<'_>, reason: &str) {
        let reason = Some(reason.to_owned());
        let (webhooks, operations) = (&mut self.webhooks, &mut self.operations);
        let done = match act {
            Act::Retry(id) => {
                let request = proto::RetryWebhookRequest { id: id.to_owned(), reason, ..Default::default() };
                webhooks.retry_webhook(request).await.map(drop)
            }
            Act::Replay(id, route) => {
                let route = Some(route.to_owned());
                let request =
                    proto::ReplayWebhookRequest { id: id.to_owned(), route, reason, ..Default::default() };
                webhooks.replay_webhook(request).await.map(drop)
            }
            Act::Cancel(id) => {
                let request = proto::CancelWebhookRequest { id: id.to_owned(), reason, ..Default::default() };
                webhooks.cancel_webhook(request).await.map(drop)
            }
            Act::Release(id) => {
                let request = proto::ReleaseWebhookRequest { id: id.to_owned(), reason };
                webhooks.release_webhook(request).await.map(drop)
            }
            Act::Discard(id) => {
                let request = proto::DiscardWebhookRequest { id: id.to_owned(), reason };
                webhooks.discard_webhook(request).await.map(drop)
            }
            Act::Pause(route) => {
                let request = proto::PauseRequest { route: Some(route.to_owned()), source: None, reason };
                operations.pause(request).await.map(drop)
            }
            Act::Resume(route) => {
                let request = proto::ResumeRequest { route: Some(route.to_owned()), source: None, reason };
                operations.resume(request).await.map(drop)
            }
            Act::MoveJobs(from, to) => {
                let request = proto::MoveJobsRequest { from: from.to_owned(), to: to.to_owned(), reason };
                operations.move_jobs(request).await.map(drop)
            }
            Act::CancelJobs(route) => {
                let request = proto::CancelJobsRequest { route: route.to_owned(), reason };
                operations.cancel_jobs(request).await.map(drop)
            }
            Act::Reload => {
                operations.reload_settings(proto::ReloadSettingsRequest { reason }).await.map(drop)
            }
            Act::StartReplay(route) => {
                let filter =
                    Some(proto::ReplayFilter { route: Some(route.to_owned()), ..Default::default() });
                let rate = Some("1/h".to_owned());
                let request = proto::StartReplayRequest { filter, reason, rate, dry_run: false };
                operations.start_replay(request).await.map(drop)
            }
            Act::CancelReplay(number) => {
                operations.cancel_replay(proto::CancelReplayRequest { number, reason }).await.map(drop)
            }
        };
        done.unwrap_or_else(|status| panic!("{act:?}: {status}"));
    }
}
