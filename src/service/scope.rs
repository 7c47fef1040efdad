//! What the caller of a use case sees: all, or only the sources and routes that the token is limited to. Everything
//! else is as if it were not there.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};

use super::Service;
use super::reload::Snapshot;
use super::source_view::source_not_found;
use super::watch::is_over;
use crate::access::{Access, Caller};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::replay::ReplayState;
use crate::domain::route::RouteName;
use crate::domain::webhook::{Source, WebhookName, WebhookStatus};
use crate::routes::{RouteSettings, Routes};
use crate::store::{ListQuery, PauseTarget, Replay, ReplayFilter, Seen, StatusCounts, StoreStats, no_job_of};

/// Stands for names that the caller does not see.
const HIDDEN: &str = "***";

impl Service {
    /// The use cases on behalf of a caller.
    pub fn on_behalf_of(&self, caller: Arc<Caller>) -> Self {
        Self { caller, shared: Arc::clone(&self.shared), reason: None }
    }

    /// The tokens in force.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Whether the caller would still be let in. For calls that last. Errors: `Unauthenticated`.
    pub fn check_caller(&self) -> Result<()> {
        self.access.check(&self.caller)
    }

    /// The routes in force, if the tokens of the same version of the settings let the caller in. Errors:
    /// `Unauthenticated`.
    pub fn routes_for_caller(&self) -> Result<Arc<Routes>> {
        let Snapshot { routes, tokens, .. } = self.settings.snapshot(&self.access);
        tokens.check(&self.caller)?;
        Ok(routes)
    }

    /// The webhook without what the caller does not see; `WebhookNotFound` if that is all of it. `name` is what the
    /// caller has asked for.
    pub(super) fn seen(&self, mut webhook: WebhookStatus, name: &WebhookName) -> Result<WebhookStatus> {
        if self.sees(&mut webhook) { Ok(webhook) } else { Err(Error::not_found(name)) }
    }

    /// Whether the caller sees a webhook. Removes the jobs that the caller does not see.
    pub(super) fn sees(&self, webhook: &mut WebhookStatus) -> bool {
        if !self.caller.sees_source(&webhook.source) {
            return false;
        }
        if !self.caller.has_limited_routes() {
            return true;
        }
        webhook.jobs.retain(|job| self.caller.sees_route(&job.route));
        !webhook.jobs.is_empty()
    }

    /// The id of a webhook on which the caller acts, on one job or on all. Errors: `WebhookNotFound`; `RouteNotFound` if
    /// the caller does not see `route`; `Forbidden` if no route is named, and the caller does not see all jobs.
    pub(super) async fn id_to_act_on(
        &self,
        name: WebhookName,
        route: Option<&RouteName>,
    ) -> Result<WebhookId> {
        if !self.caller.is_limited() {
            return self.id_of(name).await;
        }
        let webhook = self.store.status(name.clone()).await?;
        let jobs = webhook.jobs.len();
        let webhook = self.seen(webhook, &name)?;
        match route {
            Some(route) if !self.caller.sees_route(route) => Err(no_job_of(webhook.id, route)),
            None if webhook.jobs.len() < jobs => Err(Error::new(
                Reason::Forbidden,
                format!(
                    "the webhook has jobs of routes that the token `{}` does not see; name one that it sees with `route`",
                    self.caller.name()
                ),
            )),
            _ => Ok(webhook.id),
        }
    }

    /// The query limited to what the caller sees; none if that is nothing. [`sees`](Self::sees) then removes jobs that
    /// the caller does not see.
    pub(super) fn limited_query(&self, query: &ListQuery) -> Option<ListQuery> {
        let mut limited = query.clone();
        if query.source.as_ref().is_some_and(|source| !self.caller.sees_source(source))
            || query.route.as_ref().is_some_and(|route| !self.caller.sees_route(route))
        {
            return None;
        }
        limited.source = limited.source.or_else(|| self.caller.only_source());
        limited.route = limited.route.or_else(|| self.caller.only_route());
        limited.seen = self.seen_names();
        Some(limited)
    }

    /// The sources and routes that the caller sees. The store leaves out the others before it counts what it has found,
    /// or else the length of a page would tell whether hidden webhooks match.
    fn seen_names(&self) -> Seen {
        let mut seen = Seen::default();
        if self.caller.has_limited_sources() {
            let caller = Arc::clone(&self.caller);
            seen = seen.only_sources(move |source| caller.sees_source(source));
        }
        if self.caller.has_limited_routes() {
            let caller = Arc::clone(&self.caller);
            seen = seen.only_routes(move |route| caller.sees_route(route));
        }
        seen
    }

    /// The numbers and pauses that the caller sees. Webhooks without jobs count only for a caller who sees all.
    pub(super) fn seen_stats(&self, mut stats: StoreStats) -> StoreStats {
        if self.caller.is_limited() {
            let caller = &self.caller;
            stats.queues.retain(|queue| caller.sees_route(&queue.route) && caller.sees_source(&queue.source));
            stats.pauses.retain(|pause| self.sees_target(&pause.target));
            stats.unrouted = StatusCounts::default();
        }
        stats
    }

