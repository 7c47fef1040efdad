//! A batch of webhooks with all that belongs to them.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::store::sqlite::rows;
use crate::store::sqlite::schema::{attempts, jobs, lanes, webhooks};
use crate::store::transfer::limits::Limits;
use crate::store::transfer::stored::{StoredAttempt, StoredJob, StoredLane, StoredWebhook};

#[derive(Queryable)]
struct WebhookRow {
    sequence: i64,
    id: Vec<u8>,
    source: String,
    idempotency_key: String,
    event_type: String,
    content_type: String,
    verdict: i64,
    quarantined: bool,
    payload_digest: Vec<u8>,
    traceparent: String,
    accepted_at: i64,
    headers: Option<String>,
    payload: Option<Vec<u8>>,
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
    worker: Option<String>,
    lane: Option<String>,
    blocks: bool,
    purged: i64,
    replay: Option<i64>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = attempts)]
struct AttemptRow {
    webhook: i64,
    queue: i64,
    number: i64,
    run: i64,
    outcome: i64,
    started_at: i64,
    finished_at: i64,
    error: Option<String>,
    result: Option<String>,
    worker: String,
    delivery: Option<String>,
}

/// The next webhooks after `after`, in the order of acceptance.
pub(super) fn load(
    connection: &mut SqliteConnection,
    after: i64,
    limits: Limits,
) -> QueryResult<Vec<StoredWebhook>> {
    let limit = i64::try_from(limits.webhooks.max(1)).unwrap_or(i64::MAX);
    let (mut found, mut bytes) = (Vec::new(), 0);
    let rows = webhooks::table.filter(webhooks::sequence.gt(after)).order(webhooks::sequence).limit(limit);
    // Row by row: what is beyond the limit is not even read.
    for row in rows.load_iter::<WebhookRow, _>(connection)? {
        let webhook = StoredWebhook::try_from(row?)?;
        if bytes + webhook.bytes() > limits.bytes && !found.is_empty() {
            break;
        }
        bytes += webhook.bytes();
        found.push(webhook);
    }
    let sequence = |webhook: &StoredWebhook| webhook.sequence;
    let (Some(first), Some(last)) = (found.first().map(sequence), found.last().map(sequence)) else {
        return Ok(found);
    };
    let mut histories = histories(connection, first, last, limits.bytes)?;
    let rows = jobs::table
        .filter(jobs::webhook.gt(after).and(jobs::webhook.le(last)))
        .order((jobs::webhook, jobs::queue))
        .left_join(lanes::table.on(lanes::queue.eq(jobs::queue).and(jobs::lane.eq(lanes::lane.nullable()))))
        .select((JobRow::as_select(), (lanes::state, lanes::available_at).nullable()))
        .load::<(JobRow, Option<(i64, i64)>)>(connection)?;
    let mut by_webhook = HashMap::<i64, Vec<StoredJob>>::new();
    for (row, lane) in rows {
        let history = histories.remove(&(row.webhook, row.queue)).unwrap_or_default();
        by_webhook.entry(row.webhook).or_default().push(row.stored(lane, history)?);
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
    // A webhook moves with its whole history, so those beyond the limit have to wait.
    found.truncate(whole);
    Ok(found)
}

type Histories = HashMap<(i64, i64), Vec<StoredAttempt>>;

/// The attempts of the webhooks from `first` to `last`, by webhook and queue. Those of the first webhook are complete.
/// Beyond that, reads no further once the attempts have more bytes than `most_bytes`: the webhook that exceeds the
/// limit, and those after it, are not in the batch.
fn histories(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
    most_bytes: usize,
) -> QueryResult<Histories> {
    let rows = attempts::table
        .filter(attempts::webhook.ge(first).and(attempts::webhook.le(last)))
        .order((attempts::webhook, attempts::queue, attempts::number))
        .select(AttemptRow::as_select());
    let (mut histories, mut bytes) = (Histories::new(), 0);
    for row in rows.load_iter::<AttemptRow, _>(connection)? {
        let row = row?;
        if bytes > most_bytes && row.webhook != first {
            break;
        }
        let of = (row.webhook, row.queue);
        let attempt = StoredAttempt::try_from(row)?;
        bytes += attempt.bytes();
        histories.entry(of).or_default().push(attempt);
    }
    Ok(histories)
}

impl TryFrom<AttemptRow> for StoredAttempt {
    type Error = diesel::result::Error;

    fn try_from(row: AttemptRow) -> QueryResult<Self> {
        Ok(Self {
            number: rows::count(row.number)?,
            run: rows::count(row.run)?,
            outcome: rows::outcome(row.outcome)?,
            started_at: rows::time(row.started_at)?,
            finished_at: rows::time(row.finished_at)?,
            error: row.error,
            result: row.result,
            worker: row.worker,
            delivery: row.delivery,
        })
    }
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
            content_type: row.content_type,
            verdict: rows::verdict(row.verdict)?,
            quarantined: row.quarantined,
            headers: row.headers,
            payload: row.payload,
            payload_digest: row.payload_digest,
            traceparent: row.traceparent,
            accepted_at: rows::time(row.accepted_at)?,
            jobs: Vec::new(),
        })
    }
}

impl JobRow {
    /// `lane`: the state of its order value, and when the first job of it may start.
    fn stored(self, lane: Option<(i64, i64)>, history: Vec<StoredAttempt>) -> QueryResult<StoredJob> {
        let status = rows::job_status(self.status)?;
        let lane = lane.filter(|_| !status.is_final() || self.blocks);
        let lane = lane.map(|(state, available_at)| {
            Ok::<_, diesel::result::Error>(StoredLane { state, available_at: rows::time(available_at)? })
        });
        Ok(StoredJob {
            queue: rows::queue(self.queue)?,
            status,
            run: rows::count(self.run)?,
            replay: self.replay,
            attempts: rows::count(self.attempts)?,
            uncounted_attempts: rows::count(self.uncounted_attempts)?,
            available_at: rows::time(self.available_at)?,
            updated_at: rows::time(self.updated_at)?,
            completed_at: self.completed_at.map(rows::time).transpose()?,
            revision: self.revision,
            lease_token: self.lease_token,
            worker: self.worker,
            order: self.lane,
            lane: lane.transpose()?,
            blocks: self.blocks,
            purged: self.purged,
            history,
        })
    }
}
