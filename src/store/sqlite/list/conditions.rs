//! The statement that selects the webhooks that match. It looks at a range of them, or at a list.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use super::list_of;
use crate::domain::verdict::VerdictFilter;
use crate::domain::webhook::Source;
use crate::store::ListQuery;
use crate::store::list::Names;
use crate::store::statement::statement;

/// Selects the webhooks at some places that match all filters but that of the body, newest first, each with the length of
/// its payload.
pub(super) struct SelectMatching<'a> {
    pub(super) within: Within,
    pub(super) conditions: &'a Conditions<'a>,
    pub(super) limit: i64,
}

/// The places to look at.
pub(super) enum Within {
    Range(InRange),
    Among(AmongPlaces),
}

impl QueryFragment<Sqlite> for SelectMatching<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        match &self.within {
            Within::Range(range) => range.walk_ast(out.reborrow())?,
            Within::Among(places) => places.walk_ast(out.reborrow())?,
        }
        self.conditions.walk_ast(out.reborrow())?;
        out.push_sql(" ORDER BY w.sequence DESC LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl QueryId for SelectMatching<'_> {
    type QueryId = ();

    // There are two texts, by which diesel caches them.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for SelectMatching<'_> {
    type SqlType = (BigInt, BigInt);
}

impl<Connection> diesel::RunQueryDsl<Connection> for SelectMatching<'_> {}

impl<'a> Conditions<'a> {
    pub(super) fn of(query: &'a ListQuery, names: &Names<i64>) -> QueryResult<Self> {
        let sources = names.sources.iter().flatten().map(Source::as_str).collect::<Vec<_>>();
        let verdicts = query.verdict.map_or(0..=0, VerdictFilter::numbers);
        let statuses = query.statuses_of_jobs();
        let is_any_status = statuses.as_ref().is_some_and(|statuses| statuses.is_empty());
        let bits = statuses.iter().flatten().fold(0, |bits, status| bits | (1 << (*status as i64)));
        Ok(Self {
            any_source: names.sources.is_none(),
            sources: list_of(&sources)?,
            any_event_type: query.event_type.is_none(),
            event_type: query.event_type.as_ref().map_or("", |event_type| event_type.as_str()),
            any_verdict: query.verdict.is_none(),
            first_verdict: i64::from(*verdicts.start()),
            last_verdict: i64::from(*verdicts.end()),
            any_key: query.idempotency_key.is_none(),
            key: query.idempotency_key.as_ref().map_or("", |key| key.as_str()),
            any_trace: query.trace_id.is_none(),
            trace_id: query.trace_id.as_ref().map_or("", |trace_id| trace_id.as_str()),
            any_payload: query.body.is_none(),
            any_job: is_any_status && names.queues.is_none(),
            statuses: if is_any_status { -1 } else { bits },
            any_queue: names.queues.is_none(),
            queues: list_of(names.queues.as_deref().unwrap_or_default())?,
            any_error: query.error_contains.is_none(),
            error: query.error_contains.as_ref().map_or("", |text| text.as_str()),
        })
    }
}

statement! { Sqlite;
    struct InRange {
        before: i64 as BigInt,
        from: i64 as BigInt,
    }
    returns ();
    "SELECT w.sequence, coalesce(length(w.payload), 0) FROM webhooks w WHERE w.sequence < ? AND w.sequence >= ?"
}

statement! { Sqlite;
    struct AmongPlaces {
        places: String as Text,
    }
    returns ();
    "SELECT w.sequence, coalesce(length(w.payload), 0)
     FROM json_each(?) e CROSS JOIN webhooks w ON w.sequence = e.value WHERE true"
}

statement! { Sqlite;
    /// `statuses` is a number in which the bit of each wanted status is set; all bits if every status is wanted.
    struct Conditions<'a> {
        any_source: bool as Bool,
        sources: String as Text,
        any_event_type: bool as Bool,
        event_type: &'a str as Text,
        any_verdict: bool as Bool,
        first_verdict: i64 as BigInt,
        last_verdict: i64 as BigInt,
        any_key: bool as Bool,
        key: &'a str as Text,
        any_trace: bool as Bool,
        trace_id: &'a str as Text,
        any_payload: bool as Bool,
        any_job: bool as Bool,
        statuses: i64 as BigInt,
        any_queue: bool as Bool,
        queues: String as Text,
        any_error: bool as Bool,
        error: &'a str as Text,
    }
    returns ();
    " AND (? OR w.source IN (SELECT value FROM json_each(?))) AND (? OR w.event_type = ?)
      AND (? OR w.verdict BETWEEN ? AND ?) AND (? OR w.idempotency_key = ?)
      AND (? OR substr(w.traceparent, 4, 32) = ?) AND (? OR w.payload IS NOT NULL)
      AND (? OR EXISTS (
          SELECT 1 FROM jobs m
          WHERE m.webhook = w.sequence AND (? >> m.status) & 1
            AND (? OR m.queue IN (SELECT value FROM json_each(?)))
            AND (? OR m.status IN (2, 4) AND instr((
                SELECT a.error FROM attempts a
                WHERE a.webhook = m.webhook AND a.queue = m.queue AND a.number = m.attempts
            ), ?) > 0)
      ))"
}
