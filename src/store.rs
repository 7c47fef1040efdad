//! The traits that a store implements. The documentation of each method is its contract.
//!
//! Each trait serves one kind of caller: [`Inbox`] accepts and reads webhooks, [`Arrivals`] serves streams of new
//! webhooks, [`JobQueue`] serves the workers, and [`Operations`] serves operators and maintenance tasks. [`Replays`]
//! runs finished jobs again, and [`Actions`] keeps what operators did. The conformance suite in `tests/` checks every
//! store against these contracts.

mod acceptance;
mod actions;
mod arrivals;
mod breakers;
mod by_hand;
pub mod changes;
mod columns;
mod delivery;
mod fitting;
mod interrupted;
mod list;
pub(crate) mod outcomes;
pub mod postgres;
mod pulled;
mod ready;
mod refusals;
mod replays;
mod rule;
pub mod sqlite;
mod statement;
pub mod transfer;
mod types;
mod wakes;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::acceptance::MAX_QUARANTINED;
pub use self::actions::{Action, ActionQuery, ActionTarget, Actions, NewAction};
pub use self::arrivals::Arrivals;
pub(crate) use self::by_hand::no_job_of;
pub(crate) use self::interrupted::DEAD_LETTERED;
pub use self::list::{ListQuery, Page, Seen};
pub use self::pulled::{LeasedJob, Wanted};
pub(crate) use self::replays::not_found as replay_not_found;
pub use self::replays::{CancelledReplay, NewReplay, Replay, ReplayFilter, ReplayStep, Replays};
pub use self::types::{
    Accepted, BatchError, Claim, ClaimedJob, Claims, Finish, Moved, NOTHING_LEASED_PAUSE, NewPause, Pause,
    PauseTarget, Probe, Purged, QueueStats, StatusCounts, StoreStats, Submission, TrippedBreaker,
};
use crate::domain::attempt::{AttemptWindow, Lease};
use crate::domain::conflict::{OnConflict, OtherWebhook};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::policy::Policies;
use crate::domain::retention::Retention;
use crate::domain::route::{NewJob, RouteName};
use crate::domain::webhook::{NewWebhook, WebhookDetail, WebhookName, WebhookStatus};

/// Accepts and reads webhooks.
///
/// The following holds for all traits, unless a method says otherwise. When a write returns `Ok`, its
/// changes are on disk; when it returns `Err`, it changed nothing. Dropping the future of a write does not
/// cancel the write. A store that temporarily cannot read or write returns [`Reason::StoreUnavailable`] and
/// recovers without a restart.
///
/// [`Reason::StoreUnavailable`]: crate::domain::error::Reason::StoreUnavailable
#[async_trait]
pub trait Inbox: fmt::Debug + Send + Sync {
    /// Stores a webhook and a pending job for each of `jobs`. Without jobs, the webhook is filtered. The routes of
    /// `jobs` must be distinct.
    ///
    /// If the source already has a webhook with the same key, stores nothing and returns the existing webhook
    /// as a duplicate.
    ///
    /// A store may give a webhook up that waits longer to be stored than its caller would. So dropping the future
    /// cancels the write if the write begins only after that time.
    ///
    /// Errors: `KeyReused` if the existing webhook has another payload or event type; `BacklogFull` if the
    /// limit of unfinished jobs is reached (duplicates are still accepted), or if too many webhooks are
    /// already waiting to be stored; `StoreUnavailable` also if it is not known whether the webhook was stored.
    async fn accept(&self, webhook: NewWebhook, jobs: Vec<NewJob>) -> Result<Accepted>;

    /// Stores the webhooks of one request: all of them or none, in one transaction. Each is stored as by
    /// [`accept`](Self::accept), in the order of the batch. The results are in the same order. An empty batch stores
    /// nothing.
    ///
    /// A webhook whose key an earlier webhook of the batch has is a duplicate of that one. If the content under its
    /// key is another one, in the store or in the batch, `on_conflict` decides: `Reject` refuses the whole batch, and
    /// with `KeepFirst` the webhook is a duplicate of the one that has the key, with [`Accepted::other`]. The contents
    /// that are compared are that of the webhook and the one that is stored under its key in the end.
    ///
    /// Errors: as of `accept`; [`BatchError::item`] names the webhook of a `KeyReused`. The limit of unfinished jobs
    /// is checked once: a batch of which the first webhook is within the limit is stored whole.
    async fn accept_batch(
        &self,
        submissions: Vec<Submission>,
        on_conflict: OnConflict,
    ) -> std::result::Result<Vec<Accepted>, BatchError>;

    /// Stores the webhooks of one request that was not verified, without jobs: all of them or none. They do not take
    /// their keys: another webhook with the same key may be stored before them and after them, quarantined or not.
    /// Returns `None`, and stores nothing, if their source would then have more than [`MAX_QUARANTINED`] such webhooks.
    /// All must be of the same source. The results are in the order of `webhooks`.
    ///
    /// Errors: `BacklogFull` if too many webhooks are already waiting to be stored.
    async fn quarantine(&self, webhooks: Vec<NewWebhook>) -> Result<Option<Vec<WebhookStatus>>>;

