//! Implements `JobQueue`: what workers need.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::claim::BareJob;
use super::claimed::{self, ReadJobs};
use super::finish::Ending;
use super::leases::{self, Takeable};
use super::{SqliteStore, claim, finish, give_back, leased};
use crate::domain::attempt::Lease;
use crate::domain::error::Result;
use crate::store::{Claim, Claims, Finish, JobQueue, LeasedJob};
use crate::telemetry::repeated::Repeated;

/// Maximum number of ends of attempts recorded in one command. Bounds how long other commands wait.
const FINISHES_AT_ONCE: usize = 1_024;

/// How long a job is not due after its webhook could not be read.
const UNREAD_PAUSE: Duration = Duration::from_secs(5);

static PUTTING_OFF: Repeated = Repeated::new("claimed jobs that cannot start are given back again");

impl SqliteStore {
    /// Gives back the jobs that a claim of `worker` does not return: those that are left at once, those that could not
    /// be read after a pause. If that fails, they are taken over when their leases expire.
    async fn put_off(&self, worker: Arc<str>, left: Vec<BareJob>, unread: Vec<BareJob>) {
        let jobs = left.len() + unread.len();
        if jobs == 0 {
            return;
        }
        let at_once = Timestamp::UNIX_EPOCH;
        let later = self.clock.now().saturating_add(UNREAD_PAUSE).unwrap_or(Timestamp::MAX);
        let put_off = self.writer.run(move |transaction| {
            give_back::put_off(transaction, &worker, &left, at_once)?;
            give_back::put_off(transaction, &worker, &unread, later)
        });
        match put_off.await {
            Ok(()) => PUTTING_OFF.works(),
            Err(error) => PUTTING_OFF.failed(|times| {
                tracing::warn!(times, jobs, error = %error, "claimed jobs that cannot start could not be given back; they are taken over when their leases expire");
            }),
        }
    }
}

#[async_trait]
impl JobQueue for SqliteStore {
    async fn claim(&self, claim: Claim) -> Result<Claims> {
        let (worker, max_bytes) = (Arc::clone(&claim.worker), claim.max_bytes);
        let claimed = self.writer.run(move |transaction| claim::claim(transaction, &claim)).await?;
        let (next, held_until) = (claimed.next, claimed.held_until);
        if claimed.jobs.is_empty() {
            return Ok(Claims { jobs: Vec::new(), next, held_until });
        }
        let all = claimed.jobs.clone();
        let reader = self.claim_reader()?;
        let read = reader.run(move |connection| claimed::read_webhooks(connection, claimed, max_bytes)).await;
        let (read, failure) = match read {
            Ok(read) => (read, None),
            Err(error) => (ReadJobs { unread: all, ..ReadJobs::default() }, Some(error)),
        };
        let ReadJobs { jobs, changes, unread, left } = read;
        if !unread.is_empty() {
            tracing::error!(
                jobs = unread.len(),
                "claimed webhooks could not be read; their leases are given back"
            );
        }
        self.put_off(worker, left, unread).await;
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.changes.announce(&changes);
        Ok(Claims { jobs, next, held_until })
    }

    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>> {
        let worker: Arc<str> = worker.into();
        let mut held = Vec::with_capacity(finishes.len());
        // Deliveries become texts here, so that the writer does not spend time on it.
        let mut endings = finishes.into_iter().map(Ending::from).peekable();
        while endings.peek().is_some() {
            let some = endings.by_ref().take(FINISHES_AT_ONCE).collect::<Vec<_>>();
            let worker = Arc::clone(&worker);
            let recorded =
                self.writer.run(move |transaction| finish::finish_all(transaction, &worker, &some)).await?;
            held.extend(recorded);
        }
        Ok(held)
    }

    async fn renew(&self, worker: &str, leases: Vec<(Lease, Duration)>) -> Result<Vec<Lease>> {
        let worker = worker.to_owned();
        self.writer.run(move |transaction| leases::renew(transaction, &worker, &leases)).await
    }

    async fn leased(&self, worker: &str, leases: Vec<Lease>) -> Result<Vec<LeasedJob>> {
        let (worker, now) = (worker.to_owned(), self.clock.now());
        // Otherwise the step would count as time for which the leases have been held.
        self.follow_step_forward().await?;
        self.readers()?.run(move |connection| leased::leased(connection, &worker, &leases, now)).await
    }

    async fn follow_clock(&self) -> Result<()> {
        self.follow_time_of_day().await
    }

    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize> {
        self.follow_clock().await?;
        self.take_over(Takeable::ExpiredBut(held)).await
    }

    async fn give_back(&self, worker: &str, leases: Vec<Lease>) -> Result<()> {
        let worker = worker.to_owned();
        self.writer.run(move |transaction| give_back::give_back(transaction, &worker, &leases)).await
    }

    fn on_due(&self, wake: Arc<Notify>) {
        self.wakes.add(wake);
    }
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;
    use diesel::prelude::*;
    use diesel::sqlite::SqliteConnection;
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::store::sqlite::fixture::{claim, job, open, policy, webhook};
    use crate::store::{Inbox as _, Store as _};

    #[tokio::test]
    async fn jobs_that_were_read_start_if_the_others_cannot_be_given_back() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
        let (folder, store) = open([policy("orders")], Arc::clone(&clock) as _).await;
        for key in ["unreadable", "readable"] {
            store.accept(webhook(key), vec![job("orders", None)]).await.expect("accepted");
        }
        let path = folder.path().join("inbox.db");
        let mut shell = SqliteConnection::establish(&path.to_string_lossy()).expect("connects");
        let spoil = "UPDATE webhooks SET traceparent = 'none' WHERE idempotency_key = 'unreadable';
                     CREATE TRIGGER keep_leased BEFORE UPDATE ON jobs WHEN old.status = 1 AND new.status = 0
                     BEGIN SELECT RAISE(ABORT, 'for a test'); END";
        shell.batch_execute(spoil).expect("spoils");

        let claimed = store.claim(claim(10)).await.expect("claims").jobs;
        let keys = claimed.iter().map(|job| job.idempotency_key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys, ["readable"]);

        shell.batch_execute("DROP TRIGGER keep_leased").expect("repairs");
        clock.advance(SignedDuration::from_secs(30));
        let held = claimed.iter().map(|job| job.lease).collect();
        assert_eq!(store.take_over_expired(held).await.expect("takes over"), 1, "the lease has expired");
        store.close().await;
    }
}
