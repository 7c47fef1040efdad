//! Follows the clock of the database, and moves what waits for an old time after that clock was set back.
//!
//! Jobs that were due, or leased, by the old time would otherwise wait until the clock has caught up. Every process
//! notices the step by itself and looks at all rows. A row that another process has moved is not ahead of the clock any more,
//! so no row is moved twice.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::database_time::{DatabaseTime, Step};
use super::look::look;
use super::pool::{answer, refused};
use super::rows::{self, pg_time};
use super::schema::probe;
use super::shared::Shared;
use super::{lanes, set_forward};
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::policy::Policies;
use crate::store::statement::statement;
use crate::telemetry::metrics::Stopwatch;

/// A time that is farther ahead of the clock is from before the clock was set back. What processes know of the time of
/// the database differs by less.
const AHEAD: Duration = Duration::from_secs(1);

/// Maximum number of rows that one transaction reads.
const ROWS_AT_ONCE: i64 = 1_000;

/// How long after the step the rows are gone over again: longer than any statement takes that began before it.
const AGAIN_AFTER: Duration = Duration::from_secs(15);

/// For how long the rows are gone over at once, and for which part of a lease at most: the process has to renew its
/// leases.
const AT_ONCE: Duration = Duration::from_secs(5);
const PART_OF_LEASE: i64 = 6;

/// What is left to do since the clock was set back.
#[derive(Debug, Default)]
pub(super) struct SetBack {
    walk: Option<Walk>,
    /// The monotonic time at which the rows are gone over again.
    again_at: Option<Duration>,
}

/// How far the rows have been gone over.
#[derive(Clone, Debug)]
enum Walk {
    Leases,
    /// The jobs before this one, by webhook and queue, are left. The newest jobs come first.
    Jobs(Uuid, i32),
    /// The lanes after this one are left.
    Lanes(String),
}

impl SetBack {
    /// At a start the step is not known. The rows are gone over if the database has a time that is ahead of its clock:
    /// of its last webhook, or of the last check that it can be written.
    pub(super) async fn at_start(
        connection: &mut AsyncPgConnection,
        time: &DatabaseTime,
        last: Option<WebhookId>,
        monotonic: Duration,
    ) -> QueryResult<Self> {
        let written_at = probe::table.select(probe::written_at).first::<PgTimestamp>(connection).await?;
        let mut times = last.map(|id| id.time()).into_iter().chain([rows::time(written_at)?]);
        let mut set_back = Self::default();
        if times.any(|newest| newest > ahead_of(time.now())) {
            set_back.begin(monotonic);
        }
        Ok(set_back)
    }

    fn begin(&mut self, monotonic: Duration) {
        self.walk = Some(Walk::Leases);
        self.again_at = Some(monotonic.saturating_add(AGAIN_AFTER));
    }
}

/// Reads the clock of the database. If it was set back, moves what waits for an old time. If it went forward, moves the
/// leases of workers elsewhere, and returns an error: leases that processes hold seem to have expired until the processes
/// have renewed them.
pub(super) async fn follow_clock(shared: &Shared) -> Result<()> {
    let mut connection = shared.working.get().await.map_err(refused)?;
    let following = answer(shared.time.follow(&mut connection)).await;
    match connection.release(following).map_err(refused)? {
        Some(Step::Forward(step)) => {
            let steps = set_forward::move_leases(shared, step).await.map_err(refused)?;
            shared.time.go_forward(step, steps);
            return Err(Error::store_unavailable(
                format!(
                    "the database's clock went forward by {} s; every process renews its leases first",
                    step.by / 1_000
                ),
                "the database's clock was set, or this machine slept",
            ));
        }
        Some(Step::Back(step)) => {
            tracing::warn!(
                seconds = step / 1_000,
                "the database's clock was set back; what waits for an old time becomes due earlier"
            );
            shared.set_back.lock().await.begin(shared.clock.monotonic());
        }
        None => {}
    }
    go_on(shared).await.map_err(refused)
}

