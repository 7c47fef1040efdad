//! Claims: leases jobs that may start, at most one for each idle thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::sql_types::{Array, Binary, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use jiff::Timestamp;
use uuid::Uuid;

use super::give_back::give_back;
use super::lease_jobs::{self, Leased, LeasedRow, Leasing, lease};
use super::pool::answer;
use super::rows;
use super::schedule::{Planned, Share, SharedQueue};
use super::shared::Shared;
use super::{breakers, lanes, limits, pauses, queue_names};
use crate::domain::attempt::Lease;
use crate::domain::id::WebhookId;
use crate::domain::job::{QueueId, Status};
use crate::domain::policy::Policy;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::store::changes::Change;
use crate::store::fitting::fitting;
use crate::store::statement::statement;
use crate::store::{Claim, ClaimedJob, Claims, Wanted};
use crate::telemetry::metrics::Stopwatch;

/// How soon to claim again if due jobs were not found, because another replica is claiming them.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// How soon to claim again for a route with a limit if another replica is claiming for that route.
const GATE_PAUSE: Duration = Duration::from_millis(5);

/// Maximum number of rounds of sharing threads in one claim. Another round is useful if a route had fewer due
/// jobs than threads.
const ROUNDS: usize = 4;

/// Leases jobs that may start.
pub(super) async fn claim(shared: &Shared, claim: &Claim) -> QueryResult<Claims> {
    let took = Stopwatch::start();
    let (now, process_now) = (shared.now(), shared.clock.now());
    if claim.wanted == Wanted::Run {
        let lease_ms = i64::try_from(claim.lease.as_millis()).unwrap_or(i64::MAX);
        shared.lease_ms.store(lease_ms, Ordering::Relaxed);
    }
    // The database counts from a moment that is later.
    let held_until = shared.clock.monotonic().saturating_add(claim.lease);
    let planned = shared.schedule.plan(now, claim.threads, &claim.running, &claim.wanted);
    let mut claimed = Claimed { found_all: true, ..Claimed::default() };
    let mut claiming = Ok(());
    if !planned.shares.is_empty() {
        let mut connection = shared.working.get().await?;
        let asked = answer(claim_in_rounds(shared, &mut connection, planned, claim, now, &mut claimed)).await;
        claiming = connection.release(asked);
    }
    if !claimed.jobs.is_empty() {
        shared.metrics.committed(took, claimed.jobs.len());
    }
    let leases = claimed.leases();
    let loaded = match claiming {
        Ok(()) => load(shared, claim, &mut claimed).await,
        Err(error) => Err(error),
    };
    let (jobs, changes) = match loaded {
        Err(error) if claim.wanted != Wanted::Run && !leases.is_empty() => {
            // No worker has these jobs, and their leases may be long.
            if let Err(again) = give_back(shared, &claim.worker, &leases).await {
                tracing::warn!(jobs = leases.len(), error = %again, "jobs that were leased for a worker before a fault could not be given back; they wait until their leases expire");
            }
            return Err(error);
        }
        loaded => loaded?,
    };
    shared.changed(&changes);
    // Due jobs that were not found are probably locked by another replica.
    let pause = match claimed {
        Claimed { is_contended: true, .. } => GATE_PAUSE,
        Claimed { found_all: false, .. } => LOCKED_PAUSE,
        _ => Duration::ZERO,
    };
    let soon = now.saturating_add(pause).unwrap_or(now);
    let next = shared.schedule.next(now, &claim.wanted).map(|next| if next <= now { soon } else { next });
    // The dispatcher sleeps by the time of day of this process.
    let by_process = |next: Timestamp| process_now.saturating_add(next.duration_since(now)).unwrap_or(next);
    Ok(Claims { jobs, next: next.map(by_process), held_until })
}

/// Maximum number of bytes of large payloads that one statement reads, or one payload.
const READ_BYTES: usize = 8 * 1024 * 1024;

/// The jobs that the rounds so far have leased.
#[derive(Default)]
struct Claimed {
    /// What the round under way has leased so far.
    round: Leased,
    /// Large payloads are missing.
    jobs: Vec<ClaimedJob>,
    changes: Vec<Change>,
    /// The size of each payload that is missing, by webhook.
    large: HashMap<WebhookId, usize>,
    /// Whether another replica was claiming for a route with a limit.
    is_contended: bool,
    /// Whether the last round found as many jobs as planned.
    found_all: bool,
}

impl Claimed {
    /// The leases of all jobs, also of those of the round under way.
    fn leases(&self) -> Vec<Lease> {
        let of_round = self.round.jobs.iter().filter_map(|row| row.lease().ok());
        self.jobs.iter().map(|job| job.lease).chain(of_round).collect()
    }
}

