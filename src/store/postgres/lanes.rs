//! Lanes: the jobs of one queue and one order value, which run one at a time.
//!
//! A transaction that changes an ordered job locks its lane first, and several lanes in the order of their
//! keys. The row of a lane says whether its head may start and when. So a finish never looks for the next
//! job, which its snapshot would not show if that was stored a moment ago.

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

/// Lanes of a queue that are looked at in one correction.
const CORRECTED_AT_ONCE: i64 = 100;

/// The key of a lane.
pub(super) fn key(queue: QueueId, order: &OrderValue) -> String {
    format!("{}:{}", queue.0, order.as_str())
}

/// The order value in the key of a lane.
pub(super) fn order(key: &str) -> Option<OrderValue> {
    key.split_once(':').map(|(_, order)| OrderValue::new(order))
}

/// Locks lanes. They are sorted.
pub(super) async fn lock(connection: &mut AsyncPgConnection, lanes: Vec<String>) -> QueryResult<()> {
    if lanes.is_empty() {
        return Ok(());
    }
    LockLanes { lanes }.load::<String>(connection).await.map(drop)
}

/// Locks lanes that jobs may enter; those that are not there yet are made. They are sorted.
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

/// Locks those of the lanes that no other transaction has locked; answers them.
pub(super) async fn lock_free(
    connection: &mut AsyncPgConnection,
    lanes: Vec<String>,
) -> QueryResult<Vec<String>> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    LockFreeLanes { lanes }.load(connection).await
}

/// How lanes change.
#[derive(Debug, Default)]
pub(super) struct LaneChanges(BTreeMap<String, LaneChange>);

#[derive(Debug)]
struct LaneChange {
    queue: QueueId,
    /// Jobs more, or less.
    jobs: i64,
    /// The dead letter that blocked it does so no more.
    is_unblocked: bool,
    /// The next job may start.
    is_left: bool,
}

impl LaneChanges {
    /// A waiting job is no longer in the lane.
    pub(super) fn leave(&mut self, lane: String, queue: QueueId) {
        let change = self.of(lane, queue);
        change.jobs -= 1;
        change.is_left = true;
    }

    /// The dead letter that blocks the lane is given up.
    pub(super) fn give_up(&mut self, lane: String, queue: QueueId) {
        self.unblock(lane.clone(), queue);
        self.leave(lane, queue);
    }

    /// The dead letter that blocks the lane is waiting again.
    pub(super) fn unblock(&mut self, lane: String, queue: QueueId) {
        self.of(lane, queue).is_unblocked = true;
    }

    /// A job is in the lane from now on.
    pub(super) fn enter(&mut self, lane: String, queue: QueueId) {
        self.of(lane, queue).jobs += 1;
    }

    fn of(&mut self, lane: String, queue: QueueId) -> &mut LaneChange {
        let new = LaneChange { queue, jobs: 0, is_unblocked: false, is_left: false };
        self.0.entry(lane).or_insert(new)
    }

    /// The queues of lanes that jobs have left: the next ones may start.
    pub(super) fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.0.values().filter(|change| change.is_left).map(|change| change.queue)
    }

    /// Changes lanes that are locked, and sets when the heads of those that may start are due.
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

/// Sets when the heads of lanes that may start are due. In a statement of its own after the lanes were
/// locked, which sees all that was done to them.
pub(super) async fn refresh(connection: &mut AsyncPgConnection, lanes: Vec<String>) -> QueryResult<()> {
    RefreshLanes { lanes }.execute(connection).await.map(drop)
}

/// Corrects lanes of these queues that seem to be due although their heads are not: after a retry by
/// hand, a job behind the one that ended can be waiting for its next attempt. Answers whether there were some.
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

// A lane that had no jobs begins anew.
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
