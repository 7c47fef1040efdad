//! The statements that lease due jobs.
//!
//! There are two statements. The fast one is for routes with a single queue without lanes. The other one also
//! reads lanes and merges the queues of a route. Both update jobs by `ctid`, which is the row version that
//! the statement has just locked.

use std::collections::HashMap;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Binary, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::future::{OptionFuture, join3};
use jiff::Timestamp;
use uuid::Uuid;

use super::breakers::{self, no_unknown_breaker};
use super::next_due::{begin, next_due};
use super::pauses::{self, no_unknown_pause};
use super::rows::{self, pg_time};
use super::schedule::{Found, Share};
use crate::domain::attempt::Lease;
use crate::domain::job::QueueId;
use crate::store::fitting::LARGE_BYTES;
use crate::store::statement::statement;
use crate::store::{Pause, TrippedBreaker};

/// The parameters of a claim.
pub(super) struct Leasing<'a> {
    pub(super) now: Timestamp,
    pub(super) lease_ms: i64,
    pub(super) worker: &'a str,
    /// The pauses that were known when the claim was planned.
    pub(super) pauses: &'a [Pause],
    /// The breakers that were known then not to be closed.
    pub(super) tripped: &'a [TrippedBreaker],
    /// A slot of `status_counts` for each of the two statements.
    pub(super) slots: [i16; 2],
}

/// A leased job and its webhook.
#[derive(Queryable)]
pub(super) struct LeasedRow {
    pub(super) webhook: Uuid,
    pub(super) source: String,
    pub(super) idempotency_key: String,
    pub(super) event_type: String,
    pub(super) content_type: String,
    /// `None` also if the payload is large; it is read later.
    pub(super) payload: Option<Vec<u8>>,
    pub(super) payload_bytes: Option<i32>,
    pub(super) traceparent: String,
    pub(super) queue: i32,
    pub(super) run: i32,
    pub(super) attempts: i32,
    pub(super) uncounted_attempts: i32,
    pub(super) available_at: PgTimestamp,
    pub(super) lease_token: i64,
    pub(super) revision: i64,
    pub(super) lane: Option<String>,
}

impl LeasedRow {
    /// The lease of the job.
    pub(super) fn lease(&self) -> QueryResult<Lease> {
        Ok(Lease { job: rows::job_id(self.webhook, self.queue)?, token: self.lease_token.cast_unsigned() })
    }
}

/// The result of leasing.
#[derive(Default)]
pub(super) struct Leased {
    pub(super) jobs: Vec<LeasedRow>,
    /// When the queues that were read have something due next.
    pub(super) found: Vec<Found>,
}