    /// Returns the status of a webhook. Errors: `WebhookNotFound`.
    async fn status(&self, name: WebhookName) -> Result<WebhookStatus>;

    /// Returns a webhook with its payload, its jobs and the latest attempts of each
    /// ([`AttemptWindow::LATEST`]). Errors: `WebhookNotFound`.
    async fn webhook(&self, id: WebhookId) -> Result<WebhookDetail> {
        self.webhook_with(id, AttemptWindow::LATEST).await
    }

    /// Returns a webhook with its payload, its jobs and these attempts of each, of which the last
    /// [`SHOWN_DELIVERIES`](crate::domain::delivery::SHOWN_DELIVERIES) come with their deliveries. The cost does not
    /// depend on the number of other attempts. Errors: `WebhookNotFound`.
    async fn webhook_with(&self, id: WebhookId, attempts: AttemptWindow) -> Result<WebhookDetail>;

    /// Returns one page of the webhooks that match `query`, newest first. One call looks at a limited number of rows, for
    /// a limited time; if there is more to look at, the page says where to go on. A webhook can have changed since it
    /// was found to match. Errors: `InvalidField`.
    async fn list(&self, query: ListQuery) -> Result<Page>;

    /// Returns the job counts, the oldest due job of each queue, the pauses, and the breakers that are not closed.
    /// The cost does not depend on the number of jobs.
    async fn stats(&self) -> Result<StoreStats>;

    /// Returns the size of the store on disk, in bytes. Reads no rows.
    async fn size_bytes(&self) -> Result<u64>;

    /// Checks that the store can write, by writing to it, and reads the schema version. An error also if webhooks cannot
    /// be stored although that succeeds.
    async fn probe(&self) -> Result<Probe>;

    /// Returns the registry through which watchers receive changes of jobs.
    fn changes(&self) -> &changes::Changes;
}

/// Leases jobs to a worker and records how their attempts end.
#[async_trait]
pub trait JobQueue: fmt::Debug + Send + Sync {
    /// Leases up to `claim.threads` startable jobs. A job is never leased to two claims at the same time, and
    /// each lease has a larger token than all leases before it.
    ///
    /// A job is startable if all of these hold:
    ///
    /// - It is due.
    /// - The policies in force contain its route, and `claim.wanted` includes the route.
    /// - The route is below its `concurrency` and within its `rate`.
    /// - No pause applies to its route, to its source or to everything.
    /// - The breaker of its route is closed; or it is half-open, and no other job of the route runs.
    /// - No earlier job with the same order value is unfinished or blocks it.
    ///
    /// The claim shares its threads between the routes that have startable jobs: it always takes the next job
    /// from the route with the fewest jobs running in this process. Within a route, it takes the job that has
    /// been due longest. Jobs whose payloads do not fit into `claim.max_bytes` are [given back](Self::give_back).
    async fn claim(&self, claim: Claim) -> Result<Claims>;

    /// Records the ends of attempts. Each attempt is recorded in the same transaction that changes the status of
    /// its job, and only if its lease is still held. The same transaction opens or closes the breaker of the route if
    /// [`Finish::health`] says so ([`Breaker::after`](crate::domain::breaker::Breaker::after)).
    ///
    /// The result has one entry for each of `finishes`, in the same order: `true` if the end was recorded,
    /// `false` if nothing was changed, because the lease was lost, or because the store refuses this end alone. After an
    /// error, any of them may have been recorded; the caller may repeat the call with the same `finishes`.
    async fn finish(&self, worker: &str, finishes: Vec<Finish>) -> Result<Vec<bool>>;

    /// Extends leases of `worker`, all at once. Each then expires after its own time, counted from now. Returns the leases
    /// that were lost, or that another worker holds.
    async fn renew(&self, worker: &str, leases: Vec<(Lease, Duration)>) -> Result<Vec<Lease>>;

    /// Returns the jobs that these leases of `worker` hold, in no particular order. Leaves out leases that were lost,
    /// or that another worker holds. Sees every claim that was answered before.
    async fn leased(&self, worker: &str, leases: Vec<Lease>) -> Result<Vec<LeasedJob>>;

    /// Reads the clock by which jobs are due. If it was set back, moves what waits for an old time: as much as takes a
    /// moment, and the next calls move the rest. If it was set forward, moves the ends of leases that workers elsewhere
    /// hold, and since when they are held, by the step. The caller repeats the call every second.
    ///
    /// Returns `StoreUnavailable` also if the clock went forward so far that leases of processes may only seem to have
    /// expired.
    async fn follow_clock(&self) -> Result<()>;

    /// Takes over jobs whose lease has expired, except for the leases in `held`, whose handlers still run in this
    /// process. Returns the number of jobs taken over.
    ///
    /// The attempt is recorded as interrupted. The policy in force decides whether the job is retried or becomes
    /// a dead letter. If the policies no longer contain its route, the job becomes a dead letter.
    ///
    /// Calls [`follow_clock`](Self::follow_clock) first, and takes nothing over if that fails. The caller repeats the
    /// call once every process could renew its leases.
    async fn take_over_expired(&self, held: Vec<Lease>) -> Result<usize>;

