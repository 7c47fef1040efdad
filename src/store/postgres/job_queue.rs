//! Implements `JobQueue`: what workers need.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::pool::refused;
use super::{PostgresStore, claim, finish, give_back, leased, renew, set_back, take_over};
use crate::domain::attempt::Lease;
use crate::domain::error::Result;
use crate::store::{Claim, Claims, Finish, JobQueue, LeasedJob};

#[async_trait]
impl JobQueue for PostgresStore {
    async fn claim(&self, claim: Claim) -> Result<Claims> {
        self.run(async move |shared| claim::claim(&shared, &claim).await.map_err(refused)).await
    }

    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        let worker = worker.to_owned();
        self.run(async move |shared| finish::finish(&shared, &worker, finishes).await).await
    }

    async fn renew(&self, worker: &str, leases: Vec<(Lease, Duration)>) -> Result<Vec<Lease>> {
        let worker = worker.to_owned();
        self.run(async move |shared| renew::renew(&shared, &worker, leases).await.map_err(refused)).await
    }

    async fn leased(&self, worker: &str, leases: Vec<Lease>) -> Result<Vec<LeasedJob>> {
        let worker = worker.to_owned();
        self.run(async move |shared| leased::leased(&shared, &worker, &leases).await.map_err(refused)).await
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

    async fn give_back(&self, worker: &str, leases: Vec<Lease>) -> Result<()> {
        let worker = worker.to_owned();
        self.run(async move |shared| {
            give_back::give_back(&shared, &worker, &leases).await.map(drop).map_err(refused)
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
        self.shared.wakes.add(wake);
    }
}
