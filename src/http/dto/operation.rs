//! Responses of the operations: routes, pauses, and the numbers of jobs moved or cancelled.

use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use super::stats::RouteStatsBody;
use crate::service::RouteStats;
use crate::service::breaker_view::BreakerView;
use crate::service::match_view::{Globs, MatchView};
use crate::service::policy_view::PolicyView;
use crate::service::reload::Reload;
use crate::store::{Moved, Pause, PauseTarget};

/// The routes of the settings, and the routes that are gone from the settings and still have jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListRoutesResponse {
    /// First the routes of the settings, in their order, then the routes that are gone from the settings
    /// and still have jobs.
    routes: Vec<RouteBody>,
}

impl From<Vec<RouteStats>> for ListRoutesResponse {
    fn from(routes: Vec<RouteStats>) -> Self {
        Self { routes: routes.iter().map(Into::into).collect() }
    }
}

/// A route with what it matches, its policy in force and the numbers of its jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
struct RouteBody {
    #[serde(flatten)]
    #[schema(inline)]
    stats: RouteStatsBody,
    /// Since when the route is paused by its name; null if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_since: Option<Time>,
    /// The name of the token that last paused the route by its name; null if it is not paused.
    paused_by: Option<String>,
    /// Why the route is paused by its name, in the words of the operator who paused it last; null if it is not
    /// paused, or no reason was given.
    pause_reason: Option<String>,
    /// How its jobs are run; null if the route is gone from the settings.
    policy: Option<PolicyBody>,
    /// The patterns of the webhooks that the route matches; null if the settings of the route have none, or
    /// the route is gone from the settings.
    r#match: Option<MatchBody>,
    /// The CEL expression that has to be true of a webhook; null if the route has none, or is gone from the
    /// settings.
    #[schema(example = "body.total > 100")]
    r#where: Option<String>,
    /// The JSON pointer to the order value in the payload. Jobs of one source with equal values there run
    /// one at a time, in the order of acceptance. Null if the route has none, or is gone from the settings.
    #[schema(example = "/order_id")]
    order_by: Option<String>,
    /// Whether the route gets the webhooks that no other route matches. False if the route is gone from the
    /// settings.
    fallback: bool,
    /// Where its handler brings webhooks: of the handler `http`, the URL without credentials and query, and of a URL
    /// that is a secret only scheme, host and port; of the handler `exec`, the program. Null if its handler has no
    /// such place, or the route is gone from the settings.
    #[schema(example = "https://orders.example.com/hooks")]
    target: Option<String>,
    /// The circuit breaker of the route; null if the route has none, or is gone from the settings.
    breaker: Option<BreakerBody>,
}

impl From<&RouteStats> for RouteBody {
    fn from(route: &RouteStats) -> Self {
        let settings = route.settings.as_deref();
        let matched = settings.map(MatchView::from).unwrap_or_default();
        let pause = route.pause.as_ref();
        Self {
            stats: route.into(),
            paused_since: pause.map(|pause| Time(pause.since)),
            paused_by: pause.map(|pause| pause.actor.clone()),
            pause_reason: pause.and_then(|pause| pause.reason.clone()),
            policy: settings.map(|settings| PolicyView::from(&settings.policy).into()),
            r#match: matched.globs.map(Into::into),
            r#where: matched.condition,
            order_by: matched.order_by,
            fallback: matched.fallback,
            target: settings.and_then(|settings| settings.policy.handler.target()),
            breaker: route.breaker.map(Into::into),
        }
    }
}

/// The circuit breaker of a route, which is the same for all replicas: while it is open, jobs of the route do not
/// start, and use up no attempts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
struct BreakerBody {
    /// `closed`: jobs start. `open`: no job starts. `half_open`: one job at a time starts, to find out whether the
    /// target is up.
    #[schema(example = "closed")]
    state: &'static str,
    /// When it becomes half-open; null unless it is open.
    #[schema(value_type = Option<String>, format = DateTime)]
    open_until: Option<Time>,
    /// How many times in a row it has opened; 0 if it is closed.
    trips: u32,
}

impl From<BreakerView> for BreakerBody {
    fn from(breaker: BreakerView) -> Self {
        Self {
            state: breaker.state.as_str(),
            open_until: breaker.open_until().map(Time),
            trips: breaker.trips,
        }
    }
}

/// The patterns of the webhooks that a route matches: both the source and the event type of a webhook have
/// to match. In a pattern, `*` is any run of characters and `?` is one character.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Match)]
struct MatchBody {
    /// The patterns of sources, of which one has to match. If there are none, every source matches except
    /// hookbox's own. For a token that is limited to sources, the names of others are left out; `***` stands for them if
    /// nothing else is left.
    source: Vec<String>,
    /// The patterns of event types, of which one has to match. If there are none, every event type matches.
    event_type: Vec<String>,
}

