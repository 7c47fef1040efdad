//! The webhooks that a replay looks at: those of a range that match, oldest first.

use std::ops::Range;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;

use super::conditions::{Conditions, InRange};
use super::{matching, names, statuses};
use crate::domain::webhook::WebhookStatus;
use crate::store::ListQuery;
use crate::store::list::Names;
use crate::store::replays::{limit, taken};

/// The matching webhooks with sequences in `places`, oldest first, and the place before which there are no others.
/// Without a filter of the body they are at most `most`.
pub(in crate::store::sqlite) fn oldest(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    places: Range<i64>,
    most: usize,
) -> QueryResult<(Vec<WebhookStatus>, i64)> {
    let names = names_of(connection, query)?;
    if names.is_nothing() {
        return Ok((Vec::new(), places.end));
    }
    let conditions = Conditions::of(query, &names)?;
    let range = InRange { before: places.end, from: places.start };
    let limit = limit(query, most);
    let found = SelectOldest { range, conditions: &conditions, limit }.load::<(i64, i64)>(connection)?;
    let found = found.into_iter().map(|(place, bytes)| (place, usize::try_from(bytes).unwrap_or(usize::MAX)));
    let (mut found, last) = taken(found.collect(), query, most);
    if let Some(filter) = &query.body {
        found = matching(connection, filter, &found)?;
    }
    let mut webhooks = if found.is_empty() { Vec::new() } else { statuses(connection, &found)? };
    // They are newest first.
    webhooks.reverse();
    Ok((webhooks, last.map_or(places.end, |last| last.saturating_add(1))))
}

/// The source and the queues that a query names. A range does not need the names of the sources that have a key.
fn names_of(connection: &mut SqliteConnection, query: &ListQuery) -> QueryResult<Names<i64>> {
    let without_key = ListQuery { idempotency_key: None, ..query.clone() };
    let Names { queues, .. } = names::look_up(connection, &without_key)?;
    Ok(Names { sources: query.source.clone().map(|source| vec![source]), queues })
}

/// Selects the webhooks of a range that match all filters but that of the body, oldest first, each with the length of
/// its payload.
struct SelectOldest<'a> {
    range: InRange,
    conditions: &'a Conditions<'a>,
    limit: i64,
}

impl QueryFragment<Sqlite> for SelectOldest<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.range.walk_ast(out.reborrow())?;
        self.conditions.walk_ast(out.reborrow())?;
        out.push_sql(" ORDER BY w.sequence LIMIT ");
        out.push_bind_param::<BigInt, i64>(&self.limit)
    }
}

impl QueryId for SelectOldest<'_> {
    type QueryId = SelectOldest<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for SelectOldest<'_> {
    type SqlType = (BigInt, BigInt);
}

impl<Connection> diesel::RunQueryDsl<Connection> for SelectOldest<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::connection::OwnedFile;
    use crate::store::sqlite::plans::plan;

    #[test]
    fn webhooks_of_a_range_are_read_in_order_without_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut file = OwnedFile::open(&folder.path().join("inbox.db")).expect("opens");
        let (query, names) = (ListQuery::default(), Names { sources: None, queues: None });
        let conditions = Conditions::of(&query, &names).expect("serializes");
        let range = InRange { before: 2, from: 1 };
        let plan = plan(&mut file.connection, &SelectOldest { range, conditions: &conditions, limit: 1 });
        assert!(plan.contains("SEARCH w USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{plan}");
        let scans = plan.replace("SCAN json_each", "");
        assert!(!scans.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
