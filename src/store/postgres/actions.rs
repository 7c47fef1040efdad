//! Keeps the actions of operators.

use std::time::Duration;

use async_trait::async_trait;
use diesel::data_types::PgTimestamp;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::PostgresStore;
use super::pool::{answer, refused};
use super::rows::{self, pg_time};
use super::schema::actions;
use super::shared::Shared;
use crate::domain::error::Result;
use crate::store::actions::{PURGE_ACTIONS, StoredAction};
use crate::store::statement::statement;
use crate::store::{Action, ActionQuery, Actions, NewAction};

#[async_trait]
impl Actions for PostgresStore {
    async fn record_action(&self, action: NewAction) -> Result<()> {
        self.run(async move |shared| record(&shared, &action).await.map_err(refused)).await
    }

    async fn actions(&self, query: ActionQuery) -> Result<Vec<Action>> {
        self.run(async move |shared| list(&shared, &query).await.map_err(refused)).await
    }

    async fn purge_actions(&self, kept: Duration) -> Result<usize> {
        self.run(async move |shared| purge(&shared, kept).await.map_err(refused)).await
    }
}

/// An action.
#[derive(Queryable, Selectable)]
#[diesel(table_name = actions)]
struct ActionRow {
    number: i64,
    done_at: PgTimestamp,
    actor: String,
    kind: String,
    webhook: Option<Uuid>,
    route: Option<String>,
    source: Option<String>,
    replay: Option<i64>,
    reason: Option<String>,
    detail: Option<String>,
}

/// An action to record. The database numbers it.
#[derive(Insertable)]
#[diesel(table_name = actions)]
pub(super) struct NewActionRow<'a> {
    pub(super) done_at: PgTimestamp,
    pub(super) actor: &'a str,
    pub(super) kind: &'a str,
    pub(super) webhook: Option<Uuid>,
    pub(super) route: Option<&'a str>,
    pub(super) source: Option<&'a str>,
    pub(super) replay: Option<i64>,
    pub(super) reason: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
}

impl ActionRow {
    fn into_action(self) -> QueryResult<Action> {
        let stored = StoredAction {
            number: self.number,
            at: rows::time(self.done_at)?,
            actor: self.actor,
            kind: self.kind,
            webhook: self.webhook.map(rows::id),
            route: self.route,
            source: self.source,
            replay: self.replay,
            reason: self.reason,
            detail: self.detail,
        };
        stored.into_action()
    }
}

async fn record(
    shared: &Shared,
    NewAction { actor, kind, target, reason, detail }: &NewAction,
) -> QueryResult<()> {
    let row = NewActionRow {
        done_at: pg_time(shared.now()),
        actor,
        kind: kind.as_str(),
        webhook: target.webhook.map(rows::uuid),
        route: target.route.as_ref().map(|route| route.as_str()),
        source: target.source.as_ref().map(|source| source.as_str()),
        replay: target.replay.map(u64::cast_signed),
        reason: reason.as_ref().map(|reason| reason.as_str()),
        detail: detail.as_deref(),
    };
    let mut connection = shared.asking.get().await?;
    let recording = answer(diesel::insert_into(actions::table).values(&row).execute(&mut *connection)).await;
    connection.release(recording).map(drop)
}

async fn list(shared: &Shared, query: &ActionQuery) -> QueryResult<Vec<Action>> {
    let before = query.before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let found = actions::table.filter(actions::number.lt(before)).order(actions::number.desc()).limit(limit);
    let found = found.select(ActionRow::as_select());
    let mut connection = shared.asking.get().await?;
    let looking = match query.webhook {
        None => answer(found.load::<ActionRow>(&mut *connection)).await,
        Some(webhook) => {
            let on_webhook = found.filter(actions::webhook.eq(rows::uuid(webhook)));
            answer(on_webhook.load::<ActionRow>(&mut *connection)).await
        }
    };
    connection.release(looking)?.into_iter().map(ActionRow::into_action).collect()
}

async fn purge(shared: &Shared, kept: Duration) -> QueryResult<usize> {
    let before = pg_time(shared.now().saturating_sub(kept).unwrap_or(Timestamp::MIN));
    let mut connection = shared.asking.get().await?;
    let deleting = DeleteActions { most: PURGE_ACTIONS, before };
    let purging = answer(deleting.execute(&mut *connection)).await;
    connection.release(purging)
}

// Looks at the oldest actions only. Their numbers are nearly in the order of their times.
statement! { Pg;
    struct DeleteActions {
        most: i64 as BigInt,
        before: PgTimestamp as Timestamptz,
    }
    returns ();
    "DELETE FROM actions WHERE number < (SELECT min(number) FROM actions) + ? AND done_at <= ?"
}
