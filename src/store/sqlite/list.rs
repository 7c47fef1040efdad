//! Lists of webhooks, newest first.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use super::queries::{StatusColumns, status_columns, with_jobs};
use super::rows::{self, StatusRow};
use super::schema::jobs;
use crate::domain::id::{Position, Sequence};
use crate::domain::job::Status;
use crate::store::ListQuery;
use crate::store::list::{WINDOW_ROWS, Window};
use crate::store::statement::statement;

/// Reads the next [`WINDOW_ROWS`] jobs before `before`, and returns the matching webhooks, `limit` at most.
pub(super) fn window(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    before: Position,
    limit: usize,
) -> QueryResult<Window> {
    let before = before.sequence().as_i64();
    let lowest = query.accepted_after.map_or(0, |time| Sequence::first_at(time).as_i64());
    let next = jobs::table
        .filter(jobs::webhook.lt(before).and(jobs::webhook.gt(lowest)))
        .order(jobs::webhook.desc())
        .offset(WINDOW_ROWS - 1)
        .limit(1)
        .select(jobs::webhook)
        .get_result::<i64>(connection)
        .optional()?;
    let rows = SelectPage {
        before,
        from: next.unwrap_or(lowest),
        statuses: statuses(&query.statuses),
        any_route: query.route.is_none(),
        route: query.route.as_ref().map_or("", |route| route.as_str()),
        any_source: query.source.is_none(),
        source: query.source.as_ref().map_or("", |source| source.as_str()),
        any_event_type: query.event_type.is_none(),
        event_type: query.event_type.as_ref().map_or("", |event_type| event_type.as_str()),
        limit: limit.try_into().unwrap_or(i64::MAX),
    }
    .load::<StatusRow>(connection)?;
    let next = next.map(|next| Position::before_all(Sequence::from_i64(next)));
    Ok(Window { webhooks: rows::statuses(rows)?, next })
}

/// A number in which the bit of each wanted status is set; all bits if every status is wanted.
fn statuses(wanted: &BTreeSet<Status>) -> i64 {
    if wanted.is_empty() {
        return -1;
    }
    wanted.iter().fold(0, |bits, status| bits | (1 << (*status as i64)))
}

statement! { Sqlite;
    /// Begins with the narrow rows of `jobs`. The wide row of a webhook is read only for its source and event
    /// type, and if one of its jobs matches.
    struct SelectPage<'a> {
        before: i64 as BigInt,
        from: i64 as BigInt,
        statuses: i64 as BigInt,
        any_route: bool as Bool,
        route: &'a str as Text,
        any_source: bool as Bool,
        source: &'a str as Text,
        any_event_type: bool as Bool,
        event_type: &'a str as Text,
        limit: i64 as BigInt,
    }
    returns StatusColumns;
    concat!(
        "SELECT ", status_columns!(), "
         FROM (SELECT DISTINCT m.webhook FROM jobs m CROSS JOIN webhooks n ON n.sequence = m.webhook
               WHERE m.webhook < ? AND m.webhook >= ?
                 AND (? >> m.status) & 1 AND (? OR m.queue IN (SELECT id FROM queues WHERE route = ?))
                 AND (? OR n.source = ?) AND (? OR n.event_type = ?)
               ORDER BY m.webhook DESC LIMIT ?) AS page
         CROSS JOIN webhooks w ON w.sequence = page.webhook",
        with_jobs!(),
        "ORDER BY page.webhook DESC, j.queue"
    )
}
