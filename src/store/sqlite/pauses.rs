//! Pauses of everything, of a route or of a source.

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use super::schema::pauses;
use super::transaction::{Refusal, Transaction};
use super::{breakers, rows};
use crate::store::columns::pause_target;
use crate::store::{NewPause, Pause, PauseTarget};

#[derive(Queryable)]
struct PauseRow {
    scope: i64,
    name: String,
    since: i64,
    actor: String,
    reason: Option<String>,
}

/// Everything that is paused.
pub(super) fn load(connection: &mut SqliteConnection) -> QueryResult<Vec<Pause>> {
    let rows = pauses::table.order((pauses::scope, pauses::name)).load::<PauseRow>(connection)?;
    rows.into_iter()
        .map(|PauseRow { scope, name, since, actor, reason }| {
            let target = pause_target(scope, name)?;
            Ok(Pause { target, since: rows::time(since)?, actor, reason })
        })
        .collect()
}

/// Pauses a target. A target that is already paused keeps the time of its pause, and gets the new actor and reason.
pub(super) fn pause(transaction: &mut Transaction<'_>, new: &NewPause) -> Result<Pause, Refusal> {
    let context = &transaction.context;
    let paused = context.memory.pauses().iter().find(|pause| pause.target == new.target);
    let pause = Pause::new(new, paused.map_or_else(|| context.clock.now(), |pause| pause.since));
    diesel::replace_into(pauses::table)
        .values((
            pauses::scope.eq(i64::from(pause.target.scope())),
            pauses::name.eq(pause.target.name()),
            pauses::since.eq(pause.since.as_millisecond()),
            pauses::actor.eq(&pause.actor),
            pauses::reason.eq(pause.reason.as_deref()),
        ))
        .execute(transaction.connection)?;
    reload(transaction)?;
    Ok(pause)
}

/// Resumes a target, and closes the breaker of a route. Returns false if it was not paused.
pub(super) fn resume(transaction: &mut Transaction<'_>, target: &PauseTarget) -> Result<bool, Refusal> {
    if let PauseTarget::Route(route) = target {
        breakers::close(transaction, route)?;
    }
    let removed = diesel::delete(pauses::table.find((i64::from(target.scope()), target.name())))
        .execute(transaction.connection)?;
    if removed > 0 {
        reload(transaction)?;
        transaction.lets_start();
    }
    Ok(removed > 0)
}

fn reload(transaction: &mut Transaction<'_>) -> QueryResult<()> {
    let pauses = load(transaction.connection)?;
    transaction.context.memory.set_pauses(pauses);
    Ok(())
}
