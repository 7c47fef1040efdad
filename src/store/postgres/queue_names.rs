//! Looks up queues by number or by route and source.
//!
//! A queue of a database never changes, so each process keeps those that it has read in its schedule. But a standby
//! without the last commits of its primary may get other queues with the same numbers, once it is promoted. So every
//! statement that stores jobs in a queue, or leases jobs of one, compares what the process knows with the table, and
//! takes only what agrees.

use std::collections::HashSet;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::insert::NewJobRow;
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
    let unknown = unknown.map(|(route, source)| (route.as_str(), source.as_str())).collect();
    create(schedule, connection, unknown).await
}

/// Makes queues, and makes them known to the schedule.
async fn create(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    mut names: Vec<(&str, &str)>,
) -> QueryResult<()> {
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

/// As [`number`], but reads also the queues that are known.
pub(super) async fn number_anew(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    names: &HashSet<(&RouteName, &Source)>,
) -> QueryResult<()> {
    let names = names.iter().map(|(route, source)| (route.as_str(), source.as_str())).collect::<Vec<_>>();
    let routes = names.iter().map(|(route, _)| *route).collect::<Vec<_>>();
    let found = queues::table.filter(queues::route.eq_any(routes)).load::<QueueRow>(connection).await?;
    let missing = {
        let known = found.iter().map(|queue| (queue.route.as_str(), queue.source.as_str()));
        let known = known.collect::<HashSet<_>>();
        names.into_iter().filter(|name| !known.contains(name)).collect()
    };
    add(schedule, found)?;
    create(schedule, connection, missing).await
}

/// Reads the queues with these numbers, also those that are known. Returns whether they differ from what was known.
pub(super) async fn read_anew(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    numbers: &[QueueId],
) -> QueryResult<bool> {
    let ids = numbers.iter().map(|number| rows::queue_number(*number)).collect::<Vec<_>>();
    let found = queues::table.filter(queues::id.eq_any(ids)).load::<QueueRow>(connection).await?;
    let found = found.into_iter().map(QueueRow::named).collect::<QueryResult<Vec<_>>>()?;
    Ok(schedule.set_queues(numbers, found))
}

/// Whether the queues of these jobs of one source are those of the table.
pub(super) async fn agree(
    connection: &mut AsyncPgConnection,
    source: &str,
    jobs: &[NewJobRow<'_>],
) -> QueryResult<bool> {
    let comparing = CompareQueues {
        ids: jobs.iter().map(|job| rows::queue_number(job.queue)).collect(),
        routes: jobs.iter().map(|job| job.route.as_str()).collect(),
        sources: jobs.iter().map(|_| source).collect(),
    };
    comparing.get_result(connection).await
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
    schedule.add_queues(found.into_iter().map(QueueRow::named).collect::<QueryResult<Vec<_>>>()?);
    Ok(())
}

impl QueueRow {
    fn named(self) -> QueryResult<(QueueId, RouteName, Source)> {
        named(self.id, self.route, self.source)
    }
}

/// A queue as domain types.
pub(super) fn named(id: i32, route: String, source: String) -> QueryResult<(QueueId, RouteName, Source)> {
    Ok((
        rows::queue(id)?,
        RouteName::new(route).map_err(rows::unreadable)?,
        Source::new(source).map_err(rows::unreadable)?,
    ))
}

/// The condition that the queues, given as arrays of numbers, routes and sources, are those of the table.
macro_rules! queues_agree {
    () => {
        "NOT EXISTS (
             SELECT 1 FROM unnest(?, ?, ?) AS k (id, route, source)
             WHERE (SELECT q.route = k.route AND q.source = k.source FROM queues q WHERE q.id = k.id) IS NOT TRUE
         )"
    };
}

pub(super) use queues_agree;

statement! { Pg;
    struct CompareQueues<'a> {
        ids: Vec<i32> as Array<Integer>,
        routes: Vec<&'a str> as Array<Text>,
        sources: Vec<&'a str> as Array<Text>,
    }
    returns Bool;
    concat!("SELECT ", queues_agree!())
}

statement! { Pg;
    struct InsertQueues<'a> {
        routes: Vec<&'a str> as Array<Text>,
        sources: Vec<&'a str> as Array<Text>,
    }
    returns ();
    "INSERT INTO queues (route, source) SELECT * FROM unnest(?, ?) ON CONFLICT (route, source) DO NOTHING"
}
