//! Sets the policies in force, and prepares the database for them.

use std::sync::Arc;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Integer, Text, Timestamptz};
use diesel_async::RunQueryDsl as _;
use jiff::Timestamp;

use super::limits;
use super::look::look;
use super::pool::{Pool, answer};
use super::rows::pg_time;
use super::shared::Shared;
use crate::domain::policy::Policies;
use crate::domain::route::OnDeadLetter;
use crate::store::statement::statement;
use crate::store::still_blocked;

/// Maximum number of dead letters that one statement stops from blocking their lanes.
const FREED_AT_ONCE: i64 = 500;

/// Puts these policies in force. After an error the policies before are in force.
pub(super) async fn set(shared: &Shared, policies: Arc<Policies>) -> QueryResult<()> {
    add_paces(&shared.asking, &policies).await?;
    shared.schedule.set_policies(Arc::clone(&policies));
    if let Err(error) = free_lanes(&shared.asking, &policies, shared.now()).await {
        still_blocked(&error);
    }
    if let Err(error) = look(shared).await {
        tracing::debug!(error = %error, "the queues could not be looked at after a reload; the next poll does it");
    }
    Ok(())
}

/// Prepares the database for these policies.
pub(super) async fn prepare(pool: &Pool, policies: &Policies, now: Timestamp) -> QueryResult<()> {
    add_paces(pool, policies).await?;
    free_lanes(pool, policies, now).await
}

/// Adds the rows of `paces` that limits need.
async fn add_paces(pool: &Pool, policies: &Policies) -> QueryResult<()> {
    let mut connection = pool.get().await?;
    let adding = answer(limits::add_routes(&mut connection, policies)).await;
    connection.release(adding)
}

/// Frees the blocked lanes of routes that skip dead letters.
async fn free_lanes(pool: &Pool, policies: &Policies, now: Timestamp) -> QueryResult<()> {
    let skipping = policies.iter().filter(|policy| policy.on_dead_letter == OnDeadLetter::Skip);
    let routes = skipping.map(|policy| policy.route.as_str()).collect::<Vec<_>>();
    loop {
        let mut connection = pool.get().await?;
        let freeing = FreeLanes { routes: routes.clone(), limit: FREED_AT_ONCE, now: pg_time(now) };
        let freeing = answer(freeing.load::<i32>(&mut *connection)).await;
        if connection.release(freeing)?.is_empty() {
            return Ok(());
        }
    }
}

// Locks the lanes before it changes the dead letters.
statement! { Pg;
    struct FreeLanes<'a> {
        routes: Vec<&'a str> as Array<Text>,
        limit: i64 as BigInt,
        now: PgTimestamp as Timestamptz,
    }
    returns Integer;
    "WITH blocking AS MATERIALIZED (
         SELECT f.webhook, f.queue, f.lane
         FROM (SELECT id FROM queues WHERE route = ANY (?) OFFSET 0) AS q
         CROSS JOIN LATERAL (SELECT webhook, queue, lane FROM finished_jobs WHERE queue = q.id AND blocks OFFSET 0) AS f
         LIMIT ?
     ), locked AS MATERIALIZED (
         SELECT lane FROM lanes WHERE lane = ANY (ARRAY(SELECT lane FROM blocking)) ORDER BY lane FOR UPDATE
     ), freed AS (
         UPDATE finished_jobs SET blocks = false
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM blocking))
           AND ((webhook, queue) IN (SELECT webhook, queue FROM blocking)) IS TRUE AND blocks
           AND (SELECT count(*) FROM locked) >= 0
         RETURNING lane
     ), counted AS MATERIALIZED (
         SELECT array_agg(lane ORDER BY lane) AS lanes, array_agg(jobs ORDER BY lane) AS jobs
         FROM (SELECT lane, count(*) AS jobs FROM freed GROUP BY lane) AS f
     )
     UPDATE lanes l SET jobs = l.jobs - c.jobs[width_bucket(l.lane, c.lanes)], state = 0, available_at = ?
     FROM counted c WHERE l.lane = ANY (ARRAY(SELECT lane FROM freed))
     RETURNING l.queue"
}
