//! Claims: leases jobs that may start, at most one for each idle thread.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use jiff::Timestamp;

use super::due::{self, DueRow};
use super::lanes::{self, Lane};
use super::rows;
use super::schema::paces;
use super::transaction::{Refusal, Transaction};
use crate::domain::job::{QueueId, Status};
use crate::domain::route::{OrderValue, RouteName};
use crate::store::Claim;
use crate::store::ready::Share;
use crate::store::statement::statement;

/// Maximum number of rounds of sharing threads in one claim. Another round is useful if a route had fewer due
/// jobs than threads.
const ROUNDS: usize = 4;

/// The jobs that a committed claim has leased.
pub(super) struct Claimed {
    pub(super) jobs: Vec<BareJob>,
    /// When another claim may find a job; see [`Claims::next`](crate::store::Claims::next).
    pub(super) next: Option<Timestamp>,
    pub(super) claimed_at: Timestamp,
    /// See [`Claims::held_until`](crate::store::Claims::held_until).
    pub(super) held_until: Duration,
}

/// A leased job without its webhook.
#[derive(Clone)]
pub(super) struct BareJob {
    pub(super) webhook: i64,
    pub(super) queue: QueueId,
    pub(super) route: RouteName,
    pub(super) order: Option<OrderValue>,
    pub(super) attempt: u32,
    pub(super) attempt_of_run: u32,
    pub(super) run: u32,
    pub(super) available_at: Timestamp,
    pub(super) lease_token: i64,
    pub(super) revision: i64,
}

/// Leases jobs that may start. Of each route, the jobs that have been due longest come first.
pub(super) fn claim(transaction: &mut Transaction<'_>, claim: &Claim) -> Result<Claimed, Refusal> {
    let now = transaction.context.clock.now();
    let held_until = transaction.context.clock.monotonic().saturating_add(claim.lease);
    let mut running = claim.running.clone();
    let mut jobs: Vec<BareJob> = Vec::new();
    for _ in 0..ROUNDS {
        let threads = claim.threads.saturating_sub(jobs.len());
        if threads == 0 {
            break;
        }
        for share in transaction.context.memory.plan(now, threads, &running, &claim.wanted) {
            let leased = lease_share(transaction, &share, now, claim)?;
            note_started(transaction, &share.route, leased.len(), now)?;
            *running.entry(share.route).or_default() += leased.len();
            jobs.extend(leased);
        }
    }
    jobs.sort_by_key(|job| job.available_at);
    let next = transaction.context.memory.next_start(now, &claim.wanted);
    Ok(Claimed { jobs, next, claimed_at: now, held_until })
}

/// Leases the jobs of a route that have been due longest, over all its queues.
fn lease_share(
    transaction: &mut Transaction<'_>,
    share: &Share,
    now: Timestamp,
    claim: &Claim,
) -> QueryResult<Vec<BareJob>> {
    let mut due: Vec<(QueueId, DueRow)> = Vec::new();
    for queue in &share.queues {
        // Reads one job more than may be leased, to know when the next one is due.
        let has_lanes = transaction.context.memory.ordered.contains(queue);
        let limit = share.threads.saturating_add(1);
        let of_queue = due::of_queue(transaction.connection, *queue, has_lanes, limit)?;
        due.extend(of_queue.into_iter().map(|row| (*queue, row)));
    }
    due.sort_by_key(|(_, row)| row.available_at);
    let is_due = |(_, row): &&(QueueId, DueRow)| row.available_at <= now.as_millisecond();
    let taken = due.iter().take(share.threads).take_while(is_due).count();
    let left = due.split_off(taken);
    let ready = &mut transaction.context.memory.ready;
    share.queues.iter().for_each(|queue| ready.found(*queue, None));
    for (queue, row) in left {
        ready.note(queue, rows::time(row.available_at)?);
    }

    let mut leased = Vec::with_capacity(due.len());
    for (queue, row) in due {
        let available_at = rows::time(row.available_at)?;
        let (job, order) = match row {
            DueRow { webhook: Some(webhook), status: Some(status), .. } => ((webhook, status), None),
            DueRow { lane: Some(value), .. } => {
                let lane = Lane { queue, value: &value };
                let Some(first) = lanes::first_job(transaction.connection, lane)? else {
                    // A lane in state 0 should have a waiting job. If it has none, it is removed, so that it
                    // does not fail every claim.
                    lanes::release(transaction, lane, row.available_at)?;
                    continue;
                };
                lanes::occupy(transaction.connection, lane)?;
                ((first.webhook, first.status), Some(OrderValue::new(value)))
            }
            _ => return Err(rows::unreadable("a due job without its webhook")),
        };
        leased.push(lease_job(transaction, Leasing { queue, job, order, available_at, now, share, claim })?);
    }
    Ok(leased)
}

