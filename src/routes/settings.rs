//! The settings of a route, and the mistakes in them.

use crate::domain::handler::HandlerSettings;
use crate::domain::policy::Policy;
use crate::domain::retry::RetryPolicy;
use crate::domain::route::{OnDeadLetter, OnInterrupt, RouteName};

/// The settings of a route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// Name, handler and how its jobs are run.
    pub policy: Policy,
    /// Globs of sources; an empty list matches every source except hookbox's own.
    pub sources: Vec<String>,
    /// Globs of event types; an empty list matches every event type.
    pub event_types: Vec<String>,
    /// A CEL expression over `source`, `event_type`, `key`, `body` and `headers`.
    pub condition: Option<String>,
    /// A JSON pointer (RFC 6901) to the value that orders its jobs.
    pub order_by: Option<String>,
    /// Whether the route gets the webhooks that no other route matches.
    pub fallback: bool,
}

impl RouteSettings {
    /// The settings of the route `default`, which matches every webhook except hookbox's own.
    pub fn everything(handler: HandlerSettings, retry: RetryPolicy) -> Self {
        let policy = Policy {
            route: RouteName::default(),
            handler,
            timeout: None,
            concurrency: None,
            rate: None,
            retry,
            on_dead_letter: OnDeadLetter::default(),
            on_interrupt: OnInterrupt::default(),
        };
        let (sources, event_types) = (Vec::new(), Vec::new());
        Self { policy, sources, event_types, condition: None, order_by: None, fallback: false }
    }

    /// Whether the route has globs of sources or event types.
    pub fn has_match(&self) -> bool {
        !self.sources.is_empty() || !self.event_types.is_empty()
    }
}

/// A mistake in the settings of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The place of the route in the settings, from 0.
    pub route: usize,
    /// The member that is wrong.
    pub member: Member,
    /// The byte of the member's text at which the mistake is, if that is known.
    pub offset: Option<usize>,
    /// What the member must be, to continue the sentence "it must be ...".
    pub allowed: String,
}

/// A part of the settings of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The name.
    Name,
    /// The glob of sources at this place of the list, from 0.
    Source(usize),
    /// The glob of event types at this place of the list, from 0.
    EventType(usize),
    /// The condition.
    Where,
    /// The pointer to the order value.
    OrderBy,
    /// The mark of the fallback.
    Fallback,
}
