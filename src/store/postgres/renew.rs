//! Renews leases by the clock of the database.

use std::collections::HashSet;
use std::time::Duration;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::pool::answer;
use super::rows;
use super::shared::Shared;
use crate::domain::attempt::Lease;
use crate::domain::job::JobId;
use crate::store::statement::statement;

/// A lease as columns.
#[derive(Queryable, PartialEq, Eq, Hash)]
struct LeaseRow {
    webhook: Uuid,
    queue: i32,
    lease_token: i64,
}

impl LeaseRow {
    fn of(lease: &Lease) -> Self {
        let Lease { job, token } = lease;
        let (webhook, queue) = (rows::uuid(job.webhook), rows::queue_number(job.queue));
        Self { webhook, queue, lease_token: token.cast_signed() }
    }
}

/// Leases as columns: webhooks, queues, tokens.
pub(super) fn columns(leases: impl Iterator<Item = Lease>) -> (Vec<Uuid>, Vec<i32>, Vec<i64>) {
    let leases = leases.map(|lease| LeaseRow::of(&lease));
    leases.map(|LeaseRow { webhook, queue, lease_token }| (webhook, queue, lease_token)).collect()
}

/// Where `width_bucket` finds jobs, which have to be sorted: each webhook once, and one number for each job: the 1-based
/// index of its webhook, shifted left by 32 bits, and its queue.
pub(super) fn places(jobs: impl Iterator<Item = JobId>) -> (Vec<Uuid>, Vec<i64>) {
    let (mut webhooks, mut ranks) = (Vec::<Uuid>::new(), Vec::new());
    for job in jobs {
        let webhook = rows::uuid(job.webhook);
        if webhooks.last() != Some(&webhook) {
            webhooks.push(webhook);
        }
        let number = i64::try_from(webhooks.len()).unwrap_or(i64::MAX);
        ranks.push((number << 32) | i64::from(job.queue.0));
    }
    (webhooks, ranks)
}

/// Extends leases of `worker`, each to its time from now. Returns the leases that were lost, in the order of `leases`.
pub(super) async fn renew(
    shared: &Shared,
    worker: &str,
    leases: Vec<(Lease, Duration)>,
) -> QueryResult<Vec<Lease>> {
    let mut sorted = leases.clone();
    // Of several leases of a job, `width_bucket` finds the last one, and only the newest is not lost.
    sorted.sort_unstable_by_key(|(lease, _)| (lease.job, lease.token));
    let (webhooks, queues, lease_tokens) = columns(sorted.iter().map(|(lease, _)| *lease));
    let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let times = sorted.iter().map(|(_, time)| milliseconds(*time)).collect();
    let (sorted_webhooks, ranks) = places(sorted.iter().map(|(lease, _)| lease.job));
    let renewing = RenewLeases { webhooks, queues, lease_tokens, worker, times, sorted_webhooks, ranks };
    let mut connection = shared.working.get().await?;
    let held = answer(renewing.load::<LeaseRow>(&mut *connection)).await;
    let held = connection.release(held)?.into_iter().collect::<HashSet<_>>();
    let is_lost = |lease: &Lease| !held.contains(&LeaseRow::of(lease));
    Ok(leases.into_iter().map(|(lease, _)| lease).filter(is_lost).collect())
}

// Compares the worker as well: after a failover to a standby that lagged, another process can have the same token.
// Skips jobs that are locked: another transaction is ending or taking over them. Their leases count as held.
// If such a lease is lost, the end of the attempt or the next renewal will find out.
statement! { Pg;
    struct RenewLeases<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        worker: &'a str as Text,
        times: Vec<i64> as Array<BigInt>,
        sorted_webhooks: Vec<Uuid> as Array<SqlUuid>,
        ranks: Vec<i64> as Array<BigInt>,
    }
    returns (SqlUuid, Integer, BigInt);
    "WITH leases AS MATERIALIZED (
         SELECT * FROM unnest(?, ?, ?) AS l (webhook, queue, lease_token)
     ), held AS MATERIALIZED (
         SELECT webhook, queue, lease_token FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM leases)) AND lease_until IS NOT NULL
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM leases)) IS TRUE
           AND worker = ?
     ), free AS MATERIALIZED (
         SELECT webhook, queue, lease_token FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM held)) AND lease_until IS NOT NULL
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM held)) IS TRUE
         FOR UPDATE SKIP LOCKED
     ), renewed AS (
         UPDATE jobs SET lease_until = now()
             + (?)[width_bucket(width_bucket(webhook, ?)::bigint << 32 | queue, ?)] * interval '1 millisecond'
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM free))
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM free)) IS TRUE
     )
     SELECT webhook, queue, lease_token FROM held"
}
