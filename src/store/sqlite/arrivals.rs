//! Implements `Arrivals`. One writer makes the ids and commits the webhooks, so they become visible in the order of ids.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use jiff::Timestamp;

use super::schema::webhooks;
use super::{SqliteStore, queries, rows};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::webhook::WebhookStatus;
use crate::store::Arrivals;

#[async_trait]
impl Arrivals for SqliteStore {
    async fn newest(&self) -> Result<Option<WebhookId>> {
        self.readers()?.run(newest).await
    }

    async fn ids_after(&self, after: WebhookId, limit: usize) -> Result<Vec<WebhookId>> {
        self.readers()?.run(move |connection| ids_after(connection, after, limit)).await
    }

    async fn statuses(&self, ids: Vec<WebhookId>) -> Result<Vec<WebhookStatus>> {
        self.readers()?.run(move |connection| statuses(connection, ids)).await
    }

    fn time_of_ids(&self) -> Timestamp {
        self.clock.now()
    }

    fn visible_within(&self) -> Duration {
        Duration::ZERO
    }
}

fn newest(connection: &mut SqliteConnection) -> QueryResult<Option<WebhookId>> {
    let newest = webhooks::table.order(webhooks::sequence.desc()).select(webhooks::id);
    newest.first::<Vec<u8>>(connection).optional()?.map(|id| rows::id(&id)).transpose()
}

fn ids_after(
    connection: &mut SqliteConnection,
    after: WebhookId,
    limit: usize,
) -> QueryResult<Vec<WebhookId>> {
    let ids = webhooks::table
        // A place can have the sequence of the id that comes right after it.
        .filter(webhooks::sequence.ge(after.sequence().as_i64()))
        .filter(webhooks::id.gt(after.as_bytes().as_slice()))
        .order(webhooks::sequence.asc())
        .limit(limit.try_into().unwrap_or(i64::MAX))
        .select(webhooks::id)
        .load::<Vec<u8>>(connection)?;
    ids.iter().map(|id| rows::id(id)).collect()
}

fn statuses(connection: &mut SqliteConnection, mut ids: Vec<WebhookId>) -> QueryResult<Vec<WebhookStatus>> {
    ids.sort_unstable();
    let statuses = ids.into_iter().filter_map(|id| queries::status_by_id(connection, id).transpose());
    statuses.collect()
}
