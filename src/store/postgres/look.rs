//! Polls all queues for the schedule, and reads the statistics.

use std::collections::{HashMap, HashSet};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;

use super::pool::answer;
use super::schedule::Found;
use super::shared::Shared;
use super::{breakers, counts, limits, lost_queues, pauses, queue_names, rows};
use crate::domain::breaker::Trip;
use crate::domain::job::{QueueId, Status};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::statement::statement;
use crate::store::{QueueStats, StatusCounts, StoreStats, TrippedBreaker};

/// A queue, and when its first waiting job without a lane and its first free lane are due.
#[derive(Queryable)]
struct QueueRow {
    id: i32,
    route: String,
    source: String,
    job: Option<PgTimestamp>,
    lane: Option<PgTimestamp>,
}

/// A queue as domain types.
struct Queue {
    route: RouteName,
    source: Source,
    found: Found,
}

async fn queues(connection: &mut AsyncPgConnection) -> QueryResult<Vec<Queue>> {
    let queue = |QueueRow { id, route, source, job, lane }| {
        let (queue, route, source) = queue_names::named(id, route, source)?;
        let (job, lane) = (job.map(rows::time).transpose()?, lane.map(rows::time).transpose()?);
        Ok(Queue { route, source, found: Found { queue, job, lane } })
    };
    SelectQueues {}.load::<QueueRow>(connection).await?.into_iter().map(queue).collect()
}

/// Reads all queues, when something is due in them, all pauses, and all breakers. Updates the schedule, and wakes the
/// dispatcher. Adds the rows of `paces` that a failover has lost: without them, routes with a limit start nothing.
pub(super) async fn look(shared: &Shared) -> QueryResult<()> {
    let moment = shared.schedule.moment();
    let mut connection = shared.asking.get().await?;
    let policies = shared.schedule.policies();
    let looking = answer(async {
        limits::add_routes(&mut connection, &policies).await?;
        let (queues, pauses) = (queues(&mut connection).await?, pauses::all(&mut connection).await?);
        Ok((queues, pauses, breakers::all(&mut connection).await?))
    });
    let looking = looking.await;
    let (queues, pauses, breakers) = connection.release(looking)?;
    let found = queues.iter().map(|queue| queue.found).collect::<Vec<_>>();
    let named = |queue: Queue| (queue.found.queue, queue.route, queue.source);
    shared.schedule.add_queues(queues.into_iter().map(named));
    shared.schedule.set_paused(moment, pauses);
    breakers::take(shared, moment, breakers);
    shared.schedule.found(moment, &found);
    shared.schedule.free_all();
    shared.wake();
    Ok(())
}

/// The queues that have waiting jobs and were not found.
fn lost(counts: &HashMap<QueueId, StatusCounts>, found: &[Queue]) -> Vec<QueueId> {
    let found = found.iter().map(|queue| queue.found.queue).collect::<HashSet<_>>();
    let lost = counts.iter().filter(|(queue, counts)| {
        counts.of(Status::Pending) + counts.of(Status::Retrying) > 0 && !found.contains(*queue)
    });
    lost.map(|(queue, _)| *queue).collect()
}

/// Statistics: counts by queue, since when the oldest jobs have been due, pauses and breakers.
pub(super) async fn stats(shared: &Shared) -> QueryResult<StoreStats> {
    let (now, process_now) = (shared.now(), shared.clock.now());
    let mut connection = shared.asking.get().await?;
    let looking = answer(async {
        // First, so that the queue of every counted job is read, too.
        let counts = counts::by_queue(&mut connection).await?;
        let mut found = queues(&mut connection).await?;
        let lost = lost(&counts, &found);
        if !lost.is_empty() {
            lost_queues::add(&mut connection, &lost).await?;
            found = queues(&mut connection).await?;
        }
        let pauses = pauses::all(&mut connection).await?;
        Ok((found, counts, pauses, breakers::all(&mut connection).await?))
    });
    let looking = looking.await;
    let (queues, mut counts, pauses, breakers) = connection.release(looking)?;
    let unrouted = counts.remove(&QueueId(0)).unwrap_or_default();
    // As old, or as far away, by the time of day of this process as by the time of the database.
    let by_process = |time: Timestamp| process_now.saturating_sub(now.duration_since(time)).unwrap_or(time);
    let stats = |Queue { route, source, found }: Queue| QueueStats {
        route,
        source,
        counts: counts.get(&found.queue).copied().unwrap_or_default(),
        oldest_due: found.next().filter(|due| *due <= now).map(by_process),
    };
    let breaker = |TrippedBreaker { route, trip }: TrippedBreaker| {
        let open_until = by_process(trip.open_until);
        TrippedBreaker { route, trip: Trip { open_until, ..trip } }
    };
    let breakers = breakers.into_iter().map(breaker).collect();
    Ok(StoreStats { queues: queues.into_iter().map(stats).collect(), unrouted, pauses, breakers })
}

statement! { Pg;
    struct SelectQueues {}
    returns (Integer, Text, Text, Nullable<Timestamptz>, Nullable<Timestamptz>);
    "SELECT q.id, q.route, q.source,
            (SELECT available_at FROM jobs
             WHERE queue = q.id AND status IN (0, 2) AND lane IS NULL
             ORDER BY available_at LIMIT 1),
            (SELECT available_at FROM lanes
             WHERE queue = q.id AND state = 0 AND jobs > 0
             ORDER BY available_at LIMIT 1)
     FROM queues q WHERE q.id > 0"
}
