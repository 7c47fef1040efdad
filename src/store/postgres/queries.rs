//! Reads the status of webhooks, all data of one webhook, and the status of watched webhooks.

use std::collections::HashMap;

use diesel::data_types::PgTimestamp;
use diesel::dsl::not;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::queue_names;
use super::rows::{self, JobStatusRow, NamesRow};
use super::schedule::Schedule;
use super::schema::{job_statuses, webhooks};
use crate::domain::attempt::{AttemptRecord, AttemptWindow, HeldLease};
use crate::domain::delivery::SHOWN_DELIVERIES;
use crate::domain::id::WebhookId;
use crate::domain::webhook::{JobDetail, WebhookDetail, WebhookName, WebhookStatus};
use crate::store::changes::Change;
use crate::store::delivery;
use crate::store::statement::statement;

/// The status of a webhook.
pub(super) async fn status(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    name: &WebhookName,
) -> QueryResult<Option<WebhookStatus>> {
    // PostgreSQL cannot reverse a left join, so it looks up the webhook first and then its jobs.
    let found = webhooks::table
        .left_join(job_statuses::table.on(job_statuses::webhook.eq(webhooks::id)))
        .select((NamesRow::as_select(), Option::<JobStatusRow>::as_select()));
    let found = match name {
        WebhookName::Id(id) => {
            found.filter(webhooks::id.eq(rows::uuid(*id))).load::<(NamesRow, _)>(connection).await?
        }
        WebhookName::Key(source, key) => {
            let is_it = webhooks::source.eq(source.as_str()).and(webhooks::idempotency_key.eq(key.as_str()));
            // The condition of the unique index.
            found.filter(is_it.and(not(webhooks::quarantined))).load(connection).await?
        }
    };
    let (mut names, jobs): (Vec<NamesRow>, Vec<Option<JobStatusRow>>) = found.into_iter().unzip();
    let Some(names) = names.pop() else { return Ok(None) };
    let jobs = jobs.into_iter().flatten().collect::<Vec<_>>();
    know_queues(schedule, connection, &jobs).await?;
    names.into_status(jobs, schedule).map(Some)
}

/// The status of these webhooks, in their order. Leaves out webhooks that were removed since `names` was
/// read.
pub(super) async fn with_jobs(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    names: Vec<NamesRow>,
) -> QueryResult<Vec<WebhookStatus>> {
    let ids = names.iter().map(|names| names.id).collect::<Vec<_>>();
    let jobs = jobs_of(connection, ids).await?;
    know_queues(schedule, connection, &jobs).await?;
    let mut by_webhook: HashMap<Uuid, Vec<JobStatusRow>> = HashMap::new();
    for job in jobs {
        by_webhook.entry(job.webhook).or_default().push(job);
    }
    names
        .into_iter()
        .filter_map(|names| {
            let jobs = by_webhook.remove(&names.id)?;
            Some(names.into_status(jobs, schedule))
        })
        .collect()
}

/// The current status of the jobs of webhooks, as changes for their watchers.
pub(super) async fn stand(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    ids: &[WebhookId],
) -> QueryResult<Vec<Change>> {
    let jobs = jobs_of(connection, ids.iter().map(|id| rows::uuid(*id)).collect()).await?;
    know_queues(schedule, connection, &jobs).await?;
    jobs.into_iter().filter(|job| !job.is_no_job()).map(|job| job.into_change(schedule)).collect()
}

async fn jobs_of(connection: &mut AsyncPgConnection, ids: Vec<Uuid>) -> QueryResult<Vec<JobStatusRow>> {
    let jobs = job_statuses::table.filter(job_statuses::webhook.eq_any(ids));
    jobs.select(JobStatusRow::as_select()).load(connection).await
}

async fn know_queues(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    jobs: &[JobStatusRow],
) -> QueryResult<()> {
    let queues = jobs.iter().filter(|job| !job.is_no_job()).map(|job| rows::queue(job.queue));
    let queues = queues.collect::<QueryResult<Vec<_>>>()?;
    queue_names::know(schedule, connection, queues.into_iter()).await
}

