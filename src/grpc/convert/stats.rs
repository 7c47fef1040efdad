//! Converts counts, routes and pauses to messages.

use super::time;
use crate::domain::job::Status;
use crate::grpc::proto;
use crate::service::breaker_view::BreakerView;
use crate::service::match_view::{Globs, MatchView};
use crate::service::policy_view::PolicyView;
use crate::service::{RouteStats, Stats};
use crate::store::{Pause, PauseTarget, StatusCounts};

pub(in crate::grpc) fn stats(stats: Stats) -> proto::GetStatsResponse {
    proto::GetStatsResponse {
        counts: Some(counts(&stats.counts)),
        oldest_due_seconds: stats.oldest_due_seconds,
        workers: Some(proto::WorkerCounts { total: stats.workers.total, busy: stats.workers.busy }),
        rates: Some(proto::Rates {
            accepted_per_second: stats.accepted_per_second,
            completed_per_second: stats.completed_per_second,
        }),
        routes: stats.routes.into_iter().map(route_stats).collect(),
        pauses: stats.pauses.into_iter().map(pause).collect(),
    }
}

pub(in crate::grpc) fn routes(routes: Vec<RouteStats>) -> proto::ListRoutesResponse {
    proto::ListRoutesResponse { routes: routes.into_iter().map(route).collect() }
}

pub(in crate::grpc) fn pause(pause: Pause) -> proto::Pause {
    let (route, source) = match pause.target {
        PauseTarget::Everything => (None, None),
        PauseTarget::Route(route) => (Some(route.to_string()), None),
        PauseTarget::Source(source) => (None, Some(source.to_string())),
    };
    proto::Pause { route, source, since: Some(time(pause.since)), actor: pause.actor, reason: pause.reason }
}

fn route(route: RouteStats) -> proto::Route {
    let pause = route.pause.clone();
    let settings = route.settings.as_deref();
    let policy = settings.map(|settings| self::policy((&settings.policy).into()));
    let matched = settings.map(MatchView::from).unwrap_or_default();
    let target = settings.and_then(|settings| settings.policy.handler.target());
    let breaker = route.breaker.map(breaker);
    let stats = route_stats(route);
    proto::Route {
        route: stats.route,
        handler: stats.handler,
        in_settings: stats.in_settings,
        counts: stats.counts,
        oldest_due_seconds: stats.oldest_due_seconds,
        paused: stats.paused,
        match_failures: stats.match_failures,
        last_match_failure: stats.last_match_failure,
        paused_since: pause.as_ref().map(|pause| time(pause.since)),
        policy,
        r#match: matched.globs.map(globs),
        r#where: matched.condition,
        order_by: matched.order_by,
        fallback: matched.fallback,
        target,
        breaker,
        paused_by: pause.as_ref().map(|pause| pause.actor.clone()),
        pause_reason: pause.and_then(|pause| pause.reason),
    }
}

fn breaker(breaker: BreakerView) -> proto::Breaker {
    proto::Breaker {
        state: breaker.state.as_str().to_owned(),
        open_until: breaker.open_until().map(time),
        trips: breaker.trips,
    }
}

fn route_stats(route: RouteStats) -> proto::RouteStats {
    proto::RouteStats {
        route: route.route.to_string(),
        handler: route.settings.as_ref().map(|settings| settings.policy.handler.to_string()),
        in_settings: route.settings.is_some(),
        counts: Some(counts(&route.counts)),
        oldest_due_seconds: route.oldest_due_seconds,
        paused: route.pause.is_some(),
        match_failures: route.match_failures,
        last_match_failure: route.last_match_failure,
    }
}

fn globs(globs: Globs) -> proto::Match {
    proto::Match { source: globs.sources, event_type: globs.event_types }
}

fn policy(policy: PolicyView) -> proto::Policy {
    proto::Policy {
        timeout: policy.timeout,
        concurrency: policy.concurrency,
        rate: policy.rate,
        max_attempts: policy.max_attempts,
        retry_base: policy.retry_base,
        retry_cap: policy.retry_cap,
        on_dead_letter: policy.on_dead_letter.to_owned(),
        on_interrupt: policy.on_interrupt.to_owned(),
        breaker_failures: policy.breaker_failures,
        breaker_base: policy.breaker_base,
        breaker_cap: policy.breaker_cap,
    }
}

fn counts(counts: &StatusCounts) -> proto::StatusCounts {
    proto::StatusCounts {
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
