//! Job counts by queue and status. Each transaction that changes jobs also changes the counts.

use std::collections::{BTreeMap, HashMap};

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::rows;
use crate::domain::job::{QueueId, Status};
use crate::store::StatusCounts;
use crate::store::statement::statement;

/// The changes of counts in one transaction.
#[derive(Debug, Default)]
pub(super) struct CountChanges(BTreeMap<QueueId, [i64; Status::ALL.len()]>);

impl CountChanges {
    /// Counts a change of a job's status. `from` is `None` for a job that is new to the queue, `to` is `None`
    /// for one that has left it.
    pub(super) fn moved(&mut self, queue: QueueId, from: Option<Status>, to: Option<Status>) {
        let counts = self.0.entry(queue).or_default();
        from.into_iter().for_each(|from| counts[from as usize] -= 1);
        to.into_iter().for_each(|to| counts[to as usize] += 1);
    }

    /// The change of the number of unfinished jobs.
    pub(super) fn unfinished(&self) -> i64 {
        let of = |counts: &[i64; Status::ALL.len()]| {
            Status::ALL
                .into_iter()
                .filter(|status| !status.is_final())
                .map(|status| counts[status as usize])
                .sum::<i64>()
        };
        self.0.values().map(of).sum()
    }

    /// Writes the changes to the database. Must be the last statement of a transaction that locks rows.
    pub(super) async fn apply(&self, connection: &mut AsyncPgConnection, slot: i16) -> QueryResult<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let of = |status: Status| self.0.values().map(|counts| counts[status as usize]).collect::<Vec<_>>();
        let adding = AddCounts {
            slot,
            queues: self.0.keys().map(|queue| rows::queue_number(*queue)).collect(),
            pending: of(Status::Pending),
            processing: of(Status::Processing),
            retrying: of(Status::Retrying),
            completed: of(Status::Completed),
            dead_lettered: of(Status::DeadLettered),
            cancelled: of(Status::Cancelled),
            filtered: of(Status::Filtered),
            quarantined: of(Status::Quarantined),
        };
        adding.execute(connection).await.map(drop)
    }
}

/// The counts of a queue.
#[derive(Queryable)]
struct CountsRow {
    queue: i32,
    pending: i64,
    processing: i64,
    retrying: i64,
    completed: i64,
    dead_lettered: i64,
    cancelled: i64,
    filtered: i64,
    quarantined: i64,
}

impl CountsRow {
    fn counts(&self) -> StatusCounts {
        let of = |status: Status| match status {
            Status::Pending => self.pending,
            Status::Processing => self.processing,
            Status::Retrying => self.retrying,
            Status::Completed => self.completed,
            Status::DeadLettered => self.dead_lettered,
            Status::Cancelled => self.cancelled,
            Status::Filtered => self.filtered,
            Status::Quarantined => self.quarantined,
        };
        StatusCounts::new(Status::ALL.map(|status| u64::try_from(of(status)).unwrap_or(0)))
    }
}

/// The counts of every queue.
pub(super) async fn by_queue(
    connection: &mut AsyncPgConnection,
) -> QueryResult<HashMap<QueueId, StatusCounts>> {
    let sums = SumCounts {}.load::<CountsRow>(connection).await?;
    sums.iter().map(|row| Ok((rows::queue(row.queue)?, row.counts()))).collect()
}

/// The number of unfinished jobs of all queues.
pub(super) async fn unfinished(connection: &mut AsyncPgConnection) -> QueryResult<i64> {
    SumUnfinished {}.get_result(connection).await
}

statement! { Pg;
    struct AddCounts {
        slot: i16 as SmallInt,
        queues: Vec<i32> as Array<Integer>,
        pending: Vec<i64> as Array<BigInt>,
        processing: Vec<i64> as Array<BigInt>,
        retrying: Vec<i64> as Array<BigInt>,
        completed: Vec<i64> as Array<BigInt>,
        dead_lettered: Vec<i64> as Array<BigInt>,
        cancelled: Vec<i64> as Array<BigInt>,
        filtered: Vec<i64> as Array<BigInt>,
        quarantined: Vec<i64> as Array<BigInt>,
    }
    returns ();
    "INSERT INTO status_counts AS c (slot, queue, pending, processing, retrying, completed, dead_lettered, cancelled,
                                     filtered, quarantined)
     SELECT ?, * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (slot, queue) DO UPDATE
     SET pending = c.pending + excluded.pending, processing = c.processing + excluded.processing,
         retrying = c.retrying + excluded.retrying, completed = c.completed + excluded.completed,
         dead_lettered = c.dead_lettered + excluded.dead_lettered, cancelled = c.cancelled + excluded.cancelled,
         filtered = c.filtered + excluded.filtered, quarantined = c.quarantined + excluded.quarantined"
}

statement! { Pg;
    struct SumCounts {}
    returns (Integer, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt);
    "SELECT queue, sum(pending)::bigint, sum(processing)::bigint, sum(retrying)::bigint, sum(completed)::bigint,
            sum(dead_lettered)::bigint, sum(cancelled)::bigint, sum(filtered)::bigint, sum(quarantined)::bigint
     FROM status_counts GROUP BY queue"
}

statement! { Pg;
    struct SumUnfinished {}
    returns BigInt;
    "SELECT coalesce(sum(pending + processing + retrying), 0)::bigint FROM status_counts"
}
