//! Decides which routes match a webhook: first by globs of its source and event type, then by a condition in
//! CEL.
//!
//! Pure: knows only `domain`. Routes are compiled once, when the settings are read. Matching runs in the task
//! that accepts the webhook. The body is parsed at most once, and only if a route whose globs match uses it.

mod body;
mod condition;
pub mod glob;
mod incoming;
mod meter;
mod metered;
mod order;
mod pointer;
mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cel::Env;

use self::condition::Condition;
use self::glob::Names;
pub use self::incoming::Incoming;
use self::incoming::Look;
use self::order::order_value;
use self::pointer::Pointer;
pub use self::settings::{Member, Mistake, RouteSettings};
use crate::domain::policy::Policies;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::Source;

/// Compiled routes. The default has no routes, so that every webhook is filtered.
#[derive(Debug, Default)]
pub struct Routes {
    /// In the order of the settings, without the fallback.
    routes: Vec<Route>,
    fallback: Option<Route>,
    policies: Arc<Policies>,
}

/// How often the condition of a route could not be evaluated since the settings were last read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many webhooks did not match for that reason.
    pub count: u64,
    /// Why the last evaluation failed.
    pub last_error: Option<String>,
}

struct Route {
    settings: Arc<RouteSettings>,
    sources: Names,
    event_types: Names,
    condition: Option<Condition>,
    order_by: Option<Pointer>,
    failed: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Routes {
    /// Compiles routes, in the order of the settings. Errors: every mistake in them.
    pub fn new(settings: Vec<RouteSettings>) -> Result<Self, Vec<Mistake>> {
        let settings = settings.into_iter().map(Arc::new).collect::<Vec<_>>();
        let mut compiling = Compiling::default();
        let mut routes = Vec::with_capacity(settings.len());
        let mut fallback = None;
        for (at, settings) in settings.iter().enumerate() {
            let route = compiling.route(at, settings);
            if settings.fallback { fallback = fallback.or(Some(route)) } else { routes.push(route) }
        }
        if !compiling.mistakes.is_empty() {
            return Err(compiling.mistakes);
        }
        let policies = Policies::new(settings.iter().map(|settings| settings.policy.clone()));
        Ok(Self { routes, fallback, policies: Arc::new(policies) })
    }

    /// The policies of the routes.
    pub fn policies(&self) -> Arc<Policies> {
        Arc::clone(&self.policies)
    }

    /// A job for every route that matches the webhook, in the order of the settings.
    pub fn jobs_of(&self, webhook: &Incoming<'_>) -> Vec<NewJob> {
        let look = Look::new(webhook);
        let jobs = self.routes.iter().filter_map(|route| route.job_of(&look)).collect::<Vec<_>>();
        if jobs.is_empty() {
            return self.fallback.iter().filter_map(|route| route.job_of(&look)).collect();
        }
        jobs
    }

    /// Whether any route names the source of hookbox's own webhooks, and so may take alerts.
    pub fn take_alerts(&self) -> bool {
        self.routes.iter().any(|route| route.sources.has_literal(Source::OWN))
    }

    /// The settings of a route; none if there is no such route.
    pub fn settings(&self, route: &RouteName) -> Option<Arc<RouteSettings>> {
        self.find(route).map(|route| Arc::clone(&route.settings))
    }

    /// The failed evaluations of a route's condition; none if there is no such route.
    pub fn failures(&self, route: &RouteName) -> Option<Failures> {
        let route = self.find(route)?;
        Some(Failures {
            count: route.failed.load(Ordering::Relaxed),
            last_error: route.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    fn find(&self, name: &RouteName) -> Option<&Route> {
        self.routes.iter().chain(&self.fallback).find(|route| route.name() == name)
    }
}

impl Route {
    fn name(&self) -> &RouteName {
        &self.settings.policy.route
    }

    fn job_of(&self, look: &Look<'_, '_>) -> Option<NewJob> {
        let source = look.webhook.source.as_str();
        let admitted = self.sources.matches(source)
            && self.event_types.matches(look.webhook.event_type.as_str())
            && (!look.webhook.source.is_own() || self.sources.has_literal(source));
        let matches = admitted && self.condition.as_ref().is_none_or(|condition| self.holds(condition, look));
        matches.then(|| NewJob {
            route: self.name().clone(),
            order: self.order_by.as_ref().and_then(|pointer| order_value(pointer.find(look.body())?)),
        })
    }

    /// Whether the condition is true. If it cannot be evaluated, counts a failure and returns false.
    fn holds(&self, condition: &Condition, look: &Look<'_, '_>) -> bool {
        let variables = look.variables(condition);
        let holds = condition.holds(&variables);
        look.spent.set(look.spent.get() + variables.meter.spent());
        holds.unwrap_or_else(|mut error| {
            if condition.needs_body
                && let Some(why) = look.body_not_parsed()
            {
                error = format!("{error}; {why}");
            }
            self.failed.fetch_add(1, Ordering::Relaxed);
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            false
        })
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("name", self.name()).finish_non_exhaustive()
    }
}

/// Compiles routes one by one, and collects the mistakes.
#[derive(Default)]
struct Compiling {
    names: HashSet<RouteName>,
    has_fallback: bool,
    environment: OnceLock<Arc<Env>>,
    mistakes: Vec<Mistake>,
}

impl Compiling {
    fn route(&mut self, at: usize, settings: &Arc<RouteSettings>) -> Route {
        if !self.names.insert(settings.policy.route.clone()) {
            self.wrong(at, Member::Name, None, "unique, but an earlier route has this name");
        }
        self.check_globs(at, Member::Source, &settings.sources, glob::check_source);
        self.check_globs(at, Member::EventType, &settings.event_types, glob::check);
        if settings.fallback {
            self.check_fallback(at, settings);
        }
        Route {
            settings: Arc::clone(settings),
            sources: Names::new(&settings.sources),
            event_types: Names::new(&settings.event_types),
            condition: settings.condition.as_ref().and_then(|text| self.condition(at, text)),
            order_by: settings.order_by.as_ref().and_then(|text| {
                Pointer::parse(text).map_err(|problem| self.wrong(at, Member::OrderBy, None, problem)).ok()
            }),
            failed: AtomicU64::new(0),
            last_error: Mutex::new(None),
        }
    }

    fn check_globs(
        &mut self,
        at: usize,
        member: fn(usize) -> Member,
        globs: &[String],
        check: fn(&str) -> Result<(), String>,
    ) {
        for (item, glob) in globs.iter().enumerate() {
            if let Err(problem) = check(glob) {
                self.wrong(at, member(item), None, problem);
            }
        }
    }

    fn check_fallback(&mut self, at: usize, settings: &RouteSettings) {
        if std::mem::replace(&mut self.has_fallback, true) {
            self.wrong(at, Member::Fallback, None, "false, because an earlier route is the fallback");
        }
        if settings.has_match() || settings.condition.is_some() {
            let problem = "false if the route has `match` or `where`: the fallback gets every webhook that no other route \
                           matches";
            self.wrong(at, Member::Fallback, None, problem);
        }
    }

    fn condition(&mut self, at: usize, text: &str) -> Option<Condition> {
        // Cannot fail: the environment is built from constants, and a test builds it.
        let environment = self.environment.get_or_init(|| Arc::new(meter::environment().unwrap_or_default()));
        let problems = match Condition::compile(text, environment) {
            Ok(condition) => return Some(condition),
            Err(problems) => problems,
        };
        for (offset, problem) in problems {
            self.wrong(at, Member::Where, offset, problem);
        }
        None
    }

    fn wrong(&mut self, route: usize, member: Member, offset: Option<usize>, allowed: impl Into<String>) {
        self.mistakes.push(Mistake { route, member, offset, allowed: allowed.into() });
    }
}
