//! What operators are answered: routes, pauses, and what was moved or cancelled.

use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use super::stats::RouteStatsBody;
use crate::service::RouteStats;
use crate::service::policy_view::PolicyView;
use crate::service::reload::Reload;
use crate::store::{Moved, Pause, PauseTarget};

/// The routes.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListRoutesResponse {
    /// In the order of the settings; then those that are gone from the settings and have jobs.
    routes: Vec<RouteBody>,
}

impl From<Vec<RouteStats>> for ListRoutesResponse {
    fn from(routes: Vec<RouteStats>) -> Self {
        Self { routes: routes.iter().map(Into::into).collect() }
    }
}

/// A route, with the policy in force and what it holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
struct RouteBody {
    #[serde(flatten)]
    #[schema(inline)]
    stats: RouteStatsBody,
    /// Since when the route itself is paused; null if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_since: Option<Time>,
    /// How its jobs are run; null if the settings have no such route.
    policy: Option<PolicyBody>,
}

impl From<&RouteStats> for RouteBody {
    fn from(route: &RouteStats) -> Self {
        Self {
            stats: route.into(),
            paused_since: route.paused_since.map(Time),
            policy: route.policy.as_deref().map(|policy| PolicyView::from(policy).into()),
        }
    }
}

/// How the jobs of a route are run, written as in the settings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
struct PolicyBody {
    /// How long an attempt may run; null if there is no limit.
    #[schema(example = "10s")]
    timeout: Option<String>,
    /// Jobs that may run at once, over all replicas; null if there is no limit.
    #[schema(example = 16)]
    concurrency: Option<u32>,
    /// Jobs that may start in a time, over all replicas; null if there is no limit.
    #[schema(example = "50/s")]
    rate: Option<String>,
    /// How many attempts of a run may start before the job is dead-lettered.
    #[schema(example = 10)]
    max_attempts: u32,
    /// The longest delay before the second attempt; it doubles with every further attempt.
    #[schema(example = "2s")]
    retry_base: String,
    /// The longest delay before any attempt.
    #[schema(example = "1h")]
    retry_cap: String,
    /// What jobs of the same order value do behind a dead letter: `block` (wait) or `skip` (start).
    #[schema(example = "block")]
    on_dead_letter: &'static str,
    /// What becomes of an attempt that started and did not end: `retry`, or `dead_letter` (it never
    /// starts twice).
    #[schema(example = "retry")]
    on_interrupt: &'static str,
}

impl From<PolicyView> for PolicyBody {
    fn from(policy: PolicyView) -> Self {
        Self {
            timeout: policy.timeout,
            concurrency: policy.concurrency,
            rate: policy.rate,
            max_attempts: policy.max_attempts,
            retry_base: policy.retry_base,
            retry_cap: policy.retry_cap,
            on_dead_letter: policy.on_dead_letter,
            on_interrupt: policy.on_interrupt,
        }
    }
}

/// A pause in force: jobs of its target are kept and do not start. Where `route` and `source` are both
/// null, every job is paused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pause)]
pub(in crate::http) struct PauseBody {
    /// The route that is paused.
    route: Option<String>,
    /// The source whose jobs are paused.
    source: Option<String>,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Time,
}

impl From<Pause> for PauseBody {
    fn from(pause: Pause) -> Self {
        let (route, source) = match pause.target {
            PauseTarget::Everything => (None, None),
            PauseTarget::Route(route) => (Some(route.to_string()), None),
            PauseTarget::Source(source) => (None, Some(source.to_string())),
        };
        Self { route, source, since: Time(pause.since) }
    }
}

/// What ending a pause did.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ResumeResponse {
    /// False if the target was not paused: nothing has changed.
    pub(in crate::http) was_paused: bool,
}

/// The pauses in force.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListPausesResponse {
    /// Everything that is paused.
    pauses: Vec<PauseBody>,
}

impl From<Vec<Pause>> for ListPausesResponse {
    fn from(pauses: Vec<Pause>) -> Self {
        Self { pauses: pauses.into_iter().map(Into::into).collect() }
    }
}

/// What moving jobs did.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MoveJobsResponse {
    /// Jobs that were moved.
    moved: u64,
    /// Jobs that were cancelled, because their webhook already has a job of the other route.
    cancelled: u64,
}

impl From<Moved> for MoveJobsResponse {
    fn from(moved: Moved) -> Self {
        Self { moved: moved.moved as u64, cancelled: moved.cancelled as u64 }
    }
}

/// What cancelling jobs did.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CancelJobsResponse {
    /// Jobs that were cancelled.
    pub(in crate::http) cancelled: u64,
}

/// What a reload did.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ReloadSettingsResponse {
    /// How many routes are in force now.
    routes: u32,
    /// Settings that have changed but need a restart to take effect.
    needs_restart: Vec<String>,
}

impl From<Reload> for ReloadSettingsResponse {
    fn from(reload: Reload) -> Self {
        Self { routes: u32::try_from(reload.routes).unwrap_or(u32::MAX), needs_restart: reload.needs_restart }
    }
}
