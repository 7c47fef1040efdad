//! Quarantines webhooks that were not verified: stores them without jobs. A row of `finished_jobs` in queue 0 stands
//! for the jobs, as for filtered webhooks.
//!
//! Anyone can send such webhooks. So a process stores the webhooks of one request at a time, and not on the connections
//! that store accepted ones. It remembers for a moment that a source has no room, and does not ask the database each time.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::committer::{BATCH_BYTES, unknown};
use super::insert::{InsertWebhooks, NewRow};
use super::pool::{answer, is_fault, refused};
use super::rows::pg_time;
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::domain::webhook::{NewWebhook, Source, WebhookStatus};
use crate::store::acceptance::{MAX_QUARANTINED, queue_full};
use crate::store::fitting::fitting;
use crate::store::statement::statement;
use crate::telemetry::metrics::Stopwatch;

/// Maximum number of webhooks that wait to be quarantined, with the one that is stored. Further ones are refused.
const PLACES: usize = 1_024;

/// How long a webhook waits for those before it.
const TURN_WITHIN: Duration = Duration::from_secs(10);

/// How long a source counts as full after the database had no room for it.
const FULL_FOR: Duration = Duration::from_secs(1);

/// The webhooks that wait to be quarantined.
#[derive(Debug)]
pub(super) struct Line {
    places: Semaphore,
    storing: Mutex<()>,
    /// The sources that had no room, and when that was. Their names are in the settings, so they are few.
    full: std::sync::Mutex<HashMap<Source, Stopwatch>>,
}

/// The turn of a webhook, which ends when this is dropped.
struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _storing: MutexGuard<'a, ()>,
}

impl Default for Line {
    fn default() -> Self {
        Self { places: Semaphore::new(PLACES), storing: Mutex::default(), full: Default::default() }
    }
}

impl Line {
    /// Waits until the webhooks before this one are stored. Errors: `BacklogFull` if too many wait; `StoreUnavailable`
    /// if they are not stored `within` this time.
    async fn turn(&self, within: Duration) -> Result<Turn<'_>> {
        let place = self.places.try_acquire().map_err(|_| queue_full(PLACES))?;
        let storing = tokio::time::timeout(within, self.storing.lock()).await.map_err(|late| {
            let detail = format!(
                "the database has not stored the webhooks before this one in {within:?}; nothing was stored, send it again"
            );
            Error::store_unavailable(detail, late)
        })?;
        Ok(Turn { _place: place, _storing: storing })
    }

    /// Notes that quarantined webhooks were removed or released.
    pub(super) fn make_room(&self) {
        self.full().clear();
    }

    fn is_full(&self, source: &Source) -> bool {
        self.full().get(source).is_some_and(|since| since.elapsed() < FULL_FOR)
    }

    fn full(&self) -> std::sync::MutexGuard<'_, HashMap<Source, Stopwatch>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stores webhooks of one source in quarantine. Returns `None`, and stores nothing, if the source has no room for all of
/// them. Replicas that store the last ones at the same time exceed the limit, each by as many as it stores.
pub(super) async fn quarantine(
    shared: &Shared,
    webhooks: &[NewWebhook],
) -> Result<Option<Vec<WebhookStatus>>> {
    let Some(NewWebhook { source, .. }) = webhooks.first() else { return Ok(Some(Vec::new())) };
    let line = &shared.quarantining;
    let _turn = line.turn(TURN_WITHIN).await?;
    if line.is_full(source) {
        return Ok(None);
    }
    // Before the ids are made: streams of new webhooks do not look for ids that become visible much later.
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let now = shared.now();
    let ids = shared.new_ids(webhooks.len(), now);
    let rows = ids.into_iter().zip(webhooks).enumerate();
    let rows = rows.map(|(place, (id, webhook))| NewRow { id, place, webhook, jobs: Vec::new() });
    let rows = rows.collect::<Vec<_>>();
    let slot = shared.slot();
    let storing = async {
        if fitting_rows(&rows) == rows.len() {
            return insert_all(&mut connection, source, &rows, now, slot).await;
        }
        connection
            .transaction(async |connection| insert_all(connection, source, &rows, now, slot).await)
            .await
    };
    let storing = answer(storing).await;
    let is_stored = connection.release(storing).map_err(|error| {
        // The answer may be lost, and the webhooks stored.
        if is_fault(&error) { unknown(error) } else { refused(error) }
    })?;
    if !is_stored {
        // A batch that does not fit says nothing about a lone webhook.
        if let [_] = webhooks {
            line.full().insert(source.clone(), Stopwatch::start());
        }
        return Ok(None);
    }
    shared.arrived();
    let status =
        |row: &NewRow<'_>| WebhookStatus { is_quarantined: true, ..row.webhook.stored(row.id, Vec::new()) };
    Ok(Some(rows.iter().map(status).collect()))
}

