//! Pauses. The database stores them for all replicas.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel::upsert::excluded;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};

use super::breakers;
use super::pool::{answer, refused};
use super::rows::{self, pg_time};
use super::schema::pauses;
use super::shared::Shared;
use crate::domain::error::Result;
use crate::store::columns::pause_target;
use crate::store::{NewPause, Pause, PauseTarget, TrippedBreaker};

/// A pause in force.
#[derive(Queryable, Insertable)]
#[diesel(table_name = pauses)]
struct PauseRow {
    scope: i16,
    name: String,
    since: PgTimestamp,
    actor: String,
    reason: Option<String>,
}

/// The scope and the name of a pause, as stored in the database.
pub(super) fn key(pause: &Pause) -> (i16, &str) {
    (pause.target.scope(), pause.target.name())
}

impl PauseRow {
    fn new(pause: Pause) -> Self {
        let Pause { target, since, actor, reason } = pause;
        let (scope, name) = (target.scope(), target.name().to_owned());
        Self { scope, name, since: pg_time(since), actor, reason }
    }

    fn into_pause(self) -> QueryResult<Pause> {
        let Self { scope, name, since, actor, reason } = self;
        Ok(Pause { target: pause_target(scope, name)?, since: rows::time(since)?, actor, reason })
    }
}

/// The condition that there is no pause besides those that the plan knew, as arrays of scopes and names.
macro_rules! no_unknown_pause {
    () => {
        "NOT EXISTS (
             SELECT 1 FROM pauses WHERE ((scope, name) IN (SELECT * FROM unnest(?, ?) AS p (scope, name))) IS NOT TRUE
         )"
    };
}

pub(super) use no_unknown_pause;

/// All pauses.
pub(super) async fn all(connection: &mut AsyncPgConnection) -> QueryResult<Vec<Pause>> {
    let rows = pauses::table.order((pauses::scope, pauses::name)).load::<PauseRow>(connection).await?;
    rows.into_iter().map(PauseRow::into_pause).collect()
}

/// All pauses, read on a connection of the pool.
pub(super) async fn read(shared: &Shared) -> Result<Vec<Pause>> {
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let reading = answer(all(&mut connection)).await;
    connection.release(reading).map_err(refused)
}

/// Reads all pauses into the schedule.
pub(super) async fn refresh(shared: &Shared) -> Result<()> {
    let moment = shared.schedule.moment();
    let pauses = read(shared).await?;
    shared.schedule.set_paused(moment, pauses);
    Ok(())
}

/// Pauses a target. A target that is already paused keeps the time of its pause, and gets the new actor and reason.
pub(super) async fn pause(shared: &Shared, new: &NewPause) -> Result<Pause> {
    let pause = Pause::new(new, shared.now());
    let row = PauseRow::new(pause.clone());
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let pausing = answer(async {
        diesel::insert_into(pauses::table)
            .values(&row)
            .on_conflict((pauses::scope, pauses::name))
            .do_update()
            .set((pauses::actor.eq(excluded(pauses::actor)), pauses::reason.eq(excluded(pauses::reason))))
            .execute(&mut *connection)
            .await?;
        all(&mut connection).await
    });
    let pausing = pausing.await;
    let pauses = connection.release(pausing).map_err(refused)?;
    shared.schedule.pauses_written(pauses.clone());
    shared.notifier.tell_paused();
    // The pause is missing if another process has already resumed the target.
    Ok(pauses.into_iter().find(|stored| stored.target == pause.target).unwrap_or(pause))
}

/// What is stored after a target was resumed.
struct Resumed {
    was_paused: bool,
    pauses: Vec<Pause>,
    /// All breakers, if that of the route was closed.
    breakers: Option<Vec<TrippedBreaker>>,
}

/// Resumes a target, and closes the breaker of a route. Returns false if it was not paused.
pub(super) async fn resume(shared: &Shared, target: &PauseTarget) -> Result<bool> {
    let mut connection = shared.asking.get().await.map_err(refused)?;
    // One transaction: after an error nothing has changed, and so nothing is left to be announced.
    let resuming =
        connection.transaction::<_, QueryError, _>(async |connection| resume_in(connection, target).await);
    let resuming = answer(resuming).await;
    let Resumed { was_paused, pauses, breakers } = connection.release(resuming).map_err(refused)?;
    shared.schedule.pauses_written(pauses);
    if was_paused {
        shared.wake();
        shared.notifier.tell_paused();
    }
    if let (PauseTarget::Route(route), Some(breakers)) = (target, breakers) {
        breakers::closed_by_operator(shared, route, breakers);
    }
    Ok(was_paused)
}

async fn resume_in(connection: &mut AsyncPgConnection, target: &PauseTarget) -> QueryResult<Resumed> {
    let pause = pauses::table.find((target.scope(), target.name()));
    let resumed = diesel::delete(pause).execute(connection).await?;
    let breakers = match target {
        PauseTarget::Route(route) => breakers::close(connection, route).await?,
        PauseTarget::Source(_) | PauseTarget::Everything => None,
    };
    Ok(Resumed { was_paused: resumed > 0, pauses: all(connection).await?, breakers })
}
