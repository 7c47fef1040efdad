//! Counts, rates and what each route holds.

use serde::Serialize;
use utoipa::ToSchema;

use super::operation::PauseBody;
use crate::domain::job::Status;
use crate::service::{RouteStats, Stats};
use crate::store;

/// What the inbox holds, and how fast it moves.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct GetStatsResponse {
    /// How many jobs are in each status, and how many webhooks are filtered or quarantined.
    counts: StatusCounts,
    /// For how many seconds the oldest job that may start has been due; 0 if there is none. Jobs that
    /// are paused, or whose route is not in the settings, do not count.
    oldest_due_seconds: f64,
    /// The worker threads.
    workers: WorkerCounts,
    /// How fast webhooks come in and jobs are completed.
    rates: Rates,
    /// Each route, in the order of the settings; then those that are gone from the settings and have
    /// jobs.
    routes: Vec<RouteStatsBody>,
    /// Everything that is paused.
    pauses: Vec<PauseBody>,
}

impl From<Stats> for GetStatsResponse {
    fn from(stats: Stats) -> Self {
        Self {
            counts: (&stats.counts).into(),
            oldest_due_seconds: stats.oldest_due_seconds,
            workers: WorkerCounts { total: stats.workers.total, busy: stats.workers.busy },
            rates: Rates {
                accepted_per_second: stats.accepted_per_second,
                completed_per_second: stats.completed_per_second,
            },
            routes: stats.routes.iter().map(Into::into).collect(),
            pauses: stats.pauses.into_iter().map(Into::into).collect(),
        }
    }
}

/// How many jobs are in each status. Filtered and quarantined webhooks have no jobs: they are counted
/// in the totals, and are 0 in the counts of a route.
#[derive(Debug, Serialize, ToSchema)]
struct StatusCounts {
    /// Jobs that are due and wait for a worker.
    pending: u64,
    /// Jobs that are being processed.
    processing: u64,
    /// Jobs that failed and are due later.
    retrying: u64,
    /// Jobs that are done.
    completed: u64,
    /// Jobs that failed for good.
    dead_lettered: u64,
    /// Jobs that were cancelled.
    cancelled: u64,
    /// Webhooks that no route matched.
    filtered: u64,
    /// Webhooks that were not verified.
    quarantined: u64,
}

impl From<&store::StatusCounts> for StatusCounts {
    fn from(counts: &store::StatusCounts) -> Self {
        Self {
            pending: counts.of(Status::Pending),
            processing: counts.of(Status::Processing),
            retrying: counts.of(Status::Retrying),
            completed: counts.of(Status::Completed),
            dead_lettered: counts.of(Status::DeadLettered),
            cancelled: counts.of(Status::Cancelled),
            filtered: counts.of(Status::Filtered),
            quarantined: counts.of(Status::Quarantined),
        }
    }
}

/// What a route holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RouteStats)]
pub(super) struct RouteStatsBody {
    /// The route.
    route: String,
    /// Its handler; null if the settings have no such route.
    handler: Option<String>,
    /// False if the route is gone from the settings: its jobs are held until the settings have it again,
    /// or they are moved or cancelled.
    in_settings: bool,
    /// Its jobs by status.
    counts: StatusCounts,
    /// For how many seconds its oldest waiting job has been due; 0 if there is none.
    oldest_due_seconds: f64,
    /// Whether the route itself is paused.
    paused: bool,
    /// How many times its `where` could not be evaluated, which counts as no match, since the process
    /// that answers read its settings.
    match_failures: u64,
    /// Why it could not be evaluated the last time; null if that never happened.
    last_match_failure: Option<String>,
}

impl From<&RouteStats> for RouteStatsBody {
    fn from(route: &RouteStats) -> Self {
        Self {
            route: route.route.to_string(),
            handler: route.policy.as_ref().map(|policy| policy.handler.to_string()),
            in_settings: route.policy.is_some(),
            counts: (&route.counts).into(),
            oldest_due_seconds: route.oldest_due_seconds,
            paused: route.paused_since.is_some(),
            match_failures: route.match_failures,
            last_match_failure: route.last_match_failure.clone(),
        }
    }
}

/// The worker threads of the process that answers.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerCounts {
    /// How many there are.
    total: u32,
    /// How many hold a job.
    busy: u32,
}

/// Means over the last 60 full seconds of the process that answers.
#[derive(Debug, Serialize, ToSchema)]
struct Rates {
    /// New webhooks accepted a second.
    accepted_per_second: f64,
    /// Jobs completed a second.
    completed_per_second: f64,
}
