//! Looks up the sources and queues that a query is about.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::Sqlite;

use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::ListQuery;
use crate::store::list::{MOST_SOURCES, Names};
use crate::store::sqlite::queries::NO_ROUTE_QUEUE;
use crate::store::sqlite::schema::{idempotency_keys, queues};
use crate::store::sqlite::{keys, rows};
use crate::store::statement::statement;

/// The sources of the store and the queues of the routes, each if `query` needs them.
pub(super) fn look_up(connection: &mut SqliteConnection, query: &ListQuery) -> QueryResult<Names<i64>> {
    let sources = query.needs_sources().then(|| known_sources(connection)).transpose()?;
    let queues = query.needs_routes().then(|| queues_of(connection, query)).transpose()?;
    Ok(Names { sources, queues })
}

fn queues_of(connection: &mut SqliteConnection, query: &ListQuery) -> QueryResult<Vec<i64>> {
    let all = queues::table
        .filter(queues::id.ne(i64::from(NO_ROUTE_QUEUE.0)))
        .select((queues::id, queues::route))
        .load::<(i64, String)>(connection)?;
    let mut taken = Vec::new();
    for (queue, route) in all {
        if query.takes_route(&RouteName::new(route).map_err(rows::unreadable)?) {
            taken.push(queue);
        }
    }
    Ok(taken)
}

/// The sources that have webhooks, [`MOST_SOURCES`] and a few more at most. Reads two entries of an index for each.
fn known_sources(connection: &mut SqliteConnection) -> QueryResult<Vec<Source>> {
    let mut sources = BTreeSet::new();
    let mut place = Vec::new();
    while sources.len() <= MOST_SOURCES
        && let Some(name) = next_key(connection, &place)?
    {
        let source = keys::source_of(&name).ok_or_else(|| rows::unreadable("a key without a source"))?;
        place = keys::behind(source);
        sources.insert(source.to_owned());
    }
    let mut last = String::new();
    while sources.len() <= MOST_SOURCES
        && let Some(source) = next_quarantined(connection, &last)?
    {
        sources.insert(source.clone());
        last = source;
    }
    sources.into_iter().map(|source| Source::new(source).map_err(rows::unreadable)).collect()
}

/// The first encoded key after `place`.
fn next_key(connection: &mut SqliteConnection, place: &[u8]) -> QueryResult<Option<Vec<u8>>> {
    idempotency_keys::table
        .filter(idempotency_keys::name.gt(place))
        .order(idempotency_keys::name)
        .select(idempotency_keys::name)
        .first::<Vec<u8>>(connection)
        .optional()
}

/// The first source after `last` that has webhooks in quarantine.
fn next_quarantined(connection: &mut SqliteConnection, last: &str) -> QueryResult<Option<String>> {
    SelectQuarantinedSource { last }.get_result::<String>(connection).optional()
}

statement! { Sqlite;
    struct SelectQuarantinedSource<'a> {
        last: &'a str as Text,
    }
    returns Text;
    "SELECT source FROM webhooks WHERE quarantined = 1 AND source > ? ORDER BY source LIMIT 1"
}
