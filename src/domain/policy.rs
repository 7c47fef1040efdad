//! How the jobs of a route are run. The policy that is in force when an attempt ends decides about its job.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::breaker::BreakerPolicy;
use super::handler::{HandlerSettings, IDLE_CONNECTIONS};
use super::job::{Rules, Status};
use super::retry::RetryPolicy;
use super::route::{OnDeadLetter, OnInterrupt, Rate, RouteName};

/// How the jobs of a route are run. Jobs have no copy of it, so a changed policy also holds for waiting jobs.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The route.
    pub route: RouteName,
    /// The handler, and its settings.
    pub handler: HandlerSettings,
    /// How long an attempt may run; none: without a limit.
    pub timeout: Option<Duration>,
    /// How many jobs may run at once, over all replicas; none: without a limit.
    pub concurrency: Option<NonZeroU32>,
    /// How many attempts may start, over all replicas, spread evenly; none: without a limit.
    pub rate: Option<Rate>,
    /// When a failed job is tried again, and how often.
    pub retry: RetryPolicy,
    /// Whether jobs behind a dead letter of the same order value wait or start.
    pub on_dead_letter: OnDeadLetter,
    /// How a job goes on if its attempt started and was interrupted.
    pub on_interrupt: OnInterrupt,
}

impl Policy {
    /// The rules after an attempt with this number within its run, 1 for the first.
    pub fn rules(&self, attempt_of_run: u32) -> Rules {
        Rules { attempts_left: attempt_of_run < self.retry.max_attempts(), on_interrupt: self.on_interrupt }
    }

    /// The circuit breaker of the route; none if its handler has none, or it is turned off.
    pub fn breaker(&self) -> Option<&BreakerPolicy> {
        match &self.handler {
            HandlerSettings::Http(http) => Some(&http.breaker).filter(|breaker| breaker.failures > 0),
            _ => None,
        }
    }

    /// Whether a job in this status keeps the jobs behind it, with the same order value, from starting.
    pub fn blocks(&self, status: Status) -> bool {
        status == Status::DeadLettered && self.on_dead_letter == OnDeadLetter::Block
    }

    /// Whether workers elsewhere lease the jobs, so that hookbox runs nothing.
    pub fn is_pulled(&self) -> bool {
        matches!(self.handler, HandlerSettings::Pull)
    }

    /// How many connections to the target of the route may wait for a request. So many are only opened by attempts that
    /// run at once.
    fn idle_connections(&self, workers: usize) -> usize {
        if !matches!(self.handler, HandlerSettings::Http(_)) {
            return 0;
        }
        let at_once = self.concurrency.map_or(workers, |most| workers.min(most.get() as usize));
        at_once.min(IDLE_CONNECTIONS)
    }

    /// A policy of unit tests, without limits. A failed job is due at once, up to three attempts.
    #[cfg(test)]
    pub(crate) fn unlimited(route: RouteName) -> Self {
        Self {
            route,
            handler: HandlerSettings::default(),
            timeout: None,
            concurrency: None,
            rate: None,
            retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO, 3),
            on_dead_letter: OnDeadLetter::Block,
            on_interrupt: OnInterrupt::Retry,
        }
    }
}

/// The policies in force, in the order of the settings.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    policies: Vec<Arc<Policy>>,
    by_route: HashMap<RouteName, usize>,
}

impl Policies {
    /// Takes policies in the order of the settings. The names of their routes are distinct.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        Self::of(policies.into_iter().map(Arc::new).collect())
    }

    /// These policies, and those of `others` for the routes that these do not have.
    #[must_use]
    pub fn and_missing(&self, others: &Self) -> Self {
        let missing = others.iter().filter(|other| self.get(&other.route).is_none());
        let policies = self.iter().chain(missing).cloned().collect::<Vec<_>>();
        Self::of(policies)
    }

    fn of(policies: Vec<Arc<Policy>>) -> Self {
        let by_route = policies.iter().enumerate().map(|(at, policy)| (policy.route.clone(), at)).collect();
        Self { policies, by_route }
    }

    /// The policy of a route; none if the route is gone from the settings.
    pub fn get(&self, route: &RouteName) -> Option<&Arc<Policy>> {
        self.by_route.get(route).map(|at| &self.policies[*at])
    }

    /// The place of a route in the settings, from 0; `usize::MAX` if it is gone, so that it sorts last.
    pub fn place(&self, route: &RouteName) -> usize {
        self.by_route.get(route).copied().unwrap_or(usize::MAX)
    }

    /// How many files of hookbox handlers may keep open: every worker runs an attempt of the same route, and the
    /// connections to the targets of the other routes still wait for requests.
    pub fn open_files(&self, workers: usize) -> usize {
        let all_idle = self.iter().map(|policy| policy.idle_connections(workers)).sum::<usize>();
        let of_route = |policy: &Arc<Policy>| {
            let of_attempts = workers.saturating_mul(policy.handler.open_files());
            of_attempts.saturating_add(all_idle - policy.idle_connections(workers))
        };
        self.iter().map(of_route).max().unwrap_or(0)
    }

    /// Every policy, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }
}

/// The policies in force, which a reload replaces.
#[derive(Debug, Default)]
pub struct PoliciesInForce(RwLock<Arc<Policies>>);

impl PoliciesInForce {
    /// Puts these policies in force first.
    pub fn new(policies: Arc<Policies>) -> Self {
        Self(RwLock::new(policies))
    }

    /// The policies in force now.
    pub fn get(&self) -> Arc<Policies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other policies in force.
    pub fn set(&self, policies: Arc<Policies>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policies;
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::domain::handler::Http;

    fn http(route: &str, concurrency: Option<u32>) -> Policy {
        let http = Http {
            url: Url::parse("http://hooks.example/").expect("valid"),
            is_url_secret: false,
            headers: Vec::new(),
            secrets: Vec::new(),
            allow: Vec::new(),
            ca: None,
            retry_after_cap: None,
            breaker: BreakerPolicy::default(),
        };
        Policy {
            handler: HandlerSettings::Http(Arc::new(http)),
            concurrency: concurrency.and_then(NonZeroU32::new),
            ..Policy::unlimited(RouteName::new(route).expect("valid"))
        }
    }

    fn policies(routes: &[(&str, u32)]) -> Policies {
        Policies::new(routes.iter().map(|(route, attempts)| Policy {
            retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO, *attempts),
            ..Policy::unlimited(RouteName::new(*route).expect("valid"))
        }))
    }

    #[test]
    fn attempts_and_idle_connections_keep_files_open() {
        let files = |policies: Vec<Policy>, workers| Policies::new(policies).open_files(workers);
        assert_eq!(files(vec![Policy::unlimited(RouteName::default())], 512), 0);
        assert_eq!(files(vec![http("a", None)], 512), 512, "its idle connections are those of its attempts");
        assert_eq!(files(vec![http("a", None), http("b", None)], 512), 512 + 256);
        assert_eq!(files(vec![http("a", Some(4)), http("b", Some(4))], 512), 512 + 4);
        assert_eq!(files(vec![http("a", None), http("b", None), http("c", None)], 8), 24);
    }

    #[test]
    fn missing_routes_are_added_and_others_stay_as_they_are() {
        let both = policies(&[("new", 1), ("kept", 2)]).and_missing(&policies(&[("kept", 3), ("old", 4)]));
        let found = both.iter().map(|policy| (policy.route.as_str(), policy.retry.max_attempts()));
        assert_eq!(found.collect::<Vec<_>>(), [("new", 1), ("kept", 2), ("old", 4)]);
        assert_eq!(both.place(&RouteName::new("old").expect("valid")), 2);
    }
}
