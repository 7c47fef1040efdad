//! What people ask for: another run, or none.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use diesel::sqlite::Sqlite;

use super::transaction::{Refusal, Transaction};
use super::{connection, queries, rows};
use crate::domain::error::{Error, Reason};
use crate::domain::id::WebhookId;
use crate::domain::job::{Event, Status, next_status};
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::store::Probe;
use crate::store::changes::Change;
use crate::store::statement::statement;

/// Makes a dead-lettered or cancelled job pending, with a budget of `attempts` more.
pub(super) fn retry(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    attempts: u32,
) -> Result<WebhookStatus, Refusal> {
    change(transaction, id, Event::Retry, "retried", i64::from(attempts))
}

/// Cancels a waiting job. One that is cancelled stays as it is.
pub(super) fn cancel(transaction: &mut Transaction<'_>, id: WebhookId) -> Result<WebhookStatus, Refusal> {
    change(transaction, id, Event::Cancel, "cancelled", 0)
}

fn change(
    transaction: &mut Transaction<'_>,
    id: WebhookId,
    event: Event,
    done: &str,
    more_attempts: i64,
) -> Result<WebhookStatus, Refusal> {
    let Transaction { connection, context, changes, made_due } = transaction;
    let mut webhook =
        queries::status(connection, &WebhookName::Id(id))?.ok_or_else(|| Error::not_found(id))?;
    let from = webhook.status;
    let next = next_status(from, event, true).ok_or_else(|| Error::wrong_status(from, done))?;
    if next == from {
        return Ok(webhook);
    }
    if event == Event::Retry && queries::is_purged(connection, id)? {
        return Err(Error::new(
            Reason::WrongStatus,
            "the retention of its payload is over, so it cannot be retried; send it again under a new key",
        )
        .into());
    }
    let now = context.clock.now();
    let now_ms = now.as_millisecond();
    let sequence = id.sequence().as_i64();
    let revision = if event == Event::Retry {
        RetryJob { more_attempts, available_at: now_ms, updated_at: now_ms, webhook: sequence }
            .get_result::<i64>(*connection)?
    } else {
        StopJob {
            status: next as i64,
            completed_at: next.is_final().then_some(now_ms),
            updated_at: now_ms,
            webhook: sequence,
        }
        .get_result::<i64>(*connection)?
    };
    context.counts.shift(from, next);
    *made_due |= next == Status::Pending;
    webhook.status = next;
    webhook.updated_at = now;
    webhook.revision = revision.cast_unsigned();
    changes.push(Change {
        id,
        status: next,
        attempt_count: webhook.attempt_count,
        updated_at: now,
        revision: webhook.revision,
    });
    Ok(webhook)
}

statement! { Sqlite;
    struct RetryJob {
        more_attempts: i64 as BigInt,
        available_at: i64 as BigInt,
        updated_at: i64 as BigInt,
        webhook: i64 as BigInt,
    }
    returns BigInt;
    "UPDATE jobs SET status = 0, attempts_before = attempts, max_attempts = attempts + ?, available_at = ?,
            updated_at = ?, completed_at = NULL, revision = revision + 1
     WHERE webhook = ?
     RETURNING revision"
}

statement! { Sqlite;
    struct StopJob {
        status: i64 as BigInt,
        completed_at: Option<i64> as Nullable<BigInt>,
        updated_at: i64 as BigInt,
        webhook: i64 as BigInt,
    }
    returns BigInt;
    "UPDATE jobs SET status = ?, completed_at = ?, updated_at = ?, revision = revision + 1
     WHERE webhook = ?
     RETURNING revision"
}

/// Writes a row, to learn whether that works.
pub(super) fn probe(transaction: &mut Transaction<'_>) -> Result<Probe, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    WriteProbe { written_at: now }.execute(transaction.connection)?;
    let migrations_current = connection::is_current(transaction.connection).map_err(rows::unreadable)?;
    Ok(Probe { migrations_current })
}

statement! { Sqlite;
    struct WriteProbe {
        written_at: i64 as BigInt,
    }
    returns ();
    "UPDATE probe SET written_at = ? WHERE id = 1"
}
