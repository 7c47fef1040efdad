//! What the numbers of the store say is wrong: of jobs, routes and pauses.

use super::Wrong;
use crate::domain::breaker::BreakerState;
use crate::domain::job::Status;
use crate::page::context::Context;
use crate::page::parts::{Tone, count, duration, number};
use crate::service::{PauseTarget, RouteStats, Stats};

/// For how long a job may be due before that is a warning, in seconds.
const DUE_WARNING_SECONDS: f64 = 60.0;

/// From when on it is bad.
const DUE_BAD_SECONDS: f64 = 600.0;

/// The backlog, and jobs that are due for long.
pub(super) fn of_jobs(context: &Context, stats: &Stats) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let (backlog, levels) = (stats.counts.unfinished(), context.shared.pages.backlog);
    if levels.is_high(backlog) {
        let text = format!(
            "The backlog is high: {} are unfinished, and from {} on webhooks are answered 503.",
            count(backlog, "job", "jobs"),
            number(levels.max())
        );
        wrong.push(Wrong::new(Tone::Bad, text).see("/routes", "Look at the routes"));
    }
    let due = stats.oldest_due_seconds;
    if due >= DUE_WARNING_SECONDS {
        let tone = if due >= DUE_BAD_SECONDS { Tone::Bad } else { Tone::Warning };
        let text = format!("A job has been due for {}, and has not started.", duration(due));
        let slowest = stats
            .routes
            .iter()
            .max_by(|one, other| one.oldest_due_seconds.total_cmp(&other.oldest_due_seconds));
        let path =
            slowest.map_or_else(|| "/routes".to_owned(), |slowest| format!("/routes/{}", slowest.route));
        wrong.push(Wrong::new(tone, text).see(path, "Look at its route"));
    }
    wrong
}

/// Webhooks in quarantine. A limited caller has no number of them, but may see some.
pub(super) async fn in_quarantine(context: &Context, stats: &Stats) -> Option<Wrong> {
    let text = match stats.counts.of(Status::Quarantined) {
        0 if !may_see_more(context) => return None,
        0 => {
            context.service.newest_in([Status::Quarantined]).await?;
            "Webhooks are in quarantine, because they were not verified.".to_owned()
        }
        1 => "1 webhook is in quarantine, because it was not verified.".to_owned(),
        all => format!("{} webhooks are in quarantine, because they were not verified.", number(all)),
    };
    Some(Wrong::new(Tone::Warning, text).see("/webhooks?status=quarantined", "Release or discard"))
}

/// Whether the caller may see webhooks without jobs that the numbers lack. Such a webhook belongs to no route.
fn may_see_more(context: &Context) -> bool {
    context.caller.has_limited_sources() && !context.caller.has_limited_routes()
}

/// The dead letters of a route. `recent` is how many of its jobs became one in the last 60 minutes.
pub(super) fn dead_letters(stats: &RouteStats, recent: u64) -> Option<Wrong> {
    let (route, all) = (&stats.route, stats.counts.of(Status::DeadLettered));
    if all == 0 {
        return None;
    }
    let has = format!("The route {route} has {}", count(all, "dead letter", "dead letters"));
    let wrong = match recent {
        0 => Wrong::new(Tone::Warning, format!("{has}.")),
        recent => Wrong::new(Tone::Bad, format!("{has} ({} new in the last 60 minutes).", number(recent))),
    };
    Some(wrong.see(format!("/dead-letters?route={route}"), "Look at them"))
}

/// What is wrong with a route, besides its dead letters.
pub(super) fn of_route(context: &Context, stats: &RouteStats) -> Vec<Wrong> {
    let route = &stats.route;
    let mut wrong = Vec::new();
    let held = stats.counts.unfinished();
    if stats.settings.is_none() && held > 0 {
        let what = match held {
            1 => "1 job waits".to_owned(),
            jobs => format!("{} jobs wait", number(jobs)),
        };
        let text = format!("The route {route} is gone from the settings, and {what} for a handler of it.");
        wrong.push(Wrong::new(Tone::Bad, text));
    }
    match stats.breaker.map(|breaker| (breaker.state, breaker.trips)) {
        Some((BreakerState::Open { until }, trips)) => {
            let left = until.duration_since(context.now).as_secs_f64();
            let text = format!(
                "The breaker of the route {route} is open, because its target is down. It has opened {} in a row, \
                 and lets a job through in {}.",
                count(trips.into(), "time", "times"),
                duration(left)
            );
            wrong.push(Wrong::new(Tone::Bad, text));
        }
        Some((BreakerState::HalfOpen, _)) => {
            let text = format!(
                "The breaker of the route {route} is half-open: one job finds out whether its target is up."
            );
            wrong.push(Wrong::new(Tone::Warning, text));
        }
        Some((BreakerState::Closed, _)) | None => {}
    }
    if stats.match_failures > 0 {
        let why = stats.last_match_failure.as_deref().unwrap_or("unknown");
        let webhooks = count(stats.match_failures, "webhook", "webhooks");
        let text = format!(
            "The condition (where) of the route {route} could not be evaluated for {webhooks}, which the route did not get. \
             The last error: {why}."
        );
        wrong.push(Wrong::new(Tone::Warning, text));
    }
    wrong.into_iter().map(|one| one.see(format!("/routes/{route}"), "Look at the route")).collect()
}

pub(super) fn of_pauses(context: &Context, stats: &Stats) -> Vec<Wrong> {
    let pauses = stats.pauses.iter().map(|pause| {
        let since = duration(context.now.duration_since(pause.since).as_secs_f64());
        let (what, path) = match &pause.target {
            PauseTarget::Everything => ("Everything".to_owned(), "/routes".to_owned()),
            PauseTarget::Route(route) => (format!("The route {route}"), format!("/routes/{route}")),
            PauseTarget::Source(source) => (format!("The source {source}"), format!("/sources/{source}")),
        };
        let why = pause.reason.as_ref().map_or_else(|| ".".to_owned(), |reason| format!(": {reason}"));
        let text = format!(
            "{what} has been paused for {since}: webhooks are accepted, and no job starts. Paused by {}{why}",
            pause.actor
        );
        let caller = &context.caller;
        let may_resume = context.may_operate()
            && match &pause.target {
                PauseTarget::Everything => !caller.is_limited(),
                PauseTarget::Route(_) => !caller.has_limited_sources(),
                PauseTarget::Source(_) => !caller.has_limited_routes(),
            };
        let label = if may_resume { "Resume it there" } else { "Look at it" };
        Wrong::new(Tone::Warning, text).see(path, label)
    });
    pauses.collect()
}