impl From<Globs> for MatchBody {
    fn from(globs: Globs) -> Self {
        Self { source: globs.sources, event_type: globs.event_types }
    }
}

/// How the jobs of a route are run. Durations are written as in the settings: a number and one of the
/// units `d`, `h`, `m`, `s` and `ms`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
struct PolicyBody {
    /// How long an attempt may run; null if there is no limit.
    #[schema(example = "10s")]
    timeout: Option<String>,
    /// How many jobs may run at once, over all replicas; null if there is no limit.
    #[schema(example = 16)]
    concurrency: Option<u32>,
    /// How many attempts may start per second (`s`), minute (`m`) or hour (`h`), over all replicas; null if
    /// there is no limit.
    #[schema(example = "50/s")]
    rate: Option<String>,
    /// How many attempts of one run may start; after the last one has failed, the job is dead-lettered.
    #[schema(example = 10)]
    max_attempts: u32,
    /// The longest delay after the first failed attempt. It doubles with each further failure, up to
    /// `retry_cap`; the actual delay is random between 0 and that.
    #[schema(example = "2s")]
    retry_base: String,
    /// The longest delay after any failed attempt.
    #[schema(example = "1h")]
    retry_cap: String,
    /// Whether jobs behind a dead letter of the same order value wait (`block`) or start (`skip`).
    #[schema(example = "block")]
    on_dead_letter: &'static str,
    /// What happens to a job whose attempt started and did not end, because of a crash, a lost lease or a
    /// stop: it is tried again (`retry`), or dead-lettered and not started again by hookbox (`dead_letter`).
    /// Attempts that failed are tried again in both cases.
    #[schema(example = "retry")]
    on_interrupt: &'static str,
    /// After how many attempts in a row that found the target down the breaker of the route opens; null if the
    /// route has no breaker.
    #[schema(example = 10)]
    breaker_failures: Option<u32>,
    /// How long the breaker stays open the first time. It doubles with each failed probe, up to `breaker_cap`. Null
    /// if the route has no breaker.
    #[schema(example = "10s")]
    breaker_base: Option<String>,
    /// How long the breaker stays open at most; null if the route has no breaker.
    #[schema(example = "5m")]
    breaker_cap: Option<String>,
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
            breaker_failures: policy.breaker_failures,
            breaker_base: policy.breaker_base,
            breaker_cap: policy.breaker_cap,
        }
    }
}

/// A pause in force: the jobs of its target do not start. If `route` and `source` are both null, every job
/// is paused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pause)]
pub(in crate::http) struct PauseBody {
    /// The route whose jobs are paused.
    route: Option<String>,
    /// The source whose jobs are paused.
    source: Option<String>,
    /// When the pause began. Pausing again does not change it.
    #[schema(value_type = String, format = DateTime)]
    since: Time,
    /// The name of the token that paused it last; `anonymous` where none is needed.
    actor: String,
    /// Why, in the words of the operator who paused it last; null if no reason was given.
    reason: Option<String>,
}

impl From<Pause> for PauseBody {
    fn from(pause: Pause) -> Self {
        let (route, source) = match pause.target {
            PauseTarget::Everything => (None, None),
            PauseTarget::Route(route) => (Some(route.to_string()), None),
            PauseTarget::Source(source) => (None, Some(source.to_string())),
        };
        Self { route, source, since: Time(pause.since), actor: pause.actor, reason: pause.reason }
    }
}

/// The result of ending a pause.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ResumeResponse {
    /// False if the target was not paused; then nothing has changed, except that the breaker of the route is closed.
    pub(in crate::http) was_paused: bool,
}

/// The pauses in force.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ListPausesResponse {
    /// One for each route, source or everything that is paused.
    pauses: Vec<PauseBody>,
}

impl From<Vec<Pause>> for ListPausesResponse {
    fn from(pauses: Vec<Pause>) -> Self {
        Self { pauses: pauses.into_iter().map(Into::into).collect() }
    }
}

/// The result of moving jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MoveJobsResponse {
    /// How many jobs were moved.
    moved: u64,
    /// How many jobs were cancelled, because their webhook already has a job of the other route.
    cancelled: u64,
}

impl From<Moved> for MoveJobsResponse {
    fn from(moved: Moved) -> Self {
        Self { moved: moved.moved as u64, cancelled: moved.cancelled as u64 }
    }
}

/// The result of cancelling jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CancelJobsResponse {
    /// How many jobs were cancelled.
    pub(in crate::http) cancelled: u64,
}

/// The result of a reload.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ReloadSettingsResponse {
    /// How many routes are in force now.
    routes: u32,
    /// The names of settings that have changed since the start but take effect only after a restart.
    needs_restart: Vec<String>,
}

impl From<Reload> for ReloadSettingsResponse {
    fn from(reload: Reload) -> Self {
        Self { routes: u32::try_from(reload.routes).unwrap_or(u32::MAX), needs_restart: reload.needs_restart }
    }
}