/// How many of the webhooks fit into one statement. Each has the headers of the whole request.
fn fitting_rows(rows: &[NewRow<'_>]) -> usize {
    fitting(rows.iter().map(|row| row.webhook.bytes()), BATCH_BYTES)
}

/// Stores the webhooks if their source has room for all. Returns whether it has. Needs a transaction unless all of them
/// fit into one statement.
async fn insert_all(
    connection: &mut AsyncPgConnection,
    source: &Source,
    rows: &[NewRow<'_>],
    now: Timestamp,
    slot: i16,
) -> QueryResult<bool> {
    let mut most_before = number(MAX_QUARANTINED) - number(rows.len());
    let mut left = rows;
    while !left.is_empty() {
        let (some, later) = left.split_at(fitting_rows(left));
        if !insert(connection, source, some, most_before, now, slot).await? {
            return Ok(false);
        }
        // The first statement has found room for all.
        most_before = i64::MAX;
        left = later;
    }
    Ok(true)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Stores the webhooks of one statement if their source has at most `most_before` before them. Returns whether it has.
async fn insert(
    connection: &mut AsyncPgConnection,
    source: &Source,
    rows: &[NewRow<'_>],
    most_before: i64,
    now: Timestamp,
    slot: i16,
) -> QueryResult<bool> {
    let InsertWebhooks {
        ids,
        sources,
        keys,
        event_types,
        content_types,
        verdicts,
        headers,
        payloads,
        digests,
        traceparents,
        accepted_at,
        ..
    } = InsertWebhooks::of(rows);
    let inserting = InsertQuarantined {
        now: pg_time(now),
        of_source: source.as_str(),
        counted: number(MAX_QUARANTINED),
        ids,
        sources,
        keys,
        event_types,
        content_types,
        verdicts,
        headers,
        payloads,
        digests,
        traceparents,
        accepted_at,
        most_before,
        slot,
    };
    let stored = inserting.load::<Uuid>(connection).await?;
    Ok(!stored.is_empty())
}

// Counts by the index on the quarantined webhooks of each source, and no further than the limit. Each webhook takes a
// number of 1,024 positions, so that its ordered jobs get the place of its acceptance if it is released.
statement! { Pg;
    struct InsertQuarantined<'a> {
        now: PgTimestamp as Timestamptz,
        of_source: &'a str as Text,
        counted: i64 as BigInt,
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
        most_before: i64 as BigInt,
        slot: i16 as SmallInt,
    }
    returns SqlUuid;
    "WITH given AS (
         SELECT ? AS now
     ), taken AS MATERIALIZED (
         SELECT count(*) AS places FROM (SELECT 1 FROM webhooks WHERE source = ? AND quarantined LIMIT ?) AS kept
     ), stored AS (
         INSERT INTO webhooks (id, source, idempotency_key, event_type, content_type, verdict, headers, payload,
                               payload_digest, traceparent, accepted_at, quarantined)
         SELECT w.*, true FROM unnest(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) AS w, taken WHERE places <= ?
         RETURNING id
     ), finished AS (
         INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at,
                                    completed_at, revision, lease_token, position)
         SELECT id, 0, 7, 1, 0, 0, now, now, 0, 0, nextval('positions') * 1024 FROM stored, given
         RETURNING queue
     ), counted AS (
         INSERT INTO status_counts AS c (slot, queue, quarantined)
         SELECT ?, queue, count(*) FROM finished GROUP BY queue
         ON CONFLICT (slot, queue) DO UPDATE SET quarantined = c.quarantined + excluded.quarantined
     )
     SELECT id FROM stored"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Reason;

    #[tokio::test]
    async fn a_webhook_is_refused_if_too_many_wait_or_those_before_it_are_not_stored_in_time() {
        let line = Line::default();
        let first = line.turn(TURN_WITHIN).await.expect("nothing is before it");
        let late = line.turn(Duration::ZERO).await.err().expect("the first is being stored");
        assert_eq!(late.reason(), Reason::StoreUnavailable);
        assert!(late.detail().contains("nothing was stored"), "only one waits: {}", late.detail());
        let _waiting = line.places.acquire_many(1_023).await.expect("the late one has left its place");
        let refused = line.turn(TURN_WITHIN).await.err().expect("all places are taken");
        assert_eq!(refused.reason(), Reason::BacklogFull);
        drop(first);
        assert!(line.turn(TURN_WITHIN).await.is_ok(), "the first is stored");
    }
}
