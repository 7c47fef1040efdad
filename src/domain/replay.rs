//! Replays: jobs of many webhooks that run again, as an operation with progress.

use std::fmt;

use super::route::RouteName;

/// Where a replay stands. The numbers are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplayState {
    /// It goes on. At most one replay is running.
    Running = 0,
    /// It has looked at every webhook.
    Completed = 1,
    /// An operator has cancelled it. What it had restarted by then runs.
    Cancelled = 2,
}

impl ReplayState {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Running, Self::Completed, Self::Cancelled];

    /// The word in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

impl fmt::Display for ReplayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a replay has done so far; of a dry run, what it would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// The webhooks that matched.
    pub webhooks: u64,
    /// The jobs that run again.
    pub jobs: u64,
    /// The jobs that were left because they are not finished.
    pub unfinished: u64,
    /// The jobs that were left because the payload of their webhook is past its retention.
    pub payload_gone: u64,
    /// The jobs that were left because their route is gone from the settings.
    pub route_gone: u64,
    /// The webhooks that have no jobs: they are filtered or quarantined.
    pub without_jobs: u64,
}

impl ReplayCounts {
    /// The sums of both.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            webhooks: self.webhooks + more.webhooks,
            jobs: self.jobs + more.jobs,
            unfinished: self.unfinished + more.unfinished,
            payload_gone: self.payload_gone + more.payload_gone,
            route_gone: self.route_gone + more.route_gone,
            without_jobs: self.without_jobs + more.without_jobs,
        }
    }
}

/// What a replay waits for before it restarts more jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// Jobs of this route have been due for a while, and do not start.
    Route(RouteName),
    /// Half as many jobs are unfinished as `max_backlog` allows.
    Backlog,
}

impl WaitsFor {
    /// The name of the route; empty for the backlog. As stored in the column `waits_for`.
    pub fn stored(&self) -> &str {
        match self {
            Self::Route(route) => route.as_str(),
            Self::Backlog => "",
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "the due jobs of the route {route} to start"),
            Self::Backlog => f.write_str("the backlog to fall below half of max_backlog"),
        }
    }
}
