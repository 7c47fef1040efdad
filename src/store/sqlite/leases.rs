//! Renews leases, and takes over jobs whose lease has expired.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::finish::finish;
use super::rows;
use super::transaction::{Refusal, Transaction};
use crate::domain::attempt::{Lease, conclude_interrupted};
use crate::domain::job::JobId;
use crate::domain::route::OrderValue;
use crate::store::Finish;
use crate::store::interrupted::Interrupted;
use crate::store::statement::statement;

/// Maximum number of jobs taken over in one transaction.
const TAKE_OVER_JOBS: i64 = 500;

/// Which leased jobs to take over.
pub(super) enum Takeable {
    /// All jobs that a process of hookbox has leased, because it is gone; but not those of workers elsewhere. Names of
    /// processes have a space, and those of workers have none.
    AllOfPool,
    /// Jobs whose lease has expired, except for these leases, whose attempts still run.
    ExpiredBut(Vec<Lease>),
}

/// The result of taking over jobs.
pub(super) struct TakenOver {
    pub(super) jobs: usize,
    /// The attempts that ended, except those of queues that are not known.
    pub(super) interrupted: Vec<Interrupted>,
}

/// Extends leases of `worker`, each to its time from now. Returns the leases that were lost.
pub(super) fn renew(
    transaction: &mut Transaction<'_>,
    worker: &str,
    leases: &[(Lease, Duration)],
) -> Result<Vec<Lease>, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    let held = leases.iter().map(|(lease, time)| {
        let LeaseRow { webhook, queue, lease_token } = LeaseRow::of(lease);
        [webhook, queue, lease_token, super::later(now, *time)]
    });
    let held = serde_json::to_string(&held.collect::<Vec<_>>()).map_err(rows::unreadable)?;
    let renewed = RenewLeases { held: &held, worker }.load::<LeaseRow>(transaction.connection)?;
    let leases = leases.iter().map(|(lease, _)| *lease);
    Ok(leases.filter(|lease| !renewed.contains(&LeaseRow::of(lease))).collect())
}

/// Takes over leased jobs, [`TAKE_OVER_JOBS`] at most: each attempt ends as interrupted. 0 jobs mean that
/// there are no more.
pub(super) fn take_over(transaction: &mut Transaction<'_>, what: &Takeable) -> Result<TakenOver, Refusal> {
    let now = transaction.context.clock.now();
    let (until, held, of_workers) = match what {
        Takeable::AllOfPool => (i64::MAX, list_of(&[])?, false),
        Takeable::ExpiredBut(held) => (now.as_millisecond(), list_of(held)?, true),
    };
    let expired = SelectExpired { until, held: &held, of_workers, limit: TAKE_OVER_JOBS }
        .load::<ExpiredRow>(transaction.connection)?;
    let mut taken = TakenOver { jobs: expired.len(), interrupted: Vec::with_capacity(expired.len()) };
    for row in expired {
        let worker = row.worker.clone().unwrap_or_default();
        let end = end(transaction, row, now)?;
        finish(transaction, &worker, &end, None)?;
        taken.interrupted.extend(interrupted(transaction, end));
    }
    Ok(taken)
}

/// The end of an interrupted attempt, by the policy in force.
fn end(transaction: &Transaction<'_>, row: ExpiredRow, now: Timestamp) -> QueryResult<Finish> {
    let job = JobId { webhook: rows::id(&row.id)?, queue: rows::queue(row.queue)? };
    let attempt_of_run = rows::count(row.attempts - row.uncounted_attempts)?;
    let policy = transaction.context.memory.policy(job.queue);
    let concluded = conclude_interrupted(attempt_of_run, policy.map(AsRef::as_ref), now);
    // The last change of a job in `processing` was its claim.
    let started_at = rows::time(row.updated_at)?;
    Ok(Finish::concluded(
        Lease { job, token: row.lease_token.cast_unsigned() },
        row.lane.map(OrderValue::new),
        rows::count(row.attempts)?,
        rows::time(row.available_at)?,
        (started_at, now),
        concluded,
    ))
}

/// What is counted and logged of the end of an attempt; none if its queue is not known.
fn interrupted(transaction: &Transaction<'_>, finish: Finish) -> Option<Interrupted> {
    let (memory, queue) = (&transaction.context.memory, finish.lease.job.queue);
    let (route, source) = memory.queues.name(queue)?.clone();
    let policy = memory.policy(queue).cloned();
    Some(Interrupted { finish, route, source, policy })
}

/// A lease as columns.
#[derive(Queryable, PartialEq, Eq)]
struct LeaseRow {
    webhook: i64,
    queue: i64,
    lease_token: i64,
}

impl LeaseRow {
    fn of(lease: &Lease) -> Self {
        let Lease { job, token } = lease;
        let webhook = job.webhook.sequence().as_i64();
        Self { webhook, queue: job.queue.0.into(), lease_token: token.cast_signed() }
    }
}

/// Leases as a JSON array, so that any number of leases needs one bind.
pub(super) fn list_of(leases: &[Lease]) -> QueryResult<String> {
    let leases = leases.iter().map(LeaseRow::of);
    let columns = leases.map(|LeaseRow { webhook, queue, lease_token }| [webhook, queue, lease_token]);
    serde_json::to_string(&columns.collect::<Vec<_>>()).map_err(rows::unreadable)
}

/// A leased job to take over.
#[derive(Queryable)]
struct ExpiredRow {
    id: Vec<u8>,
    queue: i64,
    attempts: i64,
    uncounted_attempts: i64,
    available_at: i64,
    updated_at: i64,
    lease_token: i64,
    worker: Option<String>,
    lane: Option<String>,
}

statement! { Sqlite;
    struct RenewLeases<'a> {
        held: &'a str as Text,
        worker: &'a str as Text,
    }
    returns (BigInt, BigInt, BigInt);
    "UPDATE jobs SET lease_until = held.lease_until
     FROM (SELECT value ->> 0 AS webhook, value ->> 1 AS queue, value ->> 2 AS lease_token, value ->> 3 AS lease_until
           FROM json_each(?)) AS held
     WHERE jobs.webhook = held.webhook AND jobs.queue = held.queue
       AND jobs.lease_token = held.lease_token AND jobs.status = 1 AND jobs.worker = ?
     RETURNING jobs.webhook, jobs.queue, jobs.lease_token"
}

statement! { Sqlite;
    struct SelectExpired<'a> {
        until: i64 as BigInt,
        held: &'a str as Text,
        of_workers: bool as Bool,
        limit: i64 as BigInt,
    }
    returns (Binary, BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, Nullable<Text>, Nullable<Text>);
    "SELECT w.id, j.queue, j.attempts, j.uncounted_attempts, j.available_at, j.updated_at, j.lease_token, j.worker, j.lane
     FROM jobs j CROSS JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.status = 1 AND j.lease_until <= ?
       AND (j.webhook, j.queue, j.lease_token) NOT IN
           (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))
       AND (? OR instr(j.worker, ' ') > 0)
     LIMIT ?"
}
