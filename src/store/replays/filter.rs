//! The filter of a replay, as it was given.

use std::collections::BTreeSet;

use diesel::result::Error as QueryError;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::body_filter::BodyFilter;
use crate::domain::error::Result;
use crate::domain::filter::{FilterText, TraceId};
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::verdict::{Cause, VerdictFilter};
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::store::ListQuery;
use crate::store::columns::unreadable;

/// Which webhooks and jobs a replay is about: the filters of a list. Those that are not given do not limit it. The
/// texts are as they were given; [`query`](Self::query) checks them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayFilter {
    /// Only jobs in one of these statuses; empty means any.
    pub statuses: BTreeSet<Status>,
    /// Only jobs of this route.
    pub route: Option<RouteName>,
    /// Only webhooks from this source.
    pub source: Option<Source>,
    /// Only webhooks of this event type.
    pub event_type: Option<EventType>,
    /// Only webhooks with this verdict.
    pub verdict: Option<String>,
    /// Only webhooks that are unverified for this cause.
    pub cause: Option<String>,
    /// Only webhooks with this key.
    pub idempotency_key: Option<String>,
    /// Only webhooks that were accepted in this trace.
    pub trace_id: Option<String>,
    /// Only jobs whose last error has this text.
    pub error_contains: Option<String>,
    /// Where `body_equals` is in the body.
    pub body_pointer: Option<String>,
    /// Only webhooks whose body has this value.
    pub body_equals: Option<String>,
    /// Only webhooks whose body has this text.
    pub body_contains: Option<String>,
    /// Only webhooks accepted at or after this time.
    pub accepted_after: Option<Timestamp>,
    /// Only webhooks accepted before this time.
    pub accepted_before: Option<Timestamp>,
}

impl ReplayFilter {
    /// The list of the webhooks. Errors: `InvalidField`.
    pub fn query(&self) -> Result<ListQuery> {
        // Named one by one, so that none can be forgotten.
        let Self {
            statuses,
            route,
            source,
            event_type,
            verdict,
            cause,
            idempotency_key,
            trace_id,
            error_contains,
            body_pointer,
            body_equals,
            body_contains,
            accepted_after,
            accepted_before,
        } = self.clone();
        let verdict = verdict.map(|word| word.parse::<VerdictFilter>()).transpose()?;
        let cause = cause.map(|word| word.parse::<Cause>()).transpose()?;
        // An empty text would limit nothing, and the replay would be about more than was meant.
        let given = |field, text: Option<String>| text.map(|text| FilterText::new(field, text)).transpose();
        let (equals, contains) = (given("body_equals", body_equals)?, given("body_contains", body_contains)?);
        let pointer = body_pointer.unwrap_or_default();
        let [equals, contains] =
            [&equals, &contains].map(|text| text.as_ref().map_or("", FilterText::as_str));
        Ok(ListQuery {
            statuses,
            route,
            source,
            event_type,
            verdict: VerdictFilter::new(verdict, cause)?,
            idempotency_key: idempotency_key.map(IdempotencyKey::new).transpose()?,
            trace_id: trace_id.map(|id| TraceId::new(&id)).transpose()?,
            error_contains: given("error_contains", error_contains)?,
            body: BodyFilter::from_fields(&pointer, equals, contains)?,
            accepted_after,
            accepted_before,
            ..ListQuery::default()
        })
    }

    /// The filter as both stores keep it: a JSON object.
    pub(in crate::store) fn to_text(&self) -> String {
        // Strings always serialize.
        serde_json::to_string(&Stored::from(self.clone())).unwrap_or_default()
    }

