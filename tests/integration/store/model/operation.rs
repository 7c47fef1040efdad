//! The random operations on a store.

use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::{Policies, Policy};
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::route::NewJob;
use hookbox::internals::store::PauseTarget;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::store::inbox::source;
use crate::store::routes::{concurrent, in_force, job, never_twice, ordered, policy, route, skipping};

/// Sources and keys of webhooks. There are few, so that operations often concern the same webhook.
const NAMES: [(&str, &str); 6] =
    [("default", "a"), ("default", "b"), ("default", "c"), ("default", "d"), ("shop", "a"), ("shop", "b")];

/// Two payloads, so that a key is sometimes reused with another payload.
const PAYLOADS: [&str; 2] = [r#"{"n":1}"#, r#"{"n":2}"#];

/// Four routes: dead letters block the lane, dead letters are skipped, a concurrency of 2, and jobs that are
/// dead-lettered if an attempt did not end.
const ROUTES: [&str; 4] = ["blocking", "skipping", "limited", "once"];

/// The source and the key of a webhook.
pub(crate) type Name = (&'static str, &'static str);

/// The settings of the routes that a reload can change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether dead letters of the route `blocking` block their lane; otherwise they are skipped.
    blocks: bool,
    /// Whether the route `once` exists.
    has_once: bool,
    /// The maximum of attempts of every route.
    attempts: u32,
}

impl Settings {
    pub(crate) const FIRST: Self = Self { blocks: true, has_once: true, attempts: 2 };

    pub(super) fn policies(self) -> impl Iterator<Item = Policy> {
        let blocking = if self.blocks { policy("blocking") } else { skipping("blocking") };
        let policies = [blocking, skipping("skipping"), concurrent("limited", 2), never_twice("once")];
        let policies = policies.into_iter().take(if self.has_once { 4 } else { 3 });
        let retry = RetryPolicy::new(Duration::ZERO, Duration::ZERO, self.attempts);
        policies.map(move |policy| Policy { retry, ..policy })
    }

    pub(crate) fn in_force(self) -> Arc<Policies> {
        in_force(self.policies())
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Accepts a webhook.
    Accept { name: Name, payload: &'static str, jobs: Vec<NewJob> },
    /// Claims jobs in a process that already runs this number of jobs of each route.
    Claim { threads: usize, lease: Duration, running: Vec<(&'static str, usize)> },
    /// Finishes an attempt with any lease of the past.
    Finish { claim: Index, next: Status, delay: Duration },
    /// Gives back leases before the handlers start.
    GiveBack { claims: Vec<Index> },
    /// Renews any leases of the past.
    Renew { claims: Vec<Index>, lease: Duration },
    /// Takes over expired leases.
    TakeOver,
    /// Retries jobs of a webhook by hand.
    Retry { name: Name, route: Option<&'static str> },
    /// Cancels waiting or dead-lettered jobs of a webhook.
    Cancel { name: Name, route: Option<&'static str> },
    /// Cancels the waiting jobs of a route.
    CancelRoute { route: &'static str },
    /// Pauses a target.
    Pause { target: PauseTarget },
    /// Resumes a target.
    Resume { target: PauseTarget },
    /// Puts other settings in force.
    Reload { settings: Settings },
    /// Moves the clock forward.
    Advance { by: Duration },
    /// Purges payloads and webhooks whose retention is over.
    Purge,
    /// Crashes the process; another process opens the store.
    Crash,
    /// Closes and opens the store.
    Restart,
}

/// A random operation. Operations that change the status of jobs are more frequent.
pub(crate) fn operations() -> impl Strategy<Value = Operation> {
    let name = || prop::sample::select(&NAMES[..]);
    let route_name = || prop::sample::select(&ROUTES[..]);
    let some_route = move || prop::option::weighted(0.6, route_name());
    let times = [0_u64, 1, 10, 1_000, 30_000, 100_000];
    let time = move || prop::sample::select(times.to_vec()).prop_map(Duration::from_millis);
    let next = prop::sample::select(vec![
        Status::Completed,
        Status::Completed,
        Status::Retrying,
        Status::Retrying,
        Status::DeadLettered,
        Status::Pending,
    ]);
    let payload = prop_oneof![4 => Just(PAYLOADS[0]), 1 => Just(PAYLOADS[1])];
    let running = prop::collection::vec((route_name(), 0_usize..3), 0..4);
    prop_oneof![
        8 => (name(), payload, new_jobs())
            .prop_map(|(name, payload, jobs)| Operation::Accept { name, payload, jobs }),
        9 => (0_usize..5, time(), running)
            .prop_map(|(threads, lease, running)| Operation::Claim { threads, lease, running }),
        9 => (any::<Index>(), next, time())
            .prop_map(|(claim, next, delay)| Operation::Finish { claim, next, delay }),
        2 => (prop::collection::vec(any::<Index>(), 0..4), time())
            .prop_map(|(claims, lease)| Operation::Renew { claims, lease }),
        2 => prop::collection::vec(any::<Index>(), 0..3).prop_map(|claims| Operation::GiveBack { claims }),
        3 => Just(Operation::TakeOver),
        3 => (name(), some_route()).prop_map(|(name, route)| Operation::Retry { name, route }),
        3 => (name(), some_route()).prop_map(|(name, route)| Operation::Cancel { name, route }),
        1 => route_name().prop_map(|route| Operation::CancelRoute { route }),
        1 => target().prop_map(|target| Operation::Pause { target }),
        3 => target().prop_map(|target| Operation::Resume { target }),
        1 => settings().prop_map(|settings| Operation::Reload { settings }),
        4 => time().prop_map(|by| Operation::Advance { by }),
        2 => Just(Operation::Purge),
        1 => Just(Operation::Crash),
        1 => Just(Operation::Restart),
    ]
}

/// Jobs for one to three routes, rarely none, each with or without an order value.
fn new_jobs() -> impl Strategy<Value = Vec<NewJob>> {
    let routes = prop_oneof![
        1 => Just(Vec::new()),
        12 => prop::sample::subsequence(ROUTES.to_vec(), 1..=3),
    ];
    let value = prop_oneof![1 => Just(None), 3 => Just(Some("x")), 1 => Just(Some("y"))];
    (routes, value).prop_map(|(routes, value)| {
        let new_job = |name| value.map_or_else(|| job(name), |value| ordered(name, value));
        routes.into_iter().map(new_job).collect()
    })
}

fn target() -> impl Strategy<Value = PauseTarget> {
    prop_oneof![
        1 => Just(PauseTarget::Everything),
        2 => prop::sample::select(&ROUTES[..]).prop_map(|name| PauseTarget::Route(route(name))),
        1 => Just(PauseTarget::Source(source("shop"))),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), any::<bool>(), 1_u32..4).prop_map(|(blocks, has_once, attempts)| Settings {
        blocks,
        has_once,
        attempts,
    })
}
