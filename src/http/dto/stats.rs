//! Numbers of jobs, rates, workers and pauses.

use serde::Serialize;
use utoipa::ToSchema;

use super::operation::PauseBody;
use crate::domain::job::Status;
use crate::service::{RouteStats, Stats};
use crate::store;

/// The numbers of jobs, rates, workers and pauses.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct GetStatsResponse {
    /// How many jobs are in each status, and how many webhooks are filtered or quarantined.
    counts: StatusCounts,
    /// For how many seconds the oldest waiting job has been due; 0 if no job is due. Jobs that are paused,
    /// whose route is gone from the settings, or that wait behind another job of their order value do not
    /// count. Jobs that wait for the `concurrency`, `rate` or breaker of their route do.
    oldest_due_seconds: f64,
    /// The worker threads of the process that answers.
    workers: WorkerCounts,
    /// How fast the process that answers accepts webhooks and completes jobs.
    rates: Rates,
    /// First the routes of the settings, in their order, then the routes that are gone from the settings
    /// and still have jobs.
    routes: Vec<RouteStatsBody>,
    /// The pauses in force.
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

/// How many jobs are in each status, and how many webhooks have no jobs. In the counts of a route,
/// `filtered` and `quarantined` are 0.
#[derive(Debug, Serialize, ToSchema)]
struct StatusCounts {
    /// Jobs that are due and have not started.
    pending: u64,
    /// Jobs that are being processed.
    processing: u64,
    /// Jobs whose last attempt failed and that will be tried again.
    retrying: u64,
    /// Jobs that are completed.
    completed: u64,
    /// Jobs that failed for good, or whose attempts are used up.
    dead_lettered: u64,
    /// Jobs that were cancelled.
    cancelled: u64,
    /// Webhooks that no route matched.
    filtered: u64,
    /// Webhooks that were not verified, and that no operator has released or discarded.
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

/// The numbers of a route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RouteStats)]
pub(super) struct RouteStatsBody {
    /// The name of the route.
    route: String,
    /// The name of its handler; null if the route is gone from the settings.
    handler: Option<String>,
    /// False if the route is gone from the settings. Its unfinished jobs are then held: they do not start
    /// until the route is in the settings again, or until they are moved to another route.
    in_settings: bool,
    /// How many of its jobs are in each status.
    counts: StatusCounts,
    /// For how many seconds its oldest waiting job has been due, also if the route is paused; 0 if no job
    /// is due. A job that waits behind another job of its order value does not count.
    oldest_due_seconds: f64,
    /// Whether the route is paused by its name. False if only everything or a source is paused.
    paused: bool,
    /// For how many webhooks its `where` could not be evaluated, since the process that answers last read
    /// its settings. Such a webhook does not match the route.
    match_failures: u64,
    /// Why the last of these evaluations failed; null if there was none.
    last_match_failure: Option<String>,
}

impl From<&RouteStats> for RouteStatsBody {
    fn from(route: &RouteStats) -> Self {
        Self {
            route: route.route.to_string(),
            handler: route.settings.as_ref().map(|settings| settings.policy.handler.to_string()),
            in_settings: route.settings.is_some(),
            counts: (&route.counts).into(),
            oldest_due_seconds: route.oldest_due_seconds,
            paused: route.pause.is_some(),
            match_failures: route.match_failures,
            last_match_failure: route.last_match_failure.clone(),
        }
    }
}

/// The worker threads of the process that answers.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerCounts {
    /// How many threads run handlers; 0 if the dispatcher has failed or the process is stopping.
    total: u32,
    /// How many of them have a job.
    busy: u32,
}

/// Averages of the process that answers over the last 60 full seconds.
#[derive(Debug, Serialize, ToSchema)]
struct Rates {
    /// New webhooks accepted per second, without duplicates.
    accepted_per_second: f64,
    /// Jobs completed per second.
    completed_per_second: f64,
}
