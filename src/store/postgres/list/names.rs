//! Looks up the sources and queues that a query is about.

use std::collections::BTreeSet;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::ListQuery;
use crate::store::list::{MOST_SOURCES, Names};
use crate::store::postgres::rows::{self, NO_ROUTE_QUEUE};
use crate::store::postgres::schema::queues;
use crate::store::statement::statement;

/// The sources of the store and the queues of the routes, each if `query` needs them.
pub(super) async fn look_up(
    connection: &mut AsyncPgConnection,
    query: &ListQuery,
) -> QueryResult<Names<i32>> {
    let sources = if query.needs_sources() { Some(known_sources(connection).await?) } else { None };
    let queues = if query.needs_routes() { Some(queues_of(connection, query).await?) } else { None };
    Ok(Names { sources, queues })
}

async fn queues_of(connection: &mut AsyncPgConnection, query: &ListQuery) -> QueryResult<Vec<i32>> {
    let all = queues::table
        .filter(queues::id.ne(rows::queue_number(NO_ROUTE_QUEUE)))
        .select((queues::id, queues::route))
        .load::<(i32, String)>(connection)
        .await?;
    let mut taken = Vec::new();
    for (queue, route) in all {
        if query.takes_route(&RouteName::new(route).map_err(rows::unreadable)?) {
            taken.push(queue);
        }
    }
    Ok(taken)
}

/// The sources that have webhooks, [`MOST_SOURCES`] and a few more at most.
async fn known_sources(connection: &mut AsyncPgConnection) -> QueryResult<Vec<Source>> {
    let limit = i64::try_from(MOST_SOURCES).unwrap_or(i64::MAX).saturating_add(1);
    let looking = SelectSources { limit, limit_of_quarantined: limit };
    let sources = looking.load::<String>(connection).await?.into_iter().collect::<BTreeSet<_>>();
    sources.into_iter().map(|source| Source::new(source).map_err(rows::unreadable)).collect()
}

// Reads one entry of each of two indexes for each source. Each index is the only one with the order that is asked for.
statement! { Pg;
    struct SelectSources {
        limit: i64 as BigInt,
        limit_of_quarantined: i64 as BigInt,
    }
    returns Text;
    "WITH RECURSIVE accepted AS (
         (SELECT source FROM webhooks WHERE NOT quarantined ORDER BY source, idempotency_key LIMIT 1)
         UNION ALL
         SELECT (
             SELECT w.source FROM webhooks w WHERE NOT w.quarantined AND w.source > a.source
             ORDER BY w.source, w.idempotency_key LIMIT 1
         ) FROM accepted a WHERE a.source IS NOT NULL
     ), held AS (
         (SELECT source FROM webhooks WHERE quarantined ORDER BY source, idempotency_key, id LIMIT 1)
         UNION ALL
         SELECT (
             SELECT w.source FROM webhooks w WHERE w.quarantined AND w.source > h.source
             ORDER BY w.source, w.idempotency_key, w.id LIMIT 1
         ) FROM held h WHERE h.source IS NOT NULL
     )
     (SELECT source FROM accepted WHERE source IS NOT NULL LIMIT ?)
     UNION ALL
     (SELECT source FROM held WHERE source IS NOT NULL LIMIT ?)"
}
