//! What can happen to a store.

use std::sync::Arc;
use std::time::Duration;

use hookbox::domain::job::Status;
use hookbox::domain::policy::{Policies, Policy};
use hookbox::domain::retry::RetryPolicy;
use hookbox::domain::route::NewJob;
use hookbox::store::PauseTarget;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::store::inbox::source;
use crate::store::routes::{concurrent, in_force, job, never_twice, ordered, policy, route, skipping};

/// Names of webhooks: few, so that they meet. Each is a source and a key.
const NAMES: [(&str, &str); 6] =
    [("default", "a"), ("default", "b"), ("default", "c"), ("default", "d"), ("shop", "a"), ("shop", "b")];

/// Payloads: two, so that a key is reused now and then.
const PAYLOADS: [&str; 2] = [r#"{"n":1}"#, r#"{"n":2}"#];

/// Routes: one whose dead letters block, one where they are skipped, one with a concurrency of 2,
/// one whose jobs never start twice.
const ROUTES: [&str; 4] = ["blocking", "skipping", "limited", "once"];

/// The source and the key of a webhook.
pub(crate) type Name = (&'static str, &'static str);

/// What the settings say of the routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether the route `blocking` blocks; else it skips.
    blocks: bool,
    /// Whether the route `once` is there.
    has_once: bool,
    /// The attempts of every route.
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

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// A webhook is sent.
    Accept { name: Name, payload: &'static str, jobs: Vec<NewJob> },
    /// Jobs are claimed, by a process that runs so many of each route.
    Claim { threads: usize, lease: Duration, running: Vec<(&'static str, usize)> },
    /// An attempt ends under one of the leases ever given.
    Finish { claim: Index, next: Status, delay: Duration },
    /// Leases are given back before the handlers start.
    GiveBack { claims: Vec<Index> },
    /// Some of the leases ever given are renewed.
    Renew { claims: Vec<Index>, lease: Duration },
    /// Expired leases are looked for.
    TakeOver,
    /// An operator asks for another run.
    Retry { name: Name, route: Option<&'static str> },
    /// An operator asks that jobs do not start, or gives up dead letters.
    Cancel { name: Name, route: Option<&'static str> },
    /// An operator cancels the waiting jobs of a route.
    CancelRoute { route: &'static str },
    /// Jobs are kept from starting.
    Pause { target: PauseTarget },
    /// Jobs may start again.
    Resume { target: PauseTarget },
    /// The settings change.
    Reload { settings: Settings },
    /// Time passes.
    Advance { by: Duration },
    /// What is past its retention is removed.
    Purge,
    /// The process dies, and the next one starts.
    Crash,
    /// The process stops, and starts again.
    Restart,
}

/// Any step; those that move jobs on come more often.
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

/// Jobs for one to three routes, seldom none; with a value that orders them, or without.
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
