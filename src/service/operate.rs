//! The operations: retry, cancel, pause, resume, move and cancel jobs of routes that are gone, reload.

use tracing::Instrument as _;

use super::Service;
use super::reload::Reload;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::route::RouteName;
use crate::domain::webhook::{Source, WebhookName, WebhookStatus};
use crate::store::{Moved, Pause, PauseTarget};

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

impl Service {
    /// Starts a new run of the dead-lettered and cancelled jobs of a webhook, or only of the job of `route`.
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if no
    /// job is dead-lettered or cancelled, or the payload is past its retention.
    pub async fn retry(&self, name: WebhookName, route: Option<RouteName>) -> Result<WebhookStatus> {
        let id = self.id_to_act_on(name.clone(), route.as_ref()).await?;
        Ok(self.arranged(self.seen(self.store.retry(id, route).await?, &name)?))
    }

    /// Cancels the waiting and dead-lettered jobs of a webhook, or only the job of `route`.
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if
    /// every job is processing or completed, or there are no jobs.
    pub async fn cancel(&self, name: WebhookName, route: Option<RouteName>) -> Result<WebhookStatus> {
        let id = self.id_to_act_on(name.clone(), route.as_ref()).await?;
        Ok(self.arranged(self.seen(self.store.cancel(id, route).await?, &name)?))
    }

    /// Keeps jobs from starting, in all replicas, until they are resumed. Pausing a paused target again
    /// returns the pause in force. Errors: `RouteNotFound` if a route is not in the settings and never had a
    /// job.
    pub async fn pause(&self, target: PauseTarget) -> Result<Pause> {
        self.check_target(&target)?;
        if let PauseTarget::Route(route) = &target {
            self.check_known(route).await?;
        }
        let pause = self.store.pause(target).await?;
        let actor = self.caller.name();
        tracing::info!(actor, pause.target = %pause.target, "paused; jobs do not start until the target is resumed");
        Ok(pause)
    }

    /// Ends a pause, and closes the breaker of a route. False if the target was not paused.
    pub async fn resume(&self, target: PauseTarget) -> Result<bool> {
        self.check_target(&target)?;
        let resumed = self.store.resume(target.clone()).await?;
        if resumed {
            tracing::info!(actor = self.caller.name(), pause.target = %target, "resumed");
        }
        Ok(resumed)
    }

    /// Moves all waiting jobs of a route that is gone from the settings to a route of the settings, in
    /// several transactions: after an error some may already be moved.
    /// Errors: `RouteNotFound` if `from` never had a job, or `to` is not in the settings; `RouteInForce` if
    /// `from` is in the settings.
    pub async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved> {
        self.check_route(&from)?;
        self.check_route(&to)?;
        self.check_gone(&from, "moved").await?;
        if self.routes.get().policies().get(&to).is_none() {
            return Err(route_not_found(&to));
        }
        let mut all = Moved::default();
        loop {
            let step = self.store.move_jobs(from.clone(), to.clone()).await?;
            if step == Moved::default() {
                let actor = self.caller.name();
                tracing::info!(actor, %from, %to, jobs = all.moved, cancelled = all.cancelled, "moved the jobs of a route");
                return Ok(all);
            }
            all = Moved { moved: all.moved + step.moved, cancelled: all.cancelled + step.cancelled };
        }
    }

    /// Cancels all waiting jobs of a route that is gone from the settings, and returns how many. Uses several
    /// transactions: after an error some may already be cancelled.
    /// Errors: `RouteNotFound` if `route` never had a job; `RouteInForce` if it is in the settings.
    pub async fn cancel_jobs(&self, route: RouteName) -> Result<usize> {
        self.check_route(&route)?;
        self.check_gone(&route, "cancelled").await?;
        let mut all = 0;
        loop {
            match self.store.cancel_jobs(route.clone()).await? {
                0 => break,
                step => all += step,
            }
        }
        tracing::info!(actor = self.caller.name(), %route, jobs = all, "cancelled the jobs of a route");
        Ok(all)
    }

    /// Reads the settings again and puts their routes, sources and tokens in force. Logs the result.
    /// Errors: `SettingsInvalid`, or those of the store; then the settings in force stay. `Forbidden` for a caller who is
    /// limited.
    pub async fn reload(&self) -> Result<Reload> {
        self.check_unlimited("a reload acts on all of them")?;
        let service = self.clone();
        // In a task of its own: a caller who goes away must not stop it halfway.
        let reloading = tokio::spawn(async move { service.reload_to_its_end().await }.in_current_span());
        reloading.await.map_err(Error::internal)?
    }

    async fn reload_to_its_end(&self) -> Result<Reload> {
        let reload = self.routes.reload(self.store.as_ref(), &self.access).await.inspect_err(|error| {
            tracing::error!(error = %error, "the settings were not reloaded; those in force stay");
        })?;
        self.metrics.alerts().want(self.routes.get().take_alerts());
        self.activity().keep(&self.sources());
        tracing::info!(
            actor = self.caller.name(),
            routes = reload.routes,
            needs_restart = reload.needs_restart.join(", "),
            "the settings are reloaded"
        );
        Ok(reload)
    }

    /// Refuses a route that is in the settings, and a route that never had a job. `done` is the operation as
    /// a participle, for the text of the error.
    async fn check_gone(&self, route: &RouteName, done: &str) -> Result<()> {
        if self.routes.get().policies().get(route).is_some() {
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

    async fn check_known(&self, route: &RouteName) -> Result<()> {
        let is_known = self.routes.get().policies().get(route).is_some()
            || self.store.stats().await?.queues.iter().any(|queue| queue.route == *route);
        if is_known { Ok(()) } else { Err(route_not_found(route)) }
    }
}

pub(super) fn route_not_found(route: &RouteName) -> Error {
    Error::new(
        Reason::RouteNotFound,
        format!(
            "there is no route `{route}`, neither in the settings nor with jobs; GET /v1/routes lists them"
        ),
    )
}
