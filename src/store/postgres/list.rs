//! Lists of webhooks, newest first. Each statement reads a bounded number of rows.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::pool::{answer, refused};
use super::rows::{self, NamesRow};
use super::schema::webhooks;
use super::shared::Shared;
use super::{queries, queue_names};
use crate::domain::error::Result;
use crate::domain::id::{Position, Sequence};
use crate::store::list::{PageFiller, WINDOW_ROWS, Window};
use crate::store::statement::statement;
use crate::store::{ListQuery, Page};

/// One page of the matching webhooks.
pub(super) async fn list(shared: &Shared, query: &ListQuery) -> Result<Page> {
    let mut page = PageFiller::new(query);
    while let Some((before, wanted)) = page.next_window() {
        let mut connection = shared.asking.get().await.map_err(refused)?;
        let looking = answer(window(shared, &mut connection, query, before, wanted)).await;
        page.add(connection.release(looking).map_err(refused)?);
    }
    Ok(page.into_page())
}

/// Reads the next [`WINDOW_ROWS`] webhooks before `before`, and returns the matching ones, `limit` at most.
async fn window(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    query: &ListQuery,
    before: Position,
    limit: usize,
) -> QueryResult<Window> {
    let lowest = query
        .accepted_after
        .map_or(Uuid::nil(), |time| place(Position::before_all(Sequence::first_at(time))));
    let before = place(before);
    let end = webhooks::table
        .filter(webhooks::id.lt(before).and(webhooks::id.gt(lowest)))
        .order(webhooks::id.desc())
        .offset(WINDOW_ROWS - 1)
        .select(webhooks::id);
    let end = end.first::<Uuid>(connection).await.optional()?;
    let queues = match &query.route {
        Some(route) => queue_names::of_route(connection, route).await?,
        None => Vec::new(),
    };
    let looking = SelectPage {
        before,
        from: end.unwrap_or(lowest),
        any_source: query.source.is_none(),
        source: query.source.as_ref().map_or("", |source| source.as_str()),
        any_event_type: query.event_type.is_none(),
        event_type: query.event_type.as_ref().map_or("", |event_type| event_type.as_str()),
        any_job: query.statuses.is_empty() && query.route.is_none(),
        any_status: query.statuses.is_empty(),
        statuses: query.statuses.iter().map(|status| *status as i16).collect(),
        any_route: query.route.is_none(),
        queues,
        limit: limit.try_into().unwrap_or(i64::MAX),
    };
    let names = looking.load::<NamesRow>(connection).await?;
    let is_full = names.len() >= limit;
    let last = names.last().map(|names| names.id);
    let webhooks = queries::with_jobs(&shared.schedule, connection, names).await?;
    // `with_jobs` may leave out a webhook that was just removed, so a full page may need another window. It
    // begins after the last row that was read.
    let next = if is_full { last } else { end };
    Ok(Window { webhooks, next: next.map(|next| Position::before(rows::id(next))) })
}

fn place(position: Position) -> Uuid {
    Uuid::from_bytes(*position.as_bytes())
}

// `OFFSET 0` prevents PostgreSQL from turning the subquery into a join that begins with the jobs.
statement! { Pg;
    struct SelectPage<'a> {
        before: Uuid as SqlUuid,
        from: Uuid as SqlUuid,
        any_source: bool as Bool,
        source: &'a str as Text,
        any_event_type: bool as Bool,
        event_type: &'a str as Text,
        any_job: bool as Bool,
        any_status: bool as Bool,
        statuses: Vec<i16> as Array<SmallInt>,
        any_route: bool as Bool,
        queues: Vec<i32> as Array<Integer>,
        limit: i64 as BigInt,
    }
    returns (SqlUuid, Text, Text, Text, Timestamptz);
    "SELECT w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at FROM webhooks w
     WHERE w.id < ? AND w.id >= ? AND (? OR w.source = ?) AND (? OR w.event_type = ?)
       AND (? OR EXISTS (
           SELECT 1 FROM job_statuses s WHERE s.webhook = w.id AND (? OR s.status = ANY (?)) AND (? OR s.queue = ANY (?)) OFFSET 0
       ))
     ORDER BY w.id DESC LIMIT ?"
}
