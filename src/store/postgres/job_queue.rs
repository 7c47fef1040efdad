//! Implements `JobQueue`: what the worker needs.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::pool::refused;
use super::{PostgresStore, claim, finish, give_back, renew, set_back, take_over};
use crate::domain::attempt::Lease;
use crate::domain::error::Result;
use crate::store::{Claim, Claims, Finish, JobQueue};

#[async_trait]
impl JobQueue for PostgresStore {
    async fn claim(&self, claim: Claim) -> Result<Claims> {
        self.run(async move |shared| claim::claim(&shared, &claim).await.map_err(refused)).await
    }

    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        let worker = worker.to_owned();
        self.run(async move |shared| finish::finish(&shared, &worker, finishes).await).await
    }

    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>> {
        self.run(async move |shared| renew::renew(&shared, &leases, lease).await.map_err(refused)).await
    }

    async fn follow_clock(&self) -> Result<()> {
        self.run(async move |shared| set_back::follow_clock(&shared).await).await
    }

    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize> {
        self.run(async move |shared| {
            set_back::follow_clock(&shared).await?;
            take_over::take_over(&shared, &held).await.map_err(refused)
        })
        .await
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<()> {
        self.run(async move |shared| {
            give_back::give_back(&shared, &shared.process, &leases).await.map(drop).map_err(refused)
        })
        .await
    }

    async fn give_back_unheld(
        &self,
        worker: &str,
        held: Vec<Lease>,
        leased: RangeInclusive<Timestamp>,
    ) -> Result<usize> {
        let worker = worker.to_owned();
        self.run(async move |shared| {
            give_back::give_back_unheld(&shared, &worker, &held, &leased).await.map_err(refused)
        })
        .await
    }

    fn on_due(&self, wake: Arc<Notify>) {
        // Set once, at the start of the process. A second call has no effect.
        let _ = self.shared.wake.set(wake);
    }
}
