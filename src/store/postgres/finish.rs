//! Finishing: outcomes queue up and are recorded together, each only if its lease is still held.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::core::Core;
use super::pool::{answer, is_fault, refused};
use super::rows::{self, pg_time};
use crate::domain::attempt::Lease;
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::store::Finish;
use crate::store::changes::Change;
use crate::store::statement::statement;
use crate::telemetry::metrics::Stopwatch;

/// Outcomes that may wait; whoever has more waits to get in line.
pub(super) const QUEUE_OUTCOMES: usize = 4_096;

/// Outcomes in one statement.
const BATCH_OUTCOMES: usize = 1_024;

/// The end of an attempt, and who waits until it is recorded.
pub(super) struct Ending {
    pub(super) finish: Finish,
    pub(super) reply: oneshot::Sender<Result<bool>>,
}

/// Records what is queued, until the queue is closed and empty.
pub(super) async fn record(core: Arc<Core>, mut queue: mpsc::Receiver<Ending>) {
    // Those whose commit was not answered: it may have been made all the same.
    let mut unsure = HashSet::new();
    loop {
        let mut batch = Vec::new();
        tokio::task::yield_now().await;
        if queue.recv_many(&mut batch, BATCH_OUTCOMES).await == 0 {
            return;
        }
        let took = Stopwatch::start();
        let ended = end(&core, &batch, &mut unsure).await;
        core.failed("finish", &ended);
        match ended {
            Ok(ended) => {
                core.metrics.committed(took, batch.len());
                for (ending, ended) in batch.into_iter().zip(ended) {
                    // Who asked may be gone.
                    let _ = ending.reply.send(Ok(ended));
                }
            }
            Err(error) if !is_fault(&error) && batch.len() > 1 => {
                for single in batch {
                    let ended = end(&core, std::slice::from_ref(&single), &mut unsure).await;
                    let ended = ended.map(|ended| ended == [true]).map_err(refused);
                    let _ = single.reply.send(ended);
                }
            }
            Err(error) => {
                let (text, is_fault) = (error.to_string(), is_fault(&error));
                unsure.extend(batch.iter().map(|ending| ending.finish.lease));
                for ending in batch {
                    let error = match is_fault {
                        true => Error::store_unavailable(
                            "the outcome could not be recorded; try again",
                            text.clone(),
                        ),
                        false => Error::internal(text.clone()),
                    };
                    let _ = ending.reply.send(Err(error));
                }
            }
        }
    }
}

/// Records outcomes; answers for each whether its lease was held.
async fn end(core: &Core, batch: &[Ending], unsure: &mut HashSet<Lease>) -> QueryResult<Vec<bool>> {
    let mut connection = core.working.get().await?;
    let ending = async {
        let revisions = end_leases(core, &mut connection, batch).await?;
        let mut ended = (0..batch.len()).map(|at| revisions.contains_key(&at)).collect::<Vec<_>>();
        for (at, ending) in batch.iter().enumerate() {
            // If this is the second try, the first may have been recorded, but not answered.
            if unsure.contains(&ending.finish.lease) && !ended[at] {
                ended[at] = is_recorded(core, &mut connection, &ending.finish).await?;
            }
        }
        Ok((revisions, ended))
    };
    let ending = answer(ending).await;
    let (revisions, ended) = connection.settle(ending)?;
    let mut finished = 0;
    let mut made_due = false;
    let mut changes = Vec::with_capacity(revisions.len());
    for (at, ending) in batch.iter().enumerate() {
        let finish = &ending.finish;
        unsure.remove(&finish.lease);
        let Some(revision) = revisions.get(&at) else { continue };
        finished += i64::from(finish.next.is_final());
        // A job that is due later may be due before whatever the dispatcher waits for.
        made_due |= !finish.next.is_final();
        changes.push(Change {
            id: finish.lease.webhook,
            status: finish.next,
            attempt_count: finish.attempt,
            updated_at: finish.finished_at,
            revision: revision.cast_unsigned(),
        });
    }
    core.backlog.change(-finished);
    core.committed(&changes, made_due);
    Ok(ended)
}

/// The revisions of the jobs whose leases were held, by their place in the batch.
async fn end_leases(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[Ending],
) -> QueryResult<HashMap<usize, i64>> {
    let all = || batch.iter().map(|ending| &ending.finish);
    let revisions = EndLeases {
        webhooks: all().map(|finish| rows::uuid(finish.lease.webhook)).collect(),
        lease_tokens: all().map(|finish| finish.lease.token.cast_signed()).collect(),
        numbers: all().map(|finish| i32::try_from(finish.attempt).unwrap_or(i32::MAX)).collect(),
        statuses: all().map(|finish| finish.next as i16).collect(),
        final_ones: all().map(|finish| finish.next.is_final()).collect(),
        given_back: all().map(|finish| i32::from(finish.next == Status::Pending)).collect(),
        outcomes: all().map(|finish| finish.outcome as i16).collect(),
        started_at: all().map(|finish| pg_time(finish.started_at)).collect(),
        finished_at: all().map(|finish| pg_time(finish.finished_at)).collect(),
        available_at: all().map(|finish| pg_time(finish.available_at)).collect(),
        errors: all().map(|finish| finish.error.as_deref().map(storable)).collect(),
        results: all().map(|finish| finish.result.as_deref().map(storable)).collect(),
        worker: &core.worker,
        worker_of_others: &core.worker,
        slot: core.slot(),
    }
    .load::<(i64, i64)>(connection)
    .await?;
    revisions
        .into_iter()
        .map(|(number, revision)| Ok((usize::try_from(number - 1).map_err(rows::unreadable)?, revision)))
        .collect()
}

