//! Reads leased jobs, so that their attempts can be ended.

use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use super::pool::answer;
use super::renew::columns;
use super::rows;
use super::shared::Shared;
use super::{lanes, queue_names};
use crate::domain::attempt::Lease;
use crate::domain::webhook::{EventType, Source};
use crate::store::LeasedJob;
use crate::store::statement::statement;

/// The jobs that these leases of `worker` hold. Leaves out leases that were lost.
pub(super) async fn leased(shared: &Shared, worker: &str, leases: &[Lease]) -> QueryResult<Vec<LeasedJob>> {
    let (webhooks, queues, lease_tokens) = columns(leases.iter().copied());
    let looking = SelectLeased { webhooks, queues, lease_tokens, worker };
    let mut connection = shared.asking.get().await?;
    let reading = async {
        let found = looking.load::<LeasedRow>(&mut *connection).await?;
        let numbers = found.iter().map(|row| rows::queue(row.queue)).collect::<QueryResult<Vec<_>>>()?;
        queue_names::know(&shared.schedule, &mut connection, numbers.into_iter()).await?;
        Ok(found)
    };
    let reading = answer(reading).await;
    connection.release(reading)?.into_iter().map(|row| row.into_job(shared)).collect()
}

/// A leased job with its webhook.
#[derive(Queryable)]
struct LeasedRow {
    webhook: Uuid,
    queue: i32,
    lease_token: i64,
    lane: Option<String>,
    source: String,
    event_type: String,
    traceparent: String,
    attempts: i32,
    uncounted_attempts: i32,
    available_at: PgTimestamp,
    updated_at: PgTimestamp,
    now: PgTimestamp,
}

impl LeasedRow {
    fn into_job(self, shared: &Shared) -> QueryResult<LeasedJob> {
        let job = rows::job_id(self.webhook, self.queue)?;
        // The last change of a leased job was its claim.
        // At most the time that this process knows, because the process follows a step of the clock only after leases have.
        let now = rows::time(self.now)?.min(shared.now());
        let held_for = now.duration_since(rows::time(self.updated_at)?);
        Ok(LeasedJob {
            lease: Lease { job, token: self.lease_token.cast_unsigned() },
            route: rows::route(&shared.schedule, job.queue)?,
            order: self.lane.as_deref().and_then(lanes::order),
            source: Source::new(self.source).map_err(rows::unreadable)?,
            event_type: EventType::new(self.event_type).map_err(rows::unreadable)?,
            traceparent: rows::traceparent(&self.traceparent)?,
            attempt: rows::count(self.attempts)?,
            attempt_of_run: rows::count(self.attempts - self.uncounted_attempts)?,
            available_at: rows::time(self.available_at)?,
            // Negative if the clock of the database was set back since the claim.
            held_for: Duration::try_from(held_for).unwrap_or_default(),
        })
    }
}

statement! { Pg;
    struct SelectLeased<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        worker: &'a str as Text,
    }
    returns (SqlUuid, Integer, BigInt, Nullable<Text>, Text, Text, Text, Integer, Integer, Timestamptz, Timestamptz, Timestamptz);
    "WITH leases AS MATERIALIZED (
         SELECT * FROM unnest(?, ?, ?) AS l (webhook, queue, lease_token)
     ), held AS MATERIALIZED (
         SELECT webhook, queue, lease_token, lane, attempts, uncounted_attempts, available_at, updated_at FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM leases)) AND lease_until IS NOT NULL
           AND ((webhook, queue, lease_token) IN (SELECT webhook, queue, lease_token FROM leases)) IS TRUE
           AND worker = ?
     )
     SELECT h.webhook, h.queue, h.lease_token, h.lane, w.source, w.event_type, w.traceparent, h.attempts,
            h.uncounted_attempts, h.available_at, h.updated_at, now()
     FROM held h CROSS JOIN LATERAL (
         SELECT source, event_type, traceparent FROM webhooks WHERE id = h.webhook OFFSET 0
     ) AS w"
}