/// Goes over the rows that are left, for [`AT_ONCE`] at most; the next call does the rest.
async fn go_on(shared: &Shared) -> QueryResult<()> {
    let mut set_back = shared.set_back.lock().await;
    let now = shared.clock.monotonic();
    if set_back.again_at.take_if(|again_at| *again_at <= now).is_some() {
        set_back.walk = Some(Walk::Leases);
    }
    if set_back.walk.is_none() {
        return Ok(());
    }
    // Named in full: diesel gives every type a method `load`.
    let lease_ms = AtomicI64::load(&shared.lease_ms, Ordering::Relaxed);
    let part_ms = Some(lease_ms / PART_OF_LEASE).filter(|part_ms| *part_ms > 0);
    let at_most =
        part_ms.map_or(AT_ONCE, |part_ms| AT_ONCE.min(Duration::from_millis(part_ms.unsigned_abs())));
    let took = Stopwatch::start();
    while let Some(walk) = set_back.walk.clone() {
        let mut connection = shared.asking.get().await?;
        let policies = shared.schedule.policies();
        let moving = answer(move_some(&mut connection, walk, shared.now(), lease_ms, &policies)).await;
        set_back.walk = connection.release(moving)?;
        if took.elapsed() >= at_most {
            break;
        }
    }
    // Learns the new due times, and wakes the dispatcher.
    look(shared).await
}

/// Moves what is ahead of the clock among the next rows. Returns which rows are left.
async fn move_some(
    connection: &mut AsyncPgConnection,
    walk: Walk,
    now: Timestamp,
    lease_ms: i64,
    policies: &Policies,
) -> QueryResult<Option<Walk>> {
    match walk {
        Walk::Leases => {
            let pulled = policies.iter().filter(|policy| policy.is_pulled());
            let pulled = pulled.map(|policy| policy.route.as_str()).collect::<Vec<_>>();
            // Without a claim by this process, it is not known how long leases last.
            if lease_ms > 0 {
                let ahead_ms = i64::try_from(AHEAD.as_millis()).unwrap_or(i64::MAX);
                let longest_ms = lease_ms.saturating_add(ahead_ms);
                let routes = pulled.clone();
                ShortenLeases { longest_ms, routes, lease_ms }.execute(connection).await?;
            }
            if !pulled.is_empty() {
                let latest = pg_time(ahead_of(now));
                ShortenPulledLeases { latest, routes: pulled }.execute(connection).await?;
            }
            Ok(Some(Walk::Jobs(Uuid::max(), i32::MAX)))
        }
        Walk::Jobs(webhook, queue) => {
            let latest = pg_time(ahead_of(now));
            let looking = SelectJobs { latest, webhook, queue, limit: ROWS_AT_ONCE };
            let jobs = looking.load::<JobRow>(connection).await?;
            let last = jobs.iter().map(|job| (job.webhook, job.queue)).min();
            let ahead = jobs.iter().filter(|job| job.is_ahead);
            let (webhooks, queues): (Vec<_>, Vec<_>) = ahead.map(|job| (job.webhook, job.queue)).unzip();
            if !webhooks.is_empty() {
                PullJobs { webhooks, queues, now: pg_time(now), latest }.execute(connection).await?;
            }
            Ok(Some(last.map_or(Walk::Lanes(String::new()), |(webhook, queue)| Walk::Jobs(webhook, queue))))
        }
        Walk::Lanes(after) => {
            let looking = SelectLanes { now: pg_time(now), after, limit: ROWS_AT_ONCE };
            let lanes = looking.load::<LaneRow>(connection).await?;
            let last = lanes.iter().map(|lane| lane.lane.clone()).max();
            let late = lanes.into_iter().filter(|lane| lane.is_late).map(|lane| lane.lane);
            let late = late.collect::<Vec<_>>();
            if !late.is_empty() {
                let moving = connection.transaction(async |connection| {
                    lanes::lock(connection, late.clone()).await?;
                    lanes::refresh(connection, late).await
                });
                moving.await?;
            }
            Ok(last.map(Walk::Lanes))
        }
    }
}

/// A later time is ahead of the clock.
fn ahead_of(now: Timestamp) -> Timestamp {
    now.saturating_add(AHEAD).unwrap_or(now)
}

/// A job that was changed after the present time, or the last of those that were read.
#[derive(Queryable)]
struct JobRow {
    webhook: Uuid,
    queue: i32,
    is_ahead: bool,
}

/// A lane that is due later than its first job, or the last of those that were read.
#[derive(Queryable)]
struct LaneRow {
    lane: String,
    is_late: bool,
}