async fn is_recorded(core: &Core, connection: &mut AsyncPgConnection, finish: &Finish) -> QueryResult<bool> {
    SelectRecorded {
        webhook: rows::uuid(finish.lease.webhook),
        number: i32::try_from(finish.attempt).unwrap_or(i32::MAX),
        started_at: pg_time(finish.started_at),
        outcome: finish.outcome as i16,
        worker: &core.worker,
    }
    .get_result(connection)
    .await
}

/// A text as PostgreSQL can keep it: all of Unicode but the character 0.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

// A job is leased if it has `lease_until`. By its status, PostgreSQL would compare each outcome with
// every leased job, which it knows to be few, instead of looking up one.
statement! { Pg;
    struct EndLeases<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        numbers: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
        final_ones: Vec<bool> as Array<Bool>,
        given_back: Vec<i32> as Array<Integer>,
        outcomes: Vec<i16> as Array<SmallInt>,
        started_at: Vec<PgTimestamp> as Array<Timestamptz>,
        finished_at: Vec<PgTimestamp> as Array<Timestamptz>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        worker: &'a str as Text,
        worker_of_others: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (BigInt, BigInt);
    "WITH ending AS (
         SELECT * FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WITH ORDINALITY AS e
             (webhook, lease_token, number, status, is_final, given_back, outcome,
              started_at, finished_at, available_at, error, result, place)
     ), finished AS (
         DELETE FROM jobs j USING ending e
         WHERE j.webhook = e.webhook AND j.lease_token = e.lease_token AND j.lease_until IS NOT NULL AND e.is_final
         RETURNING e.place, e.webhook, e.status, j.attempts, j.max_attempts, e.available_at, e.finished_at,
                   j.revision + 1 AS revision, j.lease_token, e.outcome, e.started_at, e.error, e.result
     ), kept AS (
         INSERT INTO finished_jobs (webhook, status, attempts, max_attempts, available_at, completed_at,
                                    revision, lease_token, outcome, started_at, error, result, worker)
         SELECT webhook, status, attempts, max_attempts, available_at, finished_at,
                revision, lease_token, outcome, started_at, error, result, ?
         FROM finished
     ), waiting AS (
         UPDATE jobs j
         SET status = e.status, available_at = e.available_at, updated_at = e.finished_at,
             attempts_before = j.attempts_before + e.given_back, max_attempts = j.max_attempts + e.given_back,
             lease_until = NULL, worker = NULL, revision = j.revision + 1
         FROM ending e
         WHERE j.webhook = e.webhook AND j.lease_token = e.lease_token AND j.lease_until IS NOT NULL AND NOT e.is_final
         RETURNING e.place, e.webhook, e.status, j.revision, e.number, e.outcome, e.started_at, e.finished_at, e.error, e.result
     ), told AS (
         INSERT INTO attempts (webhook, number, outcome, started_at, finished_at, error, result, worker)
         SELECT webhook, number, outcome, started_at, finished_at, error, result, ? FROM waiting
     ), ended AS (
         SELECT place, revision, status FROM finished UNION ALL SELECT place, revision, status FROM waiting
     ), counted AS (
         UPDATE status_counts c
         SET processing = c.processing - n.all_of_them, pending = c.pending + n.pending,
             retrying = c.retrying + n.retrying, completed = c.completed + n.completed,
             dead_lettered = c.dead_lettered + n.dead_lettered, cancelled = c.cancelled + n.cancelled
         FROM (SELECT count(*) AS all_of_them,
                      count(*) FILTER (WHERE status = 0) AS pending,
                      count(*) FILTER (WHERE status = 2) AS retrying,
                      count(*) FILTER (WHERE status = 3) AS completed,
                      count(*) FILTER (WHERE status = 4) AS dead_lettered,
                      count(*) FILTER (WHERE status = 5) AS cancelled FROM ended) AS n
         WHERE c.slot = ? AND n.all_of_them > 0
     )
     SELECT place, revision FROM ended"
}

statement! { Pg;
    struct SelectRecorded<'a> {
        webhook: Uuid as SqlUuid,
        number: i32 as Integer,
        started_at: PgTimestamp as Timestamptz,
        outcome: i16 as SmallInt,
        worker: &'a str as Text,
    }
    returns Bool;
    "WITH wanted AS (SELECT ? AS webhook, ? AS number, ? AS started_at, ? AS outcome, ? AS worker)
     SELECT EXISTS (
         SELECT 1 FROM wanted w JOIN finished_jobs f ON f.webhook = w.webhook
         WHERE f.attempts = w.number AND f.started_at = w.started_at AND f.outcome = w.outcome AND f.worker = w.worker
     ) OR EXISTS (
         SELECT 1 FROM wanted w JOIN attempts a ON a.webhook = w.webhook AND a.number = w.number
         WHERE a.started_at = w.started_at AND a.outcome = w.outcome AND a.worker = w.worker
     )"
}
