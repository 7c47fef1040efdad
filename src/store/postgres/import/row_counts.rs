//! Counts the rows of the database.

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::domain::job::Status;
use crate::store::StatusCounts;
use crate::store::postgres::schema::{attempts, finished_jobs, jobs, webhooks};
use crate::store::postgres::{counts, rows};
use crate::store::transfer::row_counts::{DatabaseRowCounts, RowCounts};

/// All rows. Call it in a transaction with one snapshot.
pub(super) async fn all(connection: &mut AsyncPgConnection) -> QueryResult<DatabaseRowCounts> {
    let rows = RowCounts {
        counts: by_status(connection).await?,
        webhooks: webhooks(connection).await?,
        attempts: ended_attempts(connection).await?,
    };
    Ok(DatabaseRowCounts { rows, kept: kept(connection).await? })
}

/// The number of webhooks.
pub(super) async fn webhooks(connection: &mut AsyncPgConnection) -> QueryResult<u64> {
    webhooks::table.select(count_star()).get_result::<i64>(connection).await.map(i64::cast_unsigned)
}

async fn by_status(connection: &mut AsyncPgConnection) -> QueryResult<StatusCounts> {
    let unfinished = jobs::table.group_by(jobs::status).select((jobs::status, count_star()));
    let finished = finished_jobs::table.group_by(finished_jobs::status);
    let finished = finished.select((finished_jobs::status, count_star()));
    let mut counts = [0; Status::ALL.len()];
    for (status, count) in unfinished.union_all(finished).load::<(i16, i64)>(connection).await? {
        counts[rows::job_status(status)? as usize] += count.cast_unsigned();
    }
    Ok(StatusCounts::new(counts))
}

/// The number of ended attempts. The one that ended a job is in the row of the job.
async fn ended_attempts(connection: &mut AsyncPgConnection) -> QueryResult<u64> {
    let alone = attempts::table.select(count_star()).get_result::<i64>(connection).await?;
    let last = finished_jobs::table.filter(finished_jobs::outcome.is_not_null()).select(count_star());
    let last = last.get_result::<i64>(connection).await?;
    Ok((alone + last).cast_unsigned())
}

/// All jobs by status, from `status_counts`.
async fn kept(connection: &mut AsyncPgConnection) -> QueryResult<StatusCounts> {
    let mut all = StatusCounts::default();
    counts::by_queue(connection).await?.values().for_each(|counts| all.add(counts));
    Ok(all)
}