struct Leasing<'a> {
    queue: QueueId,
    /// The number of the webhook, and the status.
    job: (i64, i64),
    order: Option<OrderValue>,
    available_at: Timestamp,
    now: Timestamp,
    share: &'a Share,
    claim: &'a Claim,
}

fn lease_job(transaction: &mut Transaction<'_>, leasing: Leasing<'_>) -> QueryResult<BareJob> {
    let Leasing { queue, job: (webhook, status), order, available_at, now, share, claim } = leasing;
    let now = now.as_millisecond();
    let row = ClaimJob {
        lease_until: super::later(now, claim.lease),
        updated_at: now,
        worker: &claim.worker,
        webhook,
        queue: queue.0.into(),
    }
    .get_result::<ClaimedRow>(transaction.connection)?;
    transaction.context.memory.counts.shift(queue, rows::job_status(status)?, Status::Processing);
    Ok(BareJob {
        webhook,
        queue,
        route: share.route.clone(),
        order,
        attempt: rows::count(row.attempts)?,
        attempt_of_run: rows::count(row.attempts - row.uncounted_attempts)?,
        run: rows::count(row.run)?,
        available_at,
        lease_token: row.lease_token,
        revision: row.revision,
    })
}

/// Stores when the rate of a route allows the next start, if the route has a rate.
fn note_started(
    transaction: &mut Transaction<'_>,
    route: &RouteName,
    jobs: usize,
    now: Timestamp,
) -> QueryResult<()> {
    if jobs == 0 {
        return Ok(());
    }
    let next = transaction.context.memory.started(route, jobs, now);
    store_pace(transaction, route, next)
}

/// Stores when the rate of a route allows the next start; nothing for a route without a rate.
pub(super) fn store_pace(
    transaction: &mut Transaction<'_>,
    route: &RouteName,
    next: Option<Timestamp>,
) -> QueryResult<()> {
    let Some(next) = next else { return Ok(()) };
    diesel::replace_into(paces::table)
        .values((paces::route.eq(route.as_str()), paces::next_at.eq(next.as_microsecond())))
        .execute(transaction.connection)
        .map(|_| ())
}

/// The columns of a leased job that a claim returns.
#[derive(Queryable)]
struct ClaimedRow {
    attempts: i64,
    uncounted_attempts: i64,
    run: i64,
    lease_token: i64,
    revision: i64,
}

statement! { Sqlite;
    struct ClaimJob<'a> {
        lease_until: i64 as BigInt,
        updated_at: i64 as BigInt,
        worker: &'a str as Text,
        webhook: i64 as BigInt,
        queue: i64 as BigInt,
    }
    returns (BigInt, BigInt, BigInt, BigInt, BigInt);
    "UPDATE jobs SET status = 1, attempts = attempts + 1, lease_token = lease_token + 1, revision = revision + 1,
            lease_until = ?, updated_at = ?, worker = ?
     WHERE webhook = ? AND queue = ?
     RETURNING attempts, uncounted_attempts, run, lease_token, revision"
}
