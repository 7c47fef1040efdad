//! Retention: a purge first removes payloads, and later webhooks with all their rows, in small steps.
//!
//! A job that is past its retention is marked, so that the next step does not read it again. The payload is
//! removed in the step that finds all jobs of the webhook finished and past their retention. A quarantined webhook is
//! removed whole.

mod steps;

use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgTimestamp;
use diesel::result::Error as QueryError;
use diesel_async::AsyncPgConnection;
use jiff::Timestamp;

use super::pool::answer;
use super::rows::{self, pg_time};
use super::shared::Shared;
use crate::domain::job::Status;
use crate::domain::retention::Retention;
use crate::store::Purged;
use crate::telemetry::metrics::Stopwatch;

/// Maximum number of jobs in one step.
const PURGE_ROWS: i64 = 500;

/// Maximum number of bytes of payloads, headers and deliveries in one step, or those of one webhook: PostgreSQL
/// deletes each 2 KB of a long value as a row of its own. Each attempt counts as 1 KiB at least.
const PURGE_BYTES: usize = 64 * 1024 * 1024;

/// How often both limits of a step are halved at most, so that it takes one job.
const MOST_HALVINGS: u32 = 8;

const _: () = assert!(PURGE_ROWS >> MOST_HALVINGS == 1, "the smallest step takes no job, or more than one");

/// The time after which a purge leaves the rest of its steps to the next one, so that a stop of the process does not wait
/// for all steps on a slow database.
const PURGE_TIME: Duration = Duration::from_secs(2);

/// A step of a purge.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Drops payloads of jobs with this status.
    Payloads(Status),
    /// Deletes webhooks of jobs with this status.
    Webhooks(Status),
    /// Deletes quarantined webhooks.
    Quarantined,
    /// Deletes lanes without jobs.
    Lanes,
}

/// The steps of a purge, for each final status of webhooks that were accepted, and for what else is removed.
const STEPS: [Step; 10] = [
    Step::Payloads(Status::Completed),
    Step::Webhooks(Status::Completed),
    Step::Payloads(Status::DeadLettered),
    Step::Webhooks(Status::DeadLettered),
    Step::Payloads(Status::Cancelled),
    Step::Webhooks(Status::Cancelled),
    Step::Payloads(Status::Filtered),
    Step::Webhooks(Status::Filtered),
    Step::Quarantined,
    Step::Lanes,
];

/// Jobs that finished at or before these times are past their retention.
struct Past {
    completed: PgTimestamp,
    dead_lettered: PgTimestamp,
    keys: PgTimestamp,
    quarantined: PgTimestamp,
    now: Timestamp,
}

/// The limits of a step.
#[derive(Clone, Copy)]
struct Size {
    /// Maximum number of jobs or lanes.
    rows: i64,
    /// Maximum number of bytes of payloads, headers and deliveries, or those of one webhook.
    bytes: usize,
}

/// What a step has done.
#[derive(Default)]
struct Done {
    /// Webhooks that lost their payload.
    payloads: usize,
    /// Webhooks removed with all their rows.
    webhooks: usize,
    /// Whether there may be more for this step.
    more: bool,
    /// The queues of lanes that a deleted dead letter had blocked.
    freed: Vec<i32>,
}

/// What the next purge has to know of those before.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The index of the step to begin with.
    next: usize,
    /// How often the limits of each step are halved.
    halvings: [u32; STEPS.len()],
    /// How many of the last steps, one after the other, have nothing to go on with.
    idle: usize,
    /// Why one of these steps failed although its limits are the smallest.
    failed: Option<QueryError>,
}

/// Removes a bounded number of payloads and webhooks that are past their retention, and of lanes without
/// jobs.
///
/// A step that fails, such as one that takes longer than a statement may, holds no other step up. From then on its limits
/// are half as large, until it finds nothing more. Returns an error if a step fails with the smallest limits, and no other
/// step has more to remove.
pub(super) async fn purge(shared: &Shared, retention: &Retention) -> QueryResult<Purged> {
    let now = shared.now();
    let before = |kept: Duration| pg_time(now.saturating_sub(kept).unwrap_or(Timestamp::MIN));
    let past = Past {
        completed: before(retention.completed),
        dead_lettered: before(retention.dead_lettered),
        keys: before(retention.keys),
        quarantined: before(retention.quarantined),
        now,
    };
    let mut progress = shared.purging.lock().await;
    let mut purged = Purged::default();
    let took = Stopwatch::start();
    for _ in 0..STEPS.len() {
        if progress.idle == STEPS.len() || took.elapsed() >= PURGE_TIME {
            break;
        }
        let at = progress.next;
        let halvings = progress.halvings[at];
        let size = Size { rows: PURGE_ROWS >> halvings, bytes: PURGE_BYTES >> halvings };
        let mut connection = shared.asking.get().await?;
        progress.next = (at + 1) % STEPS.len();
        let running = answer(STEPS[at].run(&mut connection, &past, size, shared.slot())).await;
        let is_idle = match connection.release(running) {
            Ok(done) => {
                purged.payloads += done.payloads;
                purged.webhooks += done.webhooks;
                if !done.more {
                    progress.halvings[at] = 0;
                }
                if matches!(STEPS[at], Step::Quarantined) && done.webhooks > 0 {
                    shared.quarantining.make_room();
                }
                let due = done.freed.into_iter().map(|queue| Ok((rows::queue(queue)?, now)));
                shared.due(&due.collect::<QueryResult<Vec<_>>>()?);
                !done.more
            }
            Err(_) if halvings < MOST_HALVINGS => {
                progress.halvings[at] = halvings + 1;
                false
            }
            Err(error) => {
                progress.failed = Some(error);
                true
            }
        };
        if is_idle {
            progress.idle += 1;
        } else {
            (progress.idle, progress.failed) = (0, None);
        }
    }
    purged.more = progress.idle < STEPS.len();
    if purged.more {
        return Ok(purged);
    }
    progress.idle = 0;
    progress.failed.take().map_or(Ok(purged), Err)
}

impl Step {
    /// Runs the step. `slot` is the slot of `status_counts` that it writes to.
    async fn run(
        self,
        connection: &mut AsyncPgConnection,
        past: &Past,
        size: Size,
        slot: i16,
    ) -> QueryResult<Done> {
        let done = match self {
            Self::Payloads(status) => {
                let dropped = steps::drop_payloads(connection, status, past, size).await?;
                let payloads = usize::try_from(dropped.webhooks).unwrap_or(0);
                Done { payloads, more: dropped.marked_jobs > 0, ..Done::default() }
            }
            Self::Webhooks(status) => {
                let deleted = steps::delete_webhooks(connection, status, past, size, slot).await?;
                let webhooks = usize::try_from(deleted.webhooks).unwrap_or(0);
                let more = deleted.jobs + deleted.marked_jobs > 0;
                Done { webhooks, more, freed: deleted.freed, ..Done::default() }
            }
            Self::Quarantined => {
                let webhooks = steps::delete_quarantined(connection, past, size, slot).await?;
                Done { webhooks, more: webhooks > 0, ..Done::default() }
            }
            Self::Lanes => Done { more: steps::delete_lanes(connection, size).await? > 0, ..Done::default() },
        };
        Ok(done)
    }
}
