//! Records the ends of attempts in batches, each end only if its lease is still held.

use std::collections::HashMap;
use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Integer, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::breakers::{self, end_leases_and_learn};
use super::end_leases::EndedRow;
use super::pool::{answer, is_fault, refused};
use super::queue_names;
use super::rows::{self, pg_time, storable};
use super::shared::{Sent, Shared, Unsure};
use crate::domain::delivery::Delivery;
use crate::domain::error::Result;
use crate::store::Finish;
use crate::store::changes::Change;
use crate::store::statement::statement;
use crate::telemetry::metrics::Stopwatch;

/// Maximum number of outcomes in one statement, and the maximum number of bytes of their errors, results and deliveries.
/// Bounds the memory that PostgreSQL needs for the statement.
const BATCH_OUTCOMES: usize = 256;
const BATCH_BYTES: usize = 1024 * 1024;

/// How long after it was last sent an outcome may be sent again. The pool does so once a second; a worker that pulls may
/// never do so.
const UNSURE_FOR: Duration = Duration::from_secs(10 * 60);

/// Records outcomes. Returns for each, in the same order, whether it is recorded.
pub(super) async fn finish(shared: &Shared, worker: &str, mut finishes: Vec<Finish>) -> Result<Vec<bool>> {
    let mut unsure = shared.unsure.lock().await;
    for finish in &mut finishes {
        let sent = unsure.get(&finish.lease).map(|sent| sent.ended);
        let ended = sent.unwrap_or_else(|| shared.time.at(finish.finished_at));
        go_by_database(finish, ended);
    }
    let mut recorded = vec![false; finishes.len()];
    let recording = record_all(shared, &mut unsure, worker, &finishes, &mut recorded).await;
    if recording.is_err() {
        // All are sent again, also those that are recorded, whose leases are not held any more.
        let done = finishes.iter().zip(&recorded).filter(|(_, is_recorded)| **is_recorded);
        note_sent(shared, &mut unsure, done.map(|(finish, _)| finish));
    }
    recording.map(|()| recorded)
}

