//! The steps of a replay. A reader looks for the jobs, so that the writer only has to restart them.

use std::ops::Range;

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use jiff::Timestamp;

use super::replays::{CountsRow, ReplayRow, running};
use super::schema::{jobs, replays};
use super::transaction::{Refusal, Transaction};
use super::{SqliteStore, due, list, restart, rows};
use crate::domain::error::Result;
use crate::domain::policy::Policies;
use crate::domain::replay::{ReplayState, WaitsFor};
use crate::domain::route::Rate;
use crate::domain::webhook::WebhookStatus;
use crate::store::replays::{
    Behind, Choice, Chosen, NOTED_AFTER, STEP_ROWS, due_in, most_at_once, next_at, pause, queues,
};
use crate::store::{ListQuery, Replay, ReplayStep};

/// The result of the reading part of a step.
enum Found {
    /// Nothing can be restarted now. The number of the replay and what it waits for, if that has to be noted.
    Nothing(ReplayStep, Option<(i64, WaitsFor)>),
    /// These jobs can be restarted.
    Jobs(Box<Jobs>),
}

/// The jobs that a step restarts.
struct Jobs {
    row: ReplayRow,
    rate: Option<Rate>,
    chosen: Chosen,
    /// Where the next step begins.
    position: i64,
}

/// Does the next step of the running replay.
pub(super) async fn step(store: &SqliteStore, most: usize) -> Result<ReplayStep> {
    let (policies, now) = (store.committed.policies(), store.clock.now());
    match store.readers()?.run(move |connection| look(connection, &policies, most, now)).await? {
        Found::Nothing(step, None) => Ok(step),
        Found::Nothing(step, Some((number, waits_for))) => {
            let noted = store
                .writer
                .run(move |transaction| note(transaction, number, &waits_for).map_err(Refusal::Query));
            noted.await?;
            Ok(step)
        }
        Found::Jobs(jobs) => store.writer.run(move |transaction| advance(transaction, &jobs)).await,
    }
}

/// Finds the jobs of the next step.
fn look(
    connection: &mut SqliteConnection,
    policies: &Policies,
    most: usize,
    now: Timestamp,
) -> QueryResult<Found> {
    let nothing = |step| Ok(Found::Nothing(step, None));
    let Some(row) = running(connection)? else { return nothing(ReplayStep::Idle) };
    let Replay { filter, rate, updated_at, dry_run, .. } = row.clone().into_replay()?;
    let filter = filter.query().map_err(rows::unreadable)?;
    let rate = rate.filter(|_| !dry_run);
    let next = row.next_at.map(Timestamp::from_microsecond).transpose().map_err(rows::unreadable)?;
    if let Some(wait) = rate.and_then(|_| due_in(next, updated_at, now)) {
        return nothing(ReplayStep::Paced(wait));
    }
    let most = rate.map_or(most, |rate| most.min(most_at_once(rate))).max(1);
    let places = row.position..place_after(connection, row.position..row.ends_at)?;
    // A dry run only counts, so it takes all that it looks at.
    let most = if dry_run { usize::MAX } else { most };
    let (webhooks, end) = list::oldest(connection, &filter, places, most)?;
    let behind = if dry_run { Behind::default() } else { behind(connection, &webhooks, &filter, now)? };
    let choice = Choice { filter: &filter, policies, behind: &behind.queues, most };
    let mut chosen = choice.of(&webhooks);
    if let Some(route) = chosen.held_by.clone().filter(|_| chosen.counts.webhooks == 0) {
        let waits_for = WaitsFor::Route(route);
        let is_to_be_noted = behind.longest >= NOTED_AFTER && !row.has_noted(&waits_for);
        let step = ReplayStep::Behind(pause(behind.longest));
        return Ok(Found::Nothing(step, is_to_be_noted.then_some((row.number, waits_for))));
    }
    if dry_run {
        count(connection, &mut chosen)?;
    }
    let position = position_after(&webhooks, &chosen, end);
    Ok(Found::Jobs(Box::new(Jobs { row, rate, chosen, position })))
}