    /// The filter with this text.
    pub(super) fn from_text(text: &str) -> std::result::Result<Self, QueryError> {
        serde_json::from_str::<Stored>(text).map_err(unreadable)?.into_filter().map_err(unreadable)
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Stored {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_equals: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_contains: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_before: Option<String>,
}

impl From<ReplayFilter> for Stored {
    fn from(filter: ReplayFilter) -> Self {
        Self {
            status: filter.statuses.iter().map(ToString::to_string).collect(),
            route: filter.route.map(|route| route.to_string()),
            source: filter.source.map(|source| source.to_string()),
            event_type: filter.event_type.map(|event_type| event_type.to_string()),
            verdict: filter.verdict,
            cause: filter.cause,
            idempotency_key: filter.idempotency_key,
            trace_id: filter.trace_id,
            error_contains: filter.error_contains,
            body_pointer: filter.body_pointer,
            body_equals: filter.body_equals,
            body_contains: filter.body_contains,
            accepted_after: filter.accepted_after.map(|time| time.to_string()),
            accepted_before: filter.accepted_before.map(|time| time.to_string()),
        }
    }
}

impl Stored {
    fn into_filter(self) -> std::result::Result<ReplayFilter, Box<dyn std::error::Error + Send + Sync>> {
        let time = |text: Option<String>| text.map(|text| text.parse::<Timestamp>()).transpose();
        let statuses = self.status.iter().map(|word| word.parse::<Status>());
        Ok(ReplayFilter {
            statuses: statuses.collect::<Result<BTreeSet<_>>>()?,
            route: self.route.map(RouteName::new).transpose()?,
            source: self.source.map(Source::new).transpose()?,
            event_type: self.event_type.map(EventType::new).transpose()?,
            verdict: self.verdict,
            cause: self.cause,
            idempotency_key: self.idempotency_key,
            trace_id: self.trace_id,
            error_contains: self.error_contains,
            body_pointer: self.body_pointer,
            body_equals: self.body_equals,
            body_contains: self.body_contains,
            accepted_after: time(self.accepted_after)?,
            accepted_before: time(self.accepted_before)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter with everything.
    fn full() -> ReplayFilter {
        let time = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
        let text = |text: &str| Some(text.to_owned());
        ReplayFilter {
            statuses: BTreeSet::from([Status::DeadLettered, Status::Cancelled]),
            route: Some(RouteName::default()),
            source: Some(Source::default()),
            event_type: Some(EventType::new("order.\"paid\"").expect("valid")),
            verdict: text("unverified"),
            cause: text("signature_missing"),
            idempotency_key: text("evt-ż"),
            trace_id: text("4bf92f3577b34da6a3ce929d0e0e4736"),
            error_contains: text("503\n"),
            body_pointer: text("/order/id"),
            body_equals: text("7"),
            body_contains: text("\0"),
            accepted_after: time("2026-03-01T12:00:00.123456789Z"),
            accepted_before: time("2026-03-02T12:00:00Z"),
        }
    }

    #[test]
    fn a_filter_is_read_as_it_was_written() {
        for filter in [full(), ReplayFilter::default()] {
            assert_eq!(ReplayFilter::from_text(&filter.to_text()).expect("reads"), filter);
        }
        assert_eq!(ReplayFilter::default().to_text(), "{}");
    }

    #[test]
    fn a_filter_lists_what_it_names() {
        let query = full().query().expect("valid");
        assert_eq!(query.verdict, Some(VerdictFilter::Because(Cause::SignatureMissing)));
        assert_eq!(query.error_contains.as_ref().map(FilterText::as_str), Some("503\n"));
        assert!(query.idempotency_key.is_some() && query.trace_id.is_some() && query.body.is_some());
        assert_eq!((query.statuses, query.route), (full().statuses, full().route));
        assert_eq!(query.accepted_after, full().accepted_after);
        assert_eq!(query.accepted_before, full().accepted_before);
        let everything = ReplayFilter::default().query().expect("valid");
        assert!(everything.statuses.is_empty() && everything.body.is_none() && everything.verdict.is_none());
    }

    #[test]
    fn a_text_that_is_not_valid_is_named() {
        let text = Some("No".to_owned());
        for (filter, field) in [
            (ReplayFilter { verdict: text.clone(), ..ReplayFilter::default() }, "verdict"),
            (ReplayFilter { cause: text.clone(), ..ReplayFilter::default() }, "cause"),
            (ReplayFilter { trace_id: text.clone(), ..ReplayFilter::default() }, "trace_id"),
            (ReplayFilter { body_pointer: text, ..ReplayFilter::default() }, "body_equals"),
        ] {
            assert_eq!(filter.query().expect_err("refused").field(), Some(field));
        }
    }
}
