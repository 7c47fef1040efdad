//! The webhooks that a replay looks at: those of a range that match, oldest first.

use std::ops::Range;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Integer, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::conditions::{Conditions, InRange};
use super::{matching, names, payloads, statuses};
use crate::domain::webhook::WebhookStatus;
use crate::store::ListQuery;
use crate::store::list::Names;
use crate::store::postgres::replays::after;
use crate::store::postgres::rows;
use crate::store::postgres::shared::Shared;
use crate::store::replays::{limit, taken};

/// The matching webhooks with ids in `places`, oldest first, and the place before which there are no others. Without a
/// filter of the body they are at most `most`.
pub(in crate::store::postgres) async fn oldest(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    query: &ListQuery,
    places: Range<Uuid>,
    most: usize,
) -> QueryResult<(Vec<WebhookStatus>, Uuid)> {
    let names = names_of(connection, query).await?;
    if names.is_nothing() {
        return Ok((Vec::new(), places.end));
    }
    let conditions = Conditions::of(query, &names);
    let range = InRange { before: places.end, from: places.start };
    let limit = limit(query, most);
    let looking = SelectOldest { range, conditions: &conditions, limit };
    let found = looking.load::<(Uuid, i32)>(connection).await?;
    let found = found.into_iter().map(|(place, bytes)| (place, usize::try_from(bytes).unwrap_or_default()));
    let (mut found, last) = taken(found.collect(), query, most);
    if query.body.is_some() {
        let (payloads, query) = (payloads(connection, found).await?, query.clone());
        // Comparing takes as long as the payloads are large.
        let matching = tokio::task::spawn_blocking(move || matching(&query, &payloads));
        found = matching.await.map_err(rows::unreadable)?;
    }
    let mut webhooks = statuses(shared, connection, found).await?;
    // They are newest first.
    webhooks.reverse();
    Ok((webhooks, last.map_or(places.end, after)))
}

/// The source and the queues that a query names. A range does not need the names of the sources that have a key.
async fn names_of(connection: &mut AsyncPgConnection, query: &ListQuery) -> QueryResult<Names<i32>> {
    let without_key = ListQuery { idempotency_key: None, ..query.clone() };
    let Names { queues, .. } = names::look_up(connection, &without_key).await?;
    Ok(Names { sources: query.source.clone().map(|source| vec![source]), queues })
}

/// Selects the webhooks of a range that match all filters but that of the body, oldest first, each with the length of
/// its payload.
struct SelectOldest<'a> {
    range: InRange,
    conditions: &'a Conditions<'a>,
    limit: i64,
}

impl QueryFragment<Pg> for SelectOldest<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.range.walk_ast(out.reborrow())?;
        self.conditions.walk_ast(out.reborrow())?;
        out.push_sql(" ORDER BY w.id LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl QueryId for SelectOldest<'_> {
    type QueryId = SelectOldest<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for SelectOldest<'_> {
    type SqlType = (SqlUuid, Integer);
}

impl<Connection> diesel::RunQueryDsl<Connection> for SelectOldest<'_> {}
