//! The statement that selects the webhooks that match. It looks at a range of them, or at a list.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Integer, SmallInt, Text, Uuid as SqlUuid};
use uuid::Uuid;

use crate::domain::verdict::VerdictFilter;
use crate::domain::webhook::Source;
use crate::store::ListQuery;
use crate::store::list::Names;
use crate::store::postgres::rows::storable;
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

impl QueryFragment<Pg> for SelectMatching<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match &self.within {
            Within::Range(range) => range.walk_ast(out.reborrow())?,
            Within::Among(places) => places.walk_ast(out.reborrow())?,
        }
        self.conditions.walk_ast(out.reborrow())?;
        out.push_sql(" ORDER BY w.id DESC LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl QueryId for SelectMatching<'_> {
    type QueryId = ();

    // There are two texts, by which diesel caches them.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for SelectMatching<'_> {
    type SqlType = (SqlUuid, Integer);
}

impl<Connection> diesel::RunQueryDsl<Connection> for SelectMatching<'_> {}

impl<'a> Conditions<'a> {
    pub(super) fn of(query: &'a ListQuery, names: &'a Names<i32>) -> Self {
        let verdicts = query.verdict.map_or(0..=0, VerdictFilter::numbers);
        let statuses = query.statuses_of_jobs();
        let is_any_status = statuses.as_ref().is_some_and(|statuses| statuses.is_empty());
        Self {
            any_source: names.sources.is_none(),
            sources: names.sources.iter().flatten().map(Source::as_str).collect(),
            any_event_type: query.event_type.is_none(),
            event_type: query.event_type.as_ref().map_or("", |event_type| event_type.as_str()),
            any_verdict: query.verdict.is_none(),
            first_verdict: *verdicts.start(),
            last_verdict: *verdicts.end(),
            any_key: query.idempotency_key.is_none(),
            key: query.idempotency_key.as_ref().map_or("", |key| key.as_str()),
            any_trace: query.trace_id.is_none(),
            trace_id: query.trace_id.as_ref().map_or("", |trace_id| trace_id.as_str()),
            any_payload: query.body.is_none(),
            any_job: is_any_status && names.queues.is_none(),
            any_status: is_any_status,
            statuses: statuses.iter().flatten().map(|status| *status as i16).collect(),
            any_queue: names.queues.is_none(),
            queues: names.queues.clone().unwrap_or_default(),
            any_error: query.error_contains.is_none(),
            error: query.error_contains.as_ref().map_or_else(String::new, |text| storable(text.as_str())),
        }
    }
}

statement! { Pg;
    struct InRange {
        before: Uuid as SqlUuid,
        from: Uuid as SqlUuid,
    }
    returns ();
    "SELECT w.id, coalesce(octet_length(w.payload), 0) FROM webhooks w WHERE w.id < ? AND w.id >= ?"
}

statement! { Pg;
    struct AmongPlaces {
        places: Vec<Uuid> as Array<SqlUuid>,
    }
    returns ();
    "SELECT w.id, coalesce(octet_length(w.payload), 0) FROM webhooks w WHERE w.id = ANY (?)"
}

// `OFFSET 0` prevents PostgreSQL from turning the subquery into a join that begins with the jobs.
statement! { Pg;
    struct Conditions<'a> {
        any_source: bool as Bool,
        sources: Vec<&'a str> as Array<Text>,
        any_event_type: bool as Bool,
        event_type: &'a str as Text,
        any_verdict: bool as Bool,
        first_verdict: i16 as SmallInt,
        last_verdict: i16 as SmallInt,
        any_key: bool as Bool,
        key: &'a str as Text,
        any_trace: bool as Bool,
        trace_id: &'a str as Text,
        any_payload: bool as Bool,
        any_job: bool as Bool,
        any_status: bool as Bool,
        statuses: Vec<i16> as Array<SmallInt>,
        any_queue: bool as Bool,
        queues: Vec<i32> as Array<Integer>,
        any_error: bool as Bool,
        error: String as Text,
    }
    returns ();
    " AND (? OR w.source = ANY (?)) AND (? OR w.event_type = ?) AND (? OR w.verdict BETWEEN ? AND ?)
      AND (? OR w.idempotency_key = ?) AND (? OR substr(w.traceparent, 4, 32) = ?)
      AND (? OR w.payload IS NOT NULL)
      AND (? OR EXISTS (
          SELECT 1 FROM job_statuses s
          WHERE s.webhook = w.id AND (? OR s.status = ANY (?)) AND (? OR s.queue = ANY (?))
            AND (? OR strpos(s.last_error, ?) > 0) OFFSET 0
      ))"
}
