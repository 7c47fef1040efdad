//! Stores the webhooks of one request in one transaction: all of them or none.
//!
//! The transaction has several statements. It first takes all keys, then locks all lanes, and changes the counts last,
//! each in a fixed order, as the single statement of the committer does. So batches do not deadlock with each other, or
//! with what the committer of a process stores.

use std::collections::{BTreeSet, HashMap, HashSet};

use diesel::QueryResult;
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use jiff::Timestamp;

use super::accept::{Incoming, TRIES, as_stored, find, jobs_of, new_rows, note_new, overtaken, queues_of};
use super::committer::{BATCH_BYTES, BATCH_WEBHOOKS};
use super::counts::CountChanges;
use super::insert::NewRow;
use super::insert_steps::{JobsOf, insert_jobs, insert_webhooks};
use super::pool::answer;
use super::shared::Shared;
use super::undone::{Tried, Undone, tried};
use super::{lanes, queue_names, refusals, rows};
use crate::domain::error::Error;
use crate::domain::webhook::WebhookStatus;
use crate::store::acceptance::{backlog_full, check_in_batch, duplicate_or_conflict};
use crate::store::fitting::fitting;
use crate::store::{Accepted, BatchError};

/// The results of a batch in its order, or why none of its webhooks was stored.
pub(super) type Outcome = Result<Vec<Accepted>, BatchError>;

/// Stores a batch, or refuses it.
pub(super) async fn store(shared: &Shared, batch: &[Incoming]) -> QueryResult<Outcome> {
    let outcome = refusals::noted(shared, store_on_connection(shared, batch)).await?;
    note_new(shared, outcome.iter().flatten());
    Ok(outcome)
}

async fn store_on_connection(shared: &Shared, batch: &[Incoming]) -> QueryResult<Outcome> {
    let mut connection = shared.accepting.get().await?;
    let names = queues_of(batch);
    let storing = answer(async {
        queue_names::number(&shared.schedule, &mut connection, &names).await?;
        for _ in 0..TRIES {
            let trying =
                connection.transaction(async |connection| store_once(shared, connection, batch).await);
            match tried(trying.await)? {
                Tried::Done(accepted) => return Ok(Ok(accepted)),
                Tried::Refused(error) => return Ok(Err(error)),
                // By a purge; or the database has other queues than this process knows.
                Tried::Overtaken => {
                    queue_names::number_anew(&shared.schedule, &mut connection, &names).await?;
                }
            }
        }
        Ok(Err(overtaken().into()))
    });
    let storing = storing.await;
    connection.release(storing)
}

async fn store_once(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[Incoming],
) -> Result<Vec<Accepted>, Undone<BatchError>> {
    let is_far = shared.backlog.is_far(connection, jobs_of(batch)).await?;
    // If there is any room, the whole batch is stored, even if its jobs exceed the limit.
    let is_full = !is_far && shared.backlog.room(connection).await? == 0;
    let now = shared.now();
    let firsts = firsts(batch).into_iter().enumerate().filter(|(at, first)| at == first);
    let mut taken = firsts.map(|(at, _)| at).collect::<Vec<_>>();
    let new =
        if is_full { HashMap::new() } else { take_keys(shared, connection, batch, &taken, now).await? };
    taken.retain(|at| !new.contains_key(at));
    let kept = find_all(shared, connection, batch, &taken).await?;
    if kept.len() < taken.len() && is_full {
        return Err(Undone::Refused(backlog_full(shared.backlog.limit()).into()));
    }
    if kept.len() < taken.len() {
        // A webhook that is neither new nor found was purged in between, or its queue is not the one that this process
        // knows.
        return Err(Undone::Overtaken);
    }
    let accepted = results(batch, &new, &kept, now).map_err(Undone::Refused)?;
    store_jobs(shared, connection, new, now).await?;
    Ok(accepted)
}

/// For each webhook, the index of the first one with the same key.
fn firsts(batch: &[Incoming]) -> Vec<usize> {
    let mut indexes = HashMap::with_capacity(batch.len());
    let mut firsts = Vec::with_capacity(batch.len());
    for (at, Incoming { webhook, .. }) in batch.iter().enumerate() {
        firsts.push(*indexes.entry((&webhook.source, &webhook.idempotency_key)).or_insert(at));
    }
    firsts
}

