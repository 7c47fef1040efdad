//! Replays: their inputs and outputs, and what both stores share.
//!
//! A replay goes over the webhooks that match its filter, oldest first, in steps. Each step is one transaction that
//! restarts a bounded number of jobs and moves the position of the replay past their webhooks. So a replay that was
//! interrupted goes on where it was, and restarts no job twice.

mod choice;
mod filter;
mod pace;
mod stored;
mod taken;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub(super) use self::choice::{Behind, Choice, Chosen, pause, queues};
pub use self::filter::ReplayFilter;
pub(super) use self::pace::{due_in, most_at_once, next_at};
pub(super) use self::stored::StoredReplay;
pub(super) use self::taken::{limit, taken};
use crate::domain::action::ActionReason;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::replay::{ReplayCounts, ReplayState, WaitsFor};
use crate::domain::route::{Rate, RouteName};
use crate::domain::webhook::WebhookStatus;

/// A replay to start.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// Which webhooks are replayed. With `statuses`, `route` and `error_contains`, only jobs that match all of them run
    /// again.
    pub filter: ReplayFilter,
    /// Why, in the words of the operator.
    pub reason: Option<ActionReason>,
    /// The name of the token that starts it.
    pub actor: String,
    /// How many jobs are restarted in which time; none: as fast as their routes run them.
    pub rate: Option<Rate>,
    /// Whether the jobs are only counted.
    pub dry_run: bool,
}

/// A replay, running or ended.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Its number: 1 for the first replay, and one more for each further one.
    pub number: u64,
    /// Which webhooks are replayed; see [`NewReplay::filter`].
    pub filter: ReplayFilter,
    /// Why, in the words of the operator.
    pub reason: Option<String>,
    /// The name of the token that started it.
    pub actor: String,
    /// How many jobs are restarted in which time.
    pub rate: Option<Rate>,
    /// Whether the jobs are only counted.
    pub dry_run: bool,
    /// Where it stands.
    pub state: ReplayState,
    /// What it has done so far.
    pub counts: ReplayCounts,
    /// Which share of the time in which its webhooks were accepted it has looked at, 0 to 1.
    pub progress: f64,
    /// It has looked at all webhooks that were accepted before this time.
    pub looked_to: Timestamp,
    /// What it waits for; none unless it has waited for a second.
    pub waits_for: Option<WaitsFor>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it last moved on.
    pub updated_at: Timestamp,
    /// When it ended; none while it is running.
    pub ended_at: Option<Timestamp>,
}

/// A replay after it was to be cancelled.
#[derive(Clone, Debug)]
pub struct CancelledReplay {
    /// The replay.
    pub replay: Replay,
    /// Whether the call has cancelled it; false if it was cancelled before.
    pub changed: bool,
}

/// The result of one step of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayStep {
    /// No replay is running, or another process does a step of it.
    Idle,
    /// The replay has moved on. The next step may follow at once.
    Moved,
    /// Its rate allows the next step after this time.
    Paced(Duration),
    /// Nothing was restarted, because jobs that are due wait to start. Try again after this time.
    Behind(Duration),
}

/// Runs finished jobs again.
///
/// A job that runs again is pending, and due at once, in a new run with all attempts. It keeps its order value and its
/// place among the jobs with that value. Its earlier attempts stay.
#[async_trait]
pub trait Replays: fmt::Debug + Send + Sync {
    /// Makes the finished jobs of a webhook pending again: completed, dead-lettered and cancelled ones. With `route`,
    /// only the job of that route.
    ///
    /// Errors: `WebhookNotFound`; `RouteNotFound` if the webhook has no job of `route`; `WrongStatus` if no job is
    /// finished, or if the payload was purged.
    async fn replay_webhook(&self, id: WebhookId, route: Option<RouteName>) -> Result<WebhookStatus>;

    /// Starts a replay of the webhooks that are stored now. It goes on by [`step_replay`](Self::step_replay), also in
    /// other processes and after a restart. Errors: `ReplayRunning`.
    async fn start_replay(&self, new: NewReplay) -> Result<Replay>;

    /// Does the next step of the running replay: looks at a bounded number of webhooks, and restarts at most `jobs` jobs,
    /// or all jobs of one webhook. Any number of processes may call it.
    ///
    /// The step restarts no jobs of a route of which a job has been due for more than a tenth of a second, and none while
    /// half of `max_backlog` jobs are unfinished. So the jobs of a replay wait in the replay, not in front of new ones.
    async fn step_replay(&self, jobs: usize) -> Result<ReplayStep>;

    /// Ends the running replay with this number. What it has restarted runs. Cancelling a cancelled replay changes
    /// nothing. Errors: `ReplayNotFound`; `WrongStatus` if it is completed.
    async fn cancel_replay(&self, number: u64) -> Result<CancelledReplay>;

    /// Returns a replay. Errors: `ReplayNotFound`.
    async fn replay(&self, number: u64) -> Result<Replay>;

    /// Returns at most `limit` replays with numbers less than `before`, newest first.
    async fn replays(&self, before: Option<u64>, limit: usize) -> Result<Vec<Replay>>;
}

/// How long a replay waits for something until that is noted with it, and until it tries again while the backlog is high.
pub(super) const NOTED_AFTER: Duration = Duration::from_secs(1);

/// Rows that one step looks at. Small, because the step of a filter that matches little is a transaction all the same.
pub(super) const STEP_ROWS: i64 = 2_000;

/// `ReplayNotFound`.
pub(crate) fn not_found(number: u64) -> Error {
    let detail = format!("there is no replay {number}; GET /v1/replays, in gRPC ListReplays, lists them");
    Error::new(Reason::ReplayNotFound, detail)
}

/// `ReplayRunning`: the replay with this number is.
pub(super) fn already_running(number: Option<i64>) -> Error {
    let which = number.map_or_else(|| "another replay".to_owned(), |number| format!("replay {number}"));
    Error::new(
        Reason::ReplayRunning,
        format!("{which} is running, and replays run one at a time; wait for its end, or cancel it"),
    )
}

/// Checks that a replay can be cancelled. Errors: `WrongStatus` if it is completed.
pub(super) fn check_cancellable(replay: &Replay) -> Result<()> {
    if replay.state == ReplayState::Completed {
        let detail = format!("replay {} is completed; only a running replay can be cancelled", replay.number);
        return Err(Error::new(Reason::WrongStatus, detail));
    }
    Ok(())
}
