//! Which webhooks to list, and a page of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::body_filter::BodyFilter;
use crate::domain::error::{Error, Result};
use crate::domain::filter::{FilterText, TraceId};
use crate::domain::id::Position;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::verdict::VerdictFilter;
use crate::domain::webhook::{EventType, IdempotencyKey, Source, WebhookStatus};

/// Which webhooks to list. A webhook has to match all that is given.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only webhooks with a job in one of these statuses; for `filtered` and `quarantined`, webhooks in that
    /// status. Empty means any.
    pub statuses: BTreeSet<Status>,
    /// Only webhooks with a job of this route. With `statuses`, one job must match both.
    pub route: Option<RouteName>,
    /// Only webhooks from this source.
    pub source: Option<Source>,
    /// Only webhooks of this event type.
    pub event_type: Option<EventType>,
    /// Only webhooks with these verdicts.
    pub verdict: Option<VerdictFilter>,
    /// Only webhooks with this key, also quarantined ones, which have not taken it.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Only webhooks that were accepted in this trace.
    pub trace_id: Option<TraceId>,
    /// Only webhooks with a job whose last error has this text. With `statuses` and `route`, one job must match all.
    pub error_contains: Option<FilterText>,
    /// Only webhooks with such a body. A webhook whose payload was purged does not match.
    pub body: Option<BodyFilter>,
    /// Only webhooks accepted at or after this time.
    pub accepted_after: Option<Timestamp>,
    /// Only webhooks accepted before this time.
    pub accepted_before: Option<Timestamp>,
    /// What may be listed at all.
    pub seen: Seen,
    /// Only webhooks older than this position: where the previous page ended.
    pub before: Option<Position>,
    /// The maximum number of webhooks to return.
    pub limit: usize,
    /// Whether a page that reads bodies looks no longer than one that does not.
    pub brief: bool,
}

impl ListQuery {
    /// The statuses of which a job must have one; empty means any. `None` if no job can match.
    pub(in crate::store) fn statuses_of_jobs(&self) -> Option<BTreeSet<Status>> {
        if self.error_contains.is_none() {
            return Some(self.statuses.clone());
        }
        // Other jobs have no last error.
        let failed = Status::ALL.into_iter().filter(|status| status.is_failed());
        let failed = failed
            .filter(|status| self.statuses.is_empty() || self.statuses.contains(status))
            .collect::<BTreeSet<_>>();
        (!failed.is_empty()).then_some(failed)
    }

    /// Whether the store has to look up which sources it has.
    pub(in crate::store) fn needs_sources(&self) -> bool {
        self.source.is_none() && (self.seen.sources.is_some() || self.idempotency_key.is_some())
    }

    /// Whether only jobs of some routes count.
    pub(in crate::store) fn needs_routes(&self) -> bool {
        self.route.is_some() || self.seen.routes.is_some()
    }

    /// Whether webhooks of a source may match.
    pub(in crate::store) fn takes_source(&self, source: &Source) -> bool {
        self.source.as_ref().is_none_or(|wanted| wanted == source)
            && self.seen.sources.as_ref().is_none_or(|sees| sees(source))
    }

    /// Whether jobs of a route count.
    pub(in crate::store) fn takes_route(&self, route: &RouteName) -> bool {
        self.route.as_ref().is_none_or(|wanted| wanted == route)
            && self.seen.routes.as_ref().is_none_or(|sees| sees(route))
    }
}

/// The most sources that a list looks up.
pub(in crate::store) const MOST_SOURCES: usize = 10_000;

/// The error for a list that would have to look at more than [`MOST_SOURCES`] sources.
fn too_many_sources() -> Error {
    Error::invalid(
        "source",
        format_args!("is needed: webhooks of more than {MOST_SOURCES} sources are stored; name one of them"),
    )
}

/// The names that a query is about.
#[derive(Debug)]
pub(in crate::store) struct Names<Queue> {
    /// The sources whose webhooks may match; `None` if all may.
    pub(in crate::store) sources: Option<Vec<Source>>,
    /// The queues whose jobs count; `None` if all do.
    pub(in crate::store) queues: Option<Vec<Queue>>,
}

impl<Queue> Names<Queue> {
    /// Leaves the sources that `query` takes. `self.sources` are those of the store, if the query
    /// [needs](ListQuery::needs_sources) them. Errors: `InvalidField` if they are too many.
    pub(in crate::store) fn narrowed(self, query: &ListQuery) -> Result<Self> {
        if self.sources.as_ref().is_some_and(|sources| sources.len() > MOST_SOURCES) {
            return Err(too_many_sources());
        }
        let mut sources = self.sources.or_else(|| query.source.clone().map(|source| vec![source]));
        if let Some(sources) = &mut sources {
            sources.retain(|source| query.takes_source(source));
        }
        Ok(Self { sources, ..self })
    }

    /// Whether nothing can match.
    pub(in crate::store) fn is_nothing(&self) -> bool {
        self.sources.as_ref().is_some_and(Vec::is_empty) || self.queues.as_ref().is_some_and(Vec::is_empty)
    }
}

type Sees<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

/// The sources and routes that may be listed. Others are as if they were not there: nothing tells whether webhooks or
/// jobs of them match.
#[derive(Clone, Default)]
pub struct Seen {
    sources: Option<Sees<Source>>,
    routes: Option<Sees<RouteName>>,
}

impl Seen {
    /// Limits lists to webhooks of sources that `sees` takes.
    #[must_use]
    pub fn only_sources(mut self, sees: impl Fn(&Source) -> bool + Send + Sync + 'static) -> Self {
        self.sources = Some(Arc::new(sees));
        self
    }

    /// Limits lists to webhooks with a job of a route that `sees` takes. Other jobs do not count.
    #[must_use]
    pub fn only_routes(mut self, sees: impl Fn(&RouteName) -> bool + Send + Sync + 'static) -> Self {
        self.routes = Some(Arc::new(sees));
        self
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Seen");
        shown.field("limits_sources", &self.sources.is_some()).field("limits_routes", &self.routes.is_some());
        shown.finish()
    }
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The webhooks, newest first. May be fewer than the limit even if `next` is set.
    pub webhooks: Vec<WebhookStatus>,
    /// Where the next page begins; `None` if this page is the last.
    pub next: Option<Position>,
}

impl Page {
    /// How far back the list has come with this page: it has looked at all webhooks that were accepted after this time.
    /// `None` if this page is the last.
    pub fn searched_to(&self) -> Option<Timestamp> {
        self.next.as_ref().map(Position::time)
    }
}
