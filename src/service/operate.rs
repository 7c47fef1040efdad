//! What operators ask for.

use super::Service;
use super::reload::Reload;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::webhook::{Source, WebhookStatus};
use crate::store::{Moved, Pause, PauseTarget};

/// What a request to pause or resume names: a route, a source, or neither for everything. An empty name
/// is refused, so that a missing value does not pause everything.
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
    /// Runs dead-lettered or cancelled jobs of a webhook again: that of `route`, or all.
    pub async fn retry(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        Ok(self.arranged(self.store.retry(id, route).await?))
    }

    /// Cancels waiting jobs of a webhook, and gives up dead letters: that of `route`, or all.
    pub async fn cancel(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        Ok(self.arranged(self.store.cancel(id, route).await?))
    }

    /// Keeps jobs from starting, in all replicas, until they are resumed.
    /// Errors: `RouteNotFound`.
    pub async fn pause(&self, target: PauseTarget) -> Result<Pause> {
        if let PauseTarget::Route(route) = &target {
            self.check_known(route).await?;
        }
        let pause = self.store.pause(target).await?;
        tracing::info!(pause.target = %pause.target, "paused; jobs are kept until it is resumed");
        Ok(pause)
    }

    /// Lets jobs start again. False if the target was not paused.
    pub async fn resume(&self, target: PauseTarget) -> Result<bool> {
        let resumed = self.store.resume(target.clone()).await?;
        if resumed {
            tracing::info!(pause.target = %target, "resumed");
        }
        Ok(resumed)
    }

    /// Moves all waiting jobs of a route that the settings do not have to one that they have.
    /// Errors: `RouteNotFound`; `RouteInForce` if `from` is in the settings.
    pub async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved> {
        self.check_gone(&from, "moved").await?;
        if self.routes.get().policies().get(&to).is_none() {
            return Err(route_not_found(&to));
        }
        let mut all = Moved::default();
        loop {
            let step = self.store.move_jobs(from.clone(), to.clone()).await?;
            if step == Moved::default() {
                tracing::info!(%from, %to, jobs = all.moved, cancelled = all.cancelled, "moved the jobs of a route");
                return Ok(all);
            }
            all = Moved { moved: all.moved + step.moved, cancelled: all.cancelled + step.cancelled };
        }
    }

    /// Cancels all waiting jobs of a route that the settings do not have. Answers how many.
    /// Errors: `RouteNotFound`; `RouteInForce` if `route` is in the settings.
    pub async fn cancel_jobs(&self, route: RouteName) -> Result<usize> {
        self.check_gone(&route, "cancelled").await?;
        let mut all = 0;
        loop {
            match self.store.cancel_jobs(route.clone()).await? {
                0 => break,
                step => all += step,
            }
        }
        tracing::info!(%route, jobs = all, "cancelled the jobs of a route");
        Ok(all)
    }

    /// Reads the settings anew and takes their routes in. Errors: `SettingsInvalid`.
    pub async fn reload(&self) -> Result<Reload> {
        let reload = self.routes.reload(self.store.as_ref()).await.inspect_err(|error| {
            tracing::error!(error = %error, "the settings were not reloaded; those in force stay");
        })?;
        tracing::info!(
            routes = reload.routes,
            needs_restart = reload.needs_restart.join(", "),
            "the settings are reloaded"
        );
        Ok(reload)
    }

    /// Refuses a route that is in the settings: its jobs can be paused, or cancelled one by one.
    async fn check_gone(&self, route: &RouteName, done: &str) -> Result<()> {
        if self.routes.get().policies().get(route).is_some() {
            return Err(Error::new(
                Reason::RouteInForce,
                format!(
                    "the route `{route}` is in the settings; only jobs of a route that is gone are {done} all at once. \
                     Pause the route, or take it out of the settings and reload them first"
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

fn route_not_found(route: &RouteName) -> Error {
    Error::new(
        Reason::RouteNotFound,
        format!(
            "there is no route `{route}`, neither in the settings nor with jobs; GET /v1/routes lists them"
        ),
    )
}
