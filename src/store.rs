//! What the domain needs of a store. Each operation says what it promises.
//!
//! Three traits, by who uses them: [`Inbox`] for what comes in and is looked at, [`JobQueue`] for the
//! worker, [`Operations`] for operators and upkeep. The conformance suite in `tests/` holds every
//! store to these promises.

mod acceptance;
pub mod changes;
mod columns;
mod list;
pub mod postgres;
mod ready;
mod rule;
pub mod sqlite;
mod statement;
pub mod transfer;
mod types;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::types::{
    Accepted, Claim, ClaimedJob, Claims, Finish, ListQuery, Moved, Page, Pause, PauseTarget, Probe, Purged,
    QueueStats, StatusCounts, StoreStats,
};
use crate::domain::attempt::Lease;
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::policy::Policies;
use crate::domain::retention::Retention;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};

/// What comes in, and what is looked at.
///
/// Every write of a store is on disk when its future is ready with `Ok`; with `Err` nothing was
/// changed. Dropping a future does not undo a write under way. A store that cannot write or read
/// now answers [`Reason::StoreUnavailable`] and goes on by itself once it can.
///
/// [`Reason::StoreUnavailable`]: crate::domain::error::Reason::StoreUnavailable
#[async_trait]
pub trait Inbox: fmt::Debug + Send + Sync {
    /// Stores a webhook with a pending job for each of `jobs`, or as filtered if there are none,
    /// unless its source has one of the same key: then answers that one, if it is the same webhook.
    /// The routes of `jobs` are distinct.
    ///
    /// Errors: `KeyReused` if payload or event type differ; `BacklogFull` if as many jobs are
    /// unfinished as may be (a duplicate is still answered), or more webhooks come in at once than
    /// may wait.
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted>;

    /// The status of a webhook. Errors: `WebhookNotFound`.
    async fn status(&self, name: WebhookName) -> Result<WebhookStatus>;

    /// All that is known of a webhook. Errors: `WebhookNotFound`.
    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail>;

    /// One page of the webhooks that match, newest first. Looks at a bounded number of rows.
    async fn list(&self, query: ListQuery) -> Result<Page>;

    /// Counts, oldest due jobs and pauses, at a cost that does not grow with the jobs.
    async fn stats(&self) -> Result<StoreStats>;

    /// Writes something, to learn whether that works, and looks at the tables' version.
    async fn probe(&self) -> Result<Probe>;

    /// Where changes of jobs are announced.
    fn changes(&self) -> &changes::Changes;
}

/// The jobs, for the worker that runs them.
#[async_trait]
pub trait JobQueue: fmt::Debug + Send + Sync {
    /// Leases up to `claim.threads` jobs that may start, each with a token larger than every one
    /// before it. No two claims hold the same job.
    ///
    /// A job may start if it is due, its route is in the policies in force, below `concurrency` and
    /// within `rate`, neither its route nor its source nor everything is paused, and no earlier job
    /// of its order value is unfinished or blocks it. Of the routes that have such jobs, those with
    /// the fewest running here come first, until all have as many; within a route, the job that is
    /// due longest.
    async fn claim(&self, claim: Claim) -> Result<Claims>;

    /// Leases jobs in the transaction that stores them, by the same rule, while no stored job may
    /// start. Answers once some were leased, or without jobs once `until` is cancelled; it may also
    /// answer without jobs before. With an error it is not known whether jobs were leased. To be
    /// called once at a time, and not to be dropped. A store that does not do this waits for `until`.
    async fn claim_accepted(&self, _claim: Claim, until: CancellationToken) -> Result<Claims> {
        until.cancelled().await;
        Ok(Claims::default())
    }

    /// Records the ends of attempts, each in the transaction that moves its job on, if its lease is
    /// still held. Answers in the same order; false: the lease was lost, and nothing was changed.
    /// With an error it is not known which of them are recorded; the same ones may be tried again.
    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>>;

    /// Extends leases to `lease` from now. Answers those that were lost.
    async fn renew(&self, leases: Vec<Lease>, lease: Duration) -> Result<Vec<Lease>>;

    /// Takes over jobs whose lease has expired, except for those that the caller holds and still
    /// runs: the attempt is recorded as interrupted, and the policy in force decides how the job
    /// goes on; that of a route that is gone becomes a dead letter. Answers how many.
    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize>;

    /// Gives back leased jobs whose handler was not started: they are pending again at their old
    /// place, and nothing of the claim is left but the larger token. Changes nothing where the lease
    /// was lost. May be called again after an error.
    async fn give_back(&self, leases: Vec<Lease>) -> Result<()>;

    /// Gives back jobs that were leased to `worker` in that time, but are not among those it holds:
    /// they were leased, and the answer was lost. Answers how many. To be called while nothing is
    /// being leased. A store whose answers cannot get lost has none.
    async fn give_back_unheld(
        &self,
        _worker: &str,
        _held: Vec<Lease>,
        _leased: RangeInclusive<Timestamp>,
    ) -> Result<usize> {
        Ok(0)
    }

    /// Has `wake` notified after every commit that lets a job start, now or later, in this process
    /// or in another.
    fn on_due(&self, wake: Arc<Notify>);
}

/// Logs that a reload took effect, but lanes that its policies free are still blocked.
fn still_blocked(error: &dyn fmt::Display) {
    tracing::warn!(error = %error, "the new routes are in force, but jobs behind dead letters that they skip still wait; reload again");
}

/// What operators ask for, and upkeep.
#[async_trait]
pub trait Operations: fmt::Debug + Send + Sync {
    /// Puts these policies in force. Jobs of routes that they do not have are held. After an error the policies
    /// before are in force.
    async fn set_policies(&self, policies: Arc<Policies>) -> Result<()>;

    /// Makes dead-lettered and cancelled jobs of a webhook pending again, in a new run: the one of
    /// `route`, or all that are. Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job
    /// of `route`; `WrongStatus` if every job refuses, or the payload is gone.
    async fn retry(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus>;

    /// Cancels waiting and dead-lettered jobs of a webhook: the one of `route`, or all that are.
    /// Cancelling again changes nothing. Errors: `WebhookNotFound`; `RouteNotFound` if the webhook
    /// has no job of `route`; `WrongStatus` if every job refuses.
    async fn cancel(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus>;

    /// Keeps jobs from starting until they are resumed. Pausing again changes nothing. Answers since
    /// when the target is paused.
    async fn pause(&self, target: PauseTarget) -> Result<Pause>;

    /// Lets jobs start again. False if the target was not paused.
    async fn resume(&self, target: PauseTarget) -> Result<bool>;

    /// Everything that is paused.
    async fn pauses(&self) -> Result<Vec<Pause>>;

    /// Moves waiting jobs from one route to another, a bounded number at a time. A job whose webhook
    /// has one of the other route already is cancelled instead.
    async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved>;

    /// Cancels waiting jobs of a route, a bounded number at a time. Answers how many; none if there
    /// are no more.
    async fn cancel_jobs(&self, route: RouteName) -> Result<usize>;

    /// Removes what is past its retention, a bounded number of rows at a time.
    async fn purge(&self, retention: Retention) -> Result<Purged>;
}

/// A durable store of webhooks and their jobs.
#[async_trait]
pub trait Store: Inbox + JobQueue + Operations {
    /// Finishes what is under way and closes the store. Later calls answer `ShuttingDown`.
    async fn close(&self);
}
