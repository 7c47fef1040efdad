//! The file as the source of a transfer. The transfer locks the file like a serving process. Once it is open,
//! only the mark is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::dsl::count_star;
use diesel::prelude::*;

use super::connection::{OpenError, OwnedFile};
use super::schema::{attempts, jobs, queues, webhooks};
use super::transaction::Refusal;
use super::{Options, SqliteStore, mark, pauses, rows};
use crate::domain::clock::Clock;
use crate::domain::error::Result;
use crate::domain::job::Status;
use crate::store::transfer::limits::Limits;
use crate::store::transfer::mark::Mark;
use crate::store::transfer::row_counts::RowCounts;
use crate::store::transfer::stored::{StoredAttempt, StoredJob, StoredWebhook};
use crate::store::{Pause, StatusCounts, Store as _};
use crate::telemetry::metrics::Metrics;

/// A file whose webhooks are moved elsewhere.
#[derive(Debug)]
pub(in crate::store) struct Export {
    store: SqliteStore,
    path: PathBuf,
}

/// Removes the mark of a file, and returns it.
pub(in crate::store) fn take_mark(path: &Path) -> std::result::Result<Option<Mark>, OpenError> {
    let mut file = OwnedFile::open(path)?;
    let taken = file.connection.immediate_transaction(|connection| {
        let mark = mark::read(connection)?;
        mark::remove(connection)?;
        Ok(mark)
    });
    taken.map_err(|source| OpenError::Setup { path: file.path.clone(), source })
}

impl Export {
    /// Opens the file, marked or not, and takes over the leased jobs of the previous process, so that no job
    /// is leased. Without policies, each of these attempts ends like one whose route is gone.
    pub(in crate::store) async fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
    ) -> std::result::Result<Self, OpenError> {
        let file = OwnedFile::open(path)?;
        let path = file.path.clone();
        let options = Options { path: path.clone(), max_backlog: 0, policies: Arc::default(), seed: 0 };
        let store = SqliteStore::start(file, options, clock, Arc::new(Metrics::default())).await?;
        Ok(Self { store, path })
    }

    /// The canonical path of the file.
    pub(in crate::store) fn path(&self) -> &Path {
        &self.path
    }

    /// The mark of the file, if it has one.
    pub(in crate::store) async fn mark(&self) -> Result<Option<Mark>> {
        self.read(mark::read).await
    }

    /// Marks the file, or replaces its mark. From then on only a transfer opens the file.
    pub(in crate::store) async fn set_mark(&self, mark: &Mark) -> Result<()> {
        let mark = mark.clone();
        let marking = self
            .store
            .writer
            .run(move |transaction| mark::write(transaction.connection, &mark).map_err(Refusal::Query));
        marking.await
    }

    /// The number of webhooks.
    pub(in crate::store) async fn webhooks(&self) -> Result<u64> {
        self.read(count_webhooks).await
    }

    /// The next webhooks with a sequence greater than `after`, in the order of acceptance, within `limits`.
    /// Empty if there are no more.
    pub(in crate::store) async fn batch(&self, after: i64, limits: Limits) -> Result<Vec<StoredWebhook>> {
        self.read(move |connection| batch(connection, after, limits)).await
    }

    /// Everything that is paused.
    pub(in crate::store) async fn pauses(&self) -> Result<Vec<Pause>> {
        self.read(pauses::load).await
    }

    /// Counts all rows, in one transaction.
    pub(in crate::store) async fn count_rows(&self) -> Result<RowCounts> {
        self.read(count_rows).await
    }

    async fn read<T, R>(&self, read: R) -> Result<T>
    where
        T: Send + 'static,
        R: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        self.store.readers()?.run(read).await
    }

    /// Closes the file.
    pub(in crate::store) async fn close(&self) {
        self.store.close().await;
    }
}

#[derive(Queryable)]
struct WebhookRow {
    sequence: i64,
    id: Vec<u8>,
    source: String,
    idempotency_key: String,
    event_type: String,
    payload: Option<String>,
    payload_digest: Vec<u8>,
    traceparent: String,
    accepted_at: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs)]
struct JobRow {
    webhook: i64,
    queue: i64,
    status: i64,
    run: i64,
    attempts: i64,
    uncounted_attempts: i64,
    available_at: i64,
    updated_at: i64,
    completed_at: Option<i64>,
    revision: i64,
    lease_token: i64,
    lane: Option<String>,
    blocks: bool,
    purged: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = attempts)]
struct AttemptRow {
    webhook: i64,
    queue: i64,
    number: i64,
    outcome: i64,
    started_at: i64,
    finished_at: i64,
    error: Option<String>,
    result: Option<String>,
    worker: String,
}