statement! { Pg;
    /// Skips jobs that are locked: their leases are being renewed or ended. Leaves out those of pulled routes, each of
    /// which lasts as long as its worker asked for.
    struct ShortenLeases<'a> {
        longest_ms: i64 as BigInt,
        routes: Vec<&'a str> as Array<Text>,
        lease_ms: i64 as BigInt,
    }
    returns ();
    "WITH held AS MATERIALIZED (
         SELECT ctid AS place FROM jobs
         WHERE status = 1 AND lease_until > now() + ? * interval '1 millisecond'
           AND (SELECT q.route FROM queues q WHERE q.id = jobs.queue) <> ALL (?)
         FOR UPDATE SKIP LOCKED
     )
     UPDATE jobs SET lease_until = now() + ? * interval '1 millisecond'
     WHERE ctid = ANY (ARRAY(SELECT place FROM held))"
}

statement! { Pg;
    /// A lease of a pulled route that was claimed by the old time goes on as if it were claimed now, and so ends no
    /// earlier than its worker was told. One that seems to end before its claim was extended by the new time, and keeps
    /// its end.
    struct ShortenPulledLeases<'a> {
        latest: PgTimestamp as Timestamptz,
        routes: Vec<&'a str> as Array<Text>,
    }
    returns ();
    "WITH held AS MATERIALIZED (
         SELECT ctid AS place FROM jobs
         WHERE status = 1 AND updated_at > ?
           AND (SELECT q.route FROM queues q WHERE q.id = jobs.queue) = ANY (?)
         FOR UPDATE SKIP LOCKED
     )
     UPDATE jobs
     SET lease_until = CASE WHEN lease_until < updated_at THEN lease_until
                       ELSE now() + (lease_until - updated_at) END,
         updated_at = now()
     WHERE ctid = ANY (ARRAY(SELECT place FROM held))"
}

statement! { Pg;
    struct SelectJobs {
        latest: PgTimestamp as Timestamptz,
        webhook: Uuid as SqlUuid,
        queue: i32 as Integer,
        limit: i64 as BigInt,
    }
    returns (SqlUuid, Integer, Bool);
    "WITH block AS MATERIALIZED (
         SELECT webhook, queue, status IN (0, 2) AND updated_at > ? AS is_ahead FROM jobs
         WHERE (webhook, queue) < (?, ?)
         ORDER BY webhook DESC, queue DESC LIMIT ?
     )
     SELECT webhook, queue, is_ahead FROM block
     WHERE is_ahead OR (webhook, queue) = (SELECT webhook, queue FROM block ORDER BY webhook, queue LIMIT 1)"
}

statement! { Pg;
    /// A job waits as long from now on as it was to wait from its last change: not at all if it was never attempted.
    /// No job becomes due later than before. Skips jobs that are locked: their lanes are not locked here, so waiting for
    /// the jobs could be a deadlock. They are moved when the rows are gone over again.
    struct PullJobs {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        queues: Vec<i32> as Array<Integer>,
        now: PgTimestamp as Timestamptz,
        latest: PgTimestamp as Timestamptz,
    }
    returns ();
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest(?, ?) AS g (webhook, queue)
     ), moment AS MATERIALIZED (
         SELECT ? AS now, ? AS latest
     ), ahead AS MATERIALIZED (
         SELECT webhook, queue FROM jobs
         WHERE webhook = ANY (ARRAY(SELECT webhook FROM given))
           AND ((webhook, queue) IN (SELECT webhook, queue FROM given)) IS TRUE
           AND status IN (0, 2) AND updated_at > (SELECT latest FROM moment)
         FOR UPDATE SKIP LOCKED
     )
     UPDATE jobs j
     SET available_at = least(j.available_at, m.now + greatest(j.available_at - j.updated_at, interval '0')),
         updated_at = m.now
     FROM moment m
     WHERE j.webhook = ANY (ARRAY(SELECT webhook FROM ahead))
       AND ((j.webhook, j.queue) IN (SELECT webhook, queue FROM ahead)) IS TRUE"
}

statement! { Pg;
    struct SelectLanes {
        now: PgTimestamp as Timestamptz,
        after: String as Text,
        limit: i64 as BigInt,
    }
    returns (Text, Bool);
    "WITH block AS MATERIALIZED (
         SELECT l.lane, l.state = 0 AND l.jobs > 0 AND l.available_at > ? AND l.available_at > (
                    SELECT available_at FROM jobs WHERE lane = l.lane ORDER BY position LIMIT 1
                ) AS is_late
         FROM lanes l WHERE l.lane > ?
         ORDER BY l.lane LIMIT ?
     )
     SELECT lane, is_late IS TRUE FROM block WHERE is_late OR lane = (SELECT max(lane) FROM block)"
}
