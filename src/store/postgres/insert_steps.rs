//! Stores webhooks and, after them, their jobs. [`insert`](super::insert) does both in one statement, which leaves
//! nothing to decide in between.

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::counts::CountChanges;
use super::insert::{InsertWebhooks, NewJobRow, NewRow, columns, entered, filtered, values};
use super::rows::{self, NO_ROUTE_QUEUE, pg_time};
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::store::statement::statement;

/// The jobs of a webhook that is stored without them.
pub(super) struct JobsOf<'a> {
    pub(super) webhook: WebhookId,
    pub(super) jobs: &'a [NewJobRow<'a>],
    /// The position that its ordered jobs get in their lanes; `None` for the next ones.
    pub(super) position: Option<i64>,
}

/// Stores the webhooks whose keys are free, without their jobs, and returns the ids of these webhooks. Stores nothing if
/// the queue of a job is another one than this process knows. The rows must be sorted by source and key.
pub(super) async fn insert_webhooks(
    connection: &mut AsyncPgConnection,
    rows: &[NewRow<'_>],
) -> QueryResult<Vec<Uuid>> {
    InsertWebhooks::of(rows).load(connection).await
}

/// Stores the jobs of at most 1,024 webhooks, which must be in the order of acceptance. A webhook without jobs becomes
/// filtered. Locks the lanes of the jobs, in the order of their keys. Adds the jobs to `counts`, which the caller has
/// to write as the last step of the transaction.
pub(super) async fn insert_jobs(
    connection: &mut AsyncPgConnection,
    webhooks: &[JobsOf<'_>],
    now: Timestamp,
    counts: &mut CountChanges,
) -> QueryResult<()> {
    let (mut ids, mut queues, mut lanes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut places, mut positions, mut filtered) = (Vec::new(), Vec::new(), Vec::new());
    for (place, JobsOf { webhook, jobs, position }) in (0_i64..).zip(webhooks) {
        if jobs.is_empty() {
            filtered.push(rows::uuid(*webhook));
            counts.moved(NO_ROUTE_QUEUE, None, Some(Status::Filtered));
        }
        for NewJobRow { queue, lane, .. } in *jobs {
            ids.push(rows::uuid(*webhook));
            queues.push(rows::queue_number(*queue));
            lanes.push(lane.as_deref());
            places.push(place);
            positions.push(*position);
            counts.moved(*queue, None, Some(Status::Pending));
        }
    }
    let now = pg_time(now);
    let inserting = InsertJobsAlone { now, ids, queues, lanes, places, positions, filtered };
    inserting.execute(connection).await.map(drop)
}

// The statement takes one number of 1,024 positions, as `InsertAnyJobs` does.
statement! { Pg;
    struct InsertJobsAlone<'a> {
        now: PgTimestamp as Timestamptz,
        ids: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lanes: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        places: Vec<i64> as Array<BigInt>,
        positions: Vec<Option<i64>> as Array<Nullable<BigInt>>,
        filtered: Vec<Uuid> as Array<SqlUuid>,
    }
    returns ();
    concat!(
        "WITH given AS (
             SELECT ? AS now
         ), numbered AS MATERIALIZED (
             SELECT nextval('positions') * 1024 AS first
         ), fresh AS MATERIALIZED (
             SELECT j.webhook, j.queue, j.lane,
                    CASE WHEN j.lane IS NOT NULL THEN coalesce(j.position, n.first + j.place) END AS position
             FROM unnest(?, ?, ?, ?, ?) AS j (webhook, queue, lane, place, position), numbered n
         ), ",
        entered!(),
        ", filtered AS (
             ",
        filtered!(),
        "
         )
         INSERT INTO jobs (",
        columns!(),
        ", lane, position) SELECT ",
        values!(),
        ", lane, position FROM fresh, given"
    )
}
