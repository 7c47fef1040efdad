//! Keeps the actions of operators.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::{Sqlite, SqliteConnection};

use super::schema::actions;
use super::transaction::{Refusal, Transaction};
use super::{SqliteStore, rows};
use crate::domain::error::Result;
use crate::store::actions::{PURGE_ACTIONS, StoredAction};
use crate::store::statement::statement;
use crate::store::{Action, ActionQuery, Actions, NewAction};

#[async_trait]
impl Actions for SqliteStore {
    async fn record_action(&self, action: NewAction) -> Result<()> {
        self.writer.run(move |transaction| record(transaction, &action)).await
    }

    async fn actions(&self, query: ActionQuery) -> Result<Vec<Action>> {
        self.readers()?.run(move |connection| list(connection, &query)).await
    }

    async fn purge_actions(&self, kept: Duration) -> Result<usize> {
        self.writer.run(move |transaction| purge(transaction, kept)).await
    }
}

/// An action.
#[derive(Queryable, Selectable)]
#[diesel(table_name = actions, check_for_backend(Sqlite))]
struct ActionRow {
    number: i64,
    done_at: i64,
    actor: String,
    kind: String,
    webhook: Option<Vec<u8>>,
    route: Option<String>,
    source: Option<String>,
    replay: Option<i64>,
    reason: Option<String>,
    detail: Option<String>,
}

impl ActionRow {
    fn into_stored(self) -> QueryResult<StoredAction> {
        Ok(StoredAction {
            number: self.number,
            at: rows::time(self.done_at)?,
            actor: self.actor,
            kind: self.kind,
            webhook: self.webhook.as_deref().map(rows::id).transpose()?,
            route: self.route,
            source: self.source,
            replay: self.replay,
            reason: self.reason,
            detail: self.detail,
        })
    }
}

fn record(
    transaction: &mut Transaction<'_>,
    NewAction { actor, kind, target, reason, detail }: &NewAction,
) -> std::result::Result<(), Refusal> {
    let now = transaction.context.clock.now();
    diesel::insert_into(actions::table)
        .values((
            actions::done_at.eq(now.as_millisecond()),
            actions::actor.eq(actor),
            actions::kind.eq(kind.as_str()),
            actions::webhook.eq(target.webhook.as_ref().map(|id| id.as_bytes().as_slice())),
            actions::route.eq(target.route.as_ref().map(|route| route.as_str())),
            actions::source.eq(target.source.as_ref().map(|source| source.as_str())),
            actions::replay.eq(target.replay.map(u64::cast_signed)),
            actions::reason.eq(reason.as_ref().map(|reason| reason.as_str())),
            actions::detail.eq(detail.as_deref()),
        ))
        .execute(transaction.connection)?;
    Ok(())
}

fn list(connection: &mut SqliteConnection, query: &ActionQuery) -> QueryResult<Vec<Action>> {
    let before = query.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let found = actions::table.filter(actions::number.lt(before)).order(actions::number.desc()).limit(limit);
    let found = found.select(ActionRow::as_select());
    let found = match &query.webhook {
        None => found.load::<ActionRow>(connection)?,
        Some(id) => found.filter(actions::webhook.eq(id.as_bytes().as_slice())).load(connection)?,
    };
    found.into_iter().map(|row| row.into_stored()?.into_action()).collect()
}

/// The actions after the one with the number `after`, oldest first.
pub(super) fn after(
    connection: &mut SqliteConnection,
    after: i64,
    limit: usize,
) -> QueryResult<Vec<StoredAction>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = actions::table.filter(actions::number.gt(after)).order(actions::number).limit(limit);
    let found = found.select(ActionRow::as_select()).load::<ActionRow>(connection)?;
    found.into_iter().map(ActionRow::into_stored).collect()
}

fn purge(transaction: &mut Transaction<'_>, kept: Duration) -> std::result::Result<usize, Refusal> {
    let before = super::earlier(transaction.context.clock.now().as_millisecond(), kept);
    Ok(DeleteActions { most: PURGE_ACTIONS, before }.execute(transaction.connection)?)
}

// Looks at the oldest actions only. Their numbers are in the order of their times, unless the clock was set back.
statement! { Sqlite;
    struct DeleteActions {
        most: i64 as BigInt,
        before: i64 as BigInt,
    }
    returns ();
    "DELETE FROM actions WHERE number < (SELECT min(number) FROM actions) + ? AND done_at <= ?"
}
