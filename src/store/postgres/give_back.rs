//! Gives back leased jobs whose handler was not started: those that a process names, and those of a claim whose
//! response was lost. Nothing of the claim is left but the larger lease token.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::pool::answer;
use super::renew::columns;
use super::rows::{self, pg_time};
use super::shared::Shared;
use super::{limits, queue_names};
use crate::domain::attempt::Lease;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::store::changes::Change;
use crate::store::statement::statement;

/// A job that was given back.
#[derive(Queryable)]
struct GivenBackRow {
    webhook: Uuid,
    queue: i32,
    attempts: i32,
    revision: i64,
    available_at: PgTimestamp,
}

/// How much earlier or later than it seems a job may have been leased: between the lease and a fault, the process may
/// have corrected what it knows of the time of the database. Shorter than the pause after which it leases again.
const LEASED_ABOUT: Duration = Duration::from_millis(500);

/// Gives back the jobs of these leases of `worker`. Skips leases that were lost.
pub(super) async fn give_back(shared: &Shared, worker: &str, leases: &[Lease]) -> QueryResult<usize> {
    let (webhooks, queues, lease_tokens) = columns(leases.iter().copied());
    let updated_at = shared.now();
    let giving = GiveBack {
        webhooks,
        queues,
        lease_tokens,
        updated_at: pg_time(updated_at),
        worker,
        slot: shared.slot(),
    };
    run(shared, Giving::Named(giving), updated_at).await
}

/// Gives back the jobs that were leased to `worker` within `leased`, by the time of day of this process, except those
/// in `held`. Returns how many it gave back.
///
/// Even if the statement runs late, it does not affect leases that were given after the end of `leased`.
pub(super) async fn give_back_unheld(
    shared: &Shared,
    worker: &str,
    held: &[Lease],
    leased: &RangeInclusive<Timestamp>,
) -> QueryResult<usize> {
    let (webhooks, queues, lease_tokens) = columns(held.iter().copied());
    let updated_at = shared.now();
    let (from, to) = (shared.time.at(*leased.start()), shared.time.at(*leased.end()));
    let giving = GiveBackUnheld {
        webhooks,
        queues,
        lease_tokens,
        updated_at: pg_time(updated_at),
        worker,
        leased_from: pg_time(from.saturating_sub(LEASED_ABOUT).unwrap_or(from)),
        leased_to: pg_time(to.saturating_add(LEASED_ABOUT).unwrap_or(to)),
        slot: shared.slot(),
    };
    run(shared, Giving::Unheld(giving), updated_at).await
}

