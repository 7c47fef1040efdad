//! Reads one webhook: its status, or all its data.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::keys::key_name;
use super::rows::{self, AttemptRow, ContentRow, DetailRow, StatusRow};
use super::schema::webhooks;
use crate::domain::attempt::AttemptWindow;
use crate::domain::delivery::SHOWN_DELIVERIES;
use crate::domain::id::WebhookId;
use crate::domain::job::QueueId;
use crate::domain::webhook::{WebhookDetail, WebhookName, WebhookStatus};
use crate::store::statement::statement;

/// The queue of webhooks that no route matched.
pub(super) const NO_ROUTE_QUEUE: QueueId = QueueId(0);

/// The columns of a [`StatusRow`].
pub(super) type StatusColumns = (
    (Binary, Text, Text, Text, Binary, BigInt, Bool),
    Nullable<(BigInt, BigInt, BigInt, BigInt, BigInt, BigInt)>,
    Nullable<Text>,
    Nullable<Text>,
);

/// The columns of a [`StatusRow`] as SQL: of the webhook `w`, its job `j`, and the queue `q` of the job. The
/// attempts are searched only if the job is retrying or dead-lettered.
macro_rules! status_columns {
    () => {
        "w.id, w.source, w.idempotency_key, w.event_type, w.payload_digest, w.accepted_at, w.quarantined,
         j.queue, j.status, j.attempts, j.available_at, j.updated_at, j.revision, q.route,
         CASE WHEN j.status IN (2, 4) THEN (
             SELECT a.error FROM attempts a
             WHERE a.webhook = j.webhook AND a.queue = j.queue AND a.number = j.attempts
         ) END"
    };
}
pub(super) use status_columns;

/// Joins webhooks `w` with their jobs: one row for each job, or one without a job. Leaves out rows of
/// [`NO_ROUTE_QUEUE`], which are not jobs.
macro_rules! with_jobs {
    () => {
        " LEFT JOIN jobs j ON j.webhook = w.sequence AND j.queue <> 0
          LEFT JOIN queues q ON q.id = j.queue "
    };
}
pub(super) use with_jobs;

/// The status of a webhook.
pub(super) fn status(
    connection: &mut SqliteConnection,
    name: &WebhookName,
) -> QueryResult<Option<WebhookStatus>> {
    match name {
        WebhookName::Id(id) => status_by_id(connection, *id),
        WebhookName::Key(source, key) => {
            let found = status_by_key(connection, &key_name(source, key))?;
            Ok(found.map(|found| found.status))
        }
    }
}

/// The status of the webhook with this id.
pub(super) fn status_by_id(
    connection: &mut SqliteConnection,
    id: WebhookId,
) -> QueryResult<Option<WebhookStatus>> {
    let rows = SelectStatus { sequence: id.sequence().as_i64() }.load::<StatusRow>(connection)?;
    // The sequence is only a part of the id, so the id has to be compared.
    Ok(rows::statuses(rows)?.pop().filter(|webhook| webhook.id == id))
}

/// A webhook found by its key.
pub(super) struct FoundByKey {
    pub(super) status: WebhookStatus,
    pub(super) payload_digest: Vec<u8>,
}

/// The webhook whose key has this name, as `key_name` makes it.
pub(super) fn status_by_key(
    connection: &mut SqliteConnection,
    key_name: &[u8],
) -> QueryResult<Option<FoundByKey>> {
    let rows = SelectStatusByKey { name: key_name }.load::<StatusRow>(connection)?;
    let Some(first) = rows.first() else { return Ok(None) };
    let payload_digest = first.webhook.payload_digest.clone();
    Ok(rows::statuses(rows)?.pop().map(|status| FoundByKey { status, payload_digest }))
}

