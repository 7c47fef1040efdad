//! The end of an attempt, and the leases until then. Whoever ends or extends one presents the
//! lease token of its claim, and exactly one row changes.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::rows;
use super::transaction::{Refusal, Transaction};
use crate::domain::attempt::{Lease, Outcome};
use crate::domain::job::{Event, Status, next_status};
use crate::store::Finish;
use crate::store::changes::Change;
use crate::store::statement::statement;

/// Expired leases taken over in one transaction.
const TAKE_OVER_JOBS: i64 = 500;

/// Records the end of an attempt. False if its lease was lost.
pub(super) fn finish(
    transaction: &mut Transaction<'_>,
    finish: &Finish,
    worker: &str,
) -> Result<bool, Refusal> {
    let Transaction { connection, context, changes, made_due } = transaction;
    let webhook = finish.lease.webhook.sequence().as_i64();
    let finished_at = finish.finished_at.as_millisecond();
    let given_back = finish.next == Status::Pending;
    let revision = EndLease {
        status: finish.next as i64,
        available_at: finish.available_at.as_millisecond(),
        updated_at: finished_at,
        completed_at: finish.next.is_final().then_some(finished_at),
        given_back: i64::from(given_back),
        more_attempts: i64::from(given_back),
        webhook,
        lease_token: finish.lease.token.cast_signed(),
    }
    .get_result::<i64>(*connection)
    .optional()?;
    let Some(revision) = revision else { return Ok(false) };
    InsertAttempt {
        webhook,
        number: i64::from(finish.attempt),
        outcome: finish.outcome as i64,
        started_at: finish.started_at.as_millisecond(),
        finished_at,
        error: finish.error.as_deref(),
        result: finish.result.as_deref(),
        worker,
    }
    .execute(*connection)?;
    context.counts.shift(Status::Processing, finish.next);
    // A job that is due later may be due before whatever the dispatcher waits for.
    *made_due |= !finish.next.is_final();
    changes.push(Change {
        id: finish.lease.webhook,
        status: finish.next,
        attempt_count: finish.attempt,
        updated_at: finish.finished_at,
        revision: revision.cast_unsigned(),
    });
    Ok(true)
}

/// Which leased jobs to take over.
pub(super) enum Takeable {
    /// All: their process is gone.
    All,
    /// Those whose lease has expired, but for these, which still run.
    ExpiredBut(Vec<Lease>),
}

/// Extends leases. Answers those that were lost.
pub(super) fn renew(
    transaction: &mut Transaction<'_>,
    leases: &[Lease],
    lease: Duration,
) -> Result<Vec<Lease>, Refusal> {
    let Transaction { connection, context, .. } = transaction;
    let held = list_of(leases)?;
    let renewed =
        RenewLeases { lease_until: super::later(context.clock.now().as_millisecond(), lease), held: &held }
            .load::<(i64, i64)>(*connection)?;
    Ok(leases.iter().filter(|lease| !renewed.contains(&columns_of(lease))).copied().collect())
}