    /// The settings of a route without the names of sources that the caller does not see in its `match`. Patterns with
    /// wildcards stay: they name no source.
    pub(super) fn seen_settings(&self, settings: Arc<RouteSettings>) -> Arc<RouteSettings> {
        let is_hidden = |glob: &str| Source::new(glob).is_ok_and(|source| !self.caller.sees_source(&source));
        if !settings.sources.iter().any(|glob| is_hidden(glob)) {
            return settings;
        }
        let mut seen = RouteSettings::clone(&settings);
        seen.sources.retain(|glob| !is_hidden(glob));
        if seen.sources.is_empty() {
            // Without patterns, the route would match every source.
            seen.sources.push(HIDDEN.to_owned());
        }
        Arc::new(seen)
    }

    /// Whether the caller sees a pause.
    pub(super) fn sees_target(&self, target: &PauseTarget) -> bool {
        match target {
            PauseTarget::Everything => true,
            PauseTarget::Route(route) => self.caller.sees_route(route),
            PauseTarget::Source(source) => self.caller.sees_source(source),
        }
    }

    /// Refuses to pause or resume what is not the caller's alone. Errors: `Forbidden`; `RouteNotFound` and `SourceNotFound`
    /// for what the caller does not see.
    pub(super) fn check_target(&self, target: &PauseTarget) -> Result<()> {
        let caller = &self.caller;
        match target {
            PauseTarget::Everything => self.check_unlimited("this acts on all of them"),
            PauseTarget::Route(route) => self.check_route(route),
            PauseTarget::Source(source) if !caller.sees_source(source) => Err(source_not_found(source)),
            PauseTarget::Source(_) if caller.has_limited_routes() => {
                Err(caller.too_limited("a source has jobs of all routes"))
            }
            PauseTarget::Source(_) => Ok(()),
        }
    }

    /// Refuses to act on all jobs of a route unless the caller sees all of them. Errors: `Forbidden`; `RouteNotFound`.
    pub(super) fn check_route(&self, route: &RouteName) -> Result<()> {
        if !self.caller.sees_route(route) {
            return Err(super::operate::route_not_found(route));
        }
        if self.caller.has_limited_sources() {
            return Err(self.caller.too_limited("a route has jobs of all sources"));
        }
        Ok(())
    }

    /// The filter limited to what the caller sees. Errors: `Forbidden`, `RouteNotFound`, `SourceNotFound`.
    pub(super) fn replayed(&self, mut filter: ReplayFilter) -> Result<ReplayFilter> {
        let caller = &self.caller;
        if caller.has_limited_sources() {
            filter.source = filter.source.or_else(|| caller.only_source());
            match &filter.source {
                None => {
                    return Err(caller.too_limited("the filter names no `source`, so it means all of them"));
                }
                Some(source) if !caller.sees_source(source) => {
                    return Err(source_not_found(source));
                }
                Some(_) => {}
            }
        }
        if caller.has_limited_routes() {
            filter.route = filter.route.or_else(|| caller.only_route());
            match &filter.route {
                None => {
                    return Err(caller.too_limited("the filter names no `route`, so it means all of them"));
                }
                Some(route) if !caller.sees_route(route) => {
                    return Err(super::operate::route_not_found(route));
                }
                Some(_) => {}
            }
        }
        Ok(filter)
    }

    /// Whether the caller sees everything that a replay is about.
    pub(super) fn sees_replay(&self, Replay { filter, .. }: &Replay) -> bool {
        let (caller, source, route) = (&self.caller, filter.source.as_ref(), filter.route.as_ref());
        (!caller.has_limited_sources() || source.is_some_and(|source| caller.sees_source(source)))
            && (!caller.has_limited_routes() || route.is_some_and(|route| caller.sees_route(route)))
    }

    /// The error of a replay that was not started. `ReplayRunning` has no number if the caller does not see the replay that
    /// is running.
    pub(super) async fn seen_refusal(&self, error: Error) -> Error {
        if !self.caller.is_limited() || error.reason() != Reason::ReplayRunning {
            return error;
        }
        // None can start while it runs, so it is the newest.
        let newest = self.store.replays(None, 1).await.unwrap_or_default();
        let is_seen = |replay: &Replay| replay.state == ReplayState::Running && self.sees_replay(replay);
        if newest.iter().any(is_seen) {
            return error;
        }
        let detail = "a replay that this token does not see is running, and replays run one at a time; wait for its end";
        Error::new(Reason::ReplayRunning, detail)
    }

    /// Refuses a caller who does not see everything. `why` says why. Errors: `Forbidden`.
    pub(super) fn check_unlimited(&self, why: &str) -> Result<()> {
        if self.caller.is_limited() { Err(self.caller.too_limited(why)) } else { Ok(()) }
    }

    /// The changes of a webhook that the caller sees, until all jobs that the caller sees are final, or the caller is
    /// no longer let in; then the last item is the error.
    pub(super) fn seen_changes(
        &self,
        changes: BoxStream<'static, Result<WebhookStatus>>,
    ) -> BoxStream<'static, Result<WebhookStatus>> {
        let state = Some((self.clone(), changes, None::<WebhookStatus>));
        stream::unfold(state, |state| async {
            let (service, mut changes, told) = state?;
            if told.as_ref().is_some_and(is_over) {
                return None;
            }
            loop {
                let change = changes.next().await?;
                match change.and_then(|status| service.check_caller().map(|()| status)) {
                    Ok(mut status) => {
                        if service.sees(&mut status) && told.as_ref() != Some(&status) {
                            return Some((Ok(status.clone()), Some((service, changes, Some(status)))));
                        }
                    }
                    Err(error) => return Some((Err(error), None)),
                }
            }
        })
        .boxed()
    }
}