/// Leases due jobs of these routes, at most as many of each route as it has threads. Sends all statements in
/// one round trip; the server runs them one after the other, each in a transaction of its own unless the caller has
/// begun one.
///
/// Adds to `leased`, which is empty, what each statement has leased and found, also if another one fails.
pub(super) async fn lease<'s>(
    connection: &AsyncPgConnection,
    shares: impl IntoIterator<Item = &'s Share>,
    leasing: &Leasing<'_>,
    leased: &mut Leased,
) -> QueryResult<()> {
    let is_single = |share: &&Share| matches!(share.queues.as_slice(), [queue] if !queue.is_ordered);
    let (single, merged): (Vec<_>, Vec<_>) = shares.into_iter().partition(is_single);
    let queues =
        |shares: &[&'s Share]| shares.iter().flat_map(|share| &share.queues).copied().collect::<Vec<_>>();
    let all = [queues(&single), queues(&merged)].concat();
    let now = pg_time(leasing.now);
    let [first_slot, second_slot] = leasing.slots;
    let (pause_scopes, pause_names): (Vec<_>, Vec<_>) = leasing.pauses.iter().map(pauses::key).unzip();
    let (breaker_routes, breaker_times): (Vec<_>, Vec<_>) = leasing.tripped.iter().map(breakers::key).unzip();
    let single = (!single.is_empty()).then(|| LeaseJobs {
        queues: queues(&single).iter().map(|queue| rows::queue_number(queue.id)).collect(),
        from: begin(&queues(&single), leasing.now),
        threads: single.iter().map(|share| i64::try_from(share.threads).unwrap_or(i64::MAX)).collect(),
        routes: single.iter().map(|share| share.policy.route.as_str()).collect(),
        now,
        pause_scopes: pause_scopes.clone(),
        pause_names: pause_names.clone(),
        breaker_routes: breaker_routes.clone(),
        breaker_times: breaker_times.clone(),
        lease_ms: leasing.lease_ms,
        updated_at: now,
        worker: leasing.worker,
        slot: first_slot,
    });
    let merged = (!merged.is_empty()).then(|| LeaseMergedJobs {
        queues: queues(&merged).iter().map(|queue| rows::queue_number(queue.id)).collect(),
        from: begin(&queues(&merged), leasing.now),
        shares: (0..).zip(&merged).flat_map(|(at, share)| share.queues.iter().map(move |_| at)).collect(),
        threads: merged
            .iter()
            .flat_map(|share| share.queues.iter().map(|_| i64::try_from(share.threads).unwrap_or(i64::MAX)))
            .collect(),
        routes: merged
            .iter()
            .flat_map(|share| share.queues.iter().map(move |_| share.policy.route.as_str()))
            .collect(),
        now,
        pause_scopes: pause_scopes.clone(),
        pause_names: pause_names.clone(),
        breaker_routes: breaker_routes.clone(),
        breaker_times: breaker_times.clone(),
        lease_ms: leasing.lease_ms,
        updated_at: now,
        worker: leasing.worker,
        slot: second_slot,
    });
    let mut shared = (connection, connection);
    let single = OptionFuture::from(single.map(|single| single.load::<LeasedRow>(&mut shared.0)));
    let merged = OptionFuture::from(merged.map(|merged| merged.load::<LeasedRow>(&mut shared.1)));
    // Not `try_join3`: after an error, it would not be known what the other statement has leased.
    let (single, merged, found) = join3(single, merged, next_due(connection, &all, leasing.now)).await;
    let mut end = Ok(());
    for rows in [single.transpose(), merged.transpose()] {
        match rows {
            Ok(rows) => leased.jobs.extend(rows.into_iter().flatten()),
            // The first one: in a transaction, it is the cause of the others.
            Err(error) => end = end.and(Err(error)),
        }
    }
    end.and(found.map(|found| leased.found = found))
}

/// When the oldest job of each queue was or is due, leased or not. Queues without such a job are left out.
pub(super) fn oldest(leased: &Leased) -> QueryResult<HashMap<QueueId, Timestamp>> {
    let mut oldest = HashMap::new();
    let mut add = |queue: QueueId, at: Timestamp| {
        oldest.entry(queue).and_modify(|first: &mut Timestamp| *first = at.min(*first)).or_insert(at);
    };
    for job in &leased.jobs {
        add(rows::queue(job.queue)?, rows::time(job.available_at)?);
    }
    leased
        .found
        .iter()
        .filter_map(|found| Some((found.queue, found.job?)))
        .for_each(|(queue, at)| add(queue, at));
    Ok(oldest)
}

/// The condition that the queue is one of the route, see `queue_names`.
macro_rules! is_of_route {
    () => {
        "(SELECT k.route FROM queues k WHERE k.id = q.queue) = q.route"
    };
}

macro_rules! claimed {
    ($from:literal) => {
        concat!(
            "claimed AS (
                 UPDATE jobs j
                 SET status = 1, attempts = j.attempts + 1, lease_token = j.lease_token + 1, revision = j.revision + 1,
                     lease_until = now() + ? * interval '1 millisecond', updated_at = ?, worker = ?
                 WHERE j.ctid = ANY (ARRAY(SELECT place FROM ",
            $from,
            "))
                 RETURNING j.webhook, j.queue, j.run, j.attempts, j.uncounted_attempts, j.available_at, j.lease_token,
                           j.revision, j.lane
             ), "
        )
    };
}

// The statements below read the payload of a webhook unless it is large. `claim.rs` reads large ones later.
const _: () = assert!(LARGE_BYTES == 65_536, "change the literal in `counted`, too");

macro_rules! counted {
    ($from:literal) => {
        concat!(
            "counted AS (
                 INSERT INTO status_counts AS c (slot, queue, pending, retrying, processing)
                 SELECT ?, queue, -count(*) FILTER (WHERE status = 0), -count(*) FILTER (WHERE status = 2), count(*)
                 FROM ",
            $from,
            " WHERE ((webhook, queue) IN (SELECT webhook, queue FROM claimed)) IS TRUE
                 GROUP BY queue ORDER BY queue
                 ON CONFLICT (slot, queue) DO UPDATE
                 SET pending = c.pending + excluded.pending, retrying = c.retrying + excluded.retrying,
                     processing = c.processing + excluded.processing
             )
             SELECT w.id, w.source, w.idempotency_key, w.event_type, w.content_type,
                    CASE WHEN octet_length(w.payload) <= 65536 THEN w.payload END, octet_length(w.payload), w.traceparent,
                    c.queue, c.run, c.attempts, c.uncounted_attempts, c.available_at, c.lease_token, c.revision, c.lane
             FROM claimed c CROSS JOIN LATERAL (SELECT * FROM webhooks WHERE id = c.webhook OFFSET 0) AS w"
        )
    };
}

statement! { Pg;
    struct LeaseJobs<'a> {
        queues: Vec<i32> as Array<Integer>,
        from: Vec<PgTimestamp> as Array<Timestamptz>,
        threads: Vec<i64> as Array<BigInt>,
        routes: Vec<&'a str> as Array<Text>,
        now: PgTimestamp as Timestamptz,
        pause_scopes: Vec<i16> as Array<SmallInt>,
        pause_names: Vec<&'a str> as Array<Text>,
        breaker_routes: Vec<&'a str> as Array<Text>,
        breaker_times: Vec<PgTimestamp> as Array<Timestamptz>,
        lease_ms: i64 as BigInt,
        updated_at: PgTimestamp as Timestamptz,
        worker: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Text, Text, Text, Text, Nullable<Binary>, Nullable<Integer>, Text, Integer, Integer, Integer, Integer, Timestamptz, BigInt, BigInt, Nullable<Text>);
    concat!(
        "WITH q AS MATERIALIZED (
             SELECT q.queue, q.from_time, q.threads, given.now
             FROM unnest(?, ?, ?, ?) AS q (queue, from_time, threads, route), (SELECT ? AS now) AS given WHERE ",
        is_of_route!(),
        " AND ",
        no_unknown_pause!(),
        " AND ",
        no_unknown_breaker!(),
        "), due AS MATERIALIZED (
             SELECT j.place, j.webhook, q.queue, j.status FROM q CROSS JOIN LATERAL (
                 SELECT ctid AS place, webhook, status FROM jobs
                 WHERE queue = q.queue AND status IN (0, 2) AND lane IS NULL
                   AND available_at >= q.from_time AND available_at <= q.now
                 ORDER BY available_at LIMIT q.threads
                 FOR UPDATE SKIP LOCKED
             ) AS j
         ), ",
        claimed!("due"),
        counted!("due")
    )
}

