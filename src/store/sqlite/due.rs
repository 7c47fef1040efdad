//! Reads the jobs of a queue in the order in which they are due. A free lane stands for its first waiting
//! job.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use jiff::Timestamp;

use super::rows;
use crate::domain::job::QueueId;
use crate::store::statement::statement;

/// An unordered job, or a free lane.
#[derive(Queryable)]
pub(super) struct DueRow {
    /// When the job, or the first job of the lane, is due.
    pub(super) available_at: i64,
    /// The job's webhook and status; `None` for a lane.
    pub(super) webhook: Option<i64>,
    pub(super) status: Option<i64>,
    /// The order value of the lane; `None` for a job.
    pub(super) lane: Option<String>,
}

/// The first `limit` jobs and lanes of a queue, due or not. Without `has_lanes`, lanes are not read, which takes
/// half the time.
pub(super) fn of_queue(
    connection: &mut SqliteConnection,
    queue: QueueId,
    has_lanes: bool,
    limit: usize,
) -> QueryResult<Vec<DueRow>> {
    let queue = i64::from(queue.0);
    let limit = limit.try_into().unwrap_or(i64::MAX);
    if has_lanes {
        SelectDue { queue_of_jobs: queue, queue_of_lanes: queue, limit }.load(connection)
    } else {
        SelectDueJobs { queue, limit }.load(connection)
    }
}

/// When the first job of a queue is due; `None` if the queue has no waiting job in a free lane or without a
/// lane.
pub(super) fn first(connection: &mut SqliteConnection, queue: QueueId) -> QueryResult<Option<Timestamp>> {
    let first = of_queue(connection, queue, true, 1)?.pop();
    first.map(|row| rows::time(row.available_at)).transpose()
}

// `LIMIT ? + 0`, because SQLite plans a statement with `LIMIT ?` anew each time it is run.
statement! { Sqlite;
    struct SelectDue {
        queue_of_jobs: i64 as BigInt,
        queue_of_lanes: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (BigInt, Nullable<BigInt>, Nullable<BigInt>, Nullable<Text>);
    "SELECT available_at, webhook, status, NULL FROM jobs
     WHERE queue = ? AND status IN (0, 2) AND lane IS NULL
     UNION ALL
     SELECT available_at, NULL, NULL, lane FROM lanes WHERE queue = ? AND state = 0
     ORDER BY available_at LIMIT ? + 0"
}

statement! { Sqlite;
    struct SelectDueJobs {
        queue: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (BigInt, Nullable<BigInt>, Nullable<BigInt>, Nullable<Text>);
    "SELECT available_at, webhook, status, NULL FROM jobs
     WHERE queue = ? AND status IN (0, 2) AND lane IS NULL
     ORDER BY available_at LIMIT ? + 0"
}
