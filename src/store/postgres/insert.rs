//! The statements that store webhooks with their jobs.
//!
//! There are two statements. The fast one is for webhooks that all have jobs, none of them ordered. The other
//! one also writes to the tables for ordered jobs and filtered webhooks, which costs time even without such
//! rows.

use std::collections::BTreeSet;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{
    Array, BigInt, Binary, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::queue_names::queues_agree;
use super::rows::{self, pg_time};
use crate::domain::id::WebhookId;
use crate::domain::job::QueueId;
use crate::domain::route::RouteName;
use crate::domain::webhook::NewWebhook;
use crate::store::statement::statement;

/// A webhook to store.
pub(super) struct NewRow<'a> {
    pub(super) id: WebhookId,
    /// The webhook's index in the batch.
    pub(super) place: usize,
    pub(super) webhook: &'a NewWebhook,
    pub(super) jobs: Vec<NewJobRow<'a>>,
}

/// A job to store.
pub(super) struct NewJobRow<'a> {
    pub(super) queue: QueueId,
    /// The route of the queue, as far as this process knows.
    pub(super) route: &'a RouteName,
    /// The key of the lane; `None` if the job is not ordered.
    pub(super) lane: Option<String>,
}

/// Stores the webhooks whose keys are free, with their jobs, and returns the ids of these webhooks. Stores nothing if the
/// queue of a job is another one than this process knows. The rows must be sorted by source and key.
pub(super) async fn insert(
    connection: &mut AsyncPgConnection,
    rows: &[NewRow<'_>],
    now: Timestamp,
    slot: i16,
) -> QueryResult<Vec<Uuid>> {
    let jobs = || rows.iter().flat_map(|row| row.jobs.iter().map(move |job| (row, job)));
    let of = |row: &NewRow<'_>| rows::uuid(row.id);
    let webhooks = InsertWebhooks::of(rows);
    let is_plain = rows.iter().all(|row| !row.jobs.is_empty()) && jobs().all(|(_, job)| job.lane.is_none());
    let (job_webhooks, job_queues): (Vec<_>, Vec<_>) =
        jobs().map(|(row, job)| (of(row), rows::queue_number(job.queue))).unzip();
    let now = pg_time(now);
    if is_plain {
        let jobs = InsertPlainJobs { now, job_webhooks, job_queues, slot };
        return WithJobs { webhooks, jobs }.load(connection).await;
    }
    let jobs = InsertAnyJobs {
        now,
        job_webhooks,
        job_queues,
        lanes: jobs().map(|(_, job)| job.lane.as_deref()).collect(),
        places: jobs().map(|(row, _)| i64::try_from(row.place).unwrap_or(i64::MAX)).collect(),
        filtered: rows.iter().filter(|row| row.jobs.is_empty()).map(of).collect(),
        slot,
    };
    WithJobs { webhooks, jobs }.load(connection).await
}

statement! { Pg;
    /// Inserts the webhooks whose keys are free, if the queues of their jobs are those that this process knows. Leaves the
    /// column `quarantined` at its default, and names the predicate of the unique index.
    struct InsertWebhooks<'a> {
        ids: Vec<Uuid> as Array<SqlUuid>,
        sources: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
        event_types: Vec<&'a str> as Array<Text>,
        content_types: Vec<&'a str> as Array<Text>,
        verdicts: Vec<i16> as Array<SmallInt>,
        headers: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        payloads: Vec<&'a [u8]> as Array<Binary>,
        digests: Vec<Vec<u8>> as Array<Binary>,
        traceparents: Vec<&'a str> as Array<Text>,
        accepted_at: Vec<PgTimestamp> as Array<Timestamptz>,
        queues: Vec<i32> as Array<Integer>,
        queue_routes: Vec<&'a str> as Array<Text>,
        queue_sources: Vec<&'a str> as Array<Text>,
    }
    returns SqlUuid;
    concat!(
        "INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, headers, payload,
                               payload_digest, traceparent, accepted_at)
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         WHERE ",
        queues_agree!(),
        "
         ON CONFLICT (source, idempotency_key) WHERE NOT quarantined DO NOTHING
         RETURNING id"
    )
}

