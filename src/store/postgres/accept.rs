//! Accepts webhooks. A unique index of `webhooks` ensures one webhook per source and key.

use std::collections::{HashMap, HashSet};

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel::sql_types::{Array, BigInt, Binary, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;

use super::insert::{NewJobRow, NewRow, insert};
use super::pool::answer;
use super::rows::{self, NamesRow};
use super::shared::Shared;
use super::{lanes, queries, queue_names, refusals};
use crate::domain::conflict::OnConflict;
use crate::domain::error::{Error, Result};
use crate::domain::id::WebhookId;
use crate::domain::job::JobStatus;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::{NewWebhook, Source, WebhookStatus};
use crate::store::Accepted;
use crate::store::acceptance::{backlog_full, duplicate_or_conflict};
use crate::store::statement::statement;

/// Maximum number of tries for a batch. Another try is needed if a purge removes a key after the insert has
/// found the conflict, and before the stored webhook is read; or if the database has other queues than this process
/// knows.
pub(super) const TRIES: usize = 3;

/// A webhook to store, with its jobs.
pub(super) struct Incoming {
    pub(super) webhook: NewWebhook,
    pub(super) jobs: Vec<NewJob>,
    /// What becomes of the webhook if its key is taken by another content.
    pub(super) on_conflict: OnConflict,
}

impl Incoming {
    pub(super) fn is_ordered(&self) -> bool {
        self.jobs.iter().any(|job| job.order.is_some())
    }
}

/// Stores a batch. Returns the result of each webhook, in the order of the batch.
pub(super) async fn store(shared: &Shared, batch: &[Incoming]) -> QueryResult<Vec<Result<Accepted>>> {
    let outcomes = refusals::noted(shared, store_on_connection(shared, batch)).await?;
    note_new(shared, outcomes.iter().flatten());
    Ok(outcomes)
}

async fn store_on_connection(shared: &Shared, batch: &[Incoming]) -> QueryResult<Vec<Result<Accepted>>> {
    let mut connection = shared.accepting.get().await?;
    let names = queues_of(batch);
    let storing = async {
        queue_names::number(&shared.schedule, &mut connection, &names).await?;
        if shared.backlog.is_far(&mut connection, jobs_of(batch)).await? {
            return store_all(shared, &mut connection, batch, (0..batch.len()).collect()).await;
        }
        connection.transaction(async |connection| store_what_fits(shared, connection, batch).await).await
    };
    let storing = answer(storing).await;
    connection.release(storing)
}

/// The number of jobs of a batch.
pub(super) fn jobs_of(batch: &[Incoming]) -> usize {
    batch.iter().map(|incoming| incoming.jobs.len()).sum()
}

/// The routes and sources whose queues a batch needs.
pub(super) fn queues_of(batch: &[Incoming]) -> HashSet<(&RouteName, &Source)> {
    let mut names = HashSet::new();
    for Incoming { webhook, jobs, .. } in batch {
        names.extend(jobs.iter().map(|job| (&job.route, &webhook.source)));
    }
    names
}

/// Adds the jobs of new webhooks to the backlog, notes that they are due, and wakes the dispatcher. Call it only after
/// the commit.
pub(super) fn note_new<'a>(shared: &Shared, accepted: impl Iterator<Item = &'a Accepted>) {
    let mut is_any_new = false;
    let new = accepted.filter(|accepted| !accepted.duplicate).inspect(|_| is_any_new = true);
    let new = new.flat_map(|accepted| &accepted.webhook.jobs);
    let mut due = new.map(|job| (job.queue, job.updated_at)).collect::<Vec<_>>();
    shared.backlog.change(i64::try_from(due.len()).unwrap_or(i64::MAX));
    due.sort_unstable_by_key(|(queue, _)| *queue);
    due.dedup_by_key(|(queue, _)| *queue);
    shared.due(&due);
    if is_any_new {
        shared.refusals.end(shared.clock.monotonic());
        shared.arrived();
    }
}

