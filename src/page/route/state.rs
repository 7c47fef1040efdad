//! Whether the jobs of a route start, and what the route did lately.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::domain::breaker::BreakerState;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::page::context::Context;
use crate::page::parts::{self, Tone, number};
use crate::page::pauses;
use crate::service::RouteStats;
use crate::telemetry::history::{INTERVAL, RouteTotals};

/// The names of the numbers of jobs besides those that run.
pub(in crate::page) const COUNTS: [(&str, Status); 5] = [
    ("Pending", Status::Pending),
    ("Retrying", Status::Retrying),
    ("Completed", Status::Completed),
    ("Dead letters", Status::DeadLettered),
    ("Cancelled", Status::Cancelled),
];

/// What the routes did in the last 60 minutes, by name.
pub(in crate::page) type Recent = BTreeMap<String, RouteTotals>;

/// What the routes did in the last 60 minutes. Nothing for a caller who sees some sources only: the numbers are those of
/// all sources.
pub(in crate::page) fn recent(context: &Context) -> Recent {
    if context.caller.has_limited_sources() {
        return Recent::new();
    }
    let all = context.service.metrics().history().routes();
    all.into_iter().map(|totals| (totals.route.clone(), totals)).collect()
}

/// How many attempts a second ended in the last minute.
pub(in crate::page) fn per_second(totals: Option<&RouteTotals>) -> f64 {
    let points = 60_usize.div_ceil(usize::try_from(INTERVAL.as_secs()).unwrap_or(1).max(1));
    let attempts = totals.map_or(0, |totals| totals.attempts.iter().rev().take(points).sum::<u64>());
    attempts as f64 / (points as f64 * INTERVAL.as_secs_f64())
}

/// What keeps jobs from starting, as badges; that they start if nothing does.
pub(in crate::page) fn badges(context: &Context, stats: &RouteStats) -> Markup {
    let mut badges = Vec::new();
    match (&stats.settings, stats.counts.unfinished()) {
        (None, 0) => badges.push(parts::badge(Tone::Plain, "gone")),
        (None, _) => badges.push(parts::badge(Tone::Bad, "gone, jobs held")),
        (Some(_), _) => {}
    }
    if let Some(pause) = &stats.pause {
        badges.push(pauses::badge(context, pause));
    }
    match stats.breaker.map(|breaker| breaker.state) {
        Some(BreakerState::Open { until }) => {
            let badge = parts::badge(Tone::Bad, "breaker open");
            let next = parts::time(until, context.now);
            badges.push(html! { span.nowrap { (badge) " " span.small.muted { "tries again " (next) } } });
        }
        Some(BreakerState::HalfOpen) => badges.push(parts::badge(Tone::Warning, "breaker half-open")),
        Some(BreakerState::Closed) | None => {}
    }
    if badges.is_empty() {
        badges.push(parts::badge(Tone::Good, "running"));
    }
    if stats.match_failures > 0 {
        badges.push(parts::badge(Tone::Warning, "where fails"));
    }
    html! { div.row { @for badge in &badges { (badge) } } }
}

/// A number of jobs, with a link to their webhooks if there are any.
pub(in crate::page) fn jobs(context: &Context, stats: &RouteStats, status: Status) -> Markup {
    let count = stats.counts.of(status);
    html! {
        @if count == 0 {
            span.muted { "0" }
        } @else {
            a href=(context.path(&webhooks_path(&stats.route, status))) { (number(count)) }
        }
    }
}

/// The path of the view with the jobs of a route in a status.
pub(in crate::page) fn webhooks_path(route: &RouteName, status: Status) -> String {
    match status {
        Status::DeadLettered => format!("/dead-letters?route={route}"),
        status => format!("/webhooks?status={status}&route={route}"),
    }
}

/// How many jobs run, and of how many that may.
pub(in crate::page) fn in_use(stats: &RouteStats) -> String {
    let running = number(stats.counts.of(Status::Processing));
    match stats.settings.as_deref().and_then(|settings| settings.policy.concurrency) {
        Some(concurrency) => format!("{running} of {}", number(u64::from(concurrency.get()))),
        None => running,
    }
}

/// For how long the oldest job has been due.
pub(in crate::page) fn oldest_due(stats: &RouteStats) -> String {
    if stats.oldest_due_seconds > 0.0 { parts::duration(stats.oldest_due_seconds) } else { "–".to_owned() }
}
