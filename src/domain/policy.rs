//! How the jobs of a route are run: the policy in force when an attempt ends decides.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::job::{Rules, Status};
use super::retry::RetryPolicy;
use super::route::{OnDeadLetter, OnInterrupt, Rate, RouteName};

/// How the jobs of a route are run. No job keeps a copy of it.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The route.
    pub route: RouteName,
    /// The handler, by its name.
    pub handler: Box<str>,
    /// How long an attempt may run.
    pub timeout: Option<Duration>,
    /// Jobs that may run at once, over all replicas.
    pub concurrency: Option<NonZeroU32>,
    /// Starts that are allowed, over all replicas, spread evenly.
    pub rate: Option<Rate>,
    /// When a failed job is tried again, and how often.
    pub retry: RetryPolicy,
    /// What an ordered key does behind a dead letter.
    pub on_dead_letter: OnDeadLetter,
    /// What becomes of an attempt that was cut off.
    pub on_interrupt: OnInterrupt,
    /// How the handler `simulate` pretends to work.
    pub simulate: Simulate,
}

/// How the handler `simulate` pretends to work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Simulate {
    /// The shortest run.
    pub min: Duration,
    /// The longest run.
    pub max: Duration,
    /// The share of attempts that fail, 0 to 1.
    pub failure_rate: f64,
}

impl Policy {
    /// What decides after the attempt of this number in its run.
    pub fn rules(&self, attempt_of_run: u32) -> Rules {
        Rules { attempts_left: attempt_of_run < self.retry.max_attempts(), on_interrupt: self.on_interrupt }
    }

    /// Whether a job in this status keeps the jobs behind it from starting.
    pub fn blocks(&self, status: Status) -> bool {
        status == Status::DeadLettered && self.on_dead_letter == OnDeadLetter::Block
    }
}

/// The policies in force, in the order of the settings.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    policies: Vec<Arc<Policy>>,
    by_route: HashMap<RouteName, usize>,
}

impl Policies {
    /// Takes policies in the order of the settings; names are unique.
    pub fn new(policies: impl IntoIterator<Item = Policy>) -> Self {
        let policies = policies.into_iter().map(Arc::new).collect::<Vec<_>>();
        let by_route = policies.iter().enumerate().map(|(at, policy)| (policy.route.clone(), at)).collect();
        Self { policies, by_route }
    }

    /// The policy of a route; none if the settings have no such route.
    pub fn get(&self, route: &RouteName) -> Option<&Arc<Policy>> {
        self.by_route.get(route).map(|at| &self.policies[*at])
    }

    /// The place of a route in the settings; routes that are gone come last.
    pub fn place(&self, route: &RouteName) -> usize {
        self.by_route.get(route).copied().unwrap_or(usize::MAX)
    }

    /// Every policy, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.policies.iter()
    }
}

/// The policies in force, for readers that need the latest ones.
#[derive(Debug, Default)]
pub struct PoliciesInForce(RwLock<Arc<Policies>>);

impl PoliciesInForce {
    /// Begins with these.
    pub fn new(policies: Arc<Policies>) -> Self {
        Self(RwLock::new(policies))
    }

    /// The policies in force now.
    pub fn get(&self) -> Arc<Policies> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others in force.
    pub fn set(&self, policies: Arc<Policies>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policies;
    }
}