impl<'a> InsertWebhooks<'a> {
    pub(super) fn of(rows: &[NewRow<'a>]) -> Self {
        let queues = queues_of(rows);
        Self {
            ids: rows.iter().map(|row| rows::uuid(row.id)).collect(),
            sources: rows.iter().map(|row| row.webhook.source.as_str()).collect(),
            keys: rows.iter().map(|row| row.webhook.idempotency_key.as_str()).collect(),
            event_types: rows.iter().map(|row| row.webhook.event_type.as_str()).collect(),
            content_types: rows.iter().map(|row| row.webhook.payload.content_type().as_str()).collect(),
            verdicts: rows.iter().map(|row| row.webhook.verdict.number()).collect(),
            headers: rows.iter().map(|row| row.webhook.headers.as_text()).collect(),
            payloads: rows.iter().map(|row| row.webhook.payload.as_bytes()).collect(),
            digests: rows.iter().map(|row| row.webhook.payload.digest().as_bytes().to_vec()).collect(),
            traceparents: rows.iter().map(|row| row.webhook.traceparent.as_str()).collect(),
            // The time in the id, so that the orders by id and by time agree even if the clock goes back.
            accepted_at: rows.iter().map(|row| pg_time(row.id.time())).collect(),
            queues: queues.iter().map(|(queue, ..)| *queue).collect(),
            queue_routes: queues.iter().map(|(_, route, _)| *route).collect(),
            queue_sources: queues.iter().map(|(.., source)| *source).collect(),
        }
    }
}

/// The queues of the jobs, each once: its number, its route and its source.
fn queues_of<'a>(rows: &[NewRow<'a>]) -> BTreeSet<(i32, &'a str, &'a str)> {
    let mut queues = BTreeSet::new();
    for NewRow { webhook, jobs, .. } in rows {
        let source = webhook.source.as_str();
        queues.extend(jobs.iter().map(|job| (rows::queue_number(job.queue), job.route.as_str(), source)));
    }
    queues
}

/// Inserts webhooks, and the jobs of those that are new. The text of `jobs` goes on after `stored`, which has their ids.
struct WithJobs<'a, Jobs> {
    webhooks: InsertWebhooks<'a>,
    jobs: Jobs,
}

impl<Jobs: QueryFragment<Pg>> QueryFragment<Pg> for WithJobs<'_, Jobs> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH stored AS (");
        self.webhooks.walk_ast(out.reborrow())?;
        out.push_sql("), ");
        self.jobs.walk_ast(out)
    }
}

impl<Jobs: QueryId> QueryId for WithJobs<'_, Jobs> {
    type QueryId = WithJobs<'static, Jobs::QueryId>;

    const HAS_STATIC_QUERY_ID: bool = Jobs::HAS_STATIC_QUERY_ID;
}

impl<Jobs> Query for WithJobs<'_, Jobs> {
    type SqlType = SqlUuid;
}

impl<Jobs, Connection> diesel::RunQueryDsl<Connection> for WithJobs<'_, Jobs> {}

/// The columns of `jobs` that every new job sets.
macro_rules! columns {
    () => {
        "webhook, queue, status, run, attempts, uncounted_attempts, available_at, updated_at, revision, lease_token"
    };
}

/// The values of these columns.
macro_rules! values {
    () => {
        "webhook, queue, 0, 1, 0, 0, now, now, 0, 0"
    };
}

/// Adds the ordered jobs of `fresh` to their lanes, and locks these in the order of their keys. Parameters have the
/// collation of the database, and so another order than the column, by which other transactions lock lanes.
macro_rules! entered {
    () => {
        "entered AS (
             INSERT INTO lanes AS l (lane, queue, jobs, state, available_at)
             SELECT lane, min(queue), count(*), 0, min(now)
             FROM (SELECT lane COLLATE \"C\" AS lane, queue FROM fresh) AS f, given
             WHERE lane IS NOT NULL GROUP BY lane ORDER BY lane
             ON CONFLICT (lane) DO UPDATE
             SET jobs = l.jobs + excluded.jobs,
                 state = CASE WHEN l.jobs = 0 THEN 0 ELSE l.state END,
                 available_at = CASE WHEN l.jobs = 0 THEN excluded.available_at ELSE l.available_at END
             RETURNING lane
         )"
    };
}