    /// Releases jobs that `worker` has leased and not started. Each job is pending again and keeps its position;
    /// the claim is undone, except that its token is not used again: it counts neither as an attempt nor as a start of
    /// the `rate` of its route. Jobs whose lease was lost, or that another worker holds, are not changed. The caller may
    /// repeat the call after an error.
    async fn give_back(&self, worker: &str, leases: Vec<Lease>) -> Result<()>;

    /// Releases jobs that were leased to `worker` within the time range `leased`, but are not in `held`. Such
    /// jobs exist if a claim was committed and its response was lost. Returns the number of released jobs.
    ///
    /// The caller must not lease jobs for `worker` during this call. A store whose responses cannot be lost
    /// keeps the default implementation, which releases nothing.
    async fn give_back_unheld(
        &self,
        _worker: &str,
        _held: Vec<Lease>,
        _leased: RangeInclusive<Timestamp>,
    ) -> Result<usize> {
        Ok(0)
    }

    /// Registers `wake`, which the store notifies after every commit that makes a job startable, immediately or at
    /// a later time. This includes commits of other processes. If several were registered, the store notifies each
    /// of them, whichever jobs it waits for.
    fn on_due(&self, wake: Arc<Notify>);
}

/// Logs that new policies are in force, but that some lanes are still blocked by dead letters that the policies
/// skip.
fn still_blocked(error: &dyn fmt::Display) {
    tracing::warn!(error = %error, "the new routes are in force, but jobs behind dead letters that they skip still wait; reload again");
}

/// Carries out operators' requests and maintenance.
#[async_trait]
pub trait Operations: fmt::Debug + Send + Sync {
    /// Replaces the policies in force. Jobs whose route is not in the new policies are held: they do not start. After
    /// an error, the previous policies remain in force.
    async fn set_policies(&self, policies: Arc<Policies>) -> Result<()>;

    /// Makes dead-lettered and cancelled jobs of a webhook pending again, in a new run. With `route`, only the job
    /// of that route is retried.
    ///
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if no
    /// job has a status that allows a retry, or if the payload was purged.
    async fn retry(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus>;

    /// Cancels waiting and dead-lettered jobs of a webhook. With `route`, only the job of that route is
    /// cancelled. Cancelling a cancelled job changes nothing.
    ///
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if no
    /// job has a status that allows cancellation.
    async fn cancel(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus>;

    /// Accepts a quarantined webhook with these jobs, under its id. The jobs are due at once. Whether ordered ones start
    /// before waiting jobs of their lane is left to the store. Without jobs, the webhook is filtered.
    ///
    /// If its key is taken by a webhook with the same content, removes the quarantined one and returns the other as a
    /// duplicate. With `as_duplicate`, which is what came in quarantine, also if the other has another content; then
    /// returns it with the other.
    ///
    /// Errors, after which the webhook stays quarantined: `WebhookNotFound`; `WrongStatus` if it is not quarantined;
    /// `KeyReused` if its key is taken by a webhook with another payload or event type, and there is no `as_duplicate`;
    /// `BacklogFull` if the limit of unfinished jobs is reached.
    async fn release(
        &self,
        id: WebhookId,
        jobs: Vec<NewJob>,
        as_duplicate: Option<OtherWebhook>,
    ) -> Result<Accepted>;

    /// Removes a quarantined webhook. Errors: `WebhookNotFound`; `WrongStatus` if it is not quarantined.
    async fn discard(&self, id: WebhookId) -> Result<()>;

    /// Pauses a target: its jobs do not start until it is resumed. Pausing a paused target keeps the time at which its
    /// pause began; the actor and the reason are then those of `pause`. Returns the pause in force.
    async fn pause(&self, pause: NewPause) -> Result<Pause>;

    /// Ends the pause of `target`, and closes the breaker of a route. Returns `false` if it was not paused.
    async fn resume(&self, target: PauseTarget) -> Result<bool>;

    /// Returns all pauses in force.
    async fn pauses(&self) -> Result<Vec<Pause>>;

    /// Moves waiting jobs from one route to another. One call changes a bounded number of jobs. If the webhook
    /// already has a job of the route `to`, the job is cancelled instead of moved.
    async fn move_jobs(&self, from: RouteName, to: RouteName) -> Result<Moved>;

    /// Cancels waiting jobs of a route. One call cancels a bounded number of jobs. Returns how many it cancelled;
    /// 0 means that none are left.
    async fn cancel_jobs(&self, route: RouteName) -> Result<usize>;

    /// Removes payloads and webhooks whose retention is over; quarantined webhooks as a whole. The results and deliveries
    /// of a job are removed when the job is past the retention of its payload. One call removes a bounded number of rows.
    async fn purge(&self, retention: Retention) -> Result<Purged>;
}

/// A durable store of webhooks and their jobs.
#[async_trait]
pub trait Store: Inbox + Arrivals + JobQueue + Operations + Replays + Actions {
    /// Completes the operations in progress and closes the store. Later calls return `ShuttingDown`.
    async fn close(&self);
}