/// The place before which the next [`STEP_ROWS`] jobs of `places` are.
fn place_after(connection: &mut SqliteConnection, places: Range<i64>) -> QueryResult<i64> {
    let last = jobs::table
        .filter(jobs::webhook.ge(places.start).and(jobs::webhook.lt(places.end)))
        .order(jobs::webhook)
        .offset(STEP_ROWS - 1)
        .limit(1)
        .select(jobs::webhook)
        .get_result::<i64>(connection)
        .optional()?;
    Ok(last.map_or(places.end, |last| last.saturating_add(1)))
}

/// The place after the webhooks that a step deals with. `webhooks` are all that match before `end`.
fn position_after(webhooks: &[WebhookStatus], chosen: &Chosen, end: i64) -> i64 {
    let dealt_with = usize::try_from(chosen.counts.webhooks).unwrap_or(usize::MAX);
    webhooks.get(dealt_with).map_or(end, |next| next.id.sequence().as_i64())
}

/// The queues of these webhooks whose due jobs wait to start.
fn behind(
    connection: &mut SqliteConnection,
    webhooks: &[WebhookStatus],
    filter: &ListQuery,
    now: Timestamp,
) -> QueryResult<Behind> {
    let mut behind = Behind::default();
    for queue in queues(webhooks, filter) {
        behind.note(queue, due::first(connection, queue)?, now);
    }
    Ok(behind)
}

/// Counts the jobs that a dry run would restart.
fn count(connection: &mut SqliteConnection, chosen: &mut Chosen) -> QueryResult<()> {
    for (job, status) in std::mem::take(&mut chosen.jobs) {
        match restart::find(connection, job, status)? {
            Some(finished) if finished.has_payload => chosen.counts.jobs += 1,
            Some(_) => chosen.counts.payload_gone += 1,
            None => {}
        }
    }
    Ok(())
}

/// Restarts the jobs, and moves the replay past their webhooks.
fn advance(transaction: &mut Transaction<'_>, step: &Jobs) -> std::result::Result<ReplayStep, Refusal> {
    let Jobs { row, rate, chosen, position } = step;
    let (of_replay, now) = (replays::table.find(row.number), transaction.context.clock.now());
    let stands = of_replay.select((replays::state, replays::position));
    if stands.get_result::<(i64, i64)>(transaction.connection)? != (row.state, row.position) {
        // Another step came first, or the replay has ended. The next step finds out.
        return Ok(ReplayStep::Moved);
    }
    let backlog = transaction.context.memory.counts.unfinished();
    if !chosen.jobs.is_empty() && backlog.saturating_mul(2) >= transaction.context.max_backlog {
        if !row.has_noted(&WaitsFor::Backlog) {
            note(transaction, row.number, &WaitsFor::Backlog)?;
        }
        return Ok(ReplayStep::Behind(NOTED_AFTER));
    }
    let mut counts = row.counts().plus(chosen.counts);
    let mut restarted = 0;
    for (job, status) in &chosen.jobs {
        match restart::find(transaction.connection, *job, *status)? {
            Some(finished) if finished.has_payload => {
                restart::restart(transaction, *job, &finished, Some(row.number), now)?;
                restarted += 1;
            }
            Some(_) => counts.payload_gone += 1,
            None => {}
        }
    }
    counts.jobs += restarted as u64;
    let next = row.next_at.and_then(|next| Timestamp::from_microsecond(next).ok());
    let next = rate.map(|rate| next_at(next, rate, restarted, now).as_microsecond());
    let is_over = *position >= row.ends_at;
    let state = if is_over { ReplayState::Completed } else { ReplayState::Running };
    let now = now.as_millisecond();
    diesel::update(of_replay)
        .set((
            CountsRow::from(counts),
            replays::state.eq(state as i64),
            replays::position.eq(*position),
            replays::next_at.eq(next),
            replays::waits_for.eq(None::<String>),
            replays::updated_at.eq(now),
            replays::ended_at.eq(is_over.then_some(now)),
        ))
        .execute(transaction.connection)?;
    Ok(ReplayStep::Moved)
}

/// Notes what a running replay waits for.
fn note(transaction: &mut Transaction<'_>, number: i64, waits_for: &WaitsFor) -> QueryResult<()> {
    let running = replays::state.eq(ReplayState::Running as i64);
    diesel::update(replays::table.filter(replays::number.eq(number).and(running)))
        .set(replays::waits_for.eq(waits_for.stored()))
        .execute(transaction.connection)
        .map(drop)
}
