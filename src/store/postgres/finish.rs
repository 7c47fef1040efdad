//! Finishing: outcomes are recorded many at once, each only if its lease is still held.

use std::collections::{HashMap, HashSet};

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::sql_types::{
    Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::core::Core;
use super::pool::answer;
use super::rows::{self, pg_time};
use crate::domain::attempt::Lease;
use crate::domain::job::Status;
use crate::store::Finish;
use crate::store::changes::Change;
use crate::store::statement::statement;

/// Records outcomes; answers for each whether its lease was held.
pub(super) async fn end(
    core: &Core,
    batch: &[Finish],
    unsure: &mut HashSet<Lease>,
) -> QueryResult<Vec<bool>> {
    let mut connection = core.working.get().await?;
    let ending = async {
        let revisions = end_leases(core, &mut connection, batch).await?;
        let mut ended = (0..batch.len()).map(|at| revisions.contains_key(&at)).collect::<Vec<_>>();
        for (at, finish) in batch.iter().enumerate() {
            // If this is the second try, the first may have been recorded, but not answered.
            if unsure.contains(&finish.lease) && !ended[at] {
                ended[at] = is_recorded(core, &mut connection, finish).await?;
            }
        }
        Ok((revisions, ended))
    };
    let ending = answer(ending).await;
    let (revisions, ended) = connection.settle(ending)?;
    let mut finished = 0;
    let mut made_due = false;
    let mut changes = Vec::with_capacity(revisions.len());
    for (at, finish) in batch.iter().enumerate() {
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

/// The revisions of the jobs whose leases were held, by their place in the batch. It is sorted by
/// webhook, and has each once.
async fn end_leases(
    core: &Core,
    connection: &mut AsyncPgConnection,
    batch: &[Finish],
) -> QueryResult<HashMap<usize, i64>> {
    let all = || batch.iter();
    let webhook = |finish: &Finish| rows::uuid(finish.lease.webhook);
    debug_assert!(batch.is_sorted_by(|one, next| one.lease.webhook < next.lease.webhook));
    let revisions = EndLeases {
        webhooks: all().map(webhook).collect(),
        final_ones: all().filter(|finish| finish.next.is_final()).map(webhook).collect(),
        waiting_ones: all().filter(|finish| !finish.next.is_final()).map(webhook).collect(),
        lease_tokens: all().map(|finish| finish.lease.token.cast_signed()).collect(),
        numbers: all().map(|finish| i32::try_from(finish.attempt).unwrap_or(i32::MAX)).collect(),
        statuses: all().map(|finish| finish.next as i16).collect(),
        given_back: all().map(|finish| i32::from(finish.next == Status::Pending)).collect(),
        outcomes: all().map(|finish| finish.outcome as i16).collect(),
        started_at: all().map(|finish| pg_time(finish.started_at)).collect(),
        finished_at: all().map(|finish| pg_time(finish.finished_at)).collect(),
        available_at: all().map(|finish| pg_time(finish.available_at)).collect(),
        errors: all().map(|finish| finish.error.as_deref().map(storable)).collect(),
        results: all().map(|finish| finish.result.as_deref().map(storable)).collect(),
        worker: &core.worker,
        slot: core.slot(),
    }
    .load::<(i32, i64)>(connection)
    .await?;
    revisions
        .into_iter()
        .map(|(place, revision)| Ok((usize::try_from(place - 1).map_err(rows::unreadable)?, revision)))
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

// Jobs are looked up by key, and `width_bucket` finds the place of each in the sorted batch: joined with
// it, PostgreSQL would compare each job with each outcome. A job is leased if it has `lease_until`.
statement! { Pg;
    struct EndLeases<'a> {
        webhooks: Vec<Uuid> as Array<SqlUuid>,
        final_ones: Vec<Uuid> as Array<SqlUuid>,
        waiting_ones: Vec<Uuid> as Array<SqlUuid>,
        lease_tokens: Vec<i64> as Array<BigInt>,
        numbers: Vec<i32> as Array<Integer>,
        statuses: Vec<i16> as Array<SmallInt>,
        given_back: Vec<i32> as Array<Integer>,
        outcomes: Vec<i16> as Array<SmallInt>,
        started_at: Vec<PgTimestamp> as Array<Timestamptz>,
        finished_at: Vec<PgTimestamp> as Array<Timestamptz>,
        available_at: Vec<PgTimestamp> as Array<Timestamptz>,
        errors: Vec<Option<String>> as Array<Nullable<Text>>,
        results: Vec<Option<String>> as Array<Nullable<Text>>,
        worker: &'a str as Text,
        slot: i16 as SmallInt,
    }
    returns (Integer, BigInt);
    "WITH e AS MATERIALIZED (
         SELECT ? AS webhooks, ? AS final_ones, ? AS waiting_ones, ? AS lease_tokens, ? AS numbers, ? AS statuses,
                ? AS given_back, ? AS outcomes, ? AS started_at, ? AS finished_at, ? AS available_at, ? AS errors,
                ? AS results, ? AS worker
     ), finished AS (
         DELETE FROM jobs j USING e
         WHERE j.webhook = ANY ((SELECT final_ones FROM e)::uuid[])
           AND j.lease_token = e.lease_tokens[width_bucket(j.webhook, e.webhooks)] AND j.lease_until IS NOT NULL
         RETURNING width_bucket(j.webhook, e.webhooks) AS place, j.webhook, j.attempts, j.max_attempts,
                   j.revision + 1 AS revision, j.lease_token
     ), kept AS (
         INSERT INTO finished_jobs (webhook, status, attempts, max_attempts, available_at, completed_at,
                                    revision, lease_token, outcome, started_at, error, result, worker)
         SELECT webhook, e.statuses[place], attempts, max_attempts, e.available_at[place], e.finished_at[place],
                revision, lease_token, e.outcomes[place], e.started_at[place], e.errors[place], e.results[place], e.worker
         FROM finished, e
     ), waiting AS (
         UPDATE jobs j
         SET status = e.statuses[width_bucket(j.webhook, e.webhooks)],
             available_at = e.available_at[width_bucket(j.webhook, e.webhooks)],
             updated_at = e.finished_at[width_bucket(j.webhook, e.webhooks)],
             attempts_before = j.attempts_before + e.given_back[width_bucket(j.webhook, e.webhooks)],
             max_attempts = j.max_attempts + e.given_back[width_bucket(j.webhook, e.webhooks)],
             lease_until = NULL, worker = NULL, revision = j.revision + 1
         FROM e
         WHERE j.webhook = ANY ((SELECT waiting_ones FROM e)::uuid[])
           AND j.lease_token = e.lease_tokens[width_bucket(j.webhook, e.webhooks)] AND j.lease_until IS NOT NULL
         RETURNING width_bucket(j.webhook, e.webhooks) AS place, j.webhook, j.revision
     ), told AS (
         INSERT INTO attempts (webhook, number, outcome, started_at, finished_at, error, result, worker)
         SELECT webhook, e.numbers[place], e.outcomes[place], e.started_at[place], e.finished_at[place],
                e.errors[place], e.results[place], e.worker
         FROM waiting, e
     ), ended AS (
         SELECT place, revision FROM finished UNION ALL SELECT place, revision FROM waiting
     ), counted AS (
         UPDATE status_counts c
         SET processing = c.processing - n.all_of_them, pending = c.pending + n.pending,
             retrying = c.retrying + n.retrying, completed = c.completed + n.completed,
             dead_lettered = c.dead_lettered + n.dead_lettered, cancelled = c.cancelled + n.cancelled
         FROM (SELECT count(*) AS all_of_them,
                      count(*) FILTER (WHERE e.statuses[place] = 0) AS pending,
                      count(*) FILTER (WHERE e.statuses[place] = 2) AS retrying,
                      count(*) FILTER (WHERE e.statuses[place] = 3) AS completed,
                      count(*) FILTER (WHERE e.statuses[place] = 4) AS dead_lettered,
                      count(*) FILTER (WHERE e.statuses[place] = 5) AS cancelled FROM ended, e) AS n
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
