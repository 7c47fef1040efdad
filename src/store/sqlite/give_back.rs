//! Gives back leased jobs whose handler was not started. Nothing of the claim is left but the larger lease token.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::claim::{self, BareJob};
use super::lanes::{self, Lane};
use super::rows;
use super::transaction::{JobChange, Refusal, Transaction};
use crate::domain::attempt::Lease;
use crate::domain::job::{QueueId, Status};
use crate::domain::route::RouteName;
use crate::store::statement::statement;

/// Gives back the jobs of these leases of `worker`. Skips leases that were lost.
pub(super) fn give_back(
    transaction: &mut Transaction<'_>,
    worker: &str,
    leases: &[Lease],
) -> Result<(), Refusal> {
    let now = transaction.context.clock.now();
    let mut queues = Vec::with_capacity(leases.len());
    for Lease { job, token } in leases {
        let webhook = job.webhook.sequence().as_i64();
        let claim = (webhook, job.queue, token.cast_signed());
        let given = unclaim(transaction, worker, claim, Timestamp::UNIX_EPOCH, now)?;
        if let Some(given) = given {
            queues.push(job.queue);
            transaction.announce(JobChange {
                job: *job,
                status: Status::Pending,
                attempts: rows::count(given.attempts)?,
                at: now,
                revision: given.revision,
                last_error: None,
                next_attempt_at: Some(rows::time(given.available_at)?),
            });
        }
    }
    return_starts(transaction, &queues)?;
    Ok(())
}

/// Gives back jobs that a claim of `worker` did not return, so that they are not due before `due`.
pub(super) fn put_off(
    transaction: &mut Transaction<'_>,
    worker: &str,
    jobs: &[BareJob],
    due: Timestamp,
) -> Result<(), Refusal> {
    let now = transaction.context.clock.now();
    let mut queues = Vec::with_capacity(jobs.len());
    for job in jobs {
        // Not announced, for the claim was not either.
        let given = unclaim(transaction, worker, (job.webhook, job.queue, job.lease_token), due, now)?;
        queues.extend(given.map(|_| job.queue));
    }
    return_starts(transaction, &queues)?;
    Ok(())
}

/// Gives the starts of jobs back to the rates of their routes. `queues` has the queue of each job.
fn return_starts(transaction: &mut Transaction<'_>, queues: &[QueueId]) -> QueryResult<()> {
    let mut starts: BTreeMap<RouteName, usize> = BTreeMap::new();
    for queue in queues {
        if let Some((route, _)) = transaction.context.memory.queues.name(*queue) {
            *starts.entry(route.clone()).or_default() += 1;
        }
    }
    for (route, jobs) in starts {
        let next = transaction.context.memory.not_started(&route, jobs);
        claim::store_pace(transaction, &route, next)?;
    }
    Ok(())
}

/// Takes back the claim of a job by `worker`: its webhook, queue and lease token. The job is due as it was, also if the
/// clock was set back since; or at `earliest` if that is later. None if the lease was lost.
fn unclaim(
    transaction: &mut Transaction<'_>,
    worker: &str,
    (webhook, queue, lease_token): (i64, QueueId, i64),
    earliest: Timestamp,
    now: Timestamp,
) -> QueryResult<Option<UnclaimedRow>> {
    let now = now.as_millisecond();
    let unclaiming = UnclaimJob {
        now,
        earliest: earliest.as_millisecond(),
        updated_at: now,
        webhook,
        queue: queue.0.into(),
        lease_token,
        worker,
    };
    let Some(row) = unclaiming.get_result::<UnclaimedRow>(transaction.connection).optional()? else {
        return Ok(None);
    };
    transaction.context.memory.counts.shift(queue, Status::Processing, Status::Pending);
    match &row.lane {
        None => transaction.note_due(queue, rows::time(row.available_at)?),
        Some(value) => lanes::release(transaction, Lane { queue, value }, row.available_at)?,
    }
    // A place of a route with a limit is free.
    transaction.lets_start();
    Ok(Some(row))
}

/// A job whose claim was taken back.
#[derive(Queryable)]
struct UnclaimedRow {
    attempts: i64,
    revision: i64,
    available_at: i64,
    lane: Option<String>,
}

statement! { Sqlite;
    struct UnclaimJob<'a> {
        now: i64 as BigInt,
        earliest: i64 as BigInt,
        updated_at: i64 as BigInt,
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
        lease_token: i64 as BigInt,
        worker: &'a str as Text,
    }
    returns (BigInt, BigInt, BigInt, Nullable<Text>);
    "UPDATE jobs SET status = 0, attempts = attempts - 1, available_at = max(min(available_at, ?), ?),
            updated_at = ?, lease_until = NULL, worker = NULL, revision = revision + 1
     WHERE webhook = ? AND queue = ? AND lease_token = ? AND worker = ? AND status = 1
     RETURNING attempts, revision, available_at, lane"
}