fn batch(connection: &mut SqliteConnection, after: i64, limits: Limits) -> QueryResult<Vec<StoredWebhook>> {
    let limit = i64::try_from(limits.webhooks.max(1)).unwrap_or(i64::MAX);
    let (mut found, mut bytes) = (Vec::new(), 0);
    let rows = webhooks::table.filter(webhooks::sequence.gt(after)).order(webhooks::sequence).limit(limit);
    // Reads row by row, so that nothing beyond the limit is read.
    for row in rows.load_iter::<WebhookRow, _>(connection)? {
        let webhook = StoredWebhook::try_from(row?)?;
        if bytes + webhook.bytes() > limits.bytes && !found.is_empty() {
            break;
        }
        bytes += webhook.bytes();
        found.push(webhook);
    }
    let Some(last) = found.last().map(|webhook| webhook.sequence) else { return Ok(found) };
    let routes = queues::table.select((queues::id, queues::route)).load::<(i64, String)>(connection)?;
    let routes = routes.into_iter().collect::<HashMap<_, _>>();
    let mut histories = histories(connection, after, last)?;
    let rows = jobs::table
        .filter(jobs::webhook.gt(after).and(jobs::webhook.le(last)))
        .order((jobs::webhook, jobs::queue))
        .select(JobRow::as_select())
        .load(connection)?;
    let mut by_webhook = HashMap::<i64, Vec<StoredJob>>::new();
    for row in rows {
        let route = routes.get(&row.queue).cloned().unwrap_or_default();
        let history = histories.remove(&(row.webhook, row.queue)).unwrap_or_default();
        by_webhook.entry(row.webhook).or_default().push(row.stored(route, history)?);
    }
    let (mut bytes, mut whole) = (0, 0);
    for webhook in &mut found {
        webhook.jobs = by_webhook.remove(&webhook.sequence).unwrap_or_default();
        let histories = webhook.jobs.iter().flat_map(|job| &job.history).map(StoredAttempt::bytes);
        bytes += webhook.bytes() + histories.sum::<usize>();
        if bytes > limits.bytes && whole > 0 {
            break;
        }
        whole += 1;
    }
    // A webhook moves with its whole history. Webhooks beyond the limit go into the next batch.
    found.truncate(whole);
    Ok(found)
}

type Histories = HashMap<(i64, i64), Vec<StoredAttempt>>;

/// The attempts of the webhooks after `after`, up to and including `last`, by webhook and queue.
fn histories(connection: &mut SqliteConnection, after: i64, last: i64) -> QueryResult<Histories> {
    let rows = attempts::table
        .filter(attempts::webhook.gt(after).and(attempts::webhook.le(last)))
        .order((attempts::webhook, attempts::queue, attempts::number))
        .select(AttemptRow::as_select())
        .load(connection)?;
    let mut histories = Histories::new();
    for row in rows {
        histories.entry((row.webhook, row.queue)).or_default().push(StoredAttempt {
            number: rows::count(row.number)?,
            outcome: rows::outcome(row.outcome)?,
            started_at: rows::time(row.started_at)?,
            finished_at: rows::time(row.finished_at)?,
            error: row.error,
            result: row.result,
            worker: row.worker,
        });
    }
    Ok(histories)
}

impl TryFrom<WebhookRow> for StoredWebhook {
    type Error = diesel::result::Error;

    fn try_from(row: WebhookRow) -> QueryResult<Self> {
        Ok(Self {
            sequence: row.sequence,
            id: rows::id(&row.id)?,
            source: row.source,
            idempotency_key: row.idempotency_key,
            event_type: row.event_type,
            payload: row.payload,
            payload_digest: row.payload_digest,
            traceparent: row.traceparent,
            accepted_at: rows::time(row.accepted_at)?,
            jobs: Vec::new(),
        })
    }
}

impl JobRow {
    fn stored(self, route: String, history: Vec<StoredAttempt>) -> QueryResult<StoredJob> {
        Ok(StoredJob {
            route,
            status: rows::job_status(self.status)?,
            run: rows::count(self.run)?,
            attempts: rows::count(self.attempts)?,
            uncounted_attempts: rows::count(self.uncounted_attempts)?,
            available_at: rows::time(self.available_at)?,
            updated_at: rows::time(self.updated_at)?,
            completed_at: self.completed_at.map(rows::time).transpose()?,
            revision: self.revision,
            lease_token: self.lease_token,
            order: self.lane,
            blocks: self.blocks,
            purged: self.purged,
            history,
        })
    }
}

fn count_rows(connection: &mut SqliteConnection) -> QueryResult<RowCounts> {
    connection.transaction(|connection| {
        let mut counts = [0; Status::ALL.len()];
        let by_status = jobs::table.group_by(jobs::status).select((jobs::status, count_star()));
        for (status, count) in by_status.load::<(i64, i64)>(connection)? {
            counts[rows::job_status(status)? as usize] = count.cast_unsigned();
        }
        Ok(RowCounts {
            counts: StatusCounts::new(counts),
            webhooks: count_webhooks(connection)?,
            attempts: attempts::table.select(count_star()).get_result::<i64>(connection)?.cast_unsigned(),
        })
    })
}

fn count_webhooks(connection: &mut SqliteConnection) -> QueryResult<u64> {
    webhooks::table.select(count_star()).get_result::<i64>(connection).map(i64::cast_unsigned)
}