/// Which jobs are given back.
enum Giving<'a> {
    Named(GiveBack<'a>),
    Unheld(GiveBackUnheld<'a>),
}

/// Runs the statement, and announces what it changed. Returns how many jobs were given back.
async fn run(shared: &Shared, giving: Giving<'_>, updated_at: Timestamp) -> QueryResult<usize> {
    let mut connection = shared.working.get().await?;
    let giving = async {
        let given = match giving {
            Giving::Named(giving) => giving.load::<GivenBackRow>(&mut *connection).await?,
            Giving::Unheld(giving) => giving.load(&mut *connection).await?,
        };
        let numbers = given.iter().map(|row| rows::queue(row.queue)).collect::<QueryResult<Vec<_>>>()?;
        queue_names::know(&shared.schedule, &mut connection, numbers.into_iter()).await?;
        Ok(given)
    };
    let giving = answer(giving).await;
    let given = connection.release(giving)?;
    let (mut changes, mut due) = (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
    for row in given {
        let job = rows::job_id(row.webhook, row.queue)?;
        let available_at = rows::time(row.available_at)?;
        due.push((job.queue, available_at));
        changes.push(Change {
            job,
            route: rows::route(&shared.schedule, job.queue)?,
            status: Status::Pending,
            attempt_count: rows::count(row.attempts)?,
            updated_at,
            revision: row.revision.cast_unsigned(),
            last_error: None,
            next_attempt_at: Some(available_at),
        });
    }
    let mut starts: BTreeMap<&RouteName, usize> = BTreeMap::new();
    for change in &changes {
        *starts.entry(&change.route).or_default() += 1;
    }
    if let Err(error) = limits::return_starts(shared, starts).await {
        // The jobs are given back. Those of routes with a rate start later than they could.
        tracing::debug!(error = %error, "starts could not be given back to the rates of their routes");
    }
    // The jobs became due long ago, so cursors may be beyond them.
    shared.schedule.forget_cursors();
    shared.changed(&changes);
    shared.freed(changes.iter().map(|change| &change.route));
    shared.due(&due);
    Ok(changes.len())
}

/// The statement that gives back the jobs that fulfil a condition, with or without skipping those that another
/// transaction has locked. Lanes are locked first, in the order of their keys, then jobs. A job that was leased is due,
/// also if the clock of the database was set back since.
macro_rules! give_back {
    ($given:literal, $condition:literal, $skip:literal) => {
        concat!(
            "WITH leases AS MATERIALIZED (
                 SELECT * FROM unnest(?, ?, ?) AS l (webhook, queue, lease_token)
             ), given AS MATERIALIZED (
                 SELECT ? AS now", $given, "
             ), chosen AS MATERIALIZED (
                 SELECT webhook, lane FROM jobs WHERE status = 1 AND ", $condition, "
             ), free AS MATERIALIZED (
                 SELECT lane FROM lanes WHERE lane = ANY (ARRAY(SELECT lane FROM chosen WHERE lane IS NOT NULL))
                 ORDER BY lane FOR UPDATE", $skip, "
             ), locked AS MATERIALIZED (
                 SELECT webhook, queue FROM jobs
                 WHERE webhook = ANY (ARRAY(SELECT webhook FROM chosen)) AND status = 1 AND ", $condition, "
                   AND (lane IS NULL OR lane = ANY (ARRAY(SELECT lane FROM free)))
                 ORDER BY webhook, queue FOR UPDATE", $skip, "
             ), given_back AS (
                 UPDATE jobs j
                 SET status = 0, updated_at = (SELECT now FROM given), attempts = j.attempts - 1, lease_until = NULL,
                     worker = NULL, revision = j.revision + 1,
                     available_at = least(j.available_at, (SELECT now FROM given))
                 WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM locked))
                   AND ((j.webhook, j.queue) IN (SELECT webhook, queue FROM locked)) IS TRUE
                 RETURNING j.webhook, j.queue, j.attempts, j.revision, j.available_at, j.lane
             ), lanes_given_back AS (
                 UPDATE lanes l
                 SET state = 0, available_at = (SELECT g.available_at FROM given_back g WHERE g.lane = l.lane)
                 WHERE l.lane = ANY (ARRAY(SELECT lane FROM given_back WHERE lane IS NOT NULL))
                 RETURNING l.lane
             ), counted AS (
                 INSERT INTO status_counts AS c (slot, queue, processing, pending)
                 SELECT ?, queue, -count(*), count(*) FROM given_back
                 WHERE (SELECT count(*) FROM lanes_given_back) >= 0
                 GROUP BY queue ORDER BY queue
                 ON CONFLICT (slot, queue) DO UPDATE
                 SET processing = c.processing + excluded.processing, pending = c.pending + excluded.pending
             )
             SELECT webhook, queue, attempts, revision, available_at FROM given_back"
        )
    };
}

statement! { Pg;
    struct GiveBack<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        updated_at: PgTimestamp as Timestamptz,
        worker: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Integer, Integer, BigInt, Timestamptz);
    give_back!(
        ", ? AS worker",
        "worker = (SELECT worker FROM given) AND webhook = ANY (ARRAY(SELECT webhook FROM leases))
         AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM leases)) IS TRUE",
        ""
    )
}

statement! { Pg;
    struct GiveBackUnheld<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        updated_at: PgTimestamp as Timestamptz,
        worker: &'a str as Text,
        leased_from: PgTimestamp as Timestamptz,
        leased_to: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Integer, Integer, BigInt, Timestamptz);
    give_back!(
        ", ? AS worker, ? AS leased_from, ? AS leased_to",
        "worker = (SELECT worker FROM given)
         AND updated_at >= (SELECT leased_from FROM given) AND updated_at <= (SELECT leased_to FROM given)
         AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM leases)) IS NOT TRUE",
        " SKIP LOCKED"
    )
}
