//! Starts, ends and shows replays. `replay_step` does their steps.

use async_trait::async_trait;
use diesel::dsl::{max, min};
use diesel::prelude::*;
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::schema::{replays, webhooks};
use super::transaction::{Refusal, Transaction};
use super::{SqliteStore, by_hand, replay_step, rows};
use crate::domain::error::Result;
use crate::domain::id::{Sequence, WebhookId};
use crate::domain::job::Event;
use crate::domain::replay::{ReplayCounts, ReplayState, WaitsFor};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::replays::{StoredReplay, already_running, check_cancellable, not_found};
use crate::store::{CancelledReplay, NewReplay, Replay, ReplayStep, Replays};

#[async_trait]
impl Replays for SqliteStore {
    async fn replay_webhook(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        let replay = Event::Replay;
        self.writer.run(move |transaction| by_hand::run_again(transaction, id, route.as_ref(), replay)).await
    }

    async fn start_replay(&self, new: NewReplay) -> Result<Replay> {
        self.writer.run(move |transaction| start(transaction, &new)).await
    }

    async fn step_replay(&self, jobs: usize) -> Result<ReplayStep> {
        replay_step::step(self, jobs).await
    }

    async fn cancel_replay(&self, number: u64) -> Result<CancelledReplay> {
        self.writer.run(move |transaction| cancel(transaction, number)).await
    }

    async fn replay(&self, number: u64) -> Result<Replay> {
        let found = self.readers()?.run(move |connection| find(connection, number)).await?;
        found.ok_or_else(|| not_found(number))
    }

    async fn replays(&self, before: Option<u64>, limit: usize) -> Result<Vec<Replay>> {
        self.readers()?.run(move |connection| list(connection, before, limit)).await
    }
}

/// A replay.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = replays, check_for_backend(Sqlite), treat_none_as_default_value = false)]
pub(super) struct ReplayRow {
    pub(super) number: i64,
    pub(super) query: String,
    pub(super) reason: Option<String>,
    pub(super) actor: String,
    pub(super) rate: Option<String>,
    pub(super) dry_run: bool,
    pub(super) state: i64,
    pub(super) begins_at: i64,
    pub(super) position: i64,
    pub(super) ends_at: i64,
    pub(super) next_at: Option<i64>,
    webhooks: i64,
    jobs: i64,
    unfinished: i64,
    payload_gone: i64,
    route_gone: i64,
    without_jobs: i64,
    pub(super) waits_for: Option<String>,
    pub(super) started_at: i64,
    pub(super) updated_at: i64,
    pub(super) ended_at: Option<i64>,
}

/// The counts of a replay, to be changed.
#[derive(AsChangeset)]
#[diesel(table_name = replays)]
pub(super) struct CountsRow {
    webhooks: i64,
    jobs: i64,
    unfinished: i64,
    payload_gone: i64,
    route_gone: i64,
    without_jobs: i64,
}

impl From<ReplayCounts> for CountsRow {
    fn from(counts: ReplayCounts) -> Self {
        Self {
            webhooks: counts.webhooks.cast_signed(),
            jobs: counts.jobs.cast_signed(),
            unfinished: counts.unfinished.cast_signed(),
            payload_gone: counts.payload_gone.cast_signed(),
            route_gone: counts.route_gone.cast_signed(),
            without_jobs: counts.without_jobs.cast_signed(),
        }
    }
}

impl ReplayRow {
    /// What the replay has done so far.
    pub(super) fn counts(&self) -> ReplayCounts {
        ReplayCounts {
            webhooks: self.webhooks.cast_unsigned(),
            jobs: self.jobs.cast_unsigned(),
            unfinished: self.unfinished.cast_unsigned(),
            payload_gone: self.payload_gone.cast_unsigned(),
            route_gone: self.route_gone.cast_unsigned(),
            without_jobs: self.without_jobs.cast_unsigned(),
        }
    }

    /// Whether it is noted that the replay waits for this.
    pub(super) fn has_noted(&self, waits_for: &WaitsFor) -> bool {
        self.waits_for.as_deref() == Some(waits_for.stored())
    }

    /// The replay.
    pub(super) fn into_replay(self) -> QueryResult<Replay> {
        let places = [self.begins_at, self.position, self.ends_at];
        let stored = StoredReplay {
            counts: self.counts(),
            number: self.number,
            query: self.query,
            reason: self.reason,
            actor: self.actor,
            rate: self.rate,
            dry_run: self.dry_run,
            state: self.state,
            waits_for: self.waits_for,
            places: places.map(|place| Sequence::from_i64(place).time()),
            started_at: rows::time(self.started_at)?,
            updated_at: rows::time(self.updated_at)?,
            ended_at: self.ended_at.map(rows::time).transpose()?,
        };
        stored.into_replay()
    }
}

