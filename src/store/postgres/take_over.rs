//! Takes over jobs whose lease has expired by the clock of the database.

use std::collections::HashMap;
use std::time::Duration;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::end_leases::{EndedRow, end_leases};
use super::finish::announce;
use super::pool::answer;
use super::renew::columns;
use super::rows::{self, pg_time};
use super::shared::Shared;
use super::{lanes, queue_names};
use crate::domain::attempt::{Lease, conclude_interrupted};
use crate::domain::policy::Policies;
use crate::store::Finish;
use crate::store::interrupted::{Interrupted, TakeOver};
use crate::store::statement::statement;

/// Maximum number of jobs taken over in one transaction.
const TAKE_OVER_JOBS: i64 = 500;

/// How long expired leases of routes that this process does not have are left to the processes that have them: while
/// a deployment goes on, the settings of replicas differ.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(10 * 60);

/// A job whose lease has expired, not locked yet.
#[derive(Queryable)]
struct ExpiredRow {
    webhook: Uuid,
    queue: i32,
    lane: Option<String>,
}

/// A locked job that is taken over.
#[derive(Queryable)]
struct TakenRow {
    webhook: Uuid,
    queue: i32,
    attempts: i32,
    uncounted_attempts: i32,
    lease_token: i64,
    available_at: PgTimestamp,
    started_at: PgTimestamp,
    lane: Option<String>,
}

/// Takes over all jobs whose lease has expired, except those in `held`. Counts and logs the attempts that end by it.
/// Returns how many it took over.
pub(super) async fn take_over(shared: &Shared, held: &[Lease]) -> QueryResult<usize> {
    let mut take_over = TakeOver::new(&shared.metrics);
    let taken = take_over_in_steps(shared, held, &mut take_over).await;
    take_over.log_others();
    taken
}

async fn take_over_in_steps(
    shared: &Shared,
    held: &[Lease],
    take_over: &mut TakeOver<'_>,
) -> QueryResult<usize> {
    let mut all = 0;
    loop {
        let taken = take_over_some(shared, held, take_over).await?;
        all += taken;
        if taken == 0 {
            return Ok(all);
        }
    }
}

/// Takes over jobs whose lease has expired, except those in `held`, [`TAKE_OVER_JOBS`] at most: each attempt
/// ends as interrupted. Skips jobs and lanes that another transaction has locked, and for [`LEFT_TO_OTHERS`] those of
/// routes that are not in the settings of this process. Returns how many it took over.
async fn take_over_some(shared: &Shared, held: &[Lease], take_over: &mut TakeOver<'_>) -> QueryResult<usize> {
    let now = shared.now();
    let policies = shared.schedule.policies();
    let mut connection = shared.working.get().await?;
    let taking = async {
        let (webhooks, queues, lease_tokens) = columns(held.iter().copied());
        let looking = SelectExpired {
            webhooks,
            queues,
            lease_tokens,
            now: pg_time(now),
            routes: policies.iter().map(|policy| policy.route.as_str()).collect(),
            left_ms: i64::try_from(LEFT_TO_OTHERS.as_millis()).unwrap_or(i64::MAX),
            limit: TAKE_OVER_JOBS,
        };
        let expired = looking.load::<ExpiredRow>(&mut *connection).await?;
        if expired.is_empty() {
            return Ok((Vec::new(), HashMap::new()));
        }
        let numbers = expired.iter().map(|row| rows::queue(row.queue)).collect::<QueryResult<Vec<_>>>()?;
        queue_names::read_anew(&shared.schedule, &mut connection, &numbers).await?;
        connection
            .transaction(async |connection| take(shared, connection, expired, &policies, now).await)
            .await
    };
    let taking = answer(taking).await;
    let (finishes, ended) = connection.release(taking)?;
    announce(shared, &finishes.iter().collect::<Vec<_>>(), &ended);
    let taken = finishes.len();
    for (_, finish) in finishes.into_iter().enumerate().filter(|(at, _)| ended.contains_key(at)) {
        // Attempts of queues that the database does not have are not counted.
        if let Some((route, source)) = shared.schedule.name(finish.lease.job.queue) {
            let policy = policies.get(&route).cloned();
            take_over.add(&Interrupted { finish, route, source, policy });
        }
    }
    Ok(taken)
}