/// Takes over leased jobs: those whose lease has expired, or all of a process that is gone.
/// Answers how many; there may be more.
pub(super) fn take_over(transaction: &mut Transaction<'_>, what: &Takeable) -> Result<usize, Refusal> {
    let Transaction { connection, context, changes, made_due } = transaction;
    let now = context.clock.now();
    let now_ms = now.as_millisecond();
    let (until, held) = match what {
        Takeable::All => (i64::MAX, list_of(&[])?),
        Takeable::ExpiredBut(held) => (now_ms, list_of(held)?),
    };
    let expired = SelectExpired { until, held: &held, limit: TAKE_OVER_JOBS }.load::<(
        Vec<u8>,
        i64,
        i64,
        i64,
        i64,
        i64,
        Option<String>,
    )>(*connection)?;
    let taken = expired.len();
    for (id, webhook, attempts, max_attempts, started_at, lease_token, worker) in expired {
        let attempts_left = attempts < max_attempts;
        let next =
            next_status(Status::Processing, Event::LeaseExpire, attempts_left).unwrap_or(Status::Pending);
        let revision = EndLease {
            status: next as i64,
            available_at: now_ms,
            updated_at: now_ms,
            completed_at: next.is_final().then_some(now_ms),
            given_back: 0,
            more_attempts: 0,
            webhook,
            lease_token,
        }
        .get_result::<i64>(*connection)?;
        InsertAttempt {
            webhook,
            number: attempts,
            outcome: Outcome::Interrupted as i64,
            started_at,
            finished_at: now_ms,
            error: Some("the process that ran it died or lost its lease"),
            result: None,
            worker: worker.as_deref().unwrap_or_default(),
        }
        .execute(*connection)?;
        context.counts.shift(Status::Processing, next);
        *made_due = true;
        changes.push(Change {
            id: rows::id(&id)?,
            status: next,
            attempt_count: rows::count(attempts)?,
            updated_at: now,
            revision: revision.cast_unsigned(),
        });
    }
    Ok(taken)
}

/// The webhook and the token of a lease, as they are in their row.
fn columns_of(lease: &Lease) -> (i64, i64) {
    (lease.webhook.sequence().as_i64(), lease.token.cast_signed())
}

/// Leases as a JSON array of pairs: one bind, however many they are.
fn list_of(leases: &[Lease]) -> Result<String, Refusal> {
    let pairs = leases.iter().map(columns_of).collect::<Vec<_>>();
    Ok(serde_json::to_string(&pairs).map_err(rows::unreadable)?)
}

statement! { Sqlite;
    struct EndLease {
        status: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        completed_at: Option<i64> as Nullable<BigInt>,
        given_back: i64 as BigInt,
        more_attempts: i64 as BigInt,
        webhook: i64 as BigInt,
        lease_token: i64 as BigInt,
    }
    returns BigInt;
    "UPDATE jobs SET status = ?, available_at = ?, updated_at = ?, completed_at = ?,
            attempts_before = attempts_before + ?, max_attempts = max_attempts + ?,
            lease_until = NULL, worker = NULL, revision = revision + 1
     WHERE webhook = ? AND lease_token = ? AND status = 1
     RETURNING revision"
}

statement! { Sqlite;
    struct InsertAttempt<'a> {
        webhook: i64 as BigInt,
        number: i64 as BigInt,
        outcome: i64 as BigInt,
        started_at: i64 as BigInt,
        finished_at: i64 as BigInt,
        error: Option<&'a str> as Nullable<Text>,
        result: Option<&'a str> as Nullable<Text>,
        worker: &'a str as Text,
    }
    returns ();
    "INSERT INTO attempts (webhook, number, outcome, started_at, finished_at, error, result, worker)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
}

statement! { Sqlite;
    struct RenewLeases<'a> {
        lease_until: i64 as BigInt,
        held: &'a str as Text,
    }
    returns (BigInt, BigInt);
    "UPDATE jobs SET lease_until = ?
     FROM (SELECT value ->> 0 AS webhook, value ->> 1 AS lease_token FROM json_each(?)) AS held
     WHERE jobs.webhook = held.webhook AND jobs.lease_token = held.lease_token AND jobs.status = 1
     RETURNING jobs.webhook, jobs.lease_token"
}

statement! { Sqlite;
    struct SelectExpired<'a> {
        until: i64 as BigInt,
        held: &'a str as Text,
        limit: i64 as BigInt,
    }
    returns (Binary, BigInt, BigInt, BigInt, BigInt, BigInt, Nullable<Text>);
    "SELECT w.id, j.webhook, j.attempts, j.max_attempts, j.updated_at, j.lease_token, j.worker
     FROM jobs j JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.status = 1 AND j.lease_until <= ?
       AND (j.webhook, j.lease_token) NOT IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))
     LIMIT ?"
}