// Locks due lanes, and then reads the first job of each lane, which no other transaction can change without
// that lock. If the first job is not waiting or not due, the lane is left out; no later job of it is taken.
// Of all queues of a route, and of jobs with and without a lane, the jobs that have been due longest are
// taken.
statement! { Pg;
    struct LeaseMergedJobs<'a> {
        queues: Vec<i32> as Array<Integer>,
        from: Vec<PgTimestamp> as Array<Timestamptz>,
        shares: Vec<i32> as Array<Integer>,
        threads: Vec<i64> as Array<BigInt>,
        routes: Vec<&'a str> as Array<Text>,
        now: PgTimestamp as Timestamptz,
        pause_scopes: Vec<i16> as Array<SmallInt>,
        pause_names: Vec<&'a str> as Array<Text>,
        breaker_routes: Vec<&'a str> as Array<Text>,
        breaker_times: Vec<PgTimestamp> as Array<Timestamptz>,
        lease_ms: i64 as BigInt,
        updated_at: PgTimestamp as Timestamptz,
        worker: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (SqlUuid, Text, Text, Text, Text, Nullable<Binary>, Nullable<Integer>, Text, Integer, Integer, Integer, Integer, Timestamptz, BigInt, BigInt, Nullable<Text>);
    concat!(
        "WITH q AS MATERIALIZED (
             SELECT q.queue, q.from_time, q.share, q.threads, given.now
             FROM unnest(?, ?, ?, ?, ?) AS q (queue, from_time, share, threads, route), (SELECT ? AS now) AS given
             WHERE ",
        is_of_route!(),
        " AND ",
        no_unknown_pause!(),
        " AND ",
        no_unknown_breaker!(),
        "), free AS MATERIALIZED (
             SELECT q.share, q.threads, q.queue, q.now, l.lane FROM q CROSS JOIN LATERAL (
                 SELECT lane FROM lanes
                 WHERE queue = q.queue AND state = 0 AND jobs > 0 AND available_at <= q.now
                 ORDER BY available_at LIMIT q.threads
                 FOR UPDATE SKIP LOCKED
             ) AS l
         ), heads AS MATERIALIZED (
             SELECT h.place, h.webhook, f.queue, h.status, h.available_at, f.lane, f.share, f.threads
             FROM free f CROSS JOIN LATERAL (
                 SELECT ctid AS place, webhook, status, available_at FROM jobs
                 WHERE lane = f.lane ORDER BY position LIMIT 1
                 FOR UPDATE
             ) AS h
             WHERE h.status IN (0, 2) AND h.available_at <= f.now
         ), others AS MATERIALIZED (
             SELECT j.place, j.webhook, q.queue, j.status, j.available_at, NULL AS lane, q.share, q.threads
             FROM q CROSS JOIN LATERAL (
                 SELECT ctid AS place, webhook, status, available_at FROM jobs
                 WHERE queue = q.queue AND status IN (0, 2) AND lane IS NULL
                   AND available_at >= q.from_time AND available_at <= q.now
                 ORDER BY available_at LIMIT q.threads
                 FOR UPDATE SKIP LOCKED
             ) AS j
         ), due AS MATERIALIZED (
             SELECT place, webhook, queue, status, lane FROM (
                 SELECT *, row_number() OVER (PARTITION BY share ORDER BY available_at) AS turn
                 FROM (SELECT * FROM heads UNION ALL SELECT * FROM others) AS d
             ) AS d
             WHERE turn <= threads
         ), ",
        claimed!("due"),
        "started AS (
             UPDATE lanes SET state = 1
             WHERE lane = ANY (ARRAY(SELECT lane FROM claimed WHERE lane IS NOT NULL))
         ), ",
        counted!("due")
    )
}