/// Stores a batch near the limit of the backlog: locks out other processes, and stores only webhooks whose
/// jobs fit.
async fn store_what_fits(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[Incoming],
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut room = shared.backlog.room(connection).await?;
    let kept = find(shared, connection, batch, &(0..batch.len()).collect::<Vec<_>>()).await?;
    let mut taken = HashSet::new();
    let fits = |at: &usize| {
        let Incoming { webhook: new, jobs, .. } = &batch[*at];
        if kept.contains_key(at) || taken.contains(&(&new.source, &new.idempotency_key)) {
            return true;
        }
        // The last webhook that fits is stored with all its jobs, even if they exceed the limit.
        let fits = room > 0;
        if fits {
            room = room.saturating_sub(jobs.len());
            taken.insert((&new.source, &new.idempotency_key));
        }
        fits
    };
    let (fitting, full): (Vec<_>, Vec<_>) = (0..batch.len()).partition(fits);
    let outcomes = store_all(shared, connection, batch, fitting.clone()).await?;
    let mut outcomes = fitting.into_iter().zip(outcomes).collect::<HashMap<_, _>>();
    outcomes.extend(full.into_iter().map(|at| (at, Err(backlog_full(shared.backlog.limit())))));
    Ok((0..batch.len()).filter_map(|at| outcomes.remove(&at)).collect())
}

/// Stores the new webhooks among `which`, and looks up the stored webhook of each key that is taken. `which`
/// has indexes into `batch`. Returns the results in the order of `which`.
async fn store_all(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[Incoming],
    which: Vec<usize>,
) -> QueryResult<Vec<Result<Accepted>>> {
    let mut outcomes = HashMap::with_capacity(which.len());
    let mut left = which.clone();
    for _ in 0..TRIES {
        insert_new(shared, connection, batch, &left, &mut outcomes).await?;
        left.retain(|at| !outcomes.contains_key(at));
        if left.is_empty() {
            break;
        }
        for (at, (first, digest)) in find(shared, connection, batch, &left).await? {
            let Incoming { webhook, on_conflict, .. } = &batch[at];
            outcomes.insert(at, duplicate_or_conflict(webhook, first, &digest, *on_conflict));
        }
        left.retain(|at| !outcomes.contains_key(at));
        if left.is_empty() {
            break;
        }
        // A webhook that is neither new nor found was purged in between, or the database has other queues than this
        // process knows. Try again.
        queue_names::number_anew(&shared.schedule, connection, &queues_of(batch)).await?;
    }
    let outcomes = which.into_iter().map(|at| outcomes.remove(&at).unwrap_or_else(|| Err(overtaken())));
    Ok(outcomes.collect())
}

/// `StoreUnavailable`: none of [`TRIES`] tries could store the webhook, because the database changed during each.
pub(super) fn overtaken() -> Error {
    Error::store_unavailable(
        "the database changed while the webhook was being stored; nothing was stored, send it again",
        "the webhook of the key was purged at the same time, or its queue is not the one that was read",
    )
}

/// Inserts the new webhooks among `which`, and adds their results to `outcomes`.
async fn insert_new(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[Incoming],
    which: &[usize],
    outcomes: &mut HashMap<usize, Result<Accepted>>,
) -> QueryResult<()> {
    let now = shared.now();
    let rows = new_rows(shared, batch, which, now)?;
    let stored = insert(connection, &rows, now, shared.slot()).await?;
    let stored = stored.into_iter().collect::<HashSet<_>>();
    let ordered = rows.iter().flat_map(|row| &row.jobs).filter(|job| job.lane.is_some());
    shared.schedule.note_ordered(ordered.map(|job| job.queue));
    for row in rows.into_iter().filter(|row| stored.contains(&rows::uuid(row.id))) {
        let webhook = as_stored(row.id, &batch[row.place], &row.jobs, now);
        outcomes.insert(row.place, Ok(Accepted::new(webhook)));
    }
    Ok(())
}

/// The rows of the webhooks among `which`, with new ids in their order. Sorted by key, so that two batches with several
/// keys in common do not deadlock.
pub(super) fn new_rows<'a>(
    shared: &Shared,
    batch: &'a [Incoming],
    which: &[usize],
    now: Timestamp,
) -> QueryResult<Vec<NewRow<'a>>> {
    let ids = shared.new_ids(which.len(), now);
    let mut rows = Vec::with_capacity(which.len());
    for (at, id) in which.iter().copied().zip(ids) {
        let Incoming { webhook, jobs, .. } = &batch[at];
        rows.push(NewRow { id, place: at, webhook, jobs: job_rows(shared, &webhook.source, jobs)? });
    }
    rows.sort_by_key(|row| (row.webhook.source.as_str(), row.webhook.idempotency_key.as_str()));
    Ok(rows)
}

