//! Looks up queues by number or by route and source. Queues never change, so each process reads them once and
//! keeps them in its schedule.

use std::collections::HashSet;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows;
use super::schedule::Schedule;
use super::schema::queues;
use crate::domain::job::QueueId;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::statement::statement;

/// A queue with its number.
#[derive(Queryable)]
struct QueueRow {
    id: i32,
    route: String,
    source: String,
}

/// Makes the queues of these routes and sources known to the schedule. Creates missing queues.
pub(super) async fn number(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    names: &HashSet<(&RouteName, &Source)>,
) -> QueryResult<()> {
    let unknown = names.iter().filter(|(route, source)| schedule.queue(route, source).is_none());
    let mut names = unknown.map(|(route, source)| (route.as_str(), source.as_str())).collect::<Vec<_>>();
    if names.is_empty() {
        return Ok(());
    }
    // Sorted, so that replicas that create the same queues at the same time do not deadlock.
    names.sort_unstable();
    let (routes, sources): (Vec<_>, Vec<_>) = names.into_iter().unzip();
    InsertQueues { routes: routes.clone(), sources }.execute(connection).await?;
    let found = queues::table.filter(queues::route.eq_any(routes)).load(connection).await?;
    add(schedule, found)
}

/// Makes the queues with these numbers known to the schedule.
pub(super) async fn know(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    numbers: impl Iterator<Item = QueueId>,
) -> QueryResult<()> {
    let unknown = schedule.unknown(numbers).into_iter().map(rows::queue_number).collect::<Vec<_>>();
    if unknown.is_empty() {
        return Ok(());
    }
    add(schedule, queues::table.filter(queues::id.eq_any(unknown)).load(connection).await?)
}

/// The numbers of the queues of a route.
pub(super) async fn of_route(connection: &mut AsyncPgConnection, route: &RouteName) -> QueryResult<Vec<i32>> {
    queues::table.filter(queues::route.eq(route.as_str())).select(queues::id).load(connection).await
}

fn add(schedule: &Schedule, found: Vec<QueueRow>) -> QueryResult<()> {
    let named = |QueueRow { id, route, source }| named(id, route, source);
    schedule.add_queues(found.into_iter().map(named).collect::<QueryResult<Vec<_>>>()?);
    Ok(())
}

/// A queue as domain types.
pub(super) fn named(id: i32, route: String, source: String) -> QueryResult<(QueueId, RouteName, Source)> {
    Ok((
        rows::queue(id)?,
        RouteName::new(route).map_err(rows::unreadable)?,
        Source::new(source).map_err(rows::unreadable)?,
    ))
}

statement! { Pg;
    struct InsertQueues<'a> {
        routes: Vec<&'a str> as Array<Text>,
        sources: Vec<&'a str> as Array<Text>,
    }
    returns ();
    "INSERT INTO queues (route, source) SELECT * FROM unnest(?, ?) ON CONFLICT (route, source) DO NOTHING"
}
