//! Starts, ends and shows replays. `replay_step` does their steps.
//!
//! A place among the webhooks is the id of the next one.

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::list::place;
use super::pool::{answer, refused};
use super::rows::{self, pg_time};
use super::schema::{replays, webhooks};
use super::shared::Shared;
use super::{PostgresStore, operate, queries, replay_step};
use crate::domain::error::Result;
use crate::domain::id::{Position, Sequence, WebhookId};
use crate::domain::job::Event;
use crate::domain::replay::{ReplayCounts, ReplayState, WaitsFor};
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookStatus;
use crate::store::replays::{StoredReplay, already_running, check_cancellable, not_found};
use crate::store::statement::statement;
use crate::store::{CancelledReplay, NewReplay, Replay, ReplayStep, Replays};

#[async_trait]
impl Replays for PostgresStore {
    async fn replay_webhook(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.run(async move |shared| operate::operate(&shared, id, route.as_ref(), Event::Replay).await).await
    }

    async fn start_replay(&self, new: NewReplay) -> Result<Replay> {
        self.run(async move |shared| start(&shared, &new).await).await
    }

    async fn step_replay(&self, jobs: usize) -> Result<ReplayStep> {
        self.run(async move |shared| replay_step::step(&shared, jobs).await).await
    }

    async fn cancel_replay(&self, number: u64) -> Result<CancelledReplay> {
        self.run(async move |shared| cancel(&shared, number).await).await
    }

    async fn replay(&self, number: u64) -> Result<Replay> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let finding = answer(find(&mut connection, number)).await;
            connection.release(finding).map_err(refused)?.ok_or_else(|| not_found(number))
        })
        .await
    }

    async fn replays(&self, before: Option<u64>, limit: usize) -> Result<Vec<Replay>> {
        self.run(async move |shared| list(&shared, before, limit).await.map_err(refused)).await
    }
}

/// A replay.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = replays)]
pub(super) struct ReplayRow {
    pub(super) number: i64,
    query: String,
    reason: Option<String>,
    actor: String,
    rate: Option<String>,
    dry_run: bool,
    state: i16,
    begins_at: Uuid,
    pub(super) position: Uuid,
    pub(super) ends_at: Uuid,
    pub(super) next_at: Option<PgTimestamp>,
    webhooks: i64,
    jobs: i64,
    unfinished: i64,
    payload_gone: i64,
    route_gone: i64,
    without_jobs: i64,
    waits_for: Option<String>,
    started_at: PgTimestamp,
    updated_at: PgTimestamp,
    ended_at: Option<PgTimestamp>,
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
            state: self.state.into(),
            waits_for: self.waits_for,
            places: places.map(|place| rows::id(place).time()),
            started_at: rows::time(self.started_at)?,
            updated_at: rows::time(self.updated_at)?,
            ended_at: self.ended_at.map(rows::time).transpose()?,
        };
        stored.into_replay()
    }
}

