//! Lanes: the jobs of one queue and one order value, which run one at a time.
//!
//! A transaction that changes an ordered job locks the row of its lane first, and several lanes in the order
//! of their keys. The row says whether the first job of the lane may start, and when. So the end of an
//! attempt does not have to look for the next job, which its snapshot would not show if the job was stored a
//! moment ago.

use std::collections::{BTreeMap, BTreeSet};

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;

use super::rows::{self, pg_time};
use crate::domain::job::QueueId;
use crate::domain::route::OrderValue;
use crate::store::statement::statement;

/// Maximum number of lanes of a queue that one correction reads.
const CORRECTED_AT_ONCE: i64 = 100;

/// The key of a lane: `queue:value`.
pub(super) fn key(queue: QueueId, order: &OrderValue) -> String {
    format!("{}:{}", queue.0, order.as_str())
}

/// The order value in the key of a lane.
pub(super) fn order(key: &str) -> Option<OrderValue> {
    key.split_once(':').map(|(_, order)| OrderValue::new(order))
}

/// Locks lanes, in the order of their keys. Skips lanes that do not exist.
pub(super) async fn lock(connection: &mut AsyncPgConnection, lanes: Vec<String>) -> QueryResult<()> {
    if lanes.is_empty() {
        return Ok(());
    }
    LockLanes { lanes }.load::<String>(connection).await.map(drop)
}

/// Locks lanes that jobs may enter, in the order of their keys. Creates missing lanes without jobs.
pub(super) async fn lock_or_add(
    connection: &mut AsyncPgConnection,
    lanes: BTreeSet<(String, QueueId)>,
    now: Timestamp,
) -> QueryResult<()> {
    if lanes.is_empty() {
        return Ok(());
    }
    let queues = lanes.iter().map(|(_, queue)| rows::queue_number(*queue)).collect();
    let lanes = lanes.into_iter().map(|(lane, _)| lane).collect();
    LockOrAddLanes { lanes, queues, now: pg_time(now) }.execute(connection).await.map(drop)
}

/// Locks the lanes that no other transaction has locked, and returns their keys.
pub(super) async fn lock_free(
    connection: &mut AsyncPgConnection,
    lanes: Vec<String>,
) -> QueryResult<Vec<String>> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    LockFreeLanes { lanes }.load(connection).await
}

/// The changes of lanes in one transaction.
#[derive(Debug, Default)]
pub(super) struct LaneChanges(BTreeMap<String, LaneChange>);

#[derive(Debug)]
struct LaneChange {
    queue: QueueId,
    /// The change of the number of jobs.
    jobs: i64,
    /// Whether the dead letter that blocked the lane no longer blocks it.
    is_unblocked: bool,
    /// Whether a job has left the lane, so that the next job may start.
    is_left: bool,
}

impl LaneChanges {
    /// Records that a waiting job has left the lane.
    pub(super) fn leave(&mut self, lane: String, queue: QueueId) {
        let change = self.of(lane, queue);
        change.jobs -= 1;
        change.is_left = true;
    }

    /// Records that the dead letter that blocked the lane was cancelled.
    pub(super) fn give_up(&mut self, lane: String, queue: QueueId) {
        self.unblock(lane.clone(), queue);
        self.leave(lane, queue);
    }

    /// Records that the dead letter that blocked the lane is waiting again. The number of jobs does not
    /// change.
    pub(super) fn unblock(&mut self, lane: String, queue: QueueId) {
        self.of(lane, queue).is_unblocked = true;
    }

    /// Records that a waiting job has entered the lane.
    pub(super) fn enter(&mut self, lane: String, queue: QueueId) {
        self.of(lane, queue).jobs += 1;
    }

    fn of(&mut self, lane: String, queue: QueueId) -> &mut LaneChange {
        let new = LaneChange { queue, jobs: 0, is_unblocked: false, is_left: false };
        self.0.entry(lane).or_insert(new)
    }

    /// The queues of lanes that a job has left: the next job may start.
    pub(super) fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.0.values().filter(|change| change.is_left).map(|change| change.queue)
    }

    /// Writes the changes, and sets when the first jobs of free lanes are due. The lanes must be locked.
    pub(super) async fn apply(&self, connection: &mut AsyncPgConnection) -> QueryResult<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let keys = || self.0.keys().cloned().collect();
        let changing = ChangeLanes {
            lanes: keys(),
            jobs: self.0.values().map(|change| change.jobs).collect(),
            unblocked: self.0.values().map(|change| change.is_unblocked).collect(),
            locked: keys(),
        };
        changing.execute(connection).await?;
        refresh(connection, keys()).await
    }
}