/// Reads large payloads. Gives back jobs whose payloads are too many bytes for one claim; those that are due longest
/// are kept. Returns the kept jobs and their changes.
///
/// After an error, the pool has all jobs of the claim given back, as those of a claim whose response was lost. The caller
/// gives back those for a worker that pulls.
async fn load(
    shared: &Shared,
    claim: &Claim,
    claimed: &mut Claimed,
) -> QueryResult<(Vec<ClaimedJob>, Vec<Change>)> {
    let (mut jobs, mut changes) = (std::mem::take(&mut claimed.jobs), std::mem::take(&mut claimed.changes));
    jobs.sort_by_key(|job| job.available_at);
    if jobs.is_empty() {
        return Ok((jobs, changes));
    }
    let large = &claimed.large;
    let bytes = |job: &ClaimedJob| {
        let webhook = job.lease.job.webhook;
        large.get(&webhook).copied().unwrap_or_else(|| job.payload.as_ref().map_or(0, Vec::len))
    };
    let left = jobs.split_off(fitting(jobs.iter().map(bytes), claim.max_bytes));
    if !left.is_empty() {
        let left = left.iter().map(|job| job.lease).collect::<Vec<_>>();
        give_back(shared, &claim.worker, &left).await?;
        // Announced as given back; that they were leased is not worth a line.
        changes.retain(|change| !left.iter().any(|lease| lease.job == change.job));
    }
    let mut missing =
        jobs.iter_mut().filter(|job| large.contains_key(&job.lease.job.webhook)).collect::<Vec<_>>();
    while !missing.is_empty() {
        let later = missing.split_off(fitting(missing.iter().map(|job| bytes(job)), READ_BYTES));
        let webhooks = missing.iter().map(|job| rows::uuid(job.lease.job.webhook)).collect();
        let mut connection = shared.working.get().await?;
        let reading =
            answer(SelectPayloads { webhooks }.load::<(Uuid, Option<Vec<u8>>)>(&mut *connection)).await;
        let payloads = connection.release(reading)?.into_iter().collect::<HashMap<_, _>>();
        for job in missing {
            // A webhook can have several of the jobs.
            let webhook = rows::uuid(job.lease.job.webhook);
            job.payload = payloads.get(&webhook).cloned().flatten();
        }
        missing = later;
    }
    Ok((jobs, changes))
}

