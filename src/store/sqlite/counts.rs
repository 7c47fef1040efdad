//! Webhooks by status: a small table kept in every transaction, and its copy in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};

use crate::domain::job::Status;
use crate::store::StatusCounts;
use crate::store::statement::statement;

const STATUSES: usize = Status::ALL.len();

/// The counts as committed last, to be read by anyone.
#[derive(Debug, Default)]
pub(super) struct CommittedCounts([AtomicU64; STATUSES]);

impl CommittedCounts {
    pub(super) fn get(&self) -> StatusCounts {
        StatusCounts::new(std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed)))
    }
}

/// The writer's side: what the transaction under way changes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    committed: Arc<CommittedCounts>,
    change: [i64; STATUSES],
}

impl Counts {
    /// Reads the table.
    pub(super) fn load(&mut self, connection: &mut SqliteConnection) -> QueryResult<()> {
        for (status, count) in (SelectCounts {}).load::<(i64, i64)>(connection)? {
            if let Some(status) = Status::from_number(status) {
                self.committed.0[status as usize].store(count.max(0).cast_unsigned(), Ordering::Relaxed);
            }
        }
        Ok(())
    }

    pub(super) fn committed(&self) -> Arc<CommittedCounts> {
        Arc::clone(&self.committed)
    }

    /// Forgets what a transaction that was rolled back had changed.
    pub(super) fn begin(&mut self) {
        self.change = [0; STATUSES];
    }

    /// A webhook came in.
    pub(super) fn add(&mut self, status: Status) {
        self.change[status as usize] += 1;
    }

    /// A webhook was removed.
    pub(super) fn remove(&mut self, status: Status) {
        self.change[status as usize] -= 1;
    }

    /// A webhook went from one status to another.
    pub(super) fn shift(&mut self, from: Status, to: Status) {
        self.remove(from);
        self.add(to);
    }

    /// How many are unfinished, the transaction under way included.
    pub(super) fn unfinished(&self) -> u64 {
        let change = Status::ALL
            .into_iter()
            .filter(|status| !status.is_final())
            .map(|status| self.change[status as usize])
            .sum::<i64>();
        self.committed.get().unfinished().saturating_add_signed(change)
    }

    /// Writes the changes to the table.
    pub(super) fn write(&self, connection: &mut SqliteConnection) -> QueryResult<()> {
        for status in Status::ALL {
            let change = self.change[status as usize];
            if change != 0 {
                ChangeCount { change, status: status as i64 }.execute(connection)?;
            }
        }
        Ok(())
    }

    /// Makes the changes known.
    pub(super) fn commit(&mut self) {
        for (count, change) in self.committed.0.iter().zip(self.change) {
            // The writer alone writes, so a load and a store lose nothing.
            count.store(count.load(Ordering::Relaxed).saturating_add_signed(change), Ordering::Relaxed);
        }
        self.begin();
    }
}

statement! { Sqlite;
    struct SelectCounts {}
    returns (BigInt, BigInt);
    "SELECT status, count FROM status_counts"
}

statement! { Sqlite;
    struct ChangeCount {
        change: i64 as BigInt,
        status: i64 as BigInt,
    }
    returns ();
    "UPDATE status_counts SET count = count + ? WHERE status = ?"
}