/// Sets when the first jobs of free lanes are due. Must be a separate statement after the lanes were locked,
/// so that it sees all changes of other transactions.
pub(super) async fn refresh(connection: &mut AsyncPgConnection, lanes: Vec<String>) -> QueryResult<()> {
    RefreshLanes { lanes }.execute(connection).await.map(drop)
}

/// Corrects lanes of these queues that are due by their row although their first job is not. This happens
/// after a retry by hand: the job behind the one that ended may be waiting for its next attempt. Returns
/// whether it found such lanes.
pub(super) async fn correct(
    connection: &mut AsyncPgConnection,
    queues: &[QueueId],
    now: Timestamp,
) -> QueryResult<bool> {
    let looking = SelectEarlyLanes {
        queues: queues.iter().copied().map(rows::queue_number).collect(),
        now: pg_time(now),
        limit: CORRECTED_AT_ONCE,
        now_again: pg_time(now),
    };
    let mut early = looking.load::<String>(connection).await?;
    if early.is_empty() {
        return Ok(false);
    }
    early.sort();
    let correcting = connection.transaction(async |connection| {
        lock(connection, early.clone()).await?;
        refresh(connection, early).await
    });
    correcting.await?;
    Ok(true)
}

statement! { Pg;
    struct LockLanes {
        lanes: Vec<String> as Array<Text>,
    }
    returns Text;
    "SELECT lane FROM lanes WHERE lane = ANY (?) ORDER BY lane FOR UPDATE"
}

statement! { Pg;
    struct LockFreeLanes {
        lanes: Vec<String> as Array<Text>,
    }
    returns Text;
    "SELECT lane FROM lanes WHERE lane = ANY (?) ORDER BY lane FOR UPDATE SKIP LOCKED"
}

statement! { Pg;
    struct LockOrAddLanes {
        lanes: Vec<String> as Array<Text>,
        queues: Vec<i32> as Array<Integer>,
        now: PgTimestamp as Timestamptz,
    }
    returns ();
    "INSERT INTO lanes AS l (lane, queue, jobs, state, available_at)
     SELECT g.lane, g.queue, 0, 0, n.now FROM unnest(?, ?) AS g (lane, queue), (SELECT ? AS now) AS n
     ON CONFLICT (lane) DO UPDATE SET jobs = l.jobs"
}

// A lane that had no jobs becomes free, whatever its state was.
statement! { Pg;
    struct ChangeLanes {
        lanes: Vec<String> as Array<Text>,
        jobs: Vec<i64> as Array<BigInt>,
        unblocked: Vec<bool> as Array<Bool>,
        locked: Vec<String> as Array<Text>,
    }
    returns ();
    "WITH g AS MATERIALIZED (SELECT ? AS lanes, ? AS jobs, ? AS unblocked)
     UPDATE lanes l
     SET jobs = l.jobs + g.jobs[width_bucket(l.lane, g.lanes)],
         state = CASE WHEN l.jobs = 0 OR g.unblocked[width_bucket(l.lane, g.lanes)] THEN 0 ELSE l.state END
     FROM g WHERE l.lane = ANY (?)"
}

statement! { Pg;
    struct RefreshLanes {
        lanes: Vec<String> as Array<Text>,
    }
    returns ();
    "UPDATE lanes l
     SET available_at = coalesce((SELECT available_at FROM jobs WHERE lane = l.lane ORDER BY position LIMIT 1), l.available_at)
     WHERE l.lane = ANY (?) AND l.state = 0"
}

statement! { Pg;
    struct SelectEarlyLanes {
        queues: Vec<i32> as Array<Integer>,
        now: PgTimestamp as Timestamptz,
        limit: i64 as BigInt,
        now_again: PgTimestamp as Timestamptz,
    }
    returns Text;
    "SELECT l.lane FROM unnest(?) AS q (queue)
     CROSS JOIN LATERAL (
         SELECT lane FROM lanes
         WHERE queue = q.queue AND state = 0 AND jobs > 0 AND available_at <= ?
         ORDER BY available_at LIMIT ?
     ) AS l
     CROSS JOIN LATERAL (SELECT available_at FROM jobs WHERE lane = l.lane ORDER BY position LIMIT 1) AS head
     WHERE head.available_at > ?"
}
