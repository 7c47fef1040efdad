//! Moves the waiting jobs of a route to another route, or cancels them. Each call changes a bounded number of
//! jobs.

use std::collections::{BTreeSet, HashMap, HashSet};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::cancel::cancel_waiting;
use super::effects::{ChangedJob, Effects};
use super::pool::answer;
use super::rows::{self, pg_time};
use super::schema::{job_statuses, queues};
use super::shared::Shared;
use super::{lanes, queue_names};
use crate::domain::job::{JobId, QueueId};
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::Moved;
use crate::store::statement::statement;

/// Maximum number of jobs moved or cancelled in one transaction.
const JOBS_AT_ONCE: i64 = 500;

/// A waiting job.
#[derive(Queryable)]
struct WaitingRow {
    webhook: Uuid,
    queue: i32,
    lane: Option<String>,
}

/// A moved job, with the queue and the lane it was in before.
#[derive(Queryable)]
struct MovedRow {
    webhook: Uuid,
    queue: i32,
    status: i16,
    attempts: i32,
    revision: i64,
    lane: Option<String>,
}

/// A queue, and the queue that its jobs move to.
struct Way {
    from: QueueId,
    to: QueueId,
}

/// Cancels waiting jobs of a route, [`JOBS_AT_ONCE`] at most. Returns how many it cancelled.
pub(super) async fn cancel_jobs(shared: &Shared, route: &RouteName) -> QueryResult<usize> {
    let now = shared.now();
    let mut connection = shared.asking.get().await?;
    let cancelling = answer(async {
        let from = queue_names::of_route(&mut connection, route).await?;
        let known = from.iter().map(|queue| rows::queue(*queue)).collect::<QueryResult<Vec<_>>>()?;
        queue_names::know(&shared.schedule, &mut connection, known.into_iter()).await?;
        let waiting = waiting(&mut connection, &from).await?;
        connection
            .transaction(async |connection| {
                let mut effects = Effects::default();
                let locked = lock(connection, waiting, &[], now).await?;
                let locked = locked.into_iter().map(|row| (row.webhook, row.queue)).collect();
                let cancelled = cancel_waiting(connection, locked, now, &mut effects).await?;
                effects.apply(connection, shared.slot()).await?;
                QueryResult::Ok((cancelled, effects))
            })
            .await
    });
    let cancelling = cancelling.await;
    let (cancelled, effects) = connection.release(cancelling)?;
    effects.announce(shared, now)?;
    Ok(cancelled)
}

/// Moves waiting jobs of `from` to `to`, [`JOBS_AT_ONCE`] at most. Cancels a job whose webhook already has a
/// job of `to`.
pub(super) async fn move_jobs(shared: &Shared, from: &RouteName, to: &RouteName) -> QueryResult<Moved> {
    if from == to {
        return Ok(Moved::default());
    }
    let now = shared.now();
    let mut connection = shared.asking.get().await?;
    let moving = answer(async {
        let ways = ways(shared, &mut connection, from, to).await?;
        let from = ways.iter().map(|way| rows::queue_number(way.from)).collect::<Vec<_>>();
        let waiting = waiting(&mut connection, &from).await?;
        connection
            .transaction(async |connection| {
                let mut effects = Effects::default();
                let locked = lock(connection, waiting, &ways, now).await?;
                let moved = move_locked(connection, locked, &ways, now, &mut effects).await?;
                effects.apply(connection, shared.slot()).await?;
                QueryResult::Ok((moved, effects))
            })
            .await
    });
    let moving = moving.await;
    let (moved, effects) = connection.release(moving)?;
    effects.announce(shared, now)?;
    Ok(moved)
}

