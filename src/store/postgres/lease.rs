//! Leases, by the clock of the database: renewed by whoever holds them, taken over once expired.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{Array, BigInt, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl as _;
use jiff::Timestamp;
use uuid::Uuid;

use super::core::Core;
use super::pool::answer;
use super::rows::{self, pg_time};
use crate::domain::attempt::{Lease, Outcome};
use crate::domain::job::{Event, Status, next_status};
use crate::store::changes::Change;
use crate::store::statement::statement;

/// Jobs taken over in one statement.
const TAKE_OVER_JOBS: i64 = 500;

/// What the history says of an attempt whose lease expired.
const INTERRUPTED: &str = "the process that ran it died or lost its lease";

/// Extends leases. Answers those that were lost.
pub(super) async fn renew(core: &Core, leases: &[Lease], lease: Duration) -> QueryResult<Vec<Lease>> {
    let mut connection = core.working.get().await?;
    let (webhooks, lease_tokens) = columns_of(leases);
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let renewing = RenewLeases { webhooks, lease_tokens, lease_ms };
    let renewed = answer(renewing.load::<(Uuid, i64)>(&mut *connection)).await;
    let renewed = connection.settle(renewed)?.into_iter().collect::<HashSet<_>>();
    let is_lost = |lease: &&Lease| !renewed.contains(&(rows::uuid(lease.webhook), lease.token.cast_signed()));
    Ok(leases.iter().filter(is_lost).copied().collect())
}

/// Takes over jobs whose lease has expired, but for those in `held`. Answers how many; there may be
/// more.
pub(super) async fn take_over(core: &Core, held: &[Lease]) -> QueryResult<usize> {
    let now = core.clock.now();
    let next = |attempts_left| {
        // A running job allows it.
        next_status(Status::Processing, Event::LeaseExpire, attempts_left).unwrap_or(Status::Pending)
    };
    let (again, spent) = (next(true), next(false));
    let (webhooks, lease_tokens) = columns_of(held);
    let mut connection = core.working.get().await?;
    let taking = TakeOver {
        webhooks,
        lease_tokens,
        limit: TAKE_OVER_JOBS,
        now: pg_time(now),
        again: again as i16,
        spent: spent as i16,
        outcome: Outcome::Interrupted as i16,
        error: INTERRUPTED,
        slot: core.slot(),
    };
    let taken = answer(taking.load::<(Uuid, i16, i32, i64)>(&mut *connection)).await;
    let taken = connection.settle(taken)?;
    let changes = taken
        .into_iter()
        .map(|(webhook, status, attempts, revision)| {
            Ok(Change {
                id: rows::id(webhook),
                status: rows::job_status(status)?,
                attempt_count: rows::count(attempts)?,
                updated_at: now,
                revision: revision.cast_unsigned(),
            })
        })
        .collect::<QueryResult<Vec<_>>>()?;
    let finished = changes.iter().filter(|change| change.status.is_final()).count();
    core.backlog.change(-i64::try_from(finished).unwrap_or(i64::MAX));
    core.committed(&changes, !changes.is_empty());
    Ok(changes.len())
}

/// Gives back jobs that were leased to this process in that time, but for those in `held`, as if they
/// had not been leased; but the token stays. Answers how many.
///
/// However late the statement runs, it touches no lease that is given after that time.
pub(super) async fn give_back_unheld(
    core: &Core,
    held: &[Lease],
    leased: &RangeInclusive<Timestamp>,
) -> QueryResult<usize> {
    let now = core.clock.now();
    // A running job allows it.
    let status = next_status(Status::Processing, Event::GiveBack, true).unwrap_or(Status::Pending);
    let (webhooks, lease_tokens) = columns_of(held);
    let mut connection = core.working.get().await?;
    let giving = GiveBackUnheld {
        webhooks,
        lease_tokens,
        worker: &core.worker,
        leased_from: pg_time(*leased.start()),
        leased_to: pg_time(*leased.end()),
        status: status as i16,
        updated_at: pg_time(now),
        slot: core.slot(),
    };
    let given = answer(giving.load::<(Uuid, i32, i64)>(&mut *connection)).await;
    let given = connection.settle(given)?;
    let changes = given
        .into_iter()
        .map(|(webhook, attempts, revision)| {
            Ok(Change {
                id: rows::id(webhook),
                status,
                attempt_count: rows::count(attempts)?,
                updated_at: now,
                revision: revision.cast_unsigned(),
            })
        })
        .collect::<QueryResult<Vec<_>>>()?;
    // They have been due for long.
    core.beginning.forget();
    core.committed(&changes, !changes.is_empty());
    Ok(changes.len())
}