/// The other columns of a webhook.
#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks)]
struct ContentRow {
    content_type: String,
    verdict: i16,
    headers: Option<String>,
    payload: Option<Vec<u8>>,
    traceparent: String,
}

/// A job with its lease, or with the attempt that ended it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = job_statuses)]
struct JobRow {
    #[diesel(embed)]
    status: JobStatusRow,
    run: i32,
    replay: Option<i64>,
    uncounted_attempts: i32,
    lease_until: Option<PgTimestamp>,
    outcome: Option<i16>,
    started_at: Option<PgTimestamp>,
    error: Option<String>,
    result: Option<String>,
    /// Who ran that attempt, or who holds the lease.
    worker: Option<String>,
    delivery: Option<String>,
}

/// An attempt that did not end its job, or that ended it before it was retried or cancelled by hand.
#[derive(Queryable)]
struct AttemptRow {
    queue: i32,
    number: i32,
    run: i32,
    outcome: i16,
    started_at: PgTimestamp,
    finished_at: PgTimestamp,
    error: Option<String>,
    worker: String,
    /// The delivery as it is stored.
    delivery: Option<String>,
}

/// All data of a webhook, with these attempts of each job, from one snapshot.
pub(super) async fn webhook(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    id: WebhookId,
    window: AttemptWindow,
) -> QueryResult<Option<WebhookDetail>> {
    let id = rows::uuid(id);
    let mut transaction = connection.build_transaction().repeatable_read().read_only();
    let reading = transaction.run(async |connection| {
        let webhook = webhooks::table.find(id).select((NamesRow::as_select(), ContentRow::as_select()));
        let webhook = webhook.first::<(NamesRow, ContentRow)>(connection).await.optional()?;
        let jobs = job_statuses::table.filter(job_statuses::webhook.eq(id)).select(JobRow::as_select());
        let jobs = jobs.load::<JobRow>(connection).await?;
        let attempts = SelectAttempts::of(id, &jobs, window).load::<AttemptRow>(connection).await?;
        QueryResult::Ok((webhook, jobs, attempts))
    });
    let (Some((names, content)), mut jobs, attempts) = reading.await? else { return Ok(None) };
    let is_quarantined = jobs.iter().any(|job: &JobRow| job.status.is_quarantined());
    jobs.retain(|job| !job.status.is_no_job());
    jobs.sort_by_key(|job| job.status.queue);
    let queues = jobs.iter().map(|job| rows::queue(job.status.queue)).collect::<QueryResult<Vec<_>>>()?;
    queue_names::know(schedule, connection, queues.into_iter()).await?;
    let mut attempts_of: HashMap<i32, Vec<AttemptRecord>> = HashMap::new();
    for attempt in attempts {
        attempts_of.entry(attempt.queue).or_default().push(attempt.into_record()?);
    }
    let (mut statuses, mut details) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
    for job in jobs {
        let attempts = attempts_of.remove(&job.status.queue).unwrap_or_default();
        let (status, detail) = job.into_detail(attempts, window)?;
        statuses.push(status);
        details.push(detail);
    }
    Ok(Some(WebhookDetail {
        status: WebhookStatus { is_quarantined, ..names.into_status(statuses, schedule)? },
        payload: content.payload,
        content_type: rows::content_type(&content.content_type),
        headers: rows::kept_headers(content.headers.as_deref())?,
        verdict: rows::verdict(content.verdict)?,
        traceparent: rows::traceparent(&content.traceparent)?,
        jobs: details,
    }))
}

impl AttemptRow {
    fn into_record(self) -> QueryResult<AttemptRecord> {
        Ok(AttemptRecord {
            number: rows::count(self.number)?,
            run: rows::count(self.run)?,
            outcome: rows::outcome(self.outcome)?,
            started_at: rows::time(self.started_at)?,
            finished_at: rows::time(self.finished_at)?,
            error: self.error,
            worker: self.worker,
            delivery: self.delivery.as_deref().map(delivery::from_text).transpose()?,
        })
    }
}

