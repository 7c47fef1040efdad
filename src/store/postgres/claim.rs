//! Claiming due jobs: at most as many as the claimer can start.

use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use jiff::Timestamp;
use uuid::Uuid;

use super::core::Core;
use super::pool::answer;
use super::rows::{self, pg_time};
use crate::domain::attempt::Lease;
use crate::domain::job::Status;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::store::changes::Change;
use crate::store::statement::statement;
use crate::store::{ClaimedJob, Claims};
use crate::telemetry::metrics::Stopwatch;

/// How soon to look again for jobs that are due, but that another replica claims right now.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// webhook, source, key, event type, payload, traceparent; attempts, those before, the most of
/// them, available at, lease token, revision.
type ClaimedRow =
    (Uuid, String, String, String, Option<String>, String, i32, i32, i32, PgTimestamp, i64, i64);

/// Leases due jobs, those that are due longest first.
pub(super) async fn claim(core: &Core, limit: usize, lease: Duration) -> QueryResult<Claims> {
    let took = Stopwatch::start();
    let claimed_at = core.clock.now();
    let looked = core.beginning.get(claimed_at);
    let from = looked.map_or(PgTimestamp(i64::MIN), |(from, _)| pg_time(from));
    let claiming = ClaimJobs {
        from,
        now: pg_time(claimed_at),
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        lease_ms: i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
        updated_at: pg_time(claimed_at),
        worker: &core.worker,
        slot: core.slot(),
    };
    let connection = core.working.get().await?;
    // Both in one round trip: the server runs the second after the first.
    let mut shared: (&AsyncPgConnection, &AsyncPgConnection) = (&connection, &connection);
    let asked = async {
        futures::future::try_join(
            claiming.load::<ClaimedRow>(&mut shared.0),
            SelectNextDue { from }.get_result::<Option<PgTimestamp>>(&mut shared.1),
        )
        .await
    };
    let asked = answer(asked).await;
    let (rows, next_due) = connection.settle(asked)?;

    let mut claims = Claims { jobs: Vec::with_capacity(rows.len()), next_due: None };
    let mut changes = Vec::with_capacity(rows.len());
    if !rows.is_empty() {
        core.metrics.committed(took, rows.len());
    }
    for row in rows {
        let (id, revision) = (row.0, row.11);
        match claimed(row, claimed_at) {
            Ok(job) => {
                changes.push(Change {
                    id: job.lease.webhook,
                    status: Status::Processing,
                    attempt_count: job.attempt,
                    updated_at: claimed_at,
                    revision: revision.cast_unsigned(),
                });
                claims.jobs.push(job);
            }
            // Its lease expires, and so, in the end, do its attempts.
            Err(error) => {
                tracing::error!(webhook_id = %id, error = %error, "a claimed webhook cannot be read")
            }
        }
    }
    claims.jobs.sort_by_key(|job| job.available_at);
    let next_due = next_due.map(rows::time).transpose()?;
    let oldest = claims.jobs.iter().map(|job| job.available_at).min().or(next_due);
    core.beginning.found(looked, oldest.unwrap_or(claimed_at).min(claimed_at));
    claims.next_due = next_due.map(|due| {
        // Those that are due and were not claimed are more than the limit, or another's.
        let soon = claimed_at.saturating_add(LOCKED_PAUSE).unwrap_or(claimed_at);
        if due <= claimed_at && claims.jobs.len() < limit { soon } else { due }
    });
    core.committed(&changes, false);
    Ok(claims)
}

fn claimed(row: ClaimedRow, claimed_at: Timestamp) -> QueryResult<ClaimedJob> {
    let (id, source, key, event_type, payload, traceparent, attempts, before, most, available_at, token, _) =
        row;
    Ok(ClaimedJob {
        lease: Lease { webhook: rows::id(id), token: token.cast_unsigned() },
        source: Source::new(source).map_err(rows::unreadable)?,
        idempotency_key: IdempotencyKey::new(key).map_err(rows::unreadable)?,
        event_type: EventType::new(event_type).map_err(rows::unreadable)?,
        payload,
        traceparent: rows::traceparent(&traceparent)?,
        attempt: rows::count(attempts)?,
        attempt_of_run: rows::count(attempts - before)?,
        max_attempts: rows::count(most)?,
        available_at: rows::time(available_at)?,
        claimed_at,
    })
}

statement! { Pg;
    struct ClaimJobs<'a> {
        from: PgTimestamp as Timestamptz,
        now: PgTimestamp as Timestamptz,
        limit: i64 as BigInt,
        lease_ms: i64 as BigInt,
        updated_at: PgTimestamp as Timestamptz,
        worker: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Text, Text, Text, Nullable<Text>, Text, Integer, Integer, Integer, Timestamptz, BigInt, BigInt);
    "WITH due AS MATERIALIZED (
         SELECT webhook, status FROM jobs
         WHERE status IN (0, 2) AND available_at >= ? AND available_at <= ?
         ORDER BY available_at LIMIT ?
         FOR UPDATE SKIP LOCKED
     ), claimed AS (
         UPDATE jobs j
         SET status = 1, attempts = j.attempts + 1, lease_token = j.lease_token + 1, revision = j.revision + 1,
             lease_until = now() + ? * interval '1 millisecond', updated_at = ?, worker = ?
         WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM due))
         RETURNING j.webhook, j.attempts, j.attempts_before, j.max_attempts, j.available_at, j.lease_token, j.revision
     ), counted AS (
         UPDATE status_counts c
         SET pending = c.pending - taken.pending, retrying = c.retrying - taken.retrying,
             processing = c.processing + taken.pending + taken.retrying
         FROM (SELECT count(*) FILTER (WHERE status = 0) AS pending, count(*) FILTER (WHERE status = 2) AS retrying FROM due) AS taken
         WHERE c.slot = ? AND taken.pending + taken.retrying > 0
     )
     SELECT w.id, w.source, w.idempotency_key, w.event_type, w.payload, w.traceparent,
            c.attempts, c.attempts_before, c.max_attempts, c.available_at, c.lease_token, c.revision
     FROM claimed c CROSS JOIN LATERAL (SELECT * FROM webhooks WHERE id = c.webhook OFFSET 0) AS w"
}

statement! { Pg;
    struct SelectNextDue {
        from: PgTimestamp as Timestamptz,
    }
    returns Nullable<Timestamptz>;
    "SELECT min(available_at) FROM jobs WHERE status IN (0, 2) AND available_at >= ?"
}
