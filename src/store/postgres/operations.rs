//! Implements `Operations`: what operators and upkeep need.

use std::sync::Arc;

use async_trait::async_trait;

use super::pool::refused;
use super::{PostgresStore, move_jobs, operate, pauses, policies, purge, release};
use crate::domain::conflict::OtherWebhook;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::job::Event;
use crate::domain::policy::Policies;
use crate::domain::retention::Retention;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::WebhookStatus;
use crate::store::{Accepted, Moved, NewPause, Operations, Pause, PauseTarget, Purged};

#[async_trait]
impl Operations for PostgresStore {
    async fn set_policies(&self, policies: Arc<Policies>) -> Result<()> {
        self.run(async move |shared| policies::set(&shared, policies).await.map_err(refused)).await
    }

    async fn retry(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.run(async move |shared| operate::operate(&shared, id, route.as_ref(), Event::Retry).await).await
    }

    async fn cancel(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.run(async move |shared| operate::operate(&shared, id, route.as_ref(), Event::Cancel).await).await
    }

    async fn release(
        &self,
        id: WebhookId,
        jobs: Vec<NewJob>,
        as_duplicate: Option<OtherWebhook>,
    ) -> Result<Accepted> {
        self.run(async move |shared| release::release(&shared, id, &jobs, as_duplicate.as_ref()).await).await
    }

    async fn discard(&self, id: WebhookId) -> Result<()> {
        self.run(async move |shared| release::discard(&shared, id).await).await
    }

    async fn pause(&self, pause: NewPause) -> Result<Pause> {
        self.run(async move |shared| pauses::pause(&shared, &pause).await).await
    }

    async fn resume(&self, target: PauseTarget) -> Result<bool> {
        self.run(async move |shared| pauses::resume(&shared, &target).await).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>> {
        self.run(async move |shared| pauses::read(&shared).await).await
    }

    async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved> {
        self.run(async move |shared| move_jobs::move_jobs(&shared, &from, &to).await.map_err(refused)).await
    }

    async fn cancel_jobs(&self, route: RouteName) -> Result<usize> {
        self.run(async move |shared| move_jobs::cancel_jobs(&shared, &route).await.map_err(refused)).await
    }

    async fn purge(&self, retention: Retention) -> Result<Purged> {
        self.run(async move |shared| purge::purge(&shared, &retention).await.map_err(refused)).await
    }
}
