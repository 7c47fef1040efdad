//! The operations: retry, replay, cancel, pause, resume, move and cancel jobs of routes that are gone, reload.

use std::sync::Arc;

use super::Service;
use super::actions::to_its_end;
use super::reload::Reload;
use crate::domain::action::ActionKind;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::route::RouteName;
use crate::domain::webhook::{Source, WebhookName, WebhookStatus};
use crate::store::{ActionTarget, Moved, NewPause, Pause, PauseTarget};

/// The target of a request to pause or resume: a route, a source, or everything if neither is given.
/// Errors: `InvalidField` if both are given, or a name is not valid. An empty name is refused, so that a
/// missing value does not pause everything.
pub fn pause_target(route: Option<String>, source: Option<String>) -> Result<PauseTarget> {
    match (route, source) {
        (None, None) => Ok(PauseTarget::Everything),
        (Some(route), None) => Ok(PauseTarget::Route(RouteName::new(route)?)),
        (None, Some(source)) => Ok(PauseTarget::Source(Source::new(source)?)),
        (Some(_), Some(_)) => Err(Error::invalid(
            "source",
            "and `route` are both given; give one of them, or neither for everything",
        )),
    }
}

/// What an operator does with the jobs of a webhook.
#[derive(Clone, Copy, Debug)]
enum ByHand {
    Retry,
    Replay,
    Cancel,
}

impl Service {
    /// Starts a new run of the dead-lettered and cancelled jobs of a webhook, or only of the job of `route`.
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if no
    /// job is dead-lettered or cancelled, or the payload is past its retention.
    pub async fn retry(&self, name: WebhookName, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.act_on(ByHand::Retry, name, route).await
    }

    /// Starts a new run of the finished jobs of a webhook, or only of the job of `route`: completed, dead-lettered and
    /// cancelled ones. Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus`
    /// if no job is finished, or the payload is past its retention.
    pub async fn replay_webhook(&self, name: WebhookName, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.act_on(ByHand::Replay, name, route).await
    }

    /// Cancels the waiting and dead-lettered jobs of a webhook, or only the job of `route`.
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if
    /// every job is processing or completed, or there are no jobs.
    pub async fn cancel(&self, name: WebhookName, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.act_on(ByHand::Cancel, name, route).await
    }

    async fn act_on(
        &self,
        what: ByHand,
        name: WebhookName,
        route: Option<RouteName>,
    ) -> Result<WebhookStatus> {
        let id = self.id_to_act_on(name.clone(), route.as_ref()).await?;
        let service = self.clone();
        let webhook = to_its_end(async move {
            let store = &service.store;
            let (kind, webhook) = match what {
                ByHand::Retry => (ActionKind::RetryWebhook, store.retry(id, route.clone()).await?),
                ByHand::Replay => (ActionKind::ReplayWebhook, store.replay_webhook(id, route.clone()).await?),
                ByHand::Cancel => (ActionKind::CancelWebhook, store.cancel(id, route.clone()).await?),
            };
            let source = Some(webhook.source.clone());
            let target = ActionTarget { webhook: Some(id), route, source, ..ActionTarget::default() };
            service.record(kind, target, None).await;
            Ok(webhook)
        });
        Ok(self.arranged(self.seen(webhook.await?, &name)?))
    }

    /// Keeps jobs from starting, in all replicas, until they are resumed. Pausing a paused target again keeps the time
    /// at which its pause began; actor and reason are then those of this call. Errors: `RouteNotFound` if a route is not
    /// in the settings and never had a job; `RouteNotFound` and `SourceNotFound` for what the caller does not see;
    /// `Forbidden` for what is not the caller's alone.
    pub async fn pause(&self, target: PauseTarget) -> Result<Pause> {
        self.check_target(&target)?;
        if let PauseTarget::Route(route) = &target {
            self.check_known(route).await?;
        }
        let service = self.clone();
        let pausing = to_its_end(async move {
            let (actor, reason) = (service.caller.name(), service.reason.clone());
            let pause = service.store.pause(NewPause { target, actor: actor.to_owned(), reason }).await?;
            tracing::info!(actor, pause.target = %pause.target, "paused; jobs do not start until the target is resumed");
            service.record(ActionKind::Pause, pause.target.clone().into(), None).await;
            Ok(pause)
        });
        pausing.await
    }

    /// Ends a pause, and closes the breaker of a route. False if the target was not paused. Errors: `RouteNotFound` if a
    /// route was not paused, is not in the settings and never had a job; `RouteNotFound`, `SourceNotFound` and
    /// `Forbidden` as for [`pause`](Self::pause).
    pub async fn resume(&self, target: PauseTarget) -> Result<bool> {
        self.check_target(&target)?;
        let service = self.clone();
        let resuming = to_its_end(async move {
            let resumed = service.store.resume(target.clone()).await?;
            if resumed {
                tracing::info!(actor = service.caller.name(), pause.target = %target, "resumed");
            } else if let PauseTarget::Route(route) = &target {
                service.check_known(route).await?;
            }
            // Of a route, its breaker is closed in any case.
            if resumed || matches!(target, PauseTarget::Route(_)) {
                service.record(ActionKind::Resume, target.into(), None).await;
            }
            Ok(resumed)
        });
        resuming.await
    }