/// Stores the webhooks among `which` whose keys are free, without their jobs. Returns their rows, by index into
/// `batch`.
async fn take_keys<'a>(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &'a [Incoming],
    which: &[usize],
    now: Timestamp,
) -> QueryResult<HashMap<usize, NewRow<'a>>> {
    let new = new_rows(shared, batch, which, now)?;
    let mut stored = HashSet::new();
    let mut left = new.as_slice();
    while !left.is_empty() {
        let bytes = left.iter().take(BATCH_WEBHOOKS).map(|row| row.webhook.bytes());
        let (some, later) = left.split_at(fitting(bytes, BATCH_BYTES));
        stored.extend(insert_webhooks(connection, some).await?);
        left = later;
    }
    let new = new.into_iter().filter(|row| stored.contains(&rows::uuid(row.id)));
    Ok(new.map(|row| (row.place, row)).collect())
}

/// Looks up the webhooks among `which` whose key is taken, as [`find`] does.
async fn find_all(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    batch: &[Incoming],
    which: &[usize],
) -> QueryResult<HashMap<usize, (WebhookStatus, Vec<u8>)>> {
    let mut kept = HashMap::with_capacity(which.len());
    for some in which.chunks(BATCH_WEBHOOKS) {
        kept.extend(find(shared, connection, batch, some).await?);
    }
    Ok(kept)
}

/// Stores the jobs of new webhooks, in the order of the batch, and changes the counts.
async fn store_jobs(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    new: HashMap<usize, NewRow<'_>>,
    now: Timestamp,
) -> QueryResult<()> {
    let mut new = new.into_values().collect::<Vec<_>>();
    new.sort_unstable_by_key(|row| row.place);
    let ordered = new.iter().flat_map(|row| &row.jobs);
    let ordered = ordered.filter_map(|job| Some((job.lane.clone()?, job.queue))).collect::<BTreeSet<_>>();
    shared.schedule.note_ordered(ordered.iter().map(|(_, queue)| *queue));
    // All lanes are locked before the first job is stored: each statement locks its own lanes in order, but not those
    // of all statements.
    lanes::lock_or_add(connection, ordered, now).await?;
    let mut counts = CountChanges::default();
    for some in new.chunks(BATCH_WEBHOOKS) {
        let jobs = some.iter().map(|row| JobsOf { webhook: row.id, jobs: &row.jobs, position: None });
        insert_jobs(connection, &jobs.collect::<Vec<_>>(), now, &mut counts).await?;
    }
    counts.apply(connection, shared.slot()).await
}

/// The results in the order of the batch, or the first conflict that refuses it. The webhooks that have the keys are in
/// `new` if this transaction has stored them, else in `kept`, both by the index of the first webhook with the key.
fn results(
    batch: &[Incoming],
    new: &HashMap<usize, NewRow<'_>>,
    kept: &HashMap<usize, (WebhookStatus, Vec<u8>)>,
    now: Timestamp,
) -> Outcome {
    let result = |at: usize, incoming: &Incoming, first: usize| -> Result<Accepted, Error> {
        let Incoming { webhook, on_conflict, .. } = incoming;
        match (new.get(&first), kept.get(&first)) {
            (Some(row), _) => {
                let other = check_in_batch(webhook, (first, &batch[first].webhook), *on_conflict)?;
                let webhook = as_stored(row.id, &batch[first], &row.jobs, now);
                Ok(Accepted { webhook, duplicate: at != first, other })
            }
            (None, Some((first, digest))) => {
                duplicate_or_conflict(webhook, first.clone(), digest, *on_conflict)
            }
            (None, None) => Err(overtaken()),
        }
    };
    let results = batch.iter().zip(firsts(batch)).enumerate().map(|(at, (incoming, first))| {
        result(at, incoming, first).map_err(|error| BatchError { item: Some(at), error })
    });
    results.collect()
}