/// Locks the lanes and then the jobs, skipping those that another transaction has locked, and ends the
/// attempts of the locked jobs.
async fn take(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    expired: Vec<ExpiredRow>,
    policies: &Policies,
    now: Timestamp,
) -> QueryResult<(Vec<Finish>, HashMap<usize, EndedRow>)> {
    let mut lanes = expired.iter().filter_map(|row| row.lane.clone()).collect::<Vec<_>>();
    lanes.sort();
    let locking = LockExpired {
        webhooks: expired.iter().map(|row| row.webhook).collect(),
        queues: expired.iter().map(|row| row.queue).collect(),
        lanes: lanes::lock_free(connection, lanes).await?,
    };
    let taken = locking.load::<TakenRow>(connection).await?;
    let end = |row| interrupted(shared, policies, row, now);
    let mut finishes = taken.into_iter().map(end).collect::<QueryResult<Vec<_>>>()?;
    finishes.sort_by_key(|finish| finish.lease.job);
    let batch = finishes.iter().collect::<Vec<_>>();
    let ended = end_leases(connection, &batch, None, shared.slot()).await?;
    Ok((finishes, ended))
}

/// The end of an interrupted attempt, by the policy in force.
fn interrupted(shared: &Shared, policies: &Policies, row: TakenRow, now: Timestamp) -> QueryResult<Finish> {
    let job = rows::job_id(row.webhook, row.queue)?;
    let policy = policies.get(&rows::route(&shared.schedule, job.queue)?);
    let attempt_of_run = rows::count(row.attempts - row.uncounted_attempts)?;
    let concluded = conclude_interrupted(attempt_of_run, policy.map(AsRef::as_ref), now);
    Ok(Finish::concluded(
        Lease { job, token: row.lease_token.cast_unsigned() },
        row.lane.as_deref().and_then(lanes::order),
        rows::count(row.attempts)?,
        rows::time(row.available_at)?,
        (rows::time(row.started_at)?, now),
        concluded,
    ))
}

// By the clock of the database, and by what this process knows of it: a clock that was set forward a moment ago ends no
// lease.
statement! { Pg;
    struct SelectExpired<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        now: PgTimestamp as Timestamptz,
        routes: Vec<&'a str> as Array<Text>,
        left_ms: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (SqlUuid, Integer, Nullable<Text>);
    "WITH held AS MATERIALIZED (
         SELECT * FROM unnest(?, ?, ?) AS h (webhook, queue, lease_token)
     )
     SELECT webhook, queue, lane FROM jobs
     WHERE status = 1 AND lease_until <= least(now(), ?)
       AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM held)) IS NOT TRUE
       AND ((SELECT q.route FROM queues q WHERE q.id = jobs.queue) = ANY (?)
            OR lease_until <= now() - ? * interval '1 millisecond')
     LIMIT ?"
}

statement! { Pg;
    struct LockExpired {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lanes: Vec<String> as Array<Text>,
    }
    returns (SqlUuid, Integer, Integer, Integer, BigInt, Timestamptz, Timestamptz, Nullable<Text>);
    "WITH expired AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS e (webhook, queue)
     )
     SELECT webhook, queue, attempts, uncounted_attempts, lease_token, available_at, updated_at, lane
     FROM jobs
     WHERE webhook = ANY (ARRAY(SELECT webhook FROM expired))
       AND ((webhook, queue) IN (SELECT webhook, queue FROM expired)) IS TRUE
       AND status = 1 AND lease_until <= now() AND (lane IS NULL OR lane = ANY (?))
     FOR UPDATE SKIP LOCKED"
}
