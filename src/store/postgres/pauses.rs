//! Pauses. The database stores them for all replicas.

use diesel::data_types::PgTimestamp;
use diesel::prelude::*;
use diesel::result::Error as QueryError;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};

use super::breakers;
use super::pool::{answer, refused};
use super::rows::{self, pg_time};
use super::schema::pauses;
use super::shared::Shared;
use crate::domain::error::Result;
use crate::store::columns::pause_target;
use crate::store::{Pause, PauseTarget, TrippedBreaker};

/// A pause in force.
#[derive(Queryable, Insertable)]
#[diesel(table_name = pauses)]
struct PauseRow {
    scope: i16,
    name: String,
    since: PgTimestamp,
}

/// The scope and the name of a pause, as stored in the database.
pub(super) fn key(pause: &Pause) -> (i16, &str) {
    (pause.target.scope(), pause.target.name())
}

impl PauseRow {
    fn new(target: &PauseTarget, since: jiff::Timestamp) -> Self {
        Self { scope: target.scope(), name: target.name().to_owned(), since: pg_time(since) }
    }

    fn into_pause(self) -> QueryResult<Pause> {
        Ok(Pause { target: pause_target(self.scope, self.name)?, since: rows::time(self.since)? })
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

/// Pauses a target. If it is already paused, returns the existing pause.
pub(super) async fn pause(shared: &Shared, target: PauseTarget) -> Result<Pause> {
    let row = PauseRow::new(&target, shared.now());
    let mut connection = shared.asking.get().await.map_err(refused)?;
    let pausing = answer(async {
        diesel::insert_into(pauses::table)
            .values(&row)
            .on_conflict_do_nothing()
            .execute(&mut *connection)
            .await?;
        all(&mut connection).await
    });
    let pausing = pausing.await;
    let pauses = connection.release(pausing).map_err(refused)?;
    shared.schedule.pauses_written(pauses.clone());
    shared.notifier.tell_paused();
    let since = pauses.into_iter().find(|pause| pause.target == target).map(|pause| pause.since);
    // The pause is missing if another process has already resumed the target.
    let since = since.map_or_else(|| rows::time(row.since), Ok).map_err(refused)?;
    Ok(Pause { target, since })
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