/// The place right after the webhook with this id.
pub(super) fn after(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

async fn start(shared: &Shared, new: &NewReplay) -> Result<Replay> {
    let now = pg_time(shared.now());
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let starting = answer(async {
        let (begins_at, ends_at) = places(&mut connection, new).await?;
        let query = new.filter.to_text();
        let rate = new.rate.map(|rate| rate.to_string());
        let inserting = InsertReplay {
            query: &query,
            reason: new.reason.as_ref().map(|reason| reason.as_str()),
            actor: &new.actor,
            rate: rate.as_deref(),
            dry_run: new.dry_run,
            begins_at,
            position: begins_at,
            ends_at,
            started_at: now,
            updated_at: now,
        };
        let number = inserting.get_result::<i64>(&mut *connection).await.optional()?;
        match number {
            Some(number) => Ok((find(&mut connection, number.cast_unsigned()).await?, None)),
            None => Ok((None, running(&mut connection).await?)),
        }
    });
    let starting = starting.await;
    let (started, running) = connection.release(starting).map_err(refused)?;
    started.ok_or_else(|| already_running(running))
}

/// The places between which the webhooks of a replay are: that of the first one, and that after the last.
async fn places(connection: &mut AsyncPgConnection, new: &NewReplay) -> QueryResult<(Uuid, Uuid)> {
    let first_at = |time| place(Position::before_all(Sequence::first_at(time)));
    let earliest = new.filter.accepted_after.map_or(Uuid::nil(), first_at);
    let first = webhooks::table.filter(webhooks::id.ge(earliest)).order(webhooks::id).select(webhooks::id);
    let first = first.first::<Uuid>(connection).await.optional()?;
    let last = queries::last_id(connection).await?;
    let after_last = last.map_or(Uuid::nil(), |last| after(rows::uuid(last)));
    let ends_at = new.filter.accepted_before.map_or(after_last, |time| after_last.min(first_at(time)));
    Ok((first.unwrap_or(ends_at).min(ends_at), ends_at))
}

/// The number of the running replay.
pub(super) async fn running(connection: &mut AsyncPgConnection) -> QueryResult<Option<i64>> {
    let running = replays::table.filter(replays::state.eq(ReplayState::Running as i16));
    running.select(replays::number).first(connection).await.optional()
}

async fn cancel(shared: &Shared, number: u64) -> Result<CancelledReplay> {
    let now = pg_time(shared.now());
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let cancelling = answer(async {
        let is_it = replays::number.eq(number.cast_signed());
        let running = replays::table.filter(is_it.and(replays::state.eq(ReplayState::Running as i16)));
        let cancelled = diesel::update(running)
            .set((
                replays::state.eq(ReplayState::Cancelled as i16),
                replays::waits_for.eq(None::<String>),
                replays::ended_at.eq(now),
            ))
            .execute(&mut *connection)
            .await?;
        Ok((find(&mut connection, number).await?, cancelled > 0))
    });
    let cancelling = cancelling.await;
    let (replay, changed) = connection.release(cancelling).map_err(refused)?;
    let replay = replay.ok_or_else(|| not_found(number))?;
    check_cancellable(&replay)?;
    Ok(CancelledReplay { replay, changed })
}

async fn find(connection: &mut AsyncPgConnection, number: u64) -> QueryResult<Option<Replay>> {
    let found = replays::table.find(number.cast_signed()).select(ReplayRow::as_select());
    let found = found.first::<ReplayRow>(connection).await.optional()?;
    found.map(ReplayRow::into_replay).transpose()
}

async fn list(shared: &Shared, before: Option<u64>, limit: usize) -> QueryResult<Vec<Replay>> {
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = replays::table.filter(replays::number.lt(before)).order(replays::number.desc()).limit(limit);
    let found = found.select(ReplayRow::as_select());
    let mut connection = shared.asking.get().await?;
    let looking = answer(found.load::<ReplayRow>(&mut *connection)).await;
    connection.release(looking)?.into_iter().map(ReplayRow::into_replay).collect()
}

// Returns nothing if another replay is running, or was started at the same time.
statement! { Pg;
    struct InsertReplay<'a> {
        query: &'a str as Text,
        reason: Option<&'a str> as Nullable<Text>,
        actor: &'a str as Text,
        rate: Option<&'a str> as Nullable<Text>,
        dry_run: bool as Bool,
        begins_at: Uuid as SqlUuid,
        position: Uuid as SqlUuid,
        ends_at: Uuid as SqlUuid,
        started_at: PgTimestamp as Timestamptz,
        updated_at: PgTimestamp as Timestamptz,
    }
    returns BigInt;
    "INSERT INTO replays (number, query, reason, actor, rate, dry_run, state, begins_at, position, ends_at, webhooks, jobs,
                          unfinished, payload_gone, route_gone, without_jobs, started_at, updated_at)
     SELECT coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0, 0, 0, 0, 0, 0, ?, ? FROM replays
     ON CONFLICT DO NOTHING
     RETURNING number"
}