/// The running replay, if there is one.
pub(super) fn running(connection: &mut SqliteConnection) -> QueryResult<Option<ReplayRow>> {
    let running = replays::table.filter(replays::state.eq(ReplayState::Running as i64));
    running.select(ReplayRow::as_select()).get_result(connection).optional()
}

/// All replays, oldest first.
pub(super) fn all(connection: &mut SqliteConnection) -> QueryResult<Vec<ReplayRow>> {
    replays::table.order(replays::number).select(ReplayRow::as_select()).load(connection)
}

fn start(transaction: &mut Transaction<'_>, new: &NewReplay) -> std::result::Result<Replay, Refusal> {
    let connection = &mut *transaction.connection;
    if let Some(running) = running(connection)? {
        return Err(already_running(Some(running.number)).into());
    }
    let last = replays::table.select(max(replays::number)).get_result::<Option<i64>>(connection)?;
    let (begins_at, ends_at) = places(connection, new)?;
    let now = transaction.context.clock.now().as_millisecond();
    let row = ReplayRow {
        number: last.unwrap_or(0) + 1,
        query: new.filter.to_text(),
        reason: new.reason.as_ref().map(ToString::to_string),
        actor: new.actor.clone(),
        rate: new.rate.map(|rate| rate.to_string()),
        dry_run: new.dry_run,
        state: ReplayState::Running as i64,
        begins_at,
        position: begins_at,
        ends_at,
        next_at: None,
        webhooks: 0,
        jobs: 0,
        unfinished: 0,
        payload_gone: 0,
        route_gone: 0,
        without_jobs: 0,
        waits_for: None,
        started_at: now,
        updated_at: now,
        ended_at: None,
    };
    diesel::insert_into(replays::table).values(&row).execute(connection)?;
    Ok(row.into_replay()?)
}

/// The sequences between which the webhooks of a replay are: the first one, and the one after the last.
fn places(connection: &mut SqliteConnection, new: &NewReplay) -> QueryResult<(i64, i64)> {
    let first_at = |time| Sequence::first_at(time).as_i64();
    let earliest = new.filter.accepted_after.map_or(0, first_at);
    let first = webhooks::table.filter(webhooks::sequence.ge(earliest)).select(min(webhooks::sequence));
    let first = first.get_result::<Option<i64>>(connection)?;
    let last = webhooks::table.select(max(webhooks::sequence)).get_result::<Option<i64>>(connection)?;
    let after_last = last.map_or(0, |last| last.saturating_add(1));
    let ends_at = new.filter.accepted_before.map_or(after_last, |time| after_last.min(first_at(time)));
    Ok((first.unwrap_or(ends_at).min(ends_at), ends_at))
}

fn cancel(transaction: &mut Transaction<'_>, number: u64) -> std::result::Result<CancelledReplay, Refusal> {
    let connection = &mut *transaction.connection;
    let Some(replay) = find(connection, number)? else { return Err(not_found(number).into()) };
    check_cancellable(&replay)?;
    if replay.state == ReplayState::Cancelled {
        return Ok(CancelledReplay { replay, changed: false });
    }
    let now = transaction.context.clock.now().as_millisecond();
    let cancelled = diesel::update(replays::table.find(number.cast_signed()))
        .set((
            replays::state.eq(ReplayState::Cancelled as i64),
            replays::waits_for.eq(None::<String>),
            replays::ended_at.eq(now),
        ))
        .returning(ReplayRow::as_returning())
        .get_result(connection)?;
    Ok(CancelledReplay { replay: cancelled.into_replay()?, changed: true })
}

fn find(connection: &mut SqliteConnection, number: u64) -> QueryResult<Option<Replay>> {
    let Ok(number) = i64::try_from(number) else { return Ok(None) };
    let found = replays::table.find(number).select(ReplayRow::as_select());
    found.get_result(connection).optional()?.map(ReplayRow::into_replay).transpose()
}

fn list(connection: &mut SqliteConnection, before: Option<u64>, limit: usize) -> QueryResult<Vec<Replay>> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = replays::table.filter(replays::number.lt(before)).order(replays::number.desc()).limit(limit);
    let found = found.select(ReplayRow::as_select()).load(connection)?;
    found.into_iter().map(ReplayRow::into_replay).collect()
}
