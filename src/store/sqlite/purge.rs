//! Retention: first the payload goes, later the key and all the rest. A bounded number of rows at
//! a time, so that accepting goes on in between.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel::sqlite::Sqlite;

use super::keys::key_name;
use super::rows;
use super::transaction::{Refusal, Transaction};
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::domain::webhook::{IdempotencyKey, Source};
use crate::store::Purged;
use crate::store::statement::statement;

/// Webhooks in one transaction.
const PURGE_ROWS: i64 = 100;

/// Pages given back to the file system in one transaction.
const VACUUM_PAGES: i64 = 100;

/// Free pages kept in the file for what comes next.
const FREE_PAGES_KEPT: i64 = 256;

const FINAL: [Status; 3] = [Status::Completed, Status::DeadLettered, Status::Cancelled];

/// Removes what is past its retention.
pub(super) fn purge(transaction: &mut Transaction<'_>, retention: &Retention) -> Result<Purged, Refusal> {
    let now = transaction.context.clock.now().as_millisecond();
    let before = |kept: Duration| super::earlier(now, kept);
    let mut purged = Purged::default();
    for status in FINAL {
        let kept = if status == Status::Completed { retention.completed } else { retention.dead_lettered };
        purged.payloads += purge_payloads(transaction, status, before(kept))?;
        purged.webhooks += purge_webhooks(transaction, status, before(retention.keys))?;
    }
    let given_back = give_back_pages(transaction)?;
    purged.more = purged.payloads + purged.webhooks > 0 || given_back;
    Ok(purged)
}

fn purge_payloads(transaction: &mut Transaction<'_>, status: Status, before: i64) -> Result<usize, Refusal> {
    let connection = &mut *transaction.connection;
    let webhooks = SelectFinished { purged: 0, status: status as i64, before, limit: PURGE_ROWS }
        .load::<i64>(connection)?;
    if webhooks.is_empty() {
        return Ok(0);
    }
    let list = serde_json::to_string(&webhooks).map_err(rows::unreadable)?;
    DropPayloads { webhooks: &list }.execute(connection)?;
    DropResults { webhooks: &list }.execute(connection)?;
    MarkPurged { webhooks: &list }.execute(connection)?;
    Ok(webhooks.len())
}

fn purge_webhooks(transaction: &mut Transaction<'_>, status: Status, before: i64) -> Result<usize, Refusal> {
    let Transaction { connection, context, .. } = transaction;
    let webhooks = SelectPurged { status: status as i64, before, limit: PURGE_ROWS }
        .load::<(i64, String, String)>(*connection)?;
    for (webhook, source, key) in &webhooks {
        let source = Source::new(source.as_str()).map_err(rows::unreadable)?;
        let key = IdempotencyKey::new(key.as_str()).map_err(rows::unreadable)?;
        DeleteKey { name: &key_name(&source, &key) }.execute(*connection)?;
        DeleteAttempts { webhook: *webhook }.execute(*connection)?;
        DeleteJob { webhook: *webhook }.execute(*connection)?;
        DeleteWebhook { sequence: *webhook }.execute(*connection)?;
        context.counts.remove(status);
    }
    Ok(webhooks.len())
}

/// Cuts free pages off the end of the file. The file itself shrinks at the next checkpoint.
fn give_back_pages(transaction: &mut Transaction<'_>) -> Result<bool, Refusal> {
    let free = SelectFreePages {}.get_result::<i64>(transaction.connection)?;
    let pages = (free - FREE_PAGES_KEPT).min(VACUUM_PAGES);
    if pages <= 0 {
        return Ok(false);
    }
    transaction.connection.batch_execute(&format!("PRAGMA incremental_vacuum({pages})"))?;
    Ok(true)
}

statement! { Sqlite;
    struct SelectFinished {
        purged: i64 as BigInt,
        status: i64 as BigInt,
        before: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns BigInt;
    "SELECT webhook FROM jobs
     WHERE completed_at IS NOT NULL AND purged = ? AND status = ? AND completed_at <= ? LIMIT ?"
}

statement! { Sqlite;
    struct SelectPurged {
        status: i64 as BigInt,
        before: i64 as BigInt,
        limit: i64 as BigInt,
    }
    returns (BigInt, Text, Text);
    "SELECT j.webhook, w.source, w.idempotency_key
     FROM jobs j JOIN webhooks w ON w.sequence = j.webhook
     WHERE j.completed_at IS NOT NULL AND j.purged = 1 AND j.status = ? AND j.completed_at <= ? LIMIT ?"
}

statement! { Sqlite;
    struct DropPayloads<'a> { webhooks: &'a str as Text, }
    returns ();
    "UPDATE webhooks SET payload = NULL WHERE sequence IN (SELECT value FROM json_each(?))"
}

statement! { Sqlite;
    struct DropResults<'a> { webhooks: &'a str as Text, }
    returns ();
    "UPDATE attempts SET result = NULL WHERE webhook IN (SELECT value FROM json_each(?)) AND result IS NOT NULL"
}

statement! { Sqlite;
    struct MarkPurged<'a> { webhooks: &'a str as Text, }
    returns ();
    "UPDATE jobs SET purged = 1 WHERE webhook IN (SELECT value FROM json_each(?))"
}

statement! { Sqlite;
    struct DeleteKey<'a> { name: &'a [u8] as Binary, }
    returns ();
    "DELETE FROM idempotency_keys WHERE name = ?"
}

statement! { Sqlite;
    struct DeleteAttempts { webhook: i64 as BigInt, }
    returns ();
    "DELETE FROM attempts WHERE webhook = ?"
}

statement! { Sqlite;
    struct DeleteJob { webhook: i64 as BigInt, }
    returns ();
    "DELETE FROM jobs WHERE webhook = ?"
}

statement! { Sqlite;
    struct DeleteWebhook { sequence: i64 as BigInt, }
    returns ();
    "DELETE FROM webhooks WHERE sequence = ?"
}

statement! { Sqlite;
    struct SelectFreePages {}
    returns BigInt;
    "PRAGMA freelist_count"
}
