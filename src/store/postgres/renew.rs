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

/// Extends leases of `worker` to `lease` from now. Returns the leases that were lost.
pub(super) async fn renew(
    shared: &Shared,
    worker: &str,
    leases: &[Lease],
    lease: Duration,
) -> QueryResult<Vec<Lease>> {
    let (webhooks, queues, lease_tokens) = columns(leases.iter().copied());
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let renewing = RenewLeases { webhooks, queues, lease_tokens, worker, lease_ms };
    let mut connection = shared.working.get().await?;
    let held = answer(renewing.load::<LeaseRow>(&mut *connection)).await;
    let held = connection.release(held)?.into_iter().collect::<HashSet<_>>();
    let is_lost = |lease: &&Lease| !held.contains(&LeaseRow::of(lease));
    Ok(leases.iter().filter(is_lost).copied().collect())
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
        lease_ms: i64 as BigInt,
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
         UPDATE jobs SET lease_until = now() + ? * interval '1 millisecond'
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM free))
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM free)) IS TRUE
     )
     SELECT webhook, queue, lease_token FROM held"
}