/// The queues of `from`, sorted, each with the queue of `to` for the same source. Creates missing queues of
/// `to`.
async fn ways(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    from: &RouteName,
    to: &RouteName,
) -> QueryResult<Vec<Way>> {
    let found = queues::table.filter(queues::route.eq(from.as_str())).order(queues::id);
    let found = found.select((queues::id, queues::source)).load::<(i32, String)>(connection).await?;
    let found = found
        .into_iter()
        .map(|(id, source)| Ok((rows::queue(id)?, Source::new(source).map_err(rows::unreadable)?)));
    let found = found.collect::<QueryResult<Vec<_>>>()?;
    queue_names::number_anew(
        &shared.schedule,
        connection,
        &found.iter().map(|(_, source)| (to, source)).collect(),
    )
    .await?;
    queue_names::know(&shared.schedule, connection, found.iter().map(|(from, _)| *from)).await?;
    // Of the database, and not of the schedule, which may have learnt of another one meanwhile.
    let targets = queues::table.filter(queues::route.eq(to.as_str())).select((queues::source, queues::id));
    let targets = targets.load::<(String, i32)>(connection).await?.into_iter().collect::<HashMap<_, _>>();
    let mut ways = Vec::with_capacity(found.len());
    for (from, source) in found {
        let to = targets.get(source.as_str()).map(|to| rows::queue(*to)).transpose()?;
        ways.extend(to.map(|to| Way { from, to }));
    }
    Ok(ways)
}

/// Waiting jobs of these queues, [`JOBS_AT_ONCE`] at most.
async fn waiting(connection: &mut AsyncPgConnection, queues: &[i32]) -> QueryResult<Vec<WaitingRow>> {
    let looking = SelectWaiting {
        queues: queues.to_vec(),
        limit: JOBS_AT_ONCE,
        ordered_limit: JOBS_AT_ONCE,
        all_limit: JOBS_AT_ONCE,
    };
    looking.load(connection).await
}

/// Locks the lanes of the jobs and the lanes that the jobs move to, in the order of their keys, and then the
/// jobs. Returns the locked jobs: those that are still waiting and that no other transaction has locked.
async fn lock(
    connection: &mut AsyncPgConnection,
    waiting: Vec<WaitingRow>,
    ways: &[Way],
    now: Timestamp,
) -> QueryResult<Vec<WaitingRow>> {
    let mut keys = BTreeSet::new();
    for row in &waiting {
        let Some(lane) = &row.lane else { continue };
        let from = rows::queue(row.queue)?;
        keys.insert((lane.clone(), from));
        let to = ways.iter().find(|way| way.from == from).map(|way| way.to);
        keys.extend(to.zip(lanes::order(lane)).map(|(to, order)| (lanes::key(to, &order), to)));
    }
    lanes::lock_or_add(connection, keys, now).await?;
    let (webhooks, queues) = waiting.iter().map(|row| (row.webhook, row.queue)).unzip();
    LockWaiting { webhooks, queues }.load(connection).await
}

