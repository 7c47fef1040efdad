//! Job counts by queue and status, in memory and in the table `status_counts`. Each transaction updates both.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::rows;
use super::schema::status_counts;
use crate::domain::job::{QueueId, Status};
use crate::store::StatusCounts;
use crate::store::statement::statement;

const STATUSES: usize = Status::ALL.len();

/// The counts, including the changes of the current transaction.
#[derive(Debug, Default)]
pub(super) struct Counts {
    of: HashMap<QueueId, [u64; STATUSES]>,
    /// Unfinished jobs of all queues.
    unfinished: u64,
    /// The changes that are not in the table yet.
    changes: BTreeMap<QueueId, [i64; STATUSES]>,
}

/// A row of the table.
#[derive(Queryable, Selectable)]
#[diesel(table_name = status_counts, check_for_backend(Sqlite))]
pub(super) struct CountRow {
    pub(super) queue: i64,
    pub(super) status: i64,
    pub(super) count: i64,
}

impl Counts {
    /// Reads the counts from the table.
    pub(super) fn load(connection: &mut SqliteConnection) -> QueryResult<Self> {
        let mut counts = Self::default();
        for row in status_counts::table.select(CountRow::as_select()).load(connection)? {
            let status = rows::job_status(row.status)?;
            let count = row.count.max(0).cast_unsigned();
            counts.of.entry(rows::queue(row.queue)?).or_default()[status as usize] = count;
            counts.unfinished += if status.is_final() { 0 } else { count };
        }
        Ok(counts)
    }

    /// Counts a new job.
    pub(super) fn add(&mut self, queue: QueueId, status: Status) {
        self.of.entry(queue).or_default()[status as usize] += 1;
        self.changes.entry(queue).or_default()[status as usize] += 1;
        self.unfinished += u64::from(!status.is_final());
    }

    /// Counts the removal of a job.
    pub(super) fn remove(&mut self, queue: QueueId, status: Status) {
        let count = &mut self.of.entry(queue).or_default()[status as usize];
        *count = count.saturating_sub(1);
        self.changes.entry(queue).or_default()[status as usize] -= 1;
        self.unfinished = self.unfinished.saturating_sub(u64::from(!status.is_final()));
    }

    /// Counts a change of a job's status.
    pub(super) fn shift(&mut self, queue: QueueId, from: Status, to: Status) {
        self.remove(queue, from);
        self.add(queue, to);
    }

    /// The counts of a queue.
    pub(super) fn of(&self, queue: QueueId) -> StatusCounts {
        self.of.get(&queue).map_or_else(StatusCounts::default, |counts| StatusCounts::new(*counts))
    }

    /// The number of jobs of a queue in a status.
    pub(super) fn count(&self, queue: QueueId, status: Status) -> u64 {
        self.of.get(&queue).map_or(0, |counts| counts[status as usize])
    }

    /// The number of unfinished jobs of all queues.
    pub(super) fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// The number of waiting jobs of all queues.
    pub(super) fn waiting(&self) -> u64 {
        let of_queue =
            |counts: &[u64; STATUSES]| counts[Status::Pending as usize] + counts[Status::Retrying as usize];
        self.of.values().map(of_queue).sum()
    }

    /// Writes the changes to the table, and returns whether there are any. Call it at the end of the transaction.
    pub(super) fn write(&self, connection: &mut SqliteConnection) -> QueryResult<bool> {
        for (queue, changes) in &self.changes {
            for status in Status::ALL {
                let change = changes[status as usize];
                if change != 0 {
                    ChangeCount { queue: i64::from(queue.0), status: status as i64, change }
                        .execute(connection)?;
                }
            }
        }
        Ok(!self.changes.is_empty())
    }

    /// Forgets the changes, which are committed now. Returns the queues whose counts changed.
    pub(super) fn committed(&mut self) -> impl Iterator<Item = QueueId> + use<> {
        std::mem::take(&mut self.changes).into_keys()
    }
}

statement! { Sqlite;
    struct ChangeCount {
        queue: i64 as BigInt,
        status: i64 as BigInt,
        change: i64 as BigInt,
    }
    returns ();
    "INSERT INTO status_counts (queue, status, count) VALUES (?, ?, ?)
     ON CONFLICT (queue, status) DO UPDATE SET count = count + excluded.count"
}
