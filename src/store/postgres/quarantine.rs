//! Quarantines webhooks that were not verified: stores them without jobs. A row of `finished_jobs` in queue 0 stands
//! for the jobs, as for filtered webhooks.
//!
//! Anyone can send such webhooks. So a process stores one at a time, and not on a connection for accepted webhooks, and
//! does not ask the database again and again whether a source has room.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard, Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::committer::unknown;
use super::pool::{answer, is_fault, refused};
use super::rows::{self, pg_time};
use super::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::webhook::{NewWebhook, Source, WebhookStatus};
use crate::store::acceptance::{MAX_QUARANTINED, queue_full};
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
    /// if it takes too long.
    async fn turn(&self) -> Result<Turn<'_>> {
        let place = self.places.try_acquire().map_err(|_| queue_full(PLACES))?;
        let waiting = tokio::time::timeout(TURN_WITHIN, self.storing.lock());
        let storing = waiting.await.map_err(|late| {
            Error::store_unavailable("too many webhooks wait to be quarantined; try again", late)
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

/// Stores a webhook in quarantine. Returns `None` if its source already has [`MAX_QUARANTINED`] such webhooks. Replicas
/// that store the last one at the same time exceed the limit, each by one.
pub(super) async fn quarantine(shared: &Shared, webhook: NewWebhook) -> Result<Option<WebhookStatus>> {
    let line = &shared.quarantining;
    let _turn = line.turn().await?;
    if line.is_full(&webhook.source) {
        return Ok(None);
    }
    let now = shared.now();
    let id = shared.new_id(now);
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let storing = answer(insert(&mut connection, &webhook, id, now, shared.slot())).await;
    let is_stored = connection.release(storing).map_err(|error| {
        // The answer may be lost, and the webhook stored.
        if is_fault(&error) { unknown(error) } else { refused(error) }
    })?;
    if !is_stored {
        line.full().insert(webhook.source, Stopwatch::start());
        return Ok(None);
    }
    shared.arrived();
    Ok(Some(WebhookStatus {
        id,
        source: webhook.source,
        idempotency_key: webhook.idempotency_key,
        event_type: webhook.event_type,
        accepted_at: id.time(),
        is_quarantined: true,
        jobs: Vec::new(),
    }))
}

/// Stores the webhook if its source has room. Returns whether it has.
async fn insert(
    connection: &mut AsyncPgConnection,
    webhook: &NewWebhook,
    id: WebhookId,
    now: Timestamp,
    slot: i16,
) -> QueryResult<bool> {
    let most = i64::try_from(MAX_QUARANTINED).unwrap_or(i64::MAX);
    let inserting = InsertQuarantined {
        now: pg_time(now),
        of_source: webhook.source.as_str(),
        counted: most,
        id: rows::uuid(id),
        source: webhook.source.as_str(),
        key: webhook.idempotency_key.as_str(),
        event_type: webhook.event_type.as_str(),
        content_type: webhook.payload.content_type().as_str(),
        verdict: webhook.verdict.number(),
        headers: webhook.headers.as_text(),
        payload: webhook.payload.as_bytes(),
        digest: webhook.payload.digest().as_bytes().to_vec(),
        traceparent: webhook.traceparent.as_str(),
        accepted_at: pg_time(id.time()),
        most,
        slot,
    };
    let stored = inserting.get_result::<Uuid>(connection).await.optional()?;
    Ok(stored.is_some())
}

// Counts by the index on the quarantined webhooks of each source, and no further than the limit. The webhook takes a
// number of 1,024 positions, so that its ordered jobs get the place of its acceptance if it is released.
statement! { Pg;
    struct InsertQuarantined<'a> {
        now: PgTimestamp as Timestamptz,
        of_source: &'a str as Text,
        counted: i64 as BigInt,
        id: Uuid as SqlUuid,
        source: &'a str as Text,
        key: &'a str as Text,
        event_type: &'a str as Text,
        content_type: &'a str as Text,
        verdict: i16 as SmallInt,
        headers: Option<&'a str> as Nullable<Text>,
        payload: &'a [u8] as Binary,
        digest: Vec<u8> as Binary,
        traceparent: &'a str as Text,
        accepted_at: PgTimestamp as Timestamptz,
        most: i64 as BigInt,
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
         SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, true FROM taken WHERE places < ?
         RETURNING id
     ), finished AS (
         INSERT INTO finished_jobs (webhook, queue, status, run, attempts, uncounted_attempts, available_at,
                                    completed_at, revision, lease_token, position)
         SELECT id, 0, 7, 1, 0, 0, now, now, 0, 0, nextval('positions') * 1024 FROM stored, given
         RETURNING queue
     ), counted AS (
         INSERT INTO status_counts AS c (slot, queue, quarantined)
         SELECT ?, queue, 1 FROM finished
         ON CONFLICT (slot, queue) DO UPDATE SET quarantined = c.quarantined + excluded.quarantined
     )
     SELECT id FROM stored"
}