async fn move_locked(
    connection: &mut AsyncPgConnection,
    locked: Vec<WaitingRow>,
    ways: &[Way],
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<Moved> {
    let target = |queue: i32| ways.iter().find(|way| rows::queue_number(way.from) == queue).map(|way| way.to);
    let targets = ways.iter().map(|way| rows::queue_number(way.to)).collect::<Vec<_>>();
    let webhooks = locked.iter().map(|row| row.webhook).collect::<Vec<_>>();
    let taken = job_statuses::table
        .filter(job_statuses::webhook.eq_any(webhooks).and(job_statuses::queue.eq_any(targets)))
        .select(job_statuses::webhook);
    let taken = taken.load::<Uuid>(connection).await?.into_iter().collect::<HashSet<_>>();
    let (superfluous, moving): (Vec<_>, Vec<_>) = locked
        .into_iter()
        .map(|row| (row.webhook, row.queue))
        .partition(|(webhook, _)| taken.contains(webhook));
    let cancelled = cancel_waiting(connection, superfluous, now, effects).await?;
    let (webhooks, queues): (Vec<_>, Vec<_>) = moving.into_iter().unzip();
    let statement = MoveJobs {
        webhooks,
        queues,
        from: ways.iter().map(|way| rows::queue_number(way.from)).collect(),
        to: ways.iter().map(|way| rows::queue_number(way.to)).collect(),
        now: pg_time(now),
    };
    let moved = statement.load::<MovedRow>(connection).await?;
    let count = moved.len();
    for row in moved {
        let (from, status) = (rows::job_id(row.webhook, row.queue)?, rows::job_status(row.status)?);
        let Some(to) = target(row.queue) else { continue };
        effects.counts.moved(from.queue, Some(status), None);
        effects.counts.moved(to, None, Some(status));
        if let Some(lane) = row.lane {
            let order = lanes::order(&lane);
            effects.lanes.leave(lane, from.queue);
            order.into_iter().for_each(|order| effects.lanes.enter(lanes::key(to, &order), to));
        }
        let job = JobId { queue: to, ..from };
        effects.changed.push(ChangedJob {
            job,
            status,
            attempts: row.attempts,
            revision: row.revision,
            next_attempt_at: None,
        });
    }
    Ok(Moved { moved: count, cancelled })
}

// The key of a lane is `queue:value`. So the keys of a queue's lanes are between `queue:` and `queue;`,
// because `;` is the character after `:`.
statement! { Pg;
    struct SelectWaiting {
        queues: Vec<i32> as Array<Integer>,
        limit: i64 as BigInt,
        ordered_limit: i64 as BigInt,
        all_limit: i64 as BigInt,
    }
    returns (SqlUuid, Integer, Nullable<Text>);
    "SELECT j.webhook, j.queue, j.lane FROM unnest(?) AS q (queue)
     CROSS JOIN LATERAL (
         (SELECT webhook, queue, lane FROM jobs
          WHERE queue = q.queue AND status IN (0, 2) AND lane IS NULL
          ORDER BY available_at LIMIT ?)
         UNION ALL
         (SELECT webhook, queue, lane FROM jobs
          WHERE lane >= q.queue || ':' AND lane < q.queue || ';' AND status IN (0, 2)
          ORDER BY lane, position LIMIT ?)
     ) AS j
     LIMIT ?"
}

statement! { Pg;
    struct LockWaiting {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
    }
    returns (SqlUuid, Integer, Nullable<Text>);
    "WITH waiting AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS w (webhook, queue)
     )
     SELECT webhook, queue, lane FROM jobs
     WHERE webhook = ANY (ARRAY(SELECT webhook FROM waiting))
       AND ((webhook, queue) IN (SELECT webhook, queue FROM waiting)) IS TRUE AND status IN (0, 2)
     FOR UPDATE SKIP LOCKED"
}

// Returns the queue and the lane that each job was in before. The values of the snapshot are current, because
// the job and its lane are locked.
statement! { Pg;
    struct MoveJobs {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        from: Vec<i32> as Array<Integer>,
        to: Vec<i32> as Array<Integer>,
        now: PgTimestamp as Timestamptz,
    }
    returns (SqlUuid, Integer, SmallInt, Integer, BigInt, Nullable<Text>);
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS g (webhook, queue)
     ), way AS MATERIALIZED (
         SELECT ? AS queues, ? AS targets, ? AS now
     ), before AS MATERIALIZED (
         SELECT webhook, queue, status, attempts, revision, lane FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM given))
           AND ((webhook, queue) IN (SELECT webhook, queue FROM given)) IS TRUE
     ), moved AS (
         UPDATE jobs j
         SET queue = way.targets[width_bucket(j.queue, way.queues)], updated_at = way.now, revision = j.revision + 1,
             lane = way.targets[width_bucket(j.queue, way.queues)] || substr(j.lane, strpos(j.lane, ':'))
         FROM way
         WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM before))
           AND ((j.webhook, j.queue) IN (SELECT webhook, queue FROM before)) IS TRUE
     ), told AS (
         UPDATE attempts a SET queue = way.targets[width_bucket(a.queue, way.queues)]
         FROM way
         WHERE a.webhook = ANY (ARRAY(SELECT webhook FROM before))
           AND ((a.webhook, a.queue) IN (SELECT webhook, queue FROM before)) IS TRUE
     )
     SELECT webhook, queue, status, attempts, revision + 1, lane FROM before"
}