/// Inserts the rows that stand for webhooks without jobs.
macro_rules! filtered {
    () => {
        "INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at,
                                        completed_at, revision, lease_token)
             SELECT f.webhook, 0, 6, 1, 0, 0, now, now, 0, 0 FROM unnest(?) AS f (webhook), given"
    };
}

pub(super) use {columns, entered, filtered, values};

// `IS TRUE` prevents PostgreSQL from turning the subquery into a join; it looks up each job in a hash table
// instead.
statement! { Pg;
    struct InsertPlainJobs {
        now: PgTimestamp as Timestamptz,
        job_webhooks: Vec<Uuid> as Array<SqlUuid>,
        job_queues: Vec<i32> as Array<Integer>,
        slot: i16 as SmallInt,
    }
    returns ();
    concat!(
        "given AS (
             SELECT ? AS now
         ), fresh AS MATERIALIZED (
             SELECT j.webhook, j.queue FROM unnest(?, ?) AS j (webhook, queue)
             WHERE (j.webhook IN (SELECT id FROM stored)) IS TRUE
         ), queued AS (
             INSERT INTO jobs (",
        columns!(),
        ") SELECT ",
        values!(),
        " FROM fresh, given
         ), counted AS (
             INSERT INTO status_counts AS c (slot, queue, pending)
             SELECT ?, queue, count(*) FROM fresh GROUP BY queue ORDER BY queue
             ON CONFLICT (slot, queue) DO UPDATE SET pending = c.pending + excluded.pending
         )
         SELECT id FROM stored"
    )
}

// The statement takes its positions while it runs, so webhooks that were acknowledged before have lower ones.
// The counts are written last: they read `entered`, which waits for the locks of lanes.
statement! { Pg;
    struct InsertAnyJobs<'a> {
        now: PgTimestamp as Timestamptz,
        job_webhooks: Vec<Uuid> as Array<SqlUuid>,
        job_queues: Vec<i32> as Array<Integer>,
        lanes: Vec<Option<&'a str>> as Array<Nullable<Text>>,
        places: Vec<i64> as Array<BigInt>,
        filtered: Vec<Uuid> as Array<SqlUuid>,
        slot: i16 as SmallInt,
    }
    returns ();
    concat!(
        "given AS (
             SELECT ? AS now
         ), numbered AS MATERIALIZED (
             SELECT nextval('positions') * 1024 AS first
         ), fresh AS MATERIALIZED (
             SELECT j.webhook, j.queue, j.lane, CASE WHEN j.lane IS NOT NULL THEN n.first + j.place END AS position
             FROM unnest(?, ?, ?, ?) AS j (webhook, queue, lane, place), numbered n
             WHERE (j.webhook IN (SELECT id FROM stored)) IS TRUE
         ), ",
        entered!(),
        ", queued AS (
             INSERT INTO jobs (",
        columns!(),
        ", lane, position) SELECT ",
        values!(),
        ", lane, position FROM fresh, given
         ), filtered AS (
             ",
        filtered!(),
        "
             WHERE (f.webhook IN (SELECT id FROM stored)) IS TRUE
             RETURNING queue
         ), counted AS (
             INSERT INTO status_counts AS c (slot, queue, pending, filtered)
             SELECT ?, queue, count(*) FILTER (WHERE queue <> 0), count(*) FILTER (WHERE queue = 0)
             FROM (SELECT queue FROM fresh UNION ALL SELECT queue FROM filtered) AS n
             WHERE (SELECT count(*) FROM entered) >= 0
             GROUP BY queue ORDER BY queue
             ON CONFLICT (slot, queue) DO UPDATE
             SET pending = c.pending + excluded.pending, filtered = c.filtered + excluded.filtered
         )
         SELECT id FROM stored"
    )
}