/// Records outcomes in batches. Sets for each, in the same order, whether it is recorded: its lease was still held, and
/// the database did not refuse it. After an error, sets it only for those before.
async fn record_all(
    shared: &Shared,
    unsure: &mut Unsure,
    worker: &str,
    finishes: &[Finish],
    recorded: &mut [bool],
) -> Result<()> {
    for batch in batches(finishes) {
        let took = Stopwatch::start();
        match record(shared, unsure, worker, finishes, &batch).await {
            Ok(held) => {
                shared.committed(took, batch.len());
                batch.iter().zip(held).for_each(|(at, held)| recorded[*at] = held);
            }
            Err(error) if is_fault(&error) => {
                shared.failed("finish", &error);
                return Err(refused(error));
            }
            // One outcome of the batch is at fault. Records each alone, so that the others succeed.
            Err(error) => {
                shared.failed("finish", &error);
                for at in batch {
                    match record(shared, unsure, worker, finishes, &[at]).await {
                        Ok(held) => recorded[at] = held == [true],
                        Err(error) if is_fault(&error) => {
                            shared.failed("finish", &error);
                            return Err(refused(error));
                        }
                        Err(error) => {
                            let webhook = finishes[at].lease.job.webhook;
                            tracing::error!(webhook_id = %webhook, error = %error, "an outcome cannot be recorded; its lease will expire");
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

/// Notes that these outcomes were sent, and that the caller is not told whether they are recorded.
fn note_sent<'f>(shared: &Shared, unsure: &mut Unsure, finishes: impl Iterator<Item = &'f Finish>) {
    let now = shared.clock.monotonic();
    unsure.retain(|_, sent| now.saturating_sub(sent.at) < UNSURE_FOR);
    unsure.extend(finishes.map(|finish| (finish.lease, Sent { ended: finish.finished_at, at: now })));
}

/// Moves the times of an outcome from the time of day of this process to the time of the database, by which the attempt
/// ended at `ended`. The due time of a finished job is the database's already.
fn go_by_database(finish: &mut Finish, ended: Timestamp) {
    let ran = finish.finished_at.duration_since(finish.started_at).max(SignedDuration::ZERO);
    let delay = finish.available_at.duration_since(finish.finished_at);
    finish.started_at = ended.saturating_sub(ran).unwrap_or(ended);
    finish.finished_at = ended;
    if finish.next.is_waiting() {
        finish.available_at = ended.saturating_add(delay).unwrap_or(ended);
    }
}

/// Divides outcomes into batches of one statement each, as indexes into `finishes`. Each batch is sorted by
/// job, has each job once, and is within the limits. Several outcomes of one job go into successive batches.
fn batches(finishes: &[Finish]) -> Vec<Vec<usize>> {
    let mut left = (0..finishes.len()).collect::<Vec<_>>();
    left.sort_by_key(|at| finishes[*at].lease.job);
    let mut batches = Vec::new();
    while !left.is_empty() {
        let (mut last, mut outcomes, mut bytes) = (None, 0, 0);
        let fits = |at: &usize| {
            let finish = &finishes[*at];
            let is_another = last.replace(finish.lease.job) == Some(finish.lease.job);
            let texts = [&finish.error, &finish.result].into_iter().flatten().map(String::len).sum::<usize>();
            let texts = texts + finish.delivery.as_deref().map_or(0, Delivery::bytes);
            let fits =
                !is_another && outcomes < BATCH_OUTCOMES && (outcomes == 0 || bytes + texts <= BATCH_BYTES);
            if fits {
                (outcomes, bytes) = (outcomes + 1, bytes + texts);
            }
            fits
        };
        let (batch, later) = left.into_iter().partition(fits);
        batches.push(batch);
        left = later;
    }
    batches
}

/// Records one batch.
async fn record(
    shared: &Shared,
    unsure: &mut Unsure,
    worker: &str,
    finishes: &[Finish],
    batch: &[usize],
) -> QueryResult<Vec<bool>> {
    let batch = batch.iter().map(|at| &finishes[*at]).collect::<Vec<_>>();
    let recorded = record_in(shared, unsure, worker, &batch).await;
    if recorded.as_ref().is_err_and(is_fault) {
        note_sent(shared, unsure, batch.iter().copied());
    } else {
        unsure.retain(|lease, _| batch.iter().all(|finish| finish.lease != *lease));
    }
    let Recorded { ended, held, breakers } = recorded?;
    // First, so that no claim that the ends wake goes by the breakers of before.
    breakers.announce(shared);
    announce(shared, &batch, &ended);
    Ok(held)
}

/// A batch that was recorded.
struct Recorded {
    /// The jobs whose leases were held, by their index in the batch.
    ended: HashMap<usize, EndedRow>,
    /// Whether each lease was held, now or at an earlier try.
    held: Vec<bool>,
    breakers: breakers::Changed,
}

async fn record_in(
    shared: &Shared,
    unsure: &Unsure,
    worker: &str,
    batch: &[&Finish],
) -> QueryResult<Recorded> {
    let mut connection = shared.working.get().await?;
    let ending = async {
        queue_names::know(
            &shared.schedule,
            &mut connection,
            batch.iter().map(|finish| finish.lease.job.queue),
        )
        .await?;
        let (ended, breakers) = end_leases_and_learn(shared, &mut connection, batch, worker).await?;
        let mut held = (0..batch.len()).map(|at| ended.contains_key(&at)).collect::<Vec<_>>();
        for (at, finish) in batch.iter().enumerate() {
            // An earlier try may have been recorded although its response was lost.
            if unsure.contains_key(&finish.lease) && !held[at] {
                held[at] = is_recorded(&mut connection, finish, worker).await?;
            }
        }
        Ok(Recorded { ended, held, breakers })
    };
    let ending = answer(ending).await;
    connection.release(ending)
}

/// Announces the recorded ends of attempts, and updates the schedule and the backlog.
pub(super) fn announce(shared: &Shared, batch: &[&Finish], ended: &HashMap<usize, EndedRow>) {
    let mut finished = 0;
    let (mut changes, mut due) = (Vec::with_capacity(ended.len()), Vec::new());
    for (at, finish) in batch.iter().enumerate() {
        let Some(ended) = ended.get(&at) else { continue };
        let job = finish.lease.job;
        // The queue is known, because the job was claimed from it.
        let Some(route) = shared.schedule.route(job.queue) else { continue };
        finished += i64::from(finish.next.is_final());
        let of_job = finish.next.is_waiting().then_some(finish.available_at);
        // Another job of the lane may start.
        let of_lane = ended.is_followed.then_some(finish.finished_at);
        due.extend(of_job.into_iter().chain(of_lane).min().map(|at| (job.queue, at)));
        changes.push(Change {
            job,
            route,
            status: finish.next,
            attempt_count: finish.attempt,
            updated_at: finish.finished_at,
            revision: ended.revision.cast_unsigned(),
            last_error: finish.last_error().map(storable),
            next_attempt_at: finish.next_attempt_at(),
        });
    }
    shared.backlog.change(-finished);
    shared.changed(&changes);
    shared.freed(changes.iter().map(|change| &change.route));
    shared.due(&due);
}

/// Whether exactly this end of an attempt is already recorded.
async fn is_recorded(connection: &mut AsyncPgConnection, finish: &Finish, worker: &str) -> QueryResult<bool> {
    let looking = SelectRecorded {
        webhook: rows::uuid(finish.lease.job.webhook),
        queue: rows::queue_number(finish.lease.job.queue),
        number: i32::try_from(finish.attempt).unwrap_or(i32::MAX),
        started_at: pg_time(finish.started_at),
        outcome: finish.outcome as i16,
        worker,
    };
    looking.get_result(connection).await
}

statement! { Pg;
    struct SelectRecorded<'a> {
        webhook: Uuid as SqlUuid,
        queue: i32 as Integer,
        number: i32 as Integer,
        started_at: PgTimestamp as Timestamptz,
        outcome: i16 as SmallInt,
        worker: &'a str as Text,
    }
    returns Bool;
    "WITH w AS (
         SELECT ? AS webhook, ? AS queue, ? AS number, ? AS started_at, ? AS outcome, ? AS worker
     )
     SELECT EXISTS (
         SELECT 1 FROM w JOIN finished_jobs f ON f.webhook = w.webhook AND f.queue = w.queue
         WHERE f.attempts = w.number AND f.started_at = w.started_at AND f.outcome = w.outcome AND f.worker = w.worker
     ) OR EXISTS (
         SELECT 1 FROM w JOIN attempts a ON a.webhook = w.webhook AND a.queue = w.queue AND a.number = w.number
         WHERE a.started_at = w.started_at AND a.outcome = w.outcome AND a.worker = w.worker
     )"
}

#[cfg(test)]
mod tests;
