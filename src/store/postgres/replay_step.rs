//! The steps of a replay. Each is one transaction, which locks the row of the replay first: one process at a time does a
//! step, whichever comes first.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::effects::Effects;
use super::pool::{answer, refused};
use super::replays::{CountsRow, ReplayRow, after, running};
use super::retry::{self, Finished};
use super::rows::{self, pg_time};
use super::schedule::SharedQueue;
use super::schema::{replays, webhooks};
use super::shared::Shared;
use super::{lanes, list, next_due};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::job::{JobId, Status};
use crate::domain::replay::{ReplayState, WaitsFor};
use crate::domain::webhook::WebhookStatus;
use crate::store::replays::{
    Behind, Choice, Chosen, NOTED_AFTER, STEP_ROWS, due_in, most_at_once, next_at, pause, queues,
};
use crate::store::{ListQuery, Replay, ReplayStep};

/// Does the next step of the running replay.
pub(super) async fn step(shared: &Shared, most: usize) -> Result<ReplayStep> {
    let now = shared.now();
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let stepping = answer(async {
        // Without a transaction: mostly no replay is running.
        if running(&mut connection).await?.is_none() {
            return Ok((ReplayStep::Idle, Effects::default()));
        }
        let stepping = connection.transaction::<_, QueryError, _>(async |connection| {
            step_once(shared, connection, most, now).await
        });
        stepping.await
    });
    let stepping = stepping.await;
    let (step, effects) = connection.release(stepping).map_err(refused)?;
    effects.announce(shared, now).map_err(refused)?;
    Ok(step)
}

async fn step_once(
    shared: &Shared,
    connection: &mut AsyncPgConnection,
    most: usize,
    now: Timestamp,
) -> QueryResult<(ReplayStep, Effects)> {
    let nothing = |step| Ok((step, Effects::default()));
    let Some(row) = lock(connection).await? else { return nothing(ReplayStep::Idle) };
    let Replay { filter, rate, updated_at, dry_run, .. } = row.clone().into_replay()?;
    let filter = filter.query().map_err(rows::unreadable)?;
    let rate = rate.filter(|_| !dry_run);
    let next = row.next_at.map(rows::time).transpose()?;
    if let Some(wait) = rate.and_then(|_| due_in(next, updated_at, now)) {
        return nothing(ReplayStep::Paced(wait));
    }
    let most = rate.map_or(most, |rate| most.min(most_at_once(rate))).max(1);
    let places = row.position..place_after(connection, row.position..row.ends_at).await?;
    // A dry run only counts, so it takes all that it looks at.
    let most = if dry_run { usize::MAX } else { most };
    let (found, end) = list::oldest(shared, connection, &filter, places, most).await?;
    let behind = if dry_run { Behind::default() } else { behind(connection, &found, &filter, now).await? };
    let policies = shared.schedule.policies();
    let chosen = Choice { filter: &filter, policies: &policies, behind: &behind.queues, most }.of(&found);
    if let Some(route) = chosen.held_by.clone().filter(|_| chosen.counts.webhooks == 0) {
        if behind.longest >= NOTED_AFTER {
            note(connection, &row, &WaitsFor::Route(route)).await?;
        }
        return nothing(ReplayStep::Behind(pause(behind.longest)));
    }
    if !dry_run && !chosen.jobs.is_empty() && shared.backlog.is_half_full(connection).await? {
        note(connection, &row, &WaitsFor::Backlog).await?;
        return nothing(ReplayStep::Behind(NOTED_AFTER));
    }
    let position = position_after(&found, &chosen, end);
    let mut counts = row.counts().plus(chosen.counts);
    let stored = with_payload(connection, &chosen, dry_run).await?;
    let (runnable, gone): (Vec<_>, Vec<_>) =
        chosen.jobs.into_iter().partition(|(job, _)| stored.contains(&job.webhook));
    counts.payload_gone += gone.len() as u64;
    let mut effects = Effects::default();
    let restarted = if dry_run {
        runnable.len()
    } else {
        restart(connection, row.number, runnable, now, &mut effects).await?
    };
    counts.jobs += restarted as u64;
    let next = rate.map(|rate| pg_time(next_at(next, rate, restarted, now)));
    let is_over = position >= row.ends_at;
    let state = if is_over { ReplayState::Completed } else { ReplayState::Running };
    let moved_at = pg_time(now);
    diesel::update(replays::table.find(row.number))
        .set((
            CountsRow::from(counts),
            replays::state.eq(state as i16),
            replays::position.eq(position),
            replays::next_at.eq(next),
            replays::waits_for.eq(None::<String>),
            replays::updated_at.eq(moved_at),
            replays::ended_at.eq(is_over.then_some(moved_at)),
        ))
        .execute(connection)
        .await?;
    effects.apply(connection, shared.slot()).await?;
    Ok((ReplayStep::Moved, effects))
}