async fn claim_in_rounds(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    mut planned: Planned,
    claim: &Claim,
    now: Timestamp,
    claimed: &mut Claimed,
) -> QueryResult<()> {
    let mut running = claim.running.clone();
    let mut started = 0;
    for _ in 0..ROUNDS {
        let wanted = planned.shares.iter().map(|share| share.threads).sum::<usize>();
        let policies = planned.policies();
        let round = claim_planned(shared, connection, planned, claim, now, &mut claimed.round).await?;
        let rows = std::mem::take(&mut claimed.round).jobs;
        let leased = rows.len();
        claimed.is_contended |= round.is_contended;
        claimed.found_all = leased >= wanted;
        started += leased;
        for row in rows {
            add(claimed, &policies, row, now);
        }
        if leased == 0 && !round.is_learnt || started >= claim.threads {
            break;
        }
        for job in &claimed.jobs[claimed.jobs.len().saturating_sub(leased)..] {
            *running.entry(job.route.clone()).or_default() += 1;
        }
        planned = shared.schedule.plan(now, claim.threads - started, &running, &claim.wanted);
        if planned.shares.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Adds a leased job to what was claimed. `policies` are those of the queues that were read.
fn add(claimed: &mut Claimed, policies: &HashMap<QueueId, Arc<Policy>>, row: LeasedRow, now: Timestamp) {
    let (webhook, queue, revision) = (row.webhook, row.queue, row.revision);
    let large = row.payload_bytes.filter(|_| row.payload.is_none());
    match claimed_job(policies, row, now) {
        Ok(job) => {
            if let Some(bytes) = large {
                claimed.large.insert(job.lease.job.webhook, usize::try_from(bytes).unwrap_or(usize::MAX));
            }
            claimed.changes.push(Change {
                job: job.lease.job,
                route: job.route.clone(),
                status: Status::Processing,
                attempt_count: job.attempt,
                updated_at: now,
                revision: revision.cast_unsigned(),
                last_error: None,
                next_attempt_at: None,
            });
            claimed.jobs.push(job);
        }
        // The lease expires, and the job is taken over, until its attempts are used up.
        Err(error) => {
            tracing::error!(webhook_id = %webhook, queue, error = %error, "a claimed job cannot be read");
        }
    }
}

/// The result of one round.
struct Round {
    is_contended: bool,
    /// Whether the round has learnt something that may let another round find more jobs.
    is_learnt: bool,
}

/// Leases the planned jobs, and updates the schedule with what the statements found. Adds to `leased`, which is empty,
/// what was leased, also if there is an error: the statements that succeeded are committed.
async fn claim_planned(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    planned: Planned,
    claim: &Claim,
    now: Timestamp,
    leased: &mut Leased,
) -> QueryResult<Round> {
    let Planned { shares, pauses, tripped, moment } = planned;
    let queues = shares.iter().flat_map(|share| &share.queues).copied().collect::<Vec<_>>();
    let (limited, free): (Vec<Share>, Vec<Share>) =
        shares.into_iter().partition(|share| limits::is_limited(&share.policy, share.trip));
    let leasing = Leasing {
        now,
        lease_ms: i64::try_from(claim.lease.as_millis()).unwrap_or(i64::MAX),
        worker: &claim.worker,
        pauses: &pauses,
        tripped: &tripped,
        slots: [shared.slot(), shared.slot()],
    };
    if !free.is_empty() {
        lease(connection, &free, &leasing, leased).await?;
    }
    let limited = limits::claim(connection, limited, &leasing).await?;
    leased.jobs.extend(limited.leased.jobs);
    leased.found.extend(limited.leased.found);

    shared.schedule.found(moment, &leased.found);
    for standing in limited.standings {
        shared.schedule.limited(moment, &standing.route, standing.pace, standing.is_full);
    }
    let oldest = lease_jobs::oldest(leased)?;
    for queue in queues.iter().filter(|queue| leased.found.iter().any(|found| found.queue == queue.id)) {
        let oldest = oldest.get(&queue.id).copied().unwrap_or(now).min(now);
        shared.schedule.read_from(moment, queue, oldest);
    }
    let is_exhausted = leased.found.iter().any(|found| found.next().is_none_or(|next| next > now));
    let is_corrected = correct(shared, connection, &queues, leased, now).await?;
    let is_learnt = is_corrected || is_exhausted || limited.is_refused;
    Ok(Round { is_contended: limited.is_contended, is_learnt })
}

/// Finds out why due queues returned no jobs: an unknown pause or breaker, a queue of another route, a lane whose row is
/// due too early, or a queue that was not known to be ordered. Returns whether it found a reason.
async fn correct(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    queues: &[SharedQueue],
    leased: &Leased,
    now: Timestamp,
) -> QueryResult<bool> {
    let is_missed = leased.jobs.is_empty()
        && leased.found.iter().any(|found| found.next().is_some_and(|next| next <= now));
    let is_held = is_missed && look_at_holds(shared, connection).await?;
    let is_of_others = is_missed && look_at_queues(shared, connection, queues).await?;
    let is_found = |queue| leased.jobs.iter().any(|job| job.queue == rows::queue_number(queue));
    let due = leased.found.iter().filter(|found| found.lane.is_some_and(|due| due <= now));
    let due = due.map(|found| found.queue).filter(|queue| !is_found(*queue)).collect::<Vec<_>>();
    // The lanes of a queue that was not known to be ordered were not read.
    let (ordered, unknown): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|due| queues.iter().any(|queue| queue.id == *due && queue.is_ordered));
    let is_corrected = !ordered.is_empty() && lanes::correct(connection, &ordered, now).await?;
    Ok(is_held || is_of_others || is_corrected || !unknown.is_empty())
}

/// Reads the routes of the queues. Returns whether they differ from what was known.
async fn look_at_queues(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    queues: &[SharedQueue],
) -> QueryResult<bool> {
    let numbers = queues.iter().map(|queue| queue.id).collect::<Vec<_>>();
    queue_names::read_anew(&shared.schedule, connection, &numbers).await
}

/// Reads what holds whole routes and sources. Returns whether it differs from what was known.
async fn look_at_holds(shared: &Shared, connection: &mut AsyncPgConnection) -> QueryResult<bool> {
    let moment = shared.schedule.moment();
    let is_paused = shared.schedule.set_paused(moment, pauses::all(connection).await?);
    Ok(breakers::take(shared, moment, breakers::all(connection).await?) || is_paused)
}

fn claimed_job(
    policies: &HashMap<QueueId, Arc<Policy>>,
    row: LeasedRow,
    claimed_at: Timestamp,
) -> QueryResult<ClaimedJob> {
    let lease = row.lease()?;
    let policy = policies.get(&lease.job.queue);
    let policy = policy.ok_or_else(|| rows::unreadable(format!("queue {} was not read", row.queue)))?;
    Ok(ClaimedJob {
        lease,
        route: policy.route.clone(),
        order: row.lane.as_deref().and_then(lanes::order),
        source: Source::new(row.source).map_err(rows::unreadable)?,
        idempotency_key: IdempotencyKey::new(row.idempotency_key).map_err(rows::unreadable)?,
        event_type: EventType::new(row.event_type).map_err(rows::unreadable)?,
        payload: row.payload,
        content_type: rows::content_type(&row.content_type),
        traceparent: rows::traceparent(&row.traceparent)?,
        attempt: rows::count(row.attempts)?,
        attempt_of_run: rows::count(row.attempts - row.uncounted_attempts)?,
        run: rows::count(row.run)?,
        available_at: rows::time(row.available_at)?,
        claimed_at,
    })
}

statement! { Pg;
    struct SelectPayloads { webhooks: Vec<Uuid> as Array<SqlUuid>, }
    returns (SqlUuid, Nullable<Binary>);
    "SELECT id, payload FROM webhooks WHERE id = ANY (?)"
}