fn columns_of(leases: &[Lease]) -> (Vec<Uuid>, Vec<i64>) {
    leases.iter().map(|lease| (rows::uuid(lease.webhook), lease.token.cast_signed())).unzip()
}

statement! { Pg;
    struct RenewLeases {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        lease_ms: i64 as BigInt,
    }
    returns (SqlUuid, BigInt);
    "WITH held AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS h (webhook, lease_token)
     )
     UPDATE jobs j SET lease_until = now() + ? * interval '1 millisecond'
     FROM held
     WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM held)) AND j.webhook = held.webhook AND j.lease_token = held.lease_token AND j.lease_until IS NOT NULL
     RETURNING j.webhook, j.lease_token"
}

statement! { Pg;
    struct GiveBackUnheld<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        worker: &'a str as Text,
        leased_from: PgTimestamp as Timestamptz,
        leased_to: PgTimestamp as Timestamptz,
        status: i16 as SmallInt,
        updated_at: PgTimestamp as Timestamptz,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Integer, BigInt);
    "WITH held AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS h (webhook, lease_token)
     ), unheld AS MATERIALIZED (
         SELECT webhook FROM jobs j
         WHERE status = 1 AND worker = ? AND updated_at BETWEEN ? AND ?
           AND NOT EXISTS (SELECT 1 FROM held WHERE held.webhook = j.webhook AND held.lease_token = j.lease_token)
         FOR UPDATE SKIP LOCKED
     ), given_back AS (
         UPDATE jobs j
         SET status = ?, updated_at = ?, attempts = j.attempts - 1, lease_until = NULL, worker = NULL,
             revision = j.revision + 1
         WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM unheld))
         RETURNING j.webhook, j.attempts, j.revision
     ), counted AS (
         UPDATE status_counts c SET processing = c.processing - n.jobs, pending = c.pending + n.jobs
         FROM (SELECT count(*) AS jobs FROM given_back) AS n
         WHERE c.slot = ? AND n.jobs > 0
     )
     SELECT webhook, attempts, revision FROM given_back"
}

statement! { Pg;
    struct TakeOver<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        limit: i64 as BigInt,
        now: PgTimestamp as Timestamptz,
        again: i16 as SmallInt,
        spent: i16 as SmallInt,
        outcome: i16 as SmallInt,
        error: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, SmallInt, Integer, BigInt);
    "WITH held AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS h (webhook, lease_token)
     ), expired AS MATERIALIZED (
         SELECT webhook, attempts, attempts < max_attempts AS has_more, updated_at AS started_at, worker FROM jobs j
         WHERE status = 1 AND lease_until <= now()
           AND NOT EXISTS (SELECT 1 FROM held WHERE held.webhook = j.webhook AND held.lease_token = j.lease_token)
         LIMIT ?
         FOR UPDATE SKIP LOCKED
     ), given AS (
         SELECT ? AS now, ? AS again, ? AS spent, ? AS outcome, ? AS error
     ), waiting AS (
         UPDATE jobs j
         SET status = given.again, available_at = given.now, updated_at = given.now,
             lease_until = NULL, worker = NULL, revision = j.revision + 1
         FROM given WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM expired WHERE has_more))
         RETURNING j.webhook, j.status, j.attempts, j.revision
     ), told AS (
         INSERT INTO attempts (webhook, number, outcome, started_at, finished_at, error, worker)
         SELECT webhook, attempts, given.outcome, started_at, given.now, given.error, coalesce(worker, '')
         FROM expired, given WHERE has_more
     ), finished AS (
         DELETE FROM jobs j WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM expired WHERE NOT has_more))
         RETURNING j.webhook, j.attempts, j.max_attempts, j.revision + 1 AS revision, j.lease_token,
                   j.updated_at AS started_at, j.worker
     ), kept AS (
         INSERT INTO finished_jobs (webhook, status, attempts, max_attempts, available_at, completed_at,
                                    revision, lease_token, outcome, started_at, error, worker)
         SELECT webhook, given.spent, attempts, max_attempts, given.now, given.now,
                revision, lease_token, given.outcome, started_at, given.error, coalesce(worker, '')
         FROM finished, given
     ), counted AS (
         UPDATE status_counts c
         SET processing = c.processing - n.waiting - n.finished, pending = c.pending + n.waiting,
             dead_lettered = c.dead_lettered + n.finished
         FROM (SELECT (SELECT count(*) FROM waiting) AS waiting, (SELECT count(*) FROM finished) AS finished) AS n
         WHERE c.slot = ? AND n.waiting + n.finished > 0
     )
     SELECT webhook, status, attempts, revision FROM waiting
     UNION ALL SELECT webhook, given.spent, attempts, revision FROM finished, given"
}