    /// Moves all waiting jobs of a route that is gone from the settings to a route of the settings, in
    /// several transactions: after an error some may already be moved.
    /// Errors: `RouteNotFound` if `from` never had a job, or `to` is not in the settings; `RouteInForce` if
    /// `from` is in the settings.
    pub async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved> {
        self.check_route(&from)?;
        self.check_route(&to)?;
        self.check_gone(&from, "moved").await?;
        if self.settings.routes().policies().get(&to).is_none() {
            let detail = format!(
                "the route `{to}`, which is to get the jobs, is not in the settings; name one that is"
            );
            return Err(Error::new(Reason::RouteNotFound, detail));
        }
        let service = self.clone();
        let moving = to_its_end(async move {
            let (all, end) = service.move_all(&from, &to).await;
            let Moved { moved: jobs, cancelled } = all;
            if end.is_ok() {
                tracing::info!(actor = service.caller.name(), %from, %to, jobs, cancelled, "moved the jobs of a route");
            }
            if end.is_ok() || all != Moved::default() {
                let detail = format!("jobs moved to the route {to}: {jobs}; jobs cancelled: {cancelled}");
                service.record(ActionKind::MoveJobs, PauseTarget::Route(from).into(), Some(detail)).await;
            }
            end.map(|()| all)
        });
        moving.await
    }

    /// Moves jobs until none are left. Returns what it has moved, also after an error.
    async fn move_all(&self, from: &RouteName, to: &RouteName) -> (Moved, Result<()>) {
        let mut all = Moved::default();
        loop {
            match self.store.move_jobs(from.clone(), to.clone()).await {
                Ok(step) if step == Moved::default() => return (all, Ok(())),
                Ok(Moved { moved, cancelled }) => {
                    all = Moved { moved: all.moved + moved, cancelled: all.cancelled + cancelled };
                }
                Err(error) => return (all, Err(error)),
            }
        }
    }

    /// Cancels all waiting jobs of a route that is gone from the settings, and returns how many. Uses several
    /// transactions: after an error some may already be cancelled.
    /// Errors: `RouteNotFound` if `route` never had a job; `RouteInForce` if it is in the settings.
    pub async fn cancel_jobs(&self, route: RouteName) -> Result<usize> {
        self.check_route(&route)?;
        self.check_gone(&route, "cancelled").await?;
        let service = self.clone();
        let cancelling = to_its_end(async move {
            let (jobs, end) = service.cancel_all(&route).await;
            if end.is_ok() {
                tracing::info!(actor = service.caller.name(), %route, jobs, "cancelled the jobs of a route");
            }
            if end.is_ok() || jobs > 0 {
                let detail = format!("jobs cancelled: {jobs}");
                service.record(ActionKind::CancelJobs, PauseTarget::Route(route).into(), Some(detail)).await;
            }
            end.map(|()| jobs)
        });
        cancelling.await
    }

    /// Cancels jobs until none are left. Returns how many it has cancelled, also after an error.
    async fn cancel_all(&self, route: &RouteName) -> (usize, Result<()>) {
        let mut all = 0;
        loop {
            match self.store.cancel_jobs(route.clone()).await {
                Ok(0) => return (all, Ok(())),
                Ok(step) => all += step,
                Err(error) => return (all, Err(error)),
            }
        }
    }

    /// Reads the settings again and puts their routes, sources and tokens in force. Logs the result.
    /// Errors: `SettingsInvalid`, or those of the store; then the settings in force stay. `Forbidden` for a caller who is
    /// limited.
    pub async fn reload(&self) -> Result<Reload> {
        self.check_unlimited("a reload acts on all of them")?;
        let service = self.clone();
        to_its_end(async move { service.reload_to_its_end().await }).await
    }

    /// The settings in force, as `hookbox config` prints them: without anything secret.
    pub fn settings_text(&self) -> Arc<str> {
        self.settings.text()
    }

    async fn reload_to_its_end(&self) -> Result<Reload> {
        let reload = self.settings.reload(self.store.as_ref(), &self.access).await.inspect_err(|error| {
            tracing::error!(error = %error, "the settings were not reloaded; those in force stay");
        })?;
        self.metrics.alerts().want(self.settings.routes().take_alerts());
        self.receiving.keep(&self.sources());
        tracing::info!(
            actor = self.caller.name(),
            routes = reload.routes,
            needs_restart = reload.needs_restart.join(", "),
            "the settings are reloaded"
        );
        let detail = format!("routes in force: {}", reload.routes);
        self.record(ActionKind::ReloadSettings, ActionTarget::default(), Some(detail)).await;
        Ok(reload)
    }

    /// Refuses a route that is in the settings, and a route that never had a job. `done` is the operation as
    /// a participle, for the text of the error.
    async fn check_gone(&self, route: &RouteName, done: &str) -> Result<()> {
        if self.settings.routes().policies().get(route).is_some() {
            return Err(Error::new(
                Reason::RouteInForce,
                format!(
                    "the route `{route}` is in the settings; jobs can be {done} all at once only if their route is gone. \
                     Pause the route, or take it out of the settings and reload every replica first"
                ),
            ));
        }
        self.check_known(route).await
    }

    pub(super) async fn check_known(&self, route: &RouteName) -> Result<()> {
        let is_known = self.settings.routes().policies().get(route).is_some()
            || self.store.stats().await?.queues.iter().any(|queue| queue.route == *route);
        if is_known { Ok(()) } else { Err(route_not_found(route)) }
    }
}

pub(super) fn route_not_found(route: &RouteName) -> Error {
    Error::new(
        Reason::RouteNotFound,
        format!(
            "there is no route `{route}`, neither in the settings nor with jobs; GET /v1/routes, in gRPC ListRoutes, lists them"
        ),
    )
}