/// The rows of a webhook's jobs. Their queues must be known to the schedule.
pub(super) fn job_rows<'a>(
    shared: &Shared,
    source: &Source,
    jobs: &'a [NewJob],
) -> QueryResult<Vec<NewJobRow<'a>>> {
    let row = |job: &'a NewJob| {
        let queue = shared.schedule.queue(&job.route, source);
        let queue = queue.ok_or_else(|| not_known(&job.route))?;
        let lane = job.order.as_ref().map(|order| lanes::key(queue, order));
        Ok(NewJobRow { queue, route: &job.route, lane })
    };
    jobs.iter().map(row).collect()
}

/// The error for a queue that the process has forgotten since it was made known, because another one has its number.
/// The sender's next try finds it.
fn not_known(route: &RouteName) -> QueryError {
    let problem = format!("the queue of the route {route} is another one now");
    QueryError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(problem))
}

/// The status of a webhook that was just stored.
pub(super) fn as_stored(
    id: WebhookId,
    incoming: &Incoming,
    rows: &[NewJobRow<'_>],
    now: Timestamp,
) -> WebhookStatus {
    let status = |(job, row): (&NewJob, &NewJobRow<'_>)| JobStatus::new(row.queue, job.route.clone(), now);
    let mut jobs = incoming.jobs.iter().zip(rows).map(status).collect::<Vec<_>>();
    jobs.sort_by_key(|job| job.queue);
    incoming.webhook.stored(id, jobs)
}

/// A stored webhook that was looked up by its key.
#[derive(Queryable)]
struct KeptRow {
    /// The position of the key among those that were looked up, from 1.
    number: i64,
    payload_digest: Vec<u8>,
    names: NamesRow,
}

/// Looks up the webhooks among `which` whose key is taken. Returns the status and the payload digest of the
/// stored webhook, by index into `batch`.
pub(super) async fn find(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[Incoming],
    which: &[usize],
) -> QueryResult<HashMap<usize, (WebhookStatus, Vec<u8>)>> {
    let webhooks = || which.iter().map(|at| &batch[*at].webhook);
    let looking = SelectByKeys {
        sources: webhooks().map(|webhook| webhook.source.as_str()).collect(),
        keys: webhooks().map(|webhook| webhook.idempotency_key.as_str()).collect(),
    };
    let mut kept = HashMap::new();
    let mut names = Vec::new();
    for KeptRow { number, payload_digest, names: row } in looking.load(connection).await? {
        let at = usize::try_from(number - 1).map_err(rows::unreadable)?;
        kept.insert(which[at], (rows::id(row.id), payload_digest));
        names.push(row);
    }
    // Cloned below, because several webhooks of the batch can have the same key.
    let statuses = queries::with_jobs(&shared.schedule, connection, names).await?;
    let statuses = statuses.into_iter().map(|status| (status.id, status)).collect::<HashMap<_, _>>();
    let found =
        kept.into_iter().filter_map(|(at, (id, digest))| Some((at, (statuses.get(&id)?.clone(), digest))));
    Ok(found.collect())
}

statement! { Pg;
    struct SelectByKeys<'a> {
        sources: Vec<&'a str> as Array<Text>,
        keys: Vec<&'a str> as Array<Text>,
    }
    returns (BigInt, Binary, (SqlUuid, Text, Text, Text, Timestamptz));
    "SELECT k.number, w.payload_digest, w.id, w.source, w.idempotency_key, w.event_type, w.accepted_at
     FROM unnest(?, ?) WITH ORDINALITY AS k (source, idempotency_key, number)
     CROSS JOIN LATERAL (
         SELECT * FROM webhooks
         WHERE source = k.source AND idempotency_key = k.idempotency_key AND NOT quarantined OFFSET 0
     ) AS w"
}
