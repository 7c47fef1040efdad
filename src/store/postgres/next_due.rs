//! Reads when the queues of a claim have something due next.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;

use super::rows::{self, pg_time};
use super::schedule::{Found, SharedQueue};
use crate::store::statement::statement;

/// When the first waiting job without a lane, and the first free lane, of a queue are due.
#[derive(Queryable)]
struct NextRow {
    queue: i32,
    job: Option<PgTimestamp>,
    lane: Option<PgTimestamp>,
}

/// When the queues have something due next, due already or later. Jobs without a lane are read from the
/// cursor of the queue.
pub(super) async fn next_due(
    mut connection: &AsyncPgConnection,
    queues: &[SharedQueue],
    now: Timestamp,
) -> QueryResult<Vec<Found>> {
    let looking = SelectNext {
        queues: queues.iter().map(|queue| rows::queue_number(queue.id)).collect(),
        from: begin(queues, now),
    };
    looking.load::<NextRow>(&mut connection).await?.into_iter().map(found).collect()
}

fn found(row: NextRow) -> QueryResult<Found> {
    Ok(Found {
        queue: rows::queue(row.queue)?,
        job: row.job.map(rows::time).transpose()?,
        lane: row.lane.map(rows::time).transpose()?,
    })
}

/// The time from which on to read the due jobs of each queue.
pub(super) fn begin(queues: &[SharedQueue], now: Timestamp) -> Vec<PgTimestamp> {
    let from = |queue: &SharedQueue| queue.cursor.and_then(|cursor| cursor.from(now));
    queues.iter().map(|queue| from(queue).map_or(PgTimestamp(i64::MIN), pg_time)).collect()
}

statement! { Pg;
    struct SelectNext {
        queues: Vec<i32> as Array<Integer>,
        from: Vec<PgTimestamp> as Array<Timestamptz>,
    }
    returns (Integer, Nullable<Timestamptz>, Nullable<Timestamptz>);
    "SELECT q.queue,
            (SELECT available_at FROM jobs
             WHERE queue = q.queue AND status IN (0, 2) AND lane IS NULL AND available_at >= q.from_time
             ORDER BY available_at LIMIT 1),
            (SELECT available_at FROM lanes
             WHERE queue = q.queue AND state = 0 AND jobs > 0
             ORDER BY available_at LIMIT 1)
     FROM unnest(?, ?) AS q (queue, from_time)"
}
