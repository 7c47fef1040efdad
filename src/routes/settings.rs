//! What a route is made of, and what can be wrong with it.

use crate::domain::policy::{Policy, Simulate};
use crate::domain::retry::RetryPolicy;
use crate::domain::route::{OnDeadLetter, OnInterrupt, RouteName};

/// The settings of a route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Name, handler and how its jobs are run.
    pub policy: Policy,
    /// Globs of the sources it takes; an empty list takes every source but hookbox's own.
    pub sources: Vec<String>,
    /// Globs of the event types it takes; an empty list takes every event type.
    pub event_types: Vec<String>,
    /// A CEL expression over `source`, `event_type`, `key`, `body` and `headers`.
    pub condition: Option<String>,
    /// A JSON pointer (RFC 6901) to the value that orders its jobs.
    pub order_by: Option<String>,
    /// Whether it takes the webhooks that no other route took.
    pub fallback: bool,
}

impl RouteSettings {
    /// The route `default`, which takes every webhook.
    pub fn everything(handler: &str, retry: RetryPolicy) -> Self {
        let policy = Policy {
            route: RouteName::default(),
            handler: handler.into(),
            timeout: None,
            concurrency: None,
            rate: None,
            retry,
            on_dead_letter: OnDeadLetter::default(),
            on_interrupt: OnInterrupt::default(),
            simulate: Simulate::default(),
        };
        let (sources, event_types) = (Vec::new(), Vec::new());
        Self { policy, sources, event_types, condition: None, order_by: None, fallback: false }
    }
}

/// Something that is wrong with a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The route's place in the settings, from 0.
    pub route: usize,
    /// What of it is wrong.
    pub member: Member,
    /// The byte of the member's text at which it is wrong, as far as that is known.
    pub offset: Option<usize>,
    /// What it must be, as the sentence "it must be ..." goes on.
    pub allowed: String,
}

/// A part of the settings of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The name.
    Name,
    /// The glob of the sources at this place of the list.
    Source(usize),
    /// The glob of the event types at this place of the list.
    EventType(usize),
    /// The condition.
    Where,
    /// The pointer to the order value.
    OrderBy,
    /// Whether it is the fallback.
    Fallback,
}