/// Locks the running replay. Returns nothing if there is none, or another process does a step of it.
async fn lock(connection: &mut AsyncPgConnection) -> QueryResult<Option<ReplayRow>> {
    let running = replays::table.filter(replays::state.eq(ReplayState::Running as i16));
    let running = running.select(ReplayRow::as_select()).for_update().skip_locked();
    Ok(running.load::<ReplayRow>(connection).await?.pop())
}

/// The place before which the next [`STEP_ROWS`] webhooks of `places` are.
async fn place_after(connection: &mut AsyncPgConnection, places: Range<Uuid>) -> QueryResult<Uuid> {
    let last = webhooks::table
        .filter(webhooks::id.ge(places.start).and(webhooks::id.lt(places.end)))
        .order(webhooks::id)
        .offset(STEP_ROWS - 1)
        .select(webhooks::id);
    let last = last.first::<Uuid>(connection).await.optional()?;
    Ok(last.map_or(places.end, after))
}

/// The place after the webhooks that a step deals with. `found` are all that match before `end`.
fn position_after(found: &[WebhookStatus], chosen: &Chosen, end: Uuid) -> Uuid {
    let dealt_with = usize::try_from(chosen.counts.webhooks).unwrap_or(usize::MAX);
    found.get(dealt_with).map_or(end, |next| rows::uuid(next.id))
}

/// The queues of these webhooks whose due jobs wait to start.
async fn behind(
    connection: &mut AsyncPgConnection,
    found: &[WebhookStatus],
    filter: &ListQuery,
    now: Timestamp,
) -> QueryResult<Behind> {
    let of_queue = |id| SharedQueue { id, cursor: None, is_ordered: true };
    let asked = queues(found, filter).into_iter().map(of_queue).collect::<Vec<_>>();
    let mut behind = Behind::default();
    for due in next_due::next_due(connection, &asked, now).await? {
        behind.note(due.queue, due.next(), now);
    }
    Ok(behind)
}

/// The webhooks of the jobs whose payload is still stored. Unless it is a dry run, locks the webhooks until the transaction
/// ends, so that a purge and other operations cannot change them.
async fn with_payload(
    connection: &mut AsyncPgConnection,
    chosen: &Chosen,
    dry_run: bool,
) -> QueryResult<HashSet<WebhookId>> {
    let ids = chosen.jobs.iter().map(|(job, _)| rows::uuid(job.webhook)).collect::<BTreeSet<_>>();
    let found = webhooks::table
        .filter(webhooks::id.eq_any(ids.into_iter().collect::<Vec<_>>()))
        .order(webhooks::id)
        .select((webhooks::id, webhooks::payload.is_not_null()));
    let found = if dry_run {
        found.load::<(Uuid, bool)>(connection).await?
    } else {
        found.for_no_key_update().load::<(Uuid, bool)>(connection).await?
    };
    let with_payload = found.into_iter().filter(|(_, has_payload)| *has_payload);
    Ok(with_payload.map(|(id, _)| rows::id(id)).collect())
}

/// Restarts the jobs that still have their status. Returns how many these were.
async fn restart(
    connection: &mut AsyncPgConnection,
    replay: i64,
    jobs: Vec<(JobId, Status)>,
    now: Timestamp,
    effects: &mut Effects,
) -> QueryResult<usize> {
    if jobs.is_empty() {
        return Ok(0);
    }
    let finished = Finished::new(jobs.into_iter());
    let lanes = finished.lanes(connection).await?;
    lanes::lock_or_add(connection, lanes, now).await?;
    let finished = finished.lock(connection).await?;
    retry::restart(connection, finished, Some(replay), now, effects).await
}

/// Notes what a replay waits for, unless that is noted already. The replay is locked.
async fn note(connection: &mut AsyncPgConnection, row: &ReplayRow, waits_for: &WaitsFor) -> QueryResult<()> {
    if row.has_noted(waits_for) {
        return Ok(());
    }
    diesel::update(replays::table.find(row.number))
        .set(replays::waits_for.eq(waits_for.stored()))
        .execute(connection)
        .await
        .map(drop)
}