/// All data of a webhook, with these attempts of each job, read in one transaction.
pub(super) fn webhook(
    connection: &mut SqliteConnection,
    id: WebhookId,
    window: AttemptWindow,
) -> QueryResult<Option<WebhookDetail>> {
    let AttemptWindow { skip, limit } = window;
    let (skip, limit) = (i64::from(skip), i64::from(limit));
    connection.transaction(|connection| {
        let Some(status) = status_by_id(connection, id)? else { return Ok(None) };
        let sequence = id.sequence().as_i64();
        let content =
            webhooks::table.find(sequence).select(ContentRow::as_select()).get_result(connection)?;
        let details = SelectDetails { webhook: sequence }.load::<DetailRow>(connection)?;
        let reading = SelectAttempts {
            before_deliveries: skip + limit.min(SHOWN_DELIVERIES.into()),
            before: skip + limit,
            skip,
            webhook: sequence,
        };
        let mut attempts = reading.load::<AttemptRow>(connection)?.into_iter().peekable();
        let jobs = details.into_iter().map(|detail| {
            let own = std::iter::from_fn(|| attempts.next_if(|attempt| attempt.queue == detail.queue));
            let own = own.collect();
            detail.into_detail(own)
        });
        let jobs = jobs.collect::<QueryResult<Vec<_>>>()?;
        content.into_detail(status, jobs).map(Some)
    })
}

/// Whether the payload of a webhook is still stored.
pub(super) fn has_payload(connection: &mut SqliteConnection, id: WebhookId) -> QueryResult<bool> {
    webhooks::table
        .find(id.sequence().as_i64())
        .select(webhooks::payload.is_not_null())
        .get_result(connection)
}

/// The latest sequence in use.
pub(super) fn last_sequence(connection: &mut SqliteConnection) -> QueryResult<Option<i64>> {
    webhooks::table.select(diesel::dsl::max(webhooks::sequence)).get_result(connection)
}

statement! { Sqlite;
    struct SelectStatus {
        sequence: i64 as BigInt,
    }
    returns StatusColumns;
    concat!(
        "SELECT ", status_columns!(), " FROM webhooks w", with_jobs!(),
        "WHERE w.sequence = ? ORDER BY j.queue"
    )
}

statement! { Sqlite;
    struct SelectDetails {
        webhook: i64 as BigInt,
    }
    returns (
        BigInt, BigInt, Nullable<BigInt>, BigInt, BigInt, Nullable<BigInt>, Nullable<BigInt>, Nullable<Text>,
        Nullable<Text>,
    );
    "SELECT j.queue, j.run, j.replay, j.uncounted_attempts, j.available_at, j.completed_at, j.lease_until, j.worker,
            CASE WHEN j.status = 3 THEN (
                SELECT a.result FROM attempts a
                WHERE a.webhook = j.webhook AND a.queue = j.queue AND a.number = j.attempts
            ) END
     FROM jobs j WHERE j.webhook = ? AND j.queue <> 0 ORDER BY j.queue"
}

// A cross join, so that only attempts with these numbers are read.
statement! { Sqlite;
    /// The first three are numbers of attempts, counted from the last one.
    struct SelectAttempts {
        before_deliveries: i64 as BigInt,
        before: i64 as BigInt,
        skip: i64 as BigInt,
        webhook: i64 as BigInt,
    }
    returns (BigInt, BigInt, BigInt, BigInt, BigInt, BigInt, Nullable<Text>, Text, Nullable<Text>);
    "SELECT a.queue, a.number, a.run, a.outcome, a.started_at, a.finished_at, a.error, a.worker,
            CASE WHEN a.number > j.attempts - ? THEN a.delivery END
     FROM jobs j CROSS JOIN attempts a
       ON a.webhook = j.webhook AND a.queue = j.queue AND a.number > j.attempts - ? AND a.number <= j.attempts - ?
     WHERE j.webhook = ? AND j.queue <> 0 ORDER BY j.queue, a.number"
}

statement! { Sqlite;
    struct SelectStatusByKey<'a> {
        name: &'a [u8] as Binary,
    }
    returns StatusColumns;
    concat!(
        "SELECT ", status_columns!(), " FROM idempotency_keys k CROSS JOIN webhooks w ON w.sequence = k.webhook",
        with_jobs!(), "WHERE k.name = ? ORDER BY j.queue"
    )
}
