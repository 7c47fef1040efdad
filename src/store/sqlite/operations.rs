//! Implements `Operations`: what operators and upkeep need.

use std::sync::Arc;

use async_trait::async_trait;

use super::{SqliteStore, by_hand, pauses, policies, purge, quarantine, reroute};
use crate::domain::conflict::OtherWebhook;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::job::Event;
use crate::domain::policy::Policies;
use crate::domain::retention::Retention;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::WebhookStatus;
use crate::store::still_blocked;
use crate::store::{Accepted, Moved, NewPause, Operations, Pause, PauseTarget, Purged};

#[async_trait]
impl Operations for SqliteStore {
    async fn set_policies(&self, policies: Arc<Policies>) -> Result<()> {
        self.writer.run(move |transaction| policies::set(transaction, &policies)).await?;
        self.free_lanes().await.unwrap_or_else(|error| still_blocked(&error));
        Ok(())
    }

    async fn retry(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        let retry = Event::Retry;
        self.writer.run(move |transaction| by_hand::run_again(transaction, id, route.as_ref(), retry)).await
    }

    async fn cancel(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus> {
        self.writer.run(move |transaction| by_hand::cancel(transaction, id, route.as_ref())).await
    }

    async fn release(
        &self,
        id: WebhookId,
        jobs: Vec<NewJob>,
        as_duplicate: Option<OtherWebhook>,
    ) -> Result<Accepted> {
        self.writer
            .run(move |transaction| quarantine::release(transaction, id, &jobs, as_duplicate.as_ref()))
            .await
    }

    async fn discard(&self, id: WebhookId) -> Result<()> {
        self.writer.run(move |transaction| quarantine::discard(transaction, id)).await
    }

    async fn pause(&self, pause: NewPause) -> Result<Pause> {
        self.writer.run(move |transaction| pauses::pause(transaction, &pause)).await
    }

    async fn resume(&self, target: PauseTarget) -> Result<bool> {
        self.writer.run(move |transaction| pauses::resume(transaction, &target)).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>> {
        // `readers` fails if the store is closed.
        self.readers().map(|_| self.committed.pauses())
    }

    async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved> {
        self.writer.run(move |transaction| reroute::move_jobs(transaction, &from, &to)).await
    }

    async fn cancel_jobs(&self, route: RouteName) -> Result<usize> {
        self.writer.run(move |transaction| reroute::cancel_jobs(transaction, &route)).await
    }

    async fn purge(&self, retention: Retention) -> Result<Purged> {
        self.writer.run(move |transaction| purge::purge(transaction, &retention)).await
    }
}
