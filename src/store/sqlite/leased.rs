//! Reads leased jobs, so that their attempts can be ended.

use std::collections::HashSet;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use jiff::Timestamp;

use super::{leases, rows};
use crate::domain::attempt::Lease;
use crate::domain::job::JobId;
use crate::domain::route::{OrderValue, RouteName};
use crate::domain::webhook::{EventType, Source};
use crate::store::LeasedJob;
use crate::store::statement::statement;

/// The jobs that these leases of `worker` hold at `now`. Leaves out leases that were lost.
pub(super) fn leased(
    connection: &mut SqliteConnection,
    worker: &str,
    leases: &[Lease],
    now: Timestamp,
) -> QueryResult<Vec<LeasedJob>> {
    let list = leases::list_of(leases)?;
    let looking = SelectLeased { leases: &list, worker };
    let found = looking.load::<LeasedRow>(connection)?.into_iter().map(|row| row.into_job(now));
    let mut jobs = found.collect::<QueryResult<Vec<_>>>()?;
    // Jobs are found by the sequence, which is only a part of the id, so the id has to be compared.
    let mut wanted = leases.iter().collect::<HashSet<_>>();
    jobs.retain(|job| wanted.remove(&job.lease));
    Ok(jobs)
}

/// A leased job with its webhook.
#[derive(Queryable)]
struct LeasedRow {
    id: Vec<u8>,
    queue: i64,
    lease_token: i64,
    route: String,
    lane: Option<String>,
    source: String,
    event_type: String,
    traceparent: String,
    attempts: i64,
    uncounted_attempts: i64,
    available_at: i64,
    updated_at: i64,
}

impl LeasedRow {
    fn into_job(self, now: Timestamp) -> QueryResult<LeasedJob> {
        let job = JobId { webhook: rows::id(&self.id)?, queue: rows::queue(self.queue)? };
        // The last change of a job in `processing` was its claim.
        let held_for = now.duration_since(rows::time(self.updated_at)?);
        Ok(LeasedJob {
            lease: Lease { job, token: self.lease_token.cast_unsigned() },
            route: RouteName::new(self.route).map_err(rows::unreadable)?,
            order: self.lane.map(OrderValue::new),
            source: Source::new(self.source).map_err(rows::unreadable)?,
            event_type: EventType::new(self.event_type).map_err(rows::unreadable)?,
            traceparent: rows::traceparent(&self.traceparent)?,
            attempt: rows::count(self.attempts)?,
            attempt_of_run: rows::count(self.attempts - self.uncounted_attempts)?,
            available_at: rows::time(self.available_at)?,
            // Negative if the time of day was set back since the claim.
            held_for: Duration::try_from(held_for).unwrap_or_default(),
        })
    }
}

statement! { Sqlite;
    struct SelectLeased<'a> {
        leases: &'a str as Text,
        worker: &'a str as Text,
    }
    returns (Binary, BigInt, BigInt, Text, Nullable<Text>, Text, Text, Text, BigInt, BigInt, BigInt, BigInt);
    "SELECT w.id, j.queue, j.lease_token, q.route, j.lane, w.source, w.event_type, w.traceparent,
            j.attempts, j.uncounted_attempts, j.available_at, j.updated_at
     FROM (SELECT value ->> 0 AS webhook, value ->> 1 AS queue, value ->> 2 AS lease_token FROM json_each(?)) AS held
     CROSS JOIN jobs j ON j.webhook = held.webhook AND j.queue = held.queue
         AND j.lease_token = held.lease_token AND j.status = 1 AND j.worker = ?
     CROSS JOIN webhooks w ON w.sequence = j.webhook
     CROSS JOIN queues q ON q.id = j.queue"
}
