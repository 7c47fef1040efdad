//! Implements `Arrivals`. Several replicas make ids, and a replica commits batches beside one another, so a webhook can
//! become visible after others with greater ids.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use jiff::Timestamp;
use uuid::Uuid;

use super::pool::{answer, refused};
use super::rows::{self, NamesRow};
use super::schedule::Schedule;
use super::schema::webhooks;
use super::{PostgresStore, queries};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::webhook::WebhookStatus;
use crate::store::Arrivals;

/// How long it may take from an id to the commit of its webhook: the longest time of a statement (`statement_timeout`),
/// and the most by which replicas differ about the time of the database while its clock is not set.
const VISIBLE_WITHIN: Duration = Duration::from_secs(15);

#[async_trait]
impl Arrivals for PostgresStore {
    async fn newest(&self) -> Result<Option<WebhookId>> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(queries::last_id(&mut connection)).await;
            connection.release(found).map_err(refused)
        })
        .await
    }

    async fn ids_after(&self, after: WebhookId, limit: usize) -> Result<Vec<WebhookId>> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(ids_after(&mut connection, after, limit)).await;
            connection.release(found).map_err(refused)
        })
        .await
    }

    async fn statuses(&self, ids: Vec<WebhookId>) -> Result<Vec<WebhookStatus>> {
        self.run(async move |shared| {
            let mut connection = shared.asking.get().await.map_err(refused)?;
            let found = answer(statuses(&shared.schedule, &mut connection, ids)).await;
            connection.release(found).map_err(refused)
        })
        .await
    }

    fn time_of_ids(&self) -> Timestamp {
        self.shared.now()
    }

    fn visible_within(&self) -> Duration {
        VISIBLE_WITHIN
    }
}

async fn ids_after(
    connection: &mut AsyncPgConnection,
    after: WebhookId,
    limit: usize,
) -> QueryResult<Vec<WebhookId>> {
    let ids = webhooks::table
        .filter(webhooks::id.gt(rows::uuid(after)))
        .order(webhooks::id.asc())
        .limit(limit.try_into().unwrap_or(i64::MAX))
        .select(webhooks::id);
    let ids = ids.load::<Uuid>(connection).await?;
    Ok(ids.into_iter().map(rows::id).collect())
}

async fn statuses(
    schedule: &Schedule,
    connection: &mut AsyncPgConnection,
    ids: Vec<WebhookId>,
) -> QueryResult<Vec<WebhookStatus>> {
    let ids = ids.into_iter().map(rows::uuid).collect::<Vec<_>>();
    let names = webhooks::table.filter(webhooks::id.eq_any(ids)).select(NamesRow::as_select());
    let mut names = names.load(connection).await?;
    names.sort_unstable_by_key(|names| names.id);
    queries::with_jobs(schedule, connection, names).await
}
