//! What a route matches and how it orders its jobs, as clients see it: written as in the settings.

use crate::routes::RouteSettings;

/// What a route matches and how it orders its jobs. The default is that of a route that is gone from the
/// settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchView {
    /// The globs of `match`; none if the route has no globs.
    pub globs: Option<Globs>,
    /// The expression of `where`.
    pub condition: Option<String>,
    /// The JSON pointer of `order_by`.
    pub order_by: Option<String>,
    /// Whether the route gets the webhooks that no other route matches.
    pub fallback: bool,
}

/// The globs of a route. At least one of the lists is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globs {
    /// The globs of sources; an empty list matches every source except hookbox's own.
    pub sources: Vec<String>,
    /// The globs of event types; an empty list matches every event type.
    pub event_types: Vec<String>,
}

impl From<&RouteSettings> for MatchView {
    fn from(settings: &RouteSettings) -> Self {
        let globs = || Globs { sources: settings.sources.clone(), event_types: settings.event_types.clone() };
        Self {
            globs: settings.has_match().then(globs),
            condition: settings.condition.clone(),
            order_by: settings.order_by.clone(),
            fallback: settings.fallback,
        }
    }
}
