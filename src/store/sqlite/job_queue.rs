//! Implements `JobQueue`: what the worker needs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::claimed::{self, ReadJobs};
use super::leases::{self, Takeable};
use super::{SqliteStore, claim, finish, give_back};
use crate::domain::attempt::Lease;
use crate::domain::error::Result;
use crate::store::{Claim, Claims, Finish, JobQueue};

/// Maximum number of ends of attempts recorded in one command. Bounds how long other commands wait.
const FINISHES_AT_ONCE: usize = 1_024;

/// How long a job is not due after its webhook could not be read.
const UNREAD_PAUSE: Duration = Duration::from_secs(5);

#[async_trait]
impl JobQueue for SqliteStore {
    async fn claim(&self, claim: Claim) -> Result<Claims> {
        let claimed = self.writer.run(move |transaction| claim::claim(transaction, &claim)).await?;
        let (next, held_until) = (claimed.next, claimed.held_until);
        if claimed.jobs.is_empty() {
            return Ok(Claims { jobs: Vec::new(), next, held_until });
        }
        let leased = claimed.jobs.clone();
        let reader = self.claim_reader()?;
        let read = reader.run(move |connection| claimed::read_webhooks(connection, claimed)).await;
        let (read, failure) = match read {
            Ok(read) => (read, None),
            Err(error) => (ReadJobs { unread: leased, ..ReadJobs::default() }, Some(error)),
        };
        let ReadJobs { jobs, changes, unread, left } = read;
        if !left.is_empty() {
            let at_once = Timestamp::UNIX_EPOCH;
            self.writer.run(move |transaction| give_back::put_off(transaction, &left, at_once)).await?;
        }
        if !unread.is_empty() {
            tracing::error!(
                jobs = unread.len(),
                "claimed webhooks could not be read; their leases are given back"
            );
            let due = self.clock.now().saturating_add(UNREAD_PAUSE).unwrap_or(Timestamp::MAX);
            self.writer.run(move |transaction| give_back::put_off(transaction, &unread, due)).await?;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.changes.announce(&changes);
        Ok(Claims { jobs, next, held_until })
    }

    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        let worker: Arc<str> = worker.into();
        let mut held = Vec::with_capacity(finishes.len());
        let mut finishes = finishes.into_iter().peekable();
        while finishes.peek().is_some() {
            let some = finishes.by_ref().take(FINISHES_AT_ONCE).collect::<Vec<_>>();
            let worker = Arc::clone(&worker);
            let recorded =
                self.writer.run(move |transaction| finish::finish_all(transaction, &worker, &some)).await?;
            held.extend(recorded);
        }
        Ok(held)
    }

    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>> {
        self.writer.run(move |transaction| leases::renew(transaction, &leases, lease)).await
    }

    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize> {
        self.follow_clock().await?;
        self.take_over(Takeable::ExpiredBut(held)).await
    }

    async fn give_back(&self, leases: Vec<Lease>) -> Result<()> {
        self.writer.run(move |transaction| give_back::give_back(transaction, &leases)).await
    }

    fn on_due(&self, wake: Arc<Notify>) {
        // Set once, at the start of the process. A second call has no effect.
        let _ = self.wake.set(wake);
    }
}