impl JobRow {
    /// `attempts` are those of the table `attempts`, which does not have the one that ended the job. It is added if it is
    /// in the window.
    fn into_detail(
        self,
        mut attempts: Vec<AttemptRecord>,
        window: AttemptWindow,
    ) -> QueryResult<(JobStatusRow, JobDetail)> {
        let is_final = rows::job_status(self.status.status)?.is_final();
        let updated_at = rows::time(self.status.updated_at)?;
        let until = self.lease_until.map(rows::time).transpose()?;
        let lease = self.worker.clone().zip(until).map(|(worker, until)| HeldLease { worker, until });
        let last = (self.outcome, self.started_at, self.worker);
        if let (Some(outcome), Some(started_at), Some(worker)) = last
            && window.has_last()
        {
            attempts.push(AttemptRecord {
                number: rows::count(self.status.attempts)?,
                run: rows::count(self.run)?,
                outcome: rows::outcome(outcome)?,
                started_at: rows::time(started_at)?,
                finished_at: updated_at,
                error: self.error,
                worker,
                delivery: self.delivery.as_deref().map(delivery::from_text).transpose()?,
            });
        }
        let detail = JobDetail {
            run: rows::count(self.run)?,
            replay: self.replay.map(i64::cast_unsigned),
            uncounted_attempts: rows::count(self.uncounted_attempts)?,
            available_at: rows::time(self.status.available_at)?,
            completed_at: is_final.then_some(updated_at),
            lease,
            result: self.result,
            attempts,
        };
        Ok((self.status, detail))
    }
}

impl SelectAttempts {
    /// The attempts of these jobs of a webhook that are in the window.
    fn of(webhook: Uuid, jobs: &[JobRow], window: AttemptWindow) -> Self {
        let AttemptWindow { skip, limit } = window;
        let before = |job: &JobRow, left_out: u32| {
            job.status.attempts.saturating_sub(i32::try_from(left_out).unwrap_or(i32::MAX))
        };
        let all = |left_out: u32| jobs.iter().map(|job| before(job, left_out)).collect();
        Self {
            webhook,
            queues: jobs.iter().map(|job| job.status.queue).collect(),
            after: all(skip.saturating_add(limit)),
            until: all(skip),
            delivered_after: all(skip.saturating_add(limit.min(SHOWN_DELIVERIES.into()))),
        }
    }
}

statement! { Pg;
    struct SelectAttempts {
        webhook: Uuid as SqlUuid,
        queues: Vec<i32> as Array<Integer>,
        after: Vec<i32> as Array<Integer>,
        until: Vec<i32> as Array<Integer>,
        delivered_after: Vec<i32> as Array<Integer>,
    }
    returns (Integer, Integer, Integer, SmallInt, Timestamptz, Timestamptz, Nullable<Text>, Text, Nullable<Text>);
    "SELECT a.queue, a.number, a.run, a.outcome, a.started_at, a.finished_at, a.error, a.worker,
            CASE WHEN a.number > j.delivered_after THEN a.delivery END
     FROM (SELECT ? AS webhook) AS given
     CROSS JOIN unnest(?, ?, ?, ?) AS j (queue, above, most, delivered_after)
     CROSS JOIN LATERAL (
         SELECT * FROM attempts
         WHERE webhook = given.webhook AND queue = j.queue AND number > j.above AND number <= j.most
         OFFSET 0
     ) AS a
     ORDER BY a.number"
}

/// The latest id in use.
pub(super) async fn last_id(connection: &mut AsyncPgConnection) -> QueryResult<Option<WebhookId>> {
    let last = webhooks::table.order(webhooks::id.desc()).select(webhooks::id);
    Ok(last.first::<Uuid>(connection).await.optional()?.map(rows::id))
}
