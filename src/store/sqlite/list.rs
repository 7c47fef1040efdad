//! Lists of webhooks, newest first.
//!
//! Each window first finds places to look at: those that an index has, or all of a range. Then one statement selects the
//! webhooks at these places that match.

mod conditions;
mod names;
mod oldest;
mod places;
#[cfg(test)]
mod plans;

use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::Sqlite;

use self::conditions::{AmongPlaces, Conditions, InRange, SelectMatching, Within};
pub(super) use self::oldest::oldest;
use self::places::Places;
use super::SqliteStore;
use super::queries::{StatusColumns, status_columns, with_jobs};
use super::rows::{self, StatusRow};
use crate::domain::body_filter::BodyFilter;
use crate::domain::error::Result;
use crate::domain::id::{Position, Sequence};
use crate::domain::webhook::WebhookStatus;
use crate::store::list::{self, Candidates, Lister, Look, Names, Window};
use crate::store::statement::statement;
use crate::store::{ListQuery, Page};

/// One page of the matching webhooks.
pub(super) async fn list(store: &SqliteStore, query: ListQuery) -> Result<Page> {
    let query = Arc::new(query);
    let names = if query.needs_sources() || query.needs_routes() {
        let asked = Arc::clone(&query);
        store.readers()?.run(move |connection| names::look_up(connection, &asked)).await?
    } else {
        Names { sources: None, queues: None }
    };
    let names = Arc::new(names.narrowed(&query)?);
    if names.is_nothing() {
        return Ok(Page::default());
    }
    let lister = SqliteLister { store, query: Arc::clone(&query), names };
    list::page(&lister, store.clock.as_ref(), &query).await
}

/// Reads one list. A webhook is named by its sequence.
struct SqliteLister<'a> {
    store: &'a SqliteStore,
    query: Arc<ListQuery>,
    names: Arc<Names<i64>>,
}

#[async_trait]
impl Lister for SqliteLister<'_> {
    type Place = i64;

    fn before(place: i64) -> Position {
        Position::before_all(Sequence::from_i64(place))
    }

    async fn window(&self, look: Look) -> Result<Window> {
        let (query, names) = (Arc::clone(&self.query), Arc::clone(&self.names));
        let looking = move |connection: &mut SqliteConnection| {
            // One transaction, so that the webhooks still match when their status is read.
            connection.transaction(|connection| window(connection, &query, &names, look))
        };
        self.store.readers()?.run(looking).await
    }

    async fn candidates(&self, look: Look) -> Result<Candidates<i64>> {
        let (query, names) = (Arc::clone(&self.query), Arc::clone(&self.names));
        let looking =
            move |connection: &mut SqliteConnection| candidates(connection, &query, &names, look, usize::MAX);
        self.store.readers()?.run(looking).await
    }

    async fn matching(&self, places: Vec<i64>) -> Result<Vec<i64>> {
        let query = Arc::clone(&self.query);
        let looking = move |connection: &mut SqliteConnection| match &query.body {
            Some(filter) => matching(connection, filter, &places),
            None => Ok(places),
        };
        self.store.readers()?.run(looking).await
    }

    async fn statuses(&self, places: Vec<i64>) -> Result<Vec<WebhookStatus>> {
        let looking = move |connection: &mut SqliteConnection| statuses(connection, &places);
        self.store.readers()?.run(looking).await
    }
}

fn window(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    names: &Names<i64>,
    look: Look,
) -> QueryResult<Window> {
    let Candidates { places, rows, next } = candidates(connection, query, names, look, look.wanted)?;
    let places = places.into_iter().map(|(place, _)| place).collect::<Vec<_>>();
    let webhooks = if places.is_empty() { Vec::new() } else { statuses(connection, &places)? };
    Ok(Window { webhooks, rows, next })
}

/// The next webhooks that match all filters but that of the body, `limit` at most.
fn candidates(
    connection: &mut SqliteConnection,
    query: &ListQuery,
    names: &Names<i64>,
    look: Look,
    limit: usize,
) -> QueryResult<Candidates<i64>> {
    let area = places::next(connection, query, names, look)?;
    let within = match area.places {
        Places::From(from) => Within::Range(InRange { before: look.before.sequence().as_i64(), from }),
        Places::Among(places) => Within::Among(AmongPlaces { places: list_of(&places)? }),
    };
    let conditions = Conditions::of(query, names)?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = SelectMatching { within, conditions: &conditions, limit: most };
    let found = found.load::<(i64, i64)>(connection)?;
    let last = found.last().map(|(place, _)| *place).filter(|_| found.len() >= limit);
    let bytes = |bytes: i64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Ok(Candidates {
        next: last.or(area.next).map(SqliteLister::before),
        places: found.into_iter().map(|(place, length)| (place, bytes(length))).collect(),
        rows: area.rows,
    })
}

/// The body of a webhook.
#[derive(Queryable)]
struct BodyRow {
    sequence: i64,
    content_type: String,
    payload: Vec<u8>,
}

/// Those of these webhooks whose body matches, newest first.
fn matching(connection: &mut SqliteConnection, filter: &BodyFilter, places: &[i64]) -> QueryResult<Vec<i64>> {
    let list = list_of(places)?;
    let mut found = Vec::new();
    // Row by row, so that one payload at a time is in memory.
    for row in (SelectBodies { places: &list }).load_iter::<BodyRow, _>(connection)? {
        let BodyRow { sequence, content_type, payload } = row?;
        if filter.matches(&payload, &rows::content_type(&content_type)) {
            found.push(sequence);
        }
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

fn statuses(connection: &mut SqliteConnection, places: &[i64]) -> QueryResult<Vec<WebhookStatus>> {
    let list = list_of(places)?;
    rows::statuses(SelectStatuses { places: &list }.load::<StatusRow>(connection)?)
}

/// Values as a JSON array, for `json_each`.
fn list_of<T: serde::Serialize>(values: &[T]) -> QueryResult<String> {
    serde_json::to_string(values).map_err(rows::unreadable)
}

statement! { Sqlite;
    struct SelectBodies<'a> {
        places: &'a str as Text,
    }
    returns (BigInt, Text, Binary);
    "SELECT w.sequence, w.content_type, w.payload
     FROM json_each(?) e CROSS JOIN webhooks w ON w.sequence = e.value
     WHERE w.payload IS NOT NULL"
}

statement! { Sqlite;
    struct SelectStatuses<'a> {
        places: &'a str as Text,
    }
    returns StatusColumns;
    concat!(
        "SELECT ", status_columns!(), "
         FROM json_each(?) e CROSS JOIN webhooks w ON w.sequence = e.value",
        with_jobs!(),
        "ORDER BY w.sequence DESC, j.queue"
    )
}
